"""Drives exchanges from tick sources at some speed, so that servers find them at the time it is there.

Each exchange has a lane of its own: its source's time begins when the lane does, so that an Indian and an American day
run beside each other. The wall clock is injected.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
import numpy as np

from angelx.domain.ports import TickSource
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, TickBatch
from angelx.domain.wire import Request, Response, Stream, WireServer
from angelx.venue.exchange import Exchange
from angelx.venue.keeping import Kept
from angelx.venue.requests import AnyCall

MOST_ROWS: Final = 2048
"""Rows taken in one turn of the loop: requests are answered in between."""
LONGEST_NAP_S: Final = 0.02
GAP: Final = 3600 * NS
"""Rows further apart have a night between them: the lane jumps over it."""
BEFORE: Final = 60 * NS
"""How long before the first row after a night it begins."""
SETTLE: Final = 5 * NS
REACH: Final = 300 * NS
"""After the last row time goes on for `SETTLE`, or to a change of phase this near."""


class Noted(msgspec.Struct, frozen=True):
    """A request and where it came: after so many rows, at that time of the exchange; or what its server keeps since
    then; or only a time.
    """

    lane: str
    rows: int
    at: int
    call: AnyCall | None = None
    kept: Kept | None = None


class Lane:
    """One exchange and its source.

    Parameters
    ----------
    speed
        Seconds of the source in one second.
    ticker
        Monotonic nanoseconds of the host.
    """

    def __init__(
        self, name: str, source: TickSource, exchange: Exchange, *, speed: float, ticker: Callable[[], int]
    ) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be positive, was {speed}")
        self.name, self.source, self.exchange, self.speed = name, source, exchange, speed
        self.most_behind_ns = 0
        """How far the exchange was behind its clock, of the source's time."""
        self.is_over = False
        """The source has ended and what was under way has arrived."""
        self._ticker = ticker
        self._batches = iter(source.batches())
        self._batch = TickBatch.empty()
        self._row = 0
        self._origin = self._started = 0
        self._ends_at = 0

    # ------------------------------------------------------------ time
    def start(self, notes: Iterable[Noted] = ()) -> None:
        """Begin at the first row, or where the notes of an earlier process end; their requests are done once more."""
        self._load()
        at = int(self._batch.view[AT, self._row]) if not self._is_empty() else 0
        for note in notes:
            self._feed_to(note.rows)
            self.exchange.advance(note.at)
            at = note.at
            if note.call is not None:
                self.exchange.call(note.call)
        self.exchange.advance(at)
        self._origin, self._started = at, self._ticker()

    def now(self) -> int:
        """The source's time, ns."""
        return self._origin + int((self._ticker() - self._started) * self.speed)

    def seconds_to_next(self) -> float:
        """Seconds of the host until something is to be done; 0 or less when it is late."""
        due = self.exchange.next_at
        if not self._is_empty():
            due = min(due, int(self._batch.view[AT, self._row]))
        elif self._ends_at:
            due = min(due, self._ends_at)
        return (due - self.now()) / self.speed / NS

    # ------------------------------------------------------------ rows
    def catch_up(self) -> bool:
        """Feed what has come by now, at most `MOST_ROWS`; whether that was all."""
        if self.is_over:
            self.exchange.advance(self.now())
            return True
        now, left = self.now(), MOST_ROWS
        while left and not self._is_empty():
            stop = min(self._batch.rows, self._row + left)
            due = self._row + int(np.searchsorted(self._batch.table[AT, self._row : stop], now, "right"))
            if due == self._row:
                break
            left -= due - self._row
            self._feed(due)
        is_all = self._is_empty() or self._batch.view[AT, self._row] > now
        if is_all:
            self.exchange.advance(now)
            self._look_ahead(now)
        else:
            self.most_behind_ns = max(self.most_behind_ns, now - self.exchange.now)
        return is_all

    def _look_ahead(self, now: int) -> None:
        """Jump over a night, and know the end when it comes."""
        if not self._is_empty():
            gap = int(self._batch.view[AT, self._row]) - now
            if gap > GAP:
                self._origin += gap - BEFORE
        elif not self._ends_at:
            edge = self.exchange.next_at
            self._ends_at = edge + SETTLE if edge - now <= REACH else now + SETTLE
        elif now >= self._ends_at:
            self.is_over = True

    def _feed(self, stop: int) -> None:
        self.exchange.feed(self._batch, self._row, stop)
        self._row = stop
        if stop == self._batch.rows:
            self._load()

    def _feed_to(self, rows: int) -> None:
        while self.exchange.rows < rows and not self._is_empty():
            self._feed(min(self._batch.rows, self._row + rows - self.exchange.rows))

    def _load(self) -> None:
        """The next batch that has rows; an empty one where there is none."""
        self._batch, self._row = next((batch for batch in self._batches if batch.rows), TickBatch.empty()), 0

    def _is_empty(self) -> bool:
        return self._row >= self._batch.rows


class VenueRunner:
    """Keeps lanes at their time until all are over or `stop` is called."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.lanes = tuple(lanes)
        self._woken, self._ended = asyncio.Event(), asyncio.Event()
        self._stops = False

    def start(self, notes: Sequence[Noted] = ()) -> None:
        """Begin, or go on where notes end."""
        for lane in self.lanes:
            lane.start(note for note in notes if note.lane == lane.name)

    @property
    def is_over(self) -> bool:
        """`run` has ended or is about to."""
        return self._stops

    async def run(self, *, stays: bool = False) -> None:
        """Drive the lanes to the end of their sources, or with `stays` until `stop` is called."""
        while not self._stops and (stays or not all(lane.is_over for lane in self.lanes)):
            is_all = sum(not lane.catch_up() for lane in self.lanes) == 0
            nap = min((lane.seconds_to_next() for lane in self.lanes if not lane.is_over), default=LONGEST_NAP_S)
            await self._nap(min(nap, LONGEST_NAP_S) if is_all else 0.0)
        self.stop()

    def stop(self) -> None:
        """End `run` now."""
        self._stops = True
        self._woken.set()
        self._ended.set()

    def wake(self) -> None:
        """Something was put down that may be due soon."""
        self._woken.set()

    async def sleep(self, seconds: float) -> None:
        """Sleep, or until `run` ends."""
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            pass

    async def _nap(self, seconds: float) -> None:
        """Sleep, or until something wakes the lanes."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        self._woken.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass


class InStep:
    """A server whose exchange is brought to the present before each request and watched after it."""

    def __init__(self, inner: WireServer, lane: Lane, runner: VenueRunner) -> None:
        self.inner, self._lane, self._runner = inner, lane, runner

    async def handle(self, request: Request) -> Response:
        """As `WireServer`; `/venue/clock` says what time it is here, and how fast it passes."""
        if request.path == "/venue/clock":
            body = msgspec.json.encode({"now": self._lane.now(), "speed": self._lane.speed})
            return Response(200, {"content-type": "application/json"}, body)
        self._lane.catch_up()
        response = await self.inner.handle(request)
        policy = self._lane.exchange.policy
        if policy.latency_ns or policy.jitter_ns:
            self._runner.wake()
        return response

    async def serve(self, request: Request, stream: Stream) -> None:
        """As `WireServer`."""
        await self.inner.serve(request, stream)

    def admits(self, request: Request) -> Response | None:
        """As `WireServer`."""
        return self.inner.admits(request)
