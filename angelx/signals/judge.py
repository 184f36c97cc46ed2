"""Judges a chain: fills bias, strength, trap probabilities, trend and regime of a `ChainView` from its recent history.

Deterministic: what `judge` fills depends on the views it was shown and their times alone. It may be called as often as
one likes; it remembers one sample per `SAMPLE_NS`, some `WINDOW_NS` of them, of one session and one front expiry.
"""

from bisect import bisect_left
from collections import deque
from datetime import date
from math import log, sqrt
from operator import attrgetter
from typing import Final

import msgspec
import numpy as np

from angelx.domain.scalars import NS, SCALE
from angelx.market.chain_view import ChainView, ExpiryView
from angelx.signals.bias import (
    BiasParts,
    BiasSkill,
    StrengthHistory,
    basis_score,
    combined,
    flow_score,
    implied_move,
    momentum_score,
    skew_score,
)
from angelx.signals.filters.volatility_regime import RegimeRules, RegimeTracker
from angelx.signals.trap import HORIZON_NS, Evidence, TrapModel, burst, expiry, unwinding, wall, widening

SAMPLE_NS: Final = 15 * NS
WINDOW_NS: Final = 15 * 60 * NS
BURST_NS: Final = 5 * 60 * NS
STRENGTH_EVERY_NS: Final = 60 * NS
GAP_NS: Final = 30 * 60 * NS
"""Views further apart than this are of two sessions."""
LEAST: Final = 0.5
"""Part of a window that must have been seen before anything is said of it."""
LEAST_STEPS: Final = 5
ROUNDING: Final = 1e-6
"""Of a move; what logarithms of prices that differ this little may be off by."""
_at: Final = attrgetter("at")


class Sample(msgspec.Struct, frozen=True):
    """What is remembered of a view."""

    at: int
    forward: float
    basis: float | None
    skew: float | None
    volume: float | None
    open_interest: float | None
    spread: float | None


