"""The filters every signal passes: session, freshness, spread."""

from typing import Final

from angelx.domain.events import Signal
from angelx.domain.instruments import Kind
from angelx.domain.scalars import NS
from angelx.domain.ticks import EXCHANGE_AT
from angelx.signals.filters.base import Answer, Refusal, Scene, within

BPS = 10_000
OPTION: Final = Kind.OPTION


class SessionFilter:
    """Entries only while the segment is open."""

    name = "session"

    def __call__(self, signal: Signal, scene: Scene) -> Answer:
        if scene.phase != "open":
            return Refusal("market_closed", f"{scene.instrument.segment} is {scene.phase}")
        return 1.0


class FreshnessFilter:
    """Entries only on a quote that the exchange stamped recently, in this session (SPEC 1.5).

    Parameters
    ----------
    max_age_s
        Oldest quote of a stream; for a source of snapshots it is the source's own lag and cadence, as measured.
    """

    name = "freshness"

    def __init__(self, *, max_age_s: float = 10.0) -> None:
        self._most = int(within(self.name, "max_age_s", max_age_s, 0.001, 3600) * NS)

    def __call__(self, signal: Signal, scene: Scene) -> Answer:
        stamped = scene.market.quotes[scene.place][EXCHANGE_AT]
        age, most = scene.now - stamped, scene.snapshot_age_ns or self._most
        if stamped < scene.opens_at:
            return Refusal("stale_session", f"quote is of an earlier session, {age // NS} s old")
        if age > most:
            return Refusal("stale_quote", f"{age / NS:.1f} s old > {most / NS:.1f} s")
        return 1.0 - age / most if age > 0 else 1.0


class SpreadFilter:
    """Entries only where the round trip across the spread is cheap.

    Parameters
    ----------
    max_ticks, max_pct
        Options: at most the larger of `max_ticks` ticks and `max_pct` percent of the mid.
    max_bps
        Equities: at most this many basis points of the mid.
    """

    name = "spread"

    def __init__(self, *, max_ticks: float = 2.0, max_pct: float = 1.5, max_bps: float = 5.0) -> None:
        self._ticks = within(self.name, "max_ticks", max_ticks, 0, 10_000)
        self._fraction = within(self.name, "max_pct", max_pct, 0, 100) / 100
        self._bps = within(self.name, "max_bps", max_bps, 0, 10_000)

    def __call__(self, signal: Signal, scene: Scene) -> Answer:
        bid, ask = signal.bid, signal.ask
        if bid <= 0 or ask <= 0:
            return Refusal("no_touch", f"bid {bid}, ask {ask}")
        width, mid = ask - bid, (ask + bid) / 2
        if scene.instrument.kind is OPTION:
            limit = max(self._ticks * scene.instrument.tick_size, self._fraction * mid)
        else:
            limit = self._bps * mid / BPS
        if width > limit:
            return Refusal("spread_wide", f"{width} > {limit:.0f} (bid {bid}, ask {ask})")
        return 1.0 - width / limit if limit else 1.0
