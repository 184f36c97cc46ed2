"""Performance monitor: how long each stage took, on the monotonic clock, and how much came through."""

import time
from collections.abc import Iterable
from typing import Any, ClassVar

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import Event, OrderApproved, Signal
from angelx.domain.ticks import Rows
from angelx.health.latency import LatencyHistogram


class PerformanceMonitor:
    """Stages of a decision, from its tick run: `signal`, `risk` and `total`, which ends when the broker has the order.

    It is wired twice: `StageClock` first, so that a stage begins before anybody works, and itself last.
    """

    name: ClassVar[str] = "performance_monitor"
    emits: ClassVar[tuple[type[Event], ...]] = ()

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.began = 0
        self.signalled = 0
        self.approved = 0
        self.stages = {name: LatencyHistogram() for name in ("signal", "risk", "order", "total")}
        self._signal, self._risk = self.stages["signal"].add, self.stages["risk"].add
        self._order, self._total = self.stages["order"].add, self.stages["total"].add

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """The end of the cascade: the router has sent by now."""
        yield OrderApproved, self.on_sent

    def on_sent(self, event: OrderApproved) -> None:
        """Close the books of one decision; orders that no tick caused (timers) count from their signal."""
        sent = time.perf_counter_ns()
        self._signal(max(self.signalled - self.began, 0))
        self._risk(max(self.approved - self.signalled, 0))
        self._order(sent - self.approved)
        self._total(sent - self.began)

    def as_dict(self) -> dict[str, dict[str, object]]:
        """Percentiles by stage, ns."""
        return {name: histogram.as_dict() for name, histogram in self.stages.items()}


class StageClock:
    """The monitor's early half: notes when a run, a signal and an approval begin to be delivered."""

    name: ClassVar[str] = "stage_clock"
    emits: ClassVar[tuple[type[Event], ...]] = ()

    def __init__(self, monitor: PerformanceMonitor) -> None:
        self._monitor = monitor

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """The beginnings of the stages."""
        yield Rows, self.on_rows
        yield Signal, self.on_signal
        yield OrderApproved, self.on_approved

    def on_rows(self, rows: Rows) -> None:
        """A run begins."""
        self._monitor.began = time.perf_counter_ns()

    def on_signal(self, event: Signal) -> None:
        """The signal is out."""
        self._monitor.signalled = time.perf_counter_ns()

    def on_approved(self, event: OrderApproved) -> None:
        """Risk is done."""
        self._monitor.approved = time.perf_counter_ns()
