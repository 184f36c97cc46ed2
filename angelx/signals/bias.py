"""Bias of an option chain (SPEC 3.3): a signed score in [-1, 1], and how strong it is by its own past.

Four numbers in [-1, 1], positive for a rise, those known weighted to a mean:

- *flow* (.4): open-interest flow of the window, calls bought and puts written against calls written and puts bought;
- *momentum* (.3): log change of the forward over a quarter of an hour in units of what the ATM IV implies for it;
- *basis* (.15): log(forward / spot) against its median of the same time, in units of 3 bps;
- *skew* (.15): change of the 25-delta skew over the same time, in vol points; puts getting dearer is bearish.

Each passes through tanh (flow is a ratio already). The mirror image of a chain (calls for puts, 1/price for price) has
the opposite score. Heavy call open interest counts as written where calls got cheaper: it is not bullish by itself.

What the score is worth is measured: the chance of a rise within a quarter of an hour is (1 + skill x score) / 2, with a
prior skill of `PRIOR_SKILL`, worth some 100 outcomes, and moved by logged ones (`BiasSkill`).

*Strength* is the percentile of |score| in the last 20 sessions, each session counting alike; sessions not yet seen are
a prior: |score| half normal with sigma `PRIOR_SIGMA`, cut at 1 (its median .24 and 9 % above .6 are those of NIFTY's
nearest expiry on 29 Aug 2025: .22 and 10 %).
"""

from collections.abc import Sequence
from itertools import pairwise
from math import erf, log, sqrt, tanh
from typing import Final

import msgspec

from angelx.domain.scalars import NS
from angelx.market.chain_view import Flow

FLOW, MOMENTUM, BASIS, SKEW = 0.4, 0.3, 0.15, 0.15
BASIS_SCALE: Final = 3e-4
SKEW_SCALE: Final = 0.01
TRADING_YEAR_NS: Final = 252 * 375 * 60 * NS
"""An implied volatility is spent in trading time: 252 sessions of 375 minutes."""
SESSIONS: Final = 20
BINS: Final = 50
PRIOR_SIGMA: Final = 0.35
PRIOR_SKILL: Final = 0.1
PRIOR_SQUARES: Final = 10.0
"""100 outcomes of scores around .3."""
KEPT: Final = 0.9
"""Part of what was learned that the next session keeps."""


def implied_move(volatility: float, horizon_ns: int) -> float:
    """One standard deviation of the log price over a time of trading."""
    return volatility * sqrt(horizon_ns / TRADING_YEAR_NS)


def flow_score(calls: Flow, puts: Flow) -> float | None:
    """Signed share of the open-interest flow; `None` where nothing flowed."""
    up = calls.long_build_up + calls.short_covering + puts.short_build_up + puts.long_unwinding
    down = calls.short_build_up + calls.long_unwinding + puts.long_build_up + puts.short_covering
    return (up - down) / (up + down) if up + down > 0 else None


def momentum_score(then: float, now: float, volatility: float, elapsed_ns: int) -> float | None:
    """Move of the forward in implied standard deviations; `None` where that is none."""
    expected = implied_move(volatility, elapsed_ns)
    return tanh(log(now / then) / expected) if expected > 0 else None


def basis_score(basis: float, usual: float) -> float:
    """Premium of the forward over the spot against what is usual, both logs."""
    return tanh((basis - usual) / BASIS_SCALE)


def skew_score(change: float) -> float:
    """Of the change of (put IV - call IV), a fraction."""
    return tanh(-change / SKEW_SCALE)


def combined(flow: float | None, momentum: float | None, basis: float | None, skew: float | None) -> float | None:
    """The bias; `None` where neither flow nor momentum is known."""
    if flow is None and momentum is None:
        return None
    total = found = 0.0
    for weight, score in ((FLOW, flow), (MOMENTUM, momentum), (BASIS, basis), (SKEW, skew)):
        if score is not None:
            total += weight
            found += weight * score
    return max(min(found / total, 1.0), -1.0)


