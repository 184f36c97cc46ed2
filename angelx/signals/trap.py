"""Trap probability (SPEC 3.4): that price first touches twice the implied 15-minute move against a signal.

A logistic model of five pieces of evidence, each in [0, 1] and each only ever raising the probability:

- *burst*: volume of five minutes against the usual, in doublings (three are 1), as far as no open interest came of it;
- *unwinding*: open interest falling into a move the signal's way;
- *wall*: how near the open-interest wall ahead is, in implied 15-minute moves;
- *widening*: quotes wider than usual (three times is 1);
- *expiry*: how near it is (e-fold per two days).

The prior: without evidence a price that walks at random touches two standard deviations within their time with
probability 2 (1 - Phi(2)) = 4.6 % on either side (reflection principle); the intercept is such that evidence of usual
size comes to that, the weights are what traders who fade false breaks name, in that order, and count as little as some
50 outcomes. `refit` moves them by logged outcomes: the mode of a Gaussian prior times the likelihood, by Newton's
method, weights not below 0; what a session taught is the prior of the next, old sessions fading by a tenth each.
"""

from collections.abc import Sequence
from hashlib import sha256
from math import exp, log2
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

EVIDENCE: Final = ("burst", "unwinding", "wall", "widening", "expiry")
PRIOR: Final = (-3.8, 1.0, 1.5, 0.8, 0.8, 0.6)
"""Intercept, then a weight for each piece of evidence."""
SPREAD_OF_PRIOR: Final = (0.7, 0.5, 0.5, 0.5, 0.5, 0.5)
"""Standard deviations of the prior."""
KEPT: Final = 0.9
"""Part of what was learned that the next session keeps."""
BARRIER: Final = 2.0
"""In implied moves of the horizon."""
HORIZON_NS: Final = 15 * 60 * 1_000_000_000
MOST_STEPS: Final = 100
LEAST_CHANGE: Final = 1e-10


class Evidence(msgspec.Struct, frozen=True):
    """What speaks for a trap; every number in [0, 1]."""

    burst: float = 0.0
    unwinding: float = 0.0
    wall: float = 0.0
    widening: float = 0.0
    expiry: float = 0.0

    @property
    def row(self) -> tuple[float, ...]:
        """In the order of `EVIDENCE`."""
        return (self.burst, self.unwinding, self.wall, self.widening, self.expiry)


def burst(volume: float, usual: float, oi_change: float) -> float:
    """Of `volume` in some time, `usual` in as much, with so much change of open interest; all in lots."""
    if volume <= 0 or usual <= 0:
        return 0.0
    doublings = min(max(log2(volume / usual), 0.0), 3.0)
    return doublings / 3.0 * (1.0 - min(abs(oi_change) / volume / 0.2, 1.0))


def unwinding(move: float, oi_change: float, open_interest: float) -> float:
    """Of a move in implied standard deviations the signal's way, and what open interest did meanwhile, lots."""
    if open_interest <= 0:
        return 0.0
    falls = min(max(-oi_change / open_interest / 0.005, 0.0), 1.0)
    return min(max(move, 0.0), 2.0) / 2.0 * falls


def wall(distance: float, move: float) -> float:
    """Of the log distance to the wall ahead, negative behind it, in implied 15-minute moves."""
    return exp(-distance / (2.0 * move)) if distance >= 0 and move > 0 else 0.0


def widening(spread: float, usual: float) -> float:
    """Of the spread against what is usual."""
    return min(max(spread / usual - 1.0, 0.0), 2.0) / 2.0 if usual > 0 else 0.0


def expiry(years: float) -> float:
    """Of the time left."""
    return exp(-max(years, 0.0) * 365.0 / 2.0)


