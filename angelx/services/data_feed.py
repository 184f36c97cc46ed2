"""Data feed: brings ticks, timers and commands into the stream in time order, at any speed, with the same result."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, ClassVar, Final

import numpy as np

from angelx.bus.bus import Bus, Handler
from angelx.bus.clock import PacingClock
from angelx.domain.events import CommandReceived, Event, SessionEnded
from angelx.domain.ports import TickSource
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, TickBatch
from angelx.market.differential import Differential

BREATHE_NS: Final = 20_000_000
"""At full speed the loop gets its turn this often, ns."""
BREATHE_S: Final = 0.25
"""A paced session that waits for its next tick looks up this often, s."""
SETTLE: Final = 5 * NS
"""Session time that is let pass after the last tick, so that what is on its way arrives."""
GAP: Final = 20 * 3600 * NS
"""Rows further apart than this have days between them that nobody recorded: their sessions are not played."""
REACH: Final = 300 * NS
"""A session whose close is this near after the last tick is played to its close."""


class DataFeed:
    """The only driver of the bus: rows first, then timers, then commands of the same moment.

    Parameters
    ----------
    clock
        Paces the session; `None` runs at full speed.
    most_rows
        Rows given to the bus at once; the result does not depend on it.
    ends_at
        Answers the close of the session that is open at a time, ns, 0 where none is.
    """

    name: ClassVar[str] = "data_feed"
    emits: ClassVar[tuple[type[Event], ...]] = (CommandReceived, SessionEnded)

    def __init__(
        self,
        bus: Bus,
        source: TickSource,
        differential: Differential,
        *,
        clock: PacingClock | None,
        most_rows: int,
        ends_at: Callable[[int], int],
    ) -> None:
        self._bus, self._source, self._differential = bus, source, differential
        self.clock = clock
        """Set before `run`."""
        self._most_rows, self._ends_at = most_rows, ends_at
        self._commands: deque[tuple[str, str, str, asyncio.Future[None]]] = deque()
        self._woken = asyncio.Event()
        self._breathed = self._began = 0
        self.stopping = ""
        """Why it was asked to stop; empty while it was not."""
        self.at_once = False
        """True: without waiting for what is on its way."""
        self.on_breath: Callable[[], None] = lambda: None
        """Called some fifty times a second of the host's time, between two inputs."""
        self.on_settled: Callable[[], None] = lambda: None
        """Called before it waits or lets others run: what has happened so far may be made durable."""
        self.on_gap: Callable[[int], None] = _nothing
        """Called with the time of the first row after days without any."""
        self.received: Callable[[TickBatch, int], None] | None = None
        """Called with every batch that passed validation and the number of rows before it (capture)."""

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Nothing: it drives."""
        return ()

    def now(self) -> int:
        """Session time: of the clock where there is one, ns."""
        return max(self._bus.now, self.clock.now() if self.clock else 0)

    def command(self, verb: str, reason: str, who: str) -> asyncio.Future[None]:
        """Bring a command in at the next moment between two inputs; done when what follows from it has settled."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._commands.append((verb, reason, who, done))
        self._woken.set()
        return done

    def figures(self) -> dict[str, int]:
        """What waits and what was left out: nothing here."""
        return {}

    # ------------------------------------------------------------ driving
    def accepted(self, skip: int, warm: Callable[[TickBatch], None]) -> Iterator[TickBatch]:
        """Validated batches from row `skip` on; those before it are shown to `warm` only.

        A gap of days in the recording always lies between two batches: `on_gap` hears of it before the second.
        """
        last_at = 0
        for batch in self._validated(skip, warm):
            times = batch.table[AT]
            starts = [0, *(np.flatnonzero(np.diff(times) > GAP) + 1).tolist(), batch.rows]
            for start, stop in pairwise(starts):
                if last_at and times[start] - last_at > GAP:
                    self.on_gap(int(times[start]))
                last_at = int(times[stop - 1])
                yield batch if len(starts) == 2 else _copy(batch, start, stop)

    def _validated(self, skip: int, warm: Callable[[TickBatch], None]) -> Iterator[TickBatch]:
        seen = 0
        for raw in self._source.batches():
            batch = self._differential.process(raw)
            if not batch.rows:
                continue
            if seen + batch.rows > skip:
                done = max(skip - seen, 0)
                if done:
                    warm(_copy(batch, 0, done))
                    batch = _copy(batch, done, batch.rows)
                if self.received is not None:
                    self.received(batch, max(seen, skip))
                yield batch
                seen += batch.rows + done
            else:
                warm(batch)
                seen += batch.rows

    async def run(self, batches: Iterable[TickBatch]) -> None:
        """Drive the stream until the source or somebody ends it, and publish `SessionEnded`."""
        for batch in batches:
            if self.clock is None:
                await self._rush(batch)
            else:
                await self._pace(batch, self.clock)
            if self.stopping:
                break
        if not self.stopping:
            await self._finish()
        self._bus.publish(SessionEnded(self._bus.now, self._bus.row, self.stopping or "source ended"))

    async def _rush(self, batch: TickBatch) -> None:
        feed, most = self._bus.feed, self._most_rows
        start = 0
        while start < batch.rows and not self.stopping:
            stop = min(start + most, batch.rows)
            feed(batch, start, stop)
            start = stop
            now = time.monotonic_ns()
            if self._commands or now - self._breathed > BREATHE_NS:
                self._breathed = now
                self.on_breath()
                await self._breathe()
                self._take_commands()

    async def _breathe(self) -> None:
        """Let the other tasks run: at full speed the loop is virtual, and its time follows the session's."""
        if not self._began:
            self._began = self._bus.now
        self.on_settled()
        ahead_s = (self._bus.now - self._began) / NS - asyncio.get_running_loop().time()
        await asyncio.sleep(max(ahead_s, 0.0))

    async def _pace(self, batch: TickBatch, clock: PacingClock) -> None:
        start = 0
        times = batch.table[AT]
        while start < batch.rows and not self.stopping:
            await self._wait(int(times[start]), clock)
            self._breathe_paced()
            now = clock.now()
            stop = start + int(np.searchsorted(times[start:], now, side="right"))
            if stop > start:
                self._bus.feed(batch, start, min(stop, start + self._most_rows))
                start = min(stop, start + self._most_rows)
            if start == stop:
                if start < batch.rows:  # Otherwise the next batch may have rows of before `now`: timers wait for them.
                    self._bus.advance(now)
                self._take_commands()

    async def _wait(self, at: int, clock: PacingClock) -> None:
        """Until `at`, the next timer or a command; always lets other tasks run."""
        self.on_settled()
        due = self._bus.next_due
        await self._doze(min(clock.seconds_until(at if due is None else min(at, due)), BREATHE_S))

    async def _doze(self, wait_s: float) -> None:
        """So long, or until something is there to be done; always lets other tasks run."""
        self._woken.clear()
        if wait_s <= 0 or self._commands:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(wait_s):
                await self._woken.wait()
        except TimeoutError:
            return

    def _breathe_paced(self) -> None:
        now = time.monotonic_ns()
        if now - self._breathed > BREATHE_NS:
            self._breathed = now
            self.on_breath()

    def _take_commands(self) -> None:
        bus = self._bus
        while self._commands:
            verb, reason, who, done = self._commands.popleft()
            bus.publish(CommandReceived(bus.now, verb, reason, who))
            self.on_settled()  # Before it is answered.
            if not done.done():
                done.set_result(None)
            if verb == "stop":
                self.stopping = f"stopped by {who}: {reason}"

    async def _finish(self) -> None:
        """Let what is on its way arrive; play a session to its close where that is near."""
        bus = self._bus
        close = self._ends_at(bus.now)
        end = close + SETTLE if 0 <= close - bus.now <= REACH else bus.now + SETTLE
        while self.clock is not None and self.clock.now() < end and not self.stopping:
            await self._wait(end, self.clock)
            bus.advance(min(self.clock.now(), end))
            self._take_commands()
        self._take_commands()
        if not self.stopping:
            bus.advance(end)


def _nothing(at: int) -> None:
    """Nobody asked to hear of gaps."""


def _copy(batch: TickBatch, start: int, stop: int) -> TickBatch:
    return TickBatch(np.ascontiguousarray(batch.table[:, start:stop]))