def prior_percentile(size: float) -> float:
    """Share of |score| at most `size` before anything was seen."""
    return erf(size / PRIOR_SIGMA / sqrt(2)) / erf(1 / PRIOR_SIGMA / sqrt(2))


class StrengthHistory:
    """|score| of the last sessions as histograms; at most `SESSIONS` of `BINS` counts.

    Parameters
    ----------
    sessions
        Counts of earlier sessions, oldest first, as `sessions` gave them.

    Raises
    ------
    ValueError
        Counts that are none.
    """

    __slots__ = ("_current", "_past")

    def __init__(self, sessions: Sequence[Sequence[int]] = ()) -> None:
        if any(len(counts) != BINS or min(counts) < 0 or not sum(counts) for counts in sessions):
            raise ValueError(f"a session of the bias is {BINS} counts, some above 0")
        self._past = [_cumulated(counts) for counts in sessions[-SESSIONS:]]
        self._current = [0] * BINS

    def add(self, score: float) -> None:
        """Count a score of the present session."""
        self._current[min(int(abs(score) * BINS), BINS - 1)] += 1

    def end_session(self) -> None:
        """The present session becomes one of the last."""
        if any(self._current):
            self._past = [*self._past, _cumulated(self._current)][-SESSIONS:]
            self._current = [0] * BINS

    def strength(self, score: float) -> float:
        """Percentile of |score|, in [0, 1]; the present session is not part of its own measure."""
        size = abs(score)
        place = min(int(size * BINS), BINS - 1)
        within = size * BINS - place
        total = (SESSIONS - len(self._past)) * prior_percentile(size)
        for cumulated in self._past:
            below = cumulated[place]
            total += (below + (cumulated[place + 1] - below) * within) / cumulated[BINS]
        return min(total / SESSIONS, 1.0)

    @property
    def sessions(self) -> list[list[int]]:
        """Counts of the past sessions, oldest first: what the next process begins with."""
        return [[after - before for before, after in pairwise(counted)] for counted in self._past]


class BiasSkill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of the bias comes true: the slope of outcomes (+1 rose, -1 fell) on scores, by least squares.

    Sums of squares and products, the prior included; old sessions fade by a tenth each.
    """

    squares: float = PRIOR_SQUARES
    products: float = PRIOR_SQUARES * PRIOR_SKILL

    def __post_init__(self) -> None:
        if not 0 < self.squares <= 1e12 or not -self.squares <= self.products <= self.squares:
            raise ValueError(f"|products| <= squares must hold, squares above 0; was {self.products}, {self.squares}")

    @property
    def skill(self) -> float:
        """In [0, 1]: a bias that is wrong more often than right is worth nothing, it is not turned round."""
        return max(self.products / self.squares, 0.0)

    def chance(self, score: float) -> float:
        """Probability of a rise."""
        return (1.0 + self.skill * score) / 2.0

    def after(self, scores: Sequence[float], rose: Sequence[int], weight: float) -> "BiasSkill":
        """With the outcomes of a session, each counting `weight`."""
        prior = BiasSkill()
        squares = prior.squares + KEPT * (self.squares - prior.squares)
        products = prior.products + KEPT * (self.products - prior.products)
        squares += weight * sum(score * score for score in scores)
        products += weight * sum(score * (2 * up - 1) for score, up in zip(scores, rose, strict=True))
        return BiasSkill(squares, max(min(products, squares), -squares))


def _cumulated(counts: Sequence[int]) -> list[int]:
    total, cumulated = 0, [0]
    for count in counts:
        total += count
        cumulated.append(total)
    return cumulated


class BiasParts(msgspec.Struct, frozen=True):
    """What a bias is made of; `None` = not known."""

    flow: float | None
    momentum: float | None
    basis: float | None
    skew: float | None
