"""Failover watchdog: health derived from facts, first of all whether the feed still speaks (SPEC 1.5, 7.1)."""

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import Event, HealthChanged, PhaseChanged
from angelx.domain.scalars import NS
from angelx.domain.ticks import Rows
from angelx.market.freshness import Freshness

CHECKS: Final = 2
"""Looks in the time for which a feed may be silent."""


class FailoverWatchdog:
    """Bars entries while the feed is silent in an open session; lets them back only on new rows."""

    name: ClassVar[str] = "failover_watchdog"
    emits: ClassVar[tuple[type[Event], ...]] = (HealthChanged,)

    def __init__(self, bus: Bus, freshness: Freshness) -> None:
        self._bus, self._freshness = bus, freshness
        self._every = max(freshness.silent_ns // CHECKS, 1)
        self._open: set[str] = set()
        self._checking = False
        self.state, self.reason = "healthy", ""
        """As last published."""

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Rows and sessions."""
        if self._freshness.is_snapshot:
            yield Rows, self._freshness.fold
        yield PhaseChanged, self.on_phase

    def on_phase(self, event: PhaseChanged) -> None:
        """It looks while any segment is open."""
        if event.phase == "open":
            self._open.add(event.segment)
        else:
            self._open.discard(event.segment)
        if self._open and not self._checking:
            self._checking = True
            self._freshness.begin(self._bus.now)
            self._publish("healthy", "session open")
            self._bus.at(self._bus.now + self._every, self._check)

    def _check(self) -> None:
        if not self._open:
            self._checking = False
            return
        bus = self._bus
        silent, allowed = self._freshness.silence(bus.now, bus.row_at)
        if silent > allowed and self.state == "healthy":
            why = f"no tick for {silent / NS:.1f} s > {allowed / NS:.1f} s"
            self._publish("recovering", why)
        elif silent <= allowed and self.state == "recovering":
            self._publish("healthy", "ticks again")
        bus.at(bus.now + self._every, self._check)

    def _publish(self, state: str, reason: str) -> None:
        self.state, self.reason = state, reason
        self._bus.publish(HealthChanged(self._bus.now, state, reason, self.name))
