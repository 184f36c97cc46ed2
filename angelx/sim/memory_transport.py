"""A client's way straight into a `WireServer`, on any loop, best on virtual time: latency, and connections to cut."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import Any, Final

from angelx.domain.errors import AuthExpired, BrokerUnreachable, RateLimited
from angelx.domain.wire import NoAnswer, Request, Response, StreamClosed, WireServer

LOST: Final = 1006
Delay = Callable[[], float]


class MemoryTransport:
    """A `Transport` without a network.

    Parameters
    ----------
    latency_s, jitter_s
        Each way; messages of one stream do not overtake each other, requests may.
    random
        Of jitter.
    """

    def __init__(
        self, server: WireServer, *, latency_s: float = 0.0, jitter_s: float = 0.0, random: Random | None = None
    ) -> None:
        self.server = server
        self.is_up = True
        """False: nothing gets through, as with the server's process ended."""
        self._latency_s, self._jitter_s, self._random = latency_s, jitter_s, random or Random(0)
        self._streams: set[MemoryStream] = set()
        self._flights: set[asyncio.Future[Response]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Break every connection: streams end with 1006 at both ends, requests get no answer."""
        for stream in tuple(self._streams):
            stream.lose()
        for flight in tuple(self._flights):
            if not flight.done():
                flight.set_exception(NoAnswer("the connection was cut"))

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> Response:
        """As `Transport`."""
        if not self.is_up:
            raise BrokerUnreachable(f"{method} {path.partition('?')[0]}: connection refused")
        request = Request(method, path, {name.lower(): value for name, value in headers.items()}, body)
        flight: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._flights.add(flight)
        self._start(self._carry(request, flight))
        try:
            async with asyncio.timeout(timeout_s):
                return await flight
        except TimeoutError as error:
            raise NoAnswer(f"{method} {path.partition('?')[0]}: no answer within {timeout_s:g} s") from error
        finally:
            self._flights.discard(flight)

    async def open(self, path: str, *, headers: Mapping[str, str], timeout_s: float) -> "MemoryStream":
        """As `Transport`."""
        request = Request("GET", path, {name.lower(): value for name, value in headers.items()})
        await self._pause()
        refusal = self.server.admits(request) if self.is_up else Response(0, {}, b"")
        await self._pause()
        if refusal is not None:
            why = f"{path.partition('?')[0]}: the stream was refused with HTTP {refusal.status}"
            if refusal.status in (401, 403):
                raise AuthExpired(why)
            if refusal.status == 429:
                wait = refusal.headers.get("retry-after", "")
                raise RateLimited(why, float(wait) if wait.isdecimal() else 60.0)
            raise BrokerUnreachable(why)
        ours, theirs = MemoryStream(self._delay), MemoryStream(self._delay)
        ours.join(theirs)
        self._streams.add(ours)
        self._start(self._serve(request, ours, theirs))
        return ours

    async def close(self) -> None:
        """As `Transport`: the server's work on our streams ends."""
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------ the other side
    async def _carry(self, request: Request, flight: "asyncio.Future[Response]") -> None:
        """The server goes on with what it got, whether anybody still waits for the answer or not."""
        await self._pause()
        try:
            response = await self.server.handle(request)
            await self._pause()
        except NoAnswer as error:
            if not flight.done():
                flight.set_exception(NoAnswer(str(error)))
        else:
            if not flight.done():
                flight.set_result(response)

    async def _serve(self, request: Request, ours: "MemoryStream", theirs: "MemoryStream") -> None:
        try:
            await self.server.serve(request, theirs)
        except StreamClosed:
            await theirs.close()
        except NoAnswer:
            ours.lose()
        else:
            await theirs.close()
        self._streams.discard(ours)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _delay(self) -> float:
        return self._latency_s + (self._random.uniform(0, self._jitter_s) if self._jitter_s else 0.0)

    async def _pause(self) -> None:
        await asyncio.sleep(self._delay())


class MemoryStream:
    """One end of a stream."""

    def __init__(self, delay: Delay) -> None:
        self._delay = delay
        self.peer: MemoryStream | None = None
        """The other end."""
        self.waiting: asyncio.Queue[str | bytes | StreamClosed] = asyncio.Queue()
        self.code = 0
        """Close code, once it is over here."""
        self._last_at = 0.0

    def join(self, peer: "MemoryStream") -> None:
        """Make two ends one stream."""
        self.peer, peer.peer = peer, self

    async def send(self, message: str | bytes) -> None:
        """As `Stream`."""
        if self.code:
            raise StreamClosed(self.code)
        self._pass(message)
        await asyncio.sleep(0)

    async def receive(self) -> str | bytes:
        """As `Stream`."""
        if self.code and self.waiting.empty():
            raise StreamClosed(self.code)
        message = await self.waiting.get()
        if isinstance(message, StreamClosed):
            self.code = message.code
            raise StreamClosed(message.code)
        return message

    async def close(self, code: int = 1000) -> None:
        """As `Stream`."""
        if code == LOST:
            self.lose()
        elif not self.code:
            self.code = code
            self.waiting.put_nowait(StreamClosed(code))
            self._pass(StreamClosed(code))

    def lose(self) -> None:
        """Break the stream at both ends, now; what is under way is lost."""
        for end in (self, self.peer):
            if end is not None and not end.code:
                end.code = LOST
                end.waiting.put_nowait(StreamClosed(LOST))

    def _pass(self, message: "str | bytes | StreamClosed") -> None:
        peer = self.peer
        assert peer is not None
        loop = asyncio.get_running_loop()
        # Later by at least one step of the float: timers of one moment have no order.
        self._last_at = max(math.nextafter(self._last_at, math.inf), loop.time() + self._delay())
        loop.call_at(self._last_at, peer.arrives, message)

    def arrives(self, message: "str | bytes | StreamClosed") -> None:
        """A message comes in from the other end."""
        if not self.code:
            self.waiting.put_nowait(message)