class ChainMemory:
    """What `judge` knows of one underlying besides the view; bounded.

    Parameters
    ----------
    market
        `NSE` or `US`: whose IV bands hold.
    strengths
        |bias| of earlier sessions.
    """

    __slots__ = (
        "counted_at", "evidence", "front", "market", "model", "parts", "regime", "samples", "seen_at", "skill",
        "strengths", "uncertain", "usual_basis", "usual_spread",
    )  # fmt: skip

    def __init__(
        self,
        market: str = "NSE",
        *,
        rules: RegimeRules | None = None,
        model: TrapModel | None = None,
        strengths: StrengthHistory | None = None,
        skill: BiasSkill | None = None,
    ) -> None:
        self.market = market
        self.regime = RegimeTracker(rules or RegimeRules(), market)
        self.model = model or TrapModel()
        self.skill = skill or BiasSkill()
        self.strengths = strengths or StrengthHistory()
        self.samples: deque[Sample] = deque(maxlen=WINDOW_NS // SAMPLE_NS + 2)
        self.counted_at = self.seen_at = 0
        self.parts = BiasParts(None, None, None, None)
        """What the last bias was made of."""
        self.evidence = (Evidence(), Evidence())
        """For an upward and a downward signal: what the last trap probabilities were made of."""

        self.front: date | None = None
        self.usual_basis: float | None = None
        self.usual_spread: float | None = None
        """Medians of the samples."""
        self.uncertain = True

    def forget(self) -> None:
        """A new session or front expiry: what was seen does not compare."""
        self.samples.clear()
        self.usual_basis = self.usual_spread = None
        self.uncertain = True

    def remember(self, now: Sample) -> None:
        """Keep a sample where one is due."""
        if self.samples and now.at - self.samples[-1].at < SAMPLE_NS:
            return
        self.samples.append(now)
        self.usual_basis = _median([one.basis for one in self.samples if one.basis is not None])
        self.usual_spread = _median([one.spread for one in self.samples if one.spread is not None])
        self.uncertain = trend_is_uncertain([one.forward for one in self.samples])


def judge(view: ChainView, memory: ChainMemory) -> None:
    """Fill `bias`, `bias_strength`, `bias_chance`, `trap_up`, `trap_down`, `trend_is_uncertain`, `regime` of a view."""
    if memory.seen_at and view.at - memory.seen_at > GAP_NS:
        memory.strengths.end_session()
        memory.forget()
    if view.front != memory.front:
        memory.front = view.front
        memory.forget()
    if view.at < memory.seen_at:  # A clock that stepped back: what was measured stands until time has passed.
        return
    front = view.expiries.get(view.front) if view.front is not None else None
    view.regime = memory.regime.observe(
        view.at, front.atm_iv if front is not None else None, view.iv_rank, view.sessions
    )
    memory.seen_at = view.at
    if front is None or front.forward is None:
        view.bias = view.bias_strength = view.bias_chance = view.trap_up = view.trap_down = None
        view.trend_is_uncertain = True
        return
    now = _sample(view, front, front.forward)
    then = _oldest(memory.samples, now.at - WINDOW_NS)
    known = then is not None and now.at - then.at >= LEAST * WINDOW_NS
    _fill_bias(view, memory, now, then if known else None, front.atm_iv)
    _fill_trap(view, memory, now, front)
    memory.remember(now)
    view.trend_is_uncertain = memory.uncertain


def _sample(view: ChainView, front: ExpiryView, forward: float) -> Sample:
    basis = log(forward / view.spot) if view.spot else None
    return Sample(view.at, forward, basis, front.skew, view.volume, view.open_interest, view.spread)


def _oldest(samples: deque[Sample], since: int) -> Sample | None:
    place = bisect_left(samples, since, key=_at)
    return samples[place] if place < len(samples) else None


# ---------------------------------------------------------------- bias
def _fill_bias(view: ChainView, memory: ChainMemory, now: Sample, then: Sample | None, iv: float | None) -> None:
    memory.parts = parts = _parts(view, memory.usual_basis, now, then, iv)
    view.bias = combined(parts.flow, parts.momentum, parts.basis, parts.skew)
    view.bias_strength = None if view.bias is None else memory.strengths.strength(view.bias)
    view.bias_chance = None if view.bias is None else memory.skill.chance(view.bias)
    if view.bias is not None and now.at - memory.counted_at >= STRENGTH_EVERY_NS:
        memory.strengths.add(view.bias)
        memory.counted_at = now.at


def _parts(view: ChainView, usual: float | None, now: Sample, then: Sample | None, iv: float | None) -> BiasParts:
    flow = flow_score(view.call_flow, view.put_flow) if view.flow_since else None
    if then is None:
        return BiasParts(flow, None, None, None)
    return BiasParts(
        flow,
        momentum_score(then.forward, now.forward, iv, now.at - then.at) if iv is not None else None,
        basis_score(now.basis, usual) if now.basis is not None and usual is not None else None,
        skew_score(now.skew - then.skew) if now.skew is not None and then.skew is not None else None,
    )


# ---------------------------------------------------------------- trap
def _fill_trap(view: ChainView, memory: ChainMemory, now: Sample, front: ExpiryView) -> None:
    if front.atm_iv is None or front.atm_iv <= 0:
        view.trap_up = view.trap_down = None
        return
    memory.evidence = up, down = trap_evidence(view, memory, now, front, front.atm_iv)
    view.trap_up, view.trap_down = memory.model.probability(up), memory.model.probability(down)


def trap_evidence(
    view: ChainView, memory: ChainMemory, now: Sample, front: ExpiryView, iv: float
) -> tuple[Evidence, Evidence]:
    """What speaks against an upward and a downward signal; what is not known speaks neither way (0)."""
    samples, usual = memory.samples, memory.usual_spread
    before = _oldest(samples, now.at - BURST_NS)
    bursting = falling = rising = 0.0
    if before is not None and now.at > before.at:
        oi_change = _change(before.open_interest, now.open_interest)
        bursting = _burst(samples[0], before, now, oi_change)
        if oi_change is not None and before.open_interest:
            move = log(now.forward / before.forward) / implied_move(iv, now.at - before.at)
            rising = unwinding(move, oi_change, before.open_interest)
            falling = unwinding(-move, oi_change, before.open_interest)
    reach = implied_move(iv, HORIZON_NS)
    widened = widening(now.spread, usual) if now.spread is not None and usual is not None else 0.0
    nearness = expiry(front.years)
    above = log(view.call_wall / SCALE / now.forward) if view.call_wall else -1.0
    below = -log(view.put_wall / SCALE / now.forward) if view.put_wall else -1.0
    return (
        Evidence(bursting, rising, wall(above, reach), widened, nearness),
        Evidence(bursting, falling, wall(below, reach), widened, nearness),
    )


def _burst(first: Sample, before: Sample, now: Sample, oi_change: float | None) -> float:
    """Volume of the last minutes against that of the minutes before; cumulative volume that falls is not compared."""
    recent, earlier = _change(before.volume, now.volume), _change(first.volume, before.volume)
    if recent is None or earlier is None or oi_change is None or before.at <= first.at:
        return 0.0
    usual = earlier * (now.at - before.at) / (before.at - first.at)
    return burst(recent, usual, oi_change)


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


# ---------------------------------------------------------------- trend
def trend_is_uncertain(prices: list[float]) -> bool:
    """True unless the move over all of them is at least one standard deviation of a random walk with such steps.

    Equal but for rounding is enough: a single step is a trend both upwards and downwards.
    """
    steps = np.diff(np.log(prices)) if len(prices) > LEAST_STEPS else np.zeros(0)
    size = sqrt(float((steps * steps).sum()))
    return size == 0.0 or abs(log(prices[-1] / prices[0])) < size * (1.0 - ROUNDING)


def _median(numbers: list[float]) -> float | None:
    if not numbers:
        return None
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
