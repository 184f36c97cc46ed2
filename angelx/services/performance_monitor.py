"""Performance monitor: how long each stage took, on the monotonic clock, and how much came through."""

from collections.abc import Iterable
from time import perf_counter_ns
from typing import Any, ClassVar, Final

import numpy as np

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import Event, OrderApproved, Signal
from angelx.health.latency import LatencyHistogram

NOTES: Final = 4 * 1024
CAUSED_WITHIN: Final = 1_000_000_000
"""A signal this long after the last run of ticks, ns of the host's clock, was caused by a timer."""


class PerformanceMonitor:
    """Stages of a decision, from its tick run: `signal`, `risk` and `total`, which ends when the broker has the order.

    It is wired twice: `StageClock` first, so that a stage begins before anybody works, and itself last.
    """

    name: ClassVar[str] = "performance_monitor"
    emits: ClassVar[tuple[type[Event], ...]] = ()

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.signalled = 0
        self.approved = 0
        self.stages = {name: LatencyHistogram() for name in ("signal", "risk", "order", "total")}
        self._noted: list[int] = []

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """The end of the cascade: the router has sent by now."""
        yield OrderApproved, self.on_sent

    def on_sent(self, event: OrderApproved) -> None:
        """Note the times of one decision; they go into the histograms by the thousand."""
        noted = self._noted
        noted += (self._bus.entered, self.signalled, self.approved, perf_counter_ns())
        if len(noted) >= NOTES:
            self.fold()

    def fold(self) -> None:
        """Put what was noted into the histograms; a decision that no tick caused began with its signal."""
        began, signalled, approved, sent = np.array(self._noted, np.int64).reshape(-1, 4).T
        began = np.where(signalled - began > CAUSED_WITHIN, signalled, began)
        for name, taken in (
            ("signal", signalled - began), ("risk", approved - signalled), ("order", sent - approved),
            ("total", sent - began),
        ):  # fmt: skip
            self.stages[name].add_many(np.ascontiguousarray(taken))
        self._noted.clear()

    def as_dict(self) -> dict[str, dict[str, object]]:
        """Percentiles by stage, ns."""
        self.fold()
        return {name: histogram.as_dict() for name, histogram in self.stages.items()}


class StageClock:
    """The monitor's early half: notes when a run, a signal and an approval begin to be delivered."""

    name: ClassVar[str] = "stage_clock"
    emits: ClassVar[tuple[type[Event], ...]] = ()

    def __init__(self, monitor: PerformanceMonitor) -> None:
        self._monitor = monitor

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """The beginnings of the stages."""
        yield Signal, self.on_signal
        yield OrderApproved, self.on_approved

    def on_signal(self, event: Signal) -> None:
        """The signal is out."""
        self._monitor.signalled = perf_counter_ns()

    def on_approved(self, event: OrderApproved) -> None:
        """Risk is done."""
        self._monitor.approved = perf_counter_ns()
