"""Angel One's client and server joined in memory, on virtual time, with a line that can be told to fail."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from angelx.adapters.angelone.client import AngelOneClient
from angelx.adapters.angelone.feed import AngelOneFeed
from angelx.adapters.angelone.limits import rate_budget
from angelx.adapters.angelone.master import MasterStore
from angelx.adapters.angelone.session import AngelLogin, AngelSession
from angelx.domain.errors import BrokerUnreachable
from angelx.domain.events import Event, OrderApproved
from angelx.domain.scalars import NS
from angelx.domain.ticks import TickBatch
from angelx.domain.wire import NoAnswer, Response, Stream
from angelx.sim.loop import simulate
from angelx.sim.memory_transport import MemoryTransport
from angelx.venue.faults import FaultyServer, Handles
from tests.venue.angelone_floor import CALL, RUPEE, SECRET, START, TABLE, AngelFloor

Result = TypeVar("Result")
LOGIN = AngelLogin(client_code="A1", pin="1234", totp_secret=SECRET, api_key="key1")
PLACE = "/order/v1/placeOrder"


class LiveFloor(AngelFloor):
    """A floor whose time is the loop's."""

    def __init__(self, **options: Any) -> None:
        self.offset = 0
        super().__init__(**options)

    @property
    def now(self) -> int:
        loop = asyncio.get_running_loop()
        return START + self.offset + int(loop.time() * NS)

    @now.setter
    def now(self, value: int) -> None:
        self.offset += max(value - self.now, 0)

    async def log_in(self) -> None:
        """By the back door: the rate limit counts the client's log-ins only."""
        session = self.server.logins.log_in("A1", "1234", self.totp(), self.now, self.now)
        self.tokens = {"jwtToken": session.jwt}

    def wait(self, ns: int) -> None:
        """Time passes by itself here."""
        self.exchange.advance(self.now)


class LoopClock:
    """The client's clock: the loop's time, perhaps wrong."""

    def __init__(self) -> None:
        self.wrong = 0
        self._last = 0

    def now(self) -> int:
        self._last = max(self._last, START + self.wrong + int(asyncio.get_running_loop().time() * NS))
        return self._last


class Line:
    """A transport between the two; what it shall do with the next requests is told in advance."""

    def __init__(self, floor: AngelFloor) -> None:
        self.floor = floor
        self.menu = FaultyServer(
            floor.server, name="angelone", random=Random(7), handles=Handles(floor.server.expire_tokens)
        )
        self.memory = MemoryTransport(self.menu, latency_s=0.002)
        self.faults: deque[tuple[str, str | Response | Exception]] = deque()
        """(Part of the path, what happens to the next such request): `lost_reply`, `lost_request`, `slow`, a response
        instead of the server's, or an exception."""
        self.asked: list[tuple[str, bytes]] = []
        self.mute = False

    def count(self, part: str) -> int:
        return sum(part in path for path, _ in self.asked)

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> Response:
        self.asked.append((path, body))
        self.floor.exchange.advance(self.floor.now)
        fault = self._fault(path)
        if isinstance(fault, Response):
            return fault
        if isinstance(fault, Exception):
            raise fault
        if fault == "lost_request":
            await asyncio.sleep(timeout_s)
            raise NoAnswer("lost on the way there")
        if fault == "slow":
            await asyncio.sleep(timeout_s / 2)
        answer = await self.memory.request(method, path, headers=headers, body=body, timeout_s=timeout_s)
        if fault == "lost_reply":
            await asyncio.sleep(timeout_s)
            raise NoAnswer("lost on the way back")
        return answer

    def _fault(self, path: str) -> str | Response | Exception:
        for number, (part, fault) in enumerate(self.faults):
            if part in path:
                del self.faults[number]
                return fault
        return ""

    async def open(self, path: str, *, headers: Mapping[str, str], timeout_s: float) -> Stream:
        self.asked.append((path, b""))
        fault = self._fault(path)
        if isinstance(fault, Exception):
            raise fault
        stream = await self.memory.open(path, headers=headers, timeout_s=timeout_s)
        return MuteableStream(stream, self)

    async def close(self) -> None:
        await self.memory.close()


class MuteableStream:
    def __init__(self, stream: Stream, line: Line) -> None:
        self._stream, self._line = stream, line

    async def send(self, message: str | bytes) -> None:
        await self._stream.send(message)

    async def receive(self) -> str | bytes:
        while True:
            message = await self._stream.receive()
            if not self._line.mute:
                return message

    async def close(self, code: int = 1000) -> None:
        await self._stream.close(code)


class Pair:
    """Everything, and what was reported."""

    def __init__(self, directory: Path, *, timeout_s: float = 3.0, wrong_s: int = 0, **options: Any) -> None:
        self.floor = LiveFloor(**options)
        self.line = Line(self.floor)
        self.clock = LoopClock()
        self.clock.wrong = wrong_s * NS
        self.directory = directory
        self.timeout_s = timeout_s
        self.events: list[Event] = []
        self.states: list[tuple[bool, str]] = []
        self.rows: list[TickBatch] = []
        self.feed_states: list[tuple[bool, str]] = []
        self.client = self.new_client()

    def new_client(self) -> AngelOneClient:
        session = AngelSession(LOGIN, self.line, rate_budget(), self.clock, Random(3), timeout_s=self.timeout_s)
        client = AngelOneClient(
            session, orders=self.line, master=self.line, store=MasterStore(self.directory), fee=lambda *_: 0,
            random=Random(4), timeout_s=self.timeout_s,
        )  # fmt: skip
        client.on_report = self.events.append
        client.on_state = lambda up, why: self.states.append((up, why))
        return client

    def new_feed(self) -> AngelOneFeed:
        feed = AngelOneFeed(self.client, self.line, Random(5))
        feed.on_rows = self.rows.append
        feed.on_state = lambda up, why: self.feed_states.append((up, why))
        return feed

    @asynccontextmanager
    async def running(self, client: AngelOneClient | None = None) -> AsyncIterator[AngelOneClient]:
        """Connected, the order stream up."""
        client = client or self.client
        await client.connect(TABLE)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(client.run())
            await self.until(lambda: bool(self.states) and self.states[-1][0])
            yield client
            work.cancel()

    async def until(self, condition: Callable[[], bool], within_s: float = 300.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110  (virtual time; the condition may be anything)
                await asyncio.sleep(0.01)

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


def approved(
    name: str = "axAAAAAAAAAAAAAAAA", side: int = 1, quantity: int = 75, limit: float = 101, *,
    instrument: str = CALL.id, reduces: bool = False,
) -> OrderApproved:  # fmt: skip
    return OrderApproved(0, name, 1, "s", instrument, side, quantity, int(limit * RUPEE), reduces, 0, "", 1.0)


def play(
    directory: Path, scenario: Callable[[Pair], Coroutine[Any, Any, Result]], *, seed: int = 0, shuffle: bool = False,
    **options: Any,
) -> Result:  # fmt: skip
    """Run a scenario in virtual time."""

    async def main() -> Result:
        pair = Pair(directory, **options)
        try:
            return await scenario(pair)
        finally:
            await pair.line.close()

    return simulate(main, seed=seed, shuffle=shuffle)


UNREACHABLE = BrokerUnreachable("connection refused")
TOO_FAST = Response(403, {"content-type": "text/plain"}, b"Access denied because of exceeding access rate")