class TrapModel(msgspec.Struct, frozen=True):
    """A fitted model and how sure it is."""

    weights: tuple[float, ...] = PRIOR
    precision: tuple[tuple[float, ...], ...] = tuple(
        tuple(1.0 / sd**2 if row == column else 0.0 for column in range(len(PRIOR)))
        for row, sd in enumerate(SPREAD_OF_PRIOR)
    )
    """Of the weights: the inverse of their covariance, rows."""
    outcomes: int = 0
    """Logged outcomes it was fitted to, all sessions together."""

    def __post_init__(self) -> None:
        n = len(PRIOR)
        if len(self.weights) != n or len(self.precision) != n or any(len(row) != n for row in self.precision):
            raise ValueError(f"a trap model has {n} weights")
        if min(self.weights[1:]) < 0 or not np.all(np.isfinite([*self.weights, *sum(self.precision, ())])):
            raise ValueError(f"the weights of a trap model are finite and not negative, were {self.weights}")

    @property
    def digest(self) -> str:
        """sha256 of the weights and their precision."""
        return sha256(msgspec.json.encode(self)).hexdigest()

    def probability(self, evidence: Evidence) -> float:
        """Of a trap."""
        base, of_burst, of_unwinding, of_wall, of_widening, of_expiry = self.weights
        odds = base + of_burst * evidence.burst + of_unwinding * evidence.unwinding + of_wall * evidence.wall
        odds = odds + of_widening * evidence.widening + of_expiry * evidence.expiry
        return 1.0 / (1.0 + exp(-odds))


def refit(model: TrapModel, rows: Sequence[Sequence[float]], happened: Sequence[int], weight: float = 1.0) -> TrapModel:
    """The model after outcomes of one session.

    Parameters
    ----------
    rows
        Evidence, in the order of `EVIDENCE`.
    happened
        1 where it was a trap, else 0.
    weight
        What an outcome counts: less than 1 where horizons overlap.

    Raises
    ------
    ValueError
        Rows and outcomes that do not belong together, or are no numbers.
    """
    if not rows:
        return model
    x = np.column_stack([np.ones(len(rows)), np.asarray(rows, np.float64)])
    y = np.asarray(happened, np.float64)
    if x.shape != (len(y), len(PRIOR)) or not np.isfinite(x).all() or not np.isin(y, (0.0, 1.0)).all():
        raise ValueError(f"a refit takes {len(EVIDENCE)} finite numbers and an outcome 0 or 1 each")
    prior = np.diag([1.0 / sd**2 for sd in SPREAD_OF_PRIOR])
    trust = prior + KEPT * (np.array(model.precision) - prior)
    found, precision = _mode(x, y, np.array(model.weights), trust, weight)
    return TrapModel(
        tuple(float(number) for number in found),
        tuple(tuple(float(number) for number in row) for row in precision),
        model.outcomes + len(y),
    )


Matrix = NDArray[np.float64]


def _mode(x: Matrix, y: Matrix, centre: Matrix, trust: Matrix, weight: float) -> tuple[Matrix, Matrix]:
    """Mode and curvature of the posterior; a weight that would go below 0 is held there, and the rest fitted again."""
    held = np.zeros(len(centre), np.bool_)
    while True:
        found, curvature = _newton(x, y, centre, trust, weight, held)
        below = found < 0
        below[0] = False
        if not below.any():
            return found, curvature
        held |= below


def _newton(
    x: Matrix, y: Matrix, centre: Matrix, trust: Matrix, weight: float, held: NDArray[np.bool_]
) -> tuple[Matrix, Matrix]:
    free = ~held
    now = np.where(held, 0.0, centre)
    value = _loss(x, y, now, centre, trust, weight)
    curvature = trust
    for _ in range(MOST_STEPS):
        p = 1.0 / (1.0 + np.exp(-(x @ now)))
        slope = weight * (x.T @ (p - y)) + trust @ (now - centre)
        curvature = weight * (x.T * (p * (1.0 - p))) @ x + trust
        step = np.zeros_like(now)
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], slope[free])
        size = 1.0
        while (trial := _loss(x, y, now - size * step, centre, trust, weight)) > value and size > 1e-8:
            size /= 2.0
        now, value = now - size * step, min(trial, value)
        if np.abs(step).max() < LEAST_CHANGE:
            break
    return now, curvature


def _loss(x: Matrix, y: Matrix, at: Matrix, centre: Matrix, trust: Matrix, weight: float) -> float:
    odds = x @ at
    away = at - centre
    return float(weight * (np.logaddexp(0.0, odds) - y * odds).sum() + 0.5 * away @ trust @ away)
