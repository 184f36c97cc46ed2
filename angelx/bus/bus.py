"""The event bus: one total order, inline decisions, tick batches cut where a stage decides (docs/adr/0001)."""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from time import perf_counter_ns
from typing import Any, Final

from angelx.domain.events import Event
from angelx.domain.ticks import AT, Rows, TickBatch

Handler = Callable[[Any], None]
Probe = Callable[[TickBatch, int, int], int]
"""`probe(batch, start, stop)` answers the row after the first one in [start, stop) at which it would decide, else
`stop`. It changes no state that a fold reads."""
Timer = Callable[[], None]
FIRST: Final = 1 << 62
"""Taken from the ticket of a timer that comes first: more than there will ever be."""


class Bus:
    """Numbers every event and every tick row, and delivers each in order of subscription before the next.

    `publish` from inside a handler queues behind what is being delivered. Inputs (rows, timers, reports, commands)
    come in only when the cascade of the input before has settled. An exception of a handler leaves through the call
    that brought the input in; the stream must not be used afterwards.
    """

    __slots__ = (
        "_busy",
        "_probes",
        "_queue",
        "_routes",
        "_rows_handlers",
        "_ticket",
        "_timers",
        "entered",
        "now",
        "row",
        "row_at",
        "seq",
    )

    def __init__(self) -> None:
        self.seq = 0
        """Number of the event or row being delivered, from 1."""
        self.row = 0
        """Tick rows received so far."""
        self.now = 0
        """Time of the input being processed, ns."""
        self.row_at = 0
        """When the last row arrived, ns."""
        self.entered = 0
        """When the run being delivered came in, on the host's monotonic clock: what latencies are measured from."""
        self._queue: deque[Event] = deque()
        self._busy = False
        self._routes: dict[type[Any], tuple[Handler, ...]] = {}
        self._rows_handlers: tuple[Handler, ...] = ()
        self._probes: tuple[Probe, ...] = ()
        self._timers: list[tuple[int, int, Timer]] = []
        self._ticket = 0

    # ------------------------------------------------------------ wiring
    def subscribe(self, kind: type[Any], handler: Handler) -> None:
        """`handler` is called inline with every event of exactly this class, after those subscribed before it."""
        if kind is Rows:
            self._rows_handlers = (*self._rows_handlers, handler)
        else:
            self._routes[kind] = (*self._routes.get(kind, ()), handler)

    def probe(self, probe: Probe) -> None:
        """`probe` is asked where to cut each run of rows before it is delivered."""
        self._probes = (*self._probes, probe)

    def resume(self, seq: int, row: int, now: int) -> None:
        """Go on counting where an earlier stream stopped; before the first event."""
        assert not self.seq, "a stream is resumed before it begins"
        self.seq, self.row, self.now = seq, row, now

    # ------------------------------------------------------------ events
    def publish(self, event: Event) -> None:
        """Deliver an event; from inside a handler, after what is queued already."""
        if self._busy:
            self._queue.append(event)
            return
        self._busy = True
        try:
            self.seq += 1
            for handler in self._routes.get(type(event), ()):
                handler(event)
            if self._queue:
                self._settle()
        finally:
            self._busy = False

    def _settle(self) -> None:
        queue, routes = self._queue, self._routes
        while queue:
            event = queue.popleft()
            self.seq += 1
            for handler in routes.get(type(event), ()):
                handler(event)

    # ------------------------------------------------------------ timers
    def at(self, due: int, timer: Timer, *, first: bool = False) -> None:
        """Call `timer` at time `due`, before any row that arrives later; equal times in order of asking, those asked
        for as `first` before the others.
        """
        self._ticket += 1
        heappush(self._timers, (due, self._ticket - FIRST if first else self._ticket, timer))

    @property
    def next_due(self) -> int | None:
        """When the next timer is due, `None` where there is none."""
        return self._timers[0][0] if self._timers else None

    def advance(self, to: int) -> None:
        """Fire every timer due up to and including `to`, and let the time be `to`."""
        timers = self._timers
        while timers and timers[0][0] <= to:
            self._fire()
        self.now = max(self.now, to)

    def _fire(self) -> None:
        due, _, timer = heappop(self._timers)
        self.now = max(self.now, due)
        self._busy = True
        try:
            self.seq += 1
            timer()
            if self._queue:
                self._settle()
        finally:
            self._busy = False

    # ------------------------------------------------------------ rows
    def feed(self, batch: TickBatch, start: int, stop: int) -> None:
        """Rows [start, stop) in. Each run is cut at the first row where a stage decides or a timer falls due; what was
        decided settles with exactly those rows seen, then the rest follows.
        """
        view = batch.view
        timers = self._timers
        while start < stop:
            while timers and timers[0][0] < view[AT, start]:
                self._fire()
            cut = stop
            for probe in self._probes:
                cut = probe(batch, start, cut)
            last = view[AT, cut - 1]
            if timers and timers[0][0] < last:
                cut = start + int(batch.table[AT, start:cut].searchsorted(timers[0][0], side="right"))
                if cut == start:  # a probe asked for it, in the past: it fires first
                    continue
                last = view[AT, cut - 1]
            self._busy = True
            try:
                self.seq += cut - start
                self.row += cut - start
                self.now = self.row_at = last
                self.entered = perf_counter_ns()
                rows = Rows(batch, start, cut)
                for handler in self._rows_handlers:
                    handler(rows)
                if self._queue:
                    self._settle()
            finally:
                self._busy = False
            start = cut
