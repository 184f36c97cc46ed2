"""The filters every signal passes: session, freshness, spread."""

from angelx.domain.events import Signal
from angelx.domain.instruments import Kind
from angelx.domain.scalars import NS
from angelx.domain.ticks import EXCHANGE_AT
from angelx.signals.filters.base import Refusal, Scene

BPS = 10_000


class SessionFilter:
    """Entries only while the segment is open, not in its first and last minutes.

    Parameters
    ----------
    after_open_min, before_close_min
        Minutes of the session, measured from its own open and close, in which nothing is entered.
    """

    name = "session"

    def __init__(self, *, after_open_min: float = 0.0, before_close_min: float = 30.0) -> None:
        if after_open_min < 0 or before_close_min < 0:
            raise ValueError("session filter: minutes must not be negative")
        self._after = int(after_open_min * 60 * NS)
        self._before = int(before_close_min * 60 * NS)

    def __call__(self, signal: Signal, scene: Scene) -> float | Refusal:
        if scene.phase != "open":
            return Refusal("market_closed", f"{scene.instrument.segment} is {scene.phase}")
        since = scene.now - scene.opens_at
        left = scene.closes_at - scene.now
        if since < self._after:
            return Refusal("too_early", f"{since // NS} s after the open < {self._after // NS} s")
        if left <= self._before:
            return Refusal("too_late", f"{left // NS} s before the close <= {self._before // NS} s")
        return 1.0


class FreshnessFilter:
    """Entries only on a quote that the exchange stamped recently (SPEC 1.5)."""

    name = "freshness"

    def __call__(self, signal: Signal, scene: Scene) -> float | Refusal:
        stamped = scene.market.view[EXCHANGE_AT, scene.place]
        age = scene.now - stamped
        if stamped < scene.opens_at:
            return Refusal("stale_session", f"quote is of an earlier session, {age // NS} s old")
        if age > scene.max_age_ns:
            return Refusal("stale_quote", f"{age / NS:.1f} s old > {scene.max_age_ns / NS:.1f} s")
        return float(1.0 - max(age, 0) / scene.max_age_ns)


class SpreadFilter:
    """Entries only where the round trip across the spread is cheap.

    Parameters
    ----------
    max_ticks, max_fraction
        Options: at most the larger of `max_ticks` ticks and `max_fraction` of the mid (0.015 = 1.5 %).
    max_bps
        Equities: at most this many basis points of the mid.
    """

    name = "spread"

    def __init__(self, *, max_ticks: int = 2, max_fraction: float = 0.015, max_bps: float = 5.0) -> None:
        if max_ticks < 0 or max_fraction < 0 or max_bps < 0:
            raise ValueError("spread filter: limits must not be negative")
        self._ticks, self._fraction, self._bps = max_ticks, max_fraction, max_bps

    def __call__(self, signal: Signal, scene: Scene) -> float | Refusal:
        bid, ask = signal.bid, signal.ask
        if bid <= 0 or ask <= 0:
            return Refusal("no_touch", f"bid {bid}, ask {ask}")
        width, mid = ask - bid, (ask + bid) / 2
        if scene.instrument.kind is Kind.OPTION:
            limit = max(self._ticks * scene.instrument.tick_size, self._fraction * mid)
        else:
            limit = self._bps * mid / BPS
        if width > limit:
            return Refusal("spread_wide", f"{width} > {limit:.0f} (bid {bid}, ask {ask})")
        return 1.0 - width / limit if limit else 1.0
