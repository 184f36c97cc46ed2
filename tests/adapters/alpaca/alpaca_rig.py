"""The adapter in front of the venue, in virtual time: every request counted, faults at will."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar

import pytest

from angelx.adapters.alpaca.client import AlpacaClient
from angelx.adapters.alpaca.credentials import Credentials
from angelx.adapters.alpaca.feed import AlpacaFeed, SymbolStatus
from angelx.domain.errors import BrokerError
from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.instruments import InstrumentTable
from angelx.domain.scalars import NS
from angelx.domain.ticks import TickBatch
from angelx.domain.wire import Request, Response, Stream, WireServer
from angelx.sim.loop import simulate
from angelx.sim.memory_transport import MemoryTransport
from angelx.venue.faults import Fault, FaultyServer, Handles, OffsetClock
from tests.venue.alpaca.alpaca_market import KEY, OPEN, SECRET, Market

Result = TypeVar("Result")
IBM = "US:IBM"
LATENCY_S = 0.001


class Counting:
    """A `WireServer` that notes what comes."""

    def __init__(self, inner: WireServer) -> None:
        self.inner = inner
        self.seen: list[Request] = []

    async def handle(self, request: Request) -> Response:
        self.seen.append(request)
        return await self.inner.handle(request)

    async def serve(self, request: Request, stream: Stream) -> None:
        await self.inner.serve(request, stream)

    def admits(self, request: Request) -> Response | None:
        return self.inner.admits(request)

    def posts(self) -> int:
        return sum(request.method == "POST" for request in self.seen)


class Rig:
    """Venue, faults, wire, client and feed of one test."""

    def __init__(
        self, seed: int = 0, *, secret: str = SECRET, feed: str = "sip", msgpack: bool = True, **options: Any
    ) -> None:
        loop = asyncio.get_running_loop()
        feed_options = options.pop("feed_options", {})
        client_options = options.pop("client_options", {})
        self.market = Market(**options)
        clock = OffsetClock(lambda: OPEN + int(loop.time() * NS))
        self.market.clock = clock
        self.market.open_for_business()
        handles = Handles(
            expire_tokens=self.market.server.expire_tokens, clock=clock, reject=self.market.exchange.inject
        )
        self.counting = Counting(self.market.server)
        self.faults = FaultyServer(self.counting, name="alpaca", random=Random(seed), handles=handles)
        self.wire = MemoryTransport(self.faults, latency_s=LATENCY_S, random=Random(seed))
        credentials = Credentials(KEY, secret)
        now = self._now
        self.client = AlpacaClient(
            self.wire, credentials, now=now, random=Random(seed), underlyings=("IBM",), timeout_s=2.0, **client_options
        )
        self.events: list[Event] = []
        self.states: list[tuple[bool, str]] = []
        self.client.on_report = self.events.append
        self.client.on_state = lambda is_up, why: self.states.append((is_up, why))
        self.rows: list[TickBatch] = []
        self.feed_states: list[tuple[bool, str]] = []
        self.statuses: list[SymbolStatus] = []
        self.feed = AlpacaFeed(
            self.wire, self.wire, credentials, feed=feed, symbol_of=self._symbol, now=now, random=Random(seed),
            msgpack=msgpack, timeout_s=2.0, **{"is_open": lambda: False} | feed_options,
        )  # fmt: skip
        self.feed.on_rows = self.rows.append
        self.feed.on_state = lambda is_up, why: self.feed_states.append((is_up, why))
        self.feed.on_status = self.statuses.append
        self._numbers = 0
        self._tasks: list[asyncio.Task[None]] = []

    @staticmethod
    def _now() -> int:
        return OPEN + int(asyncio.get_running_loop().time() * NS)

    def _symbol(self, name: str) -> str | None:
        listing = self.client.listing(name)
        return None if listing is None else listing.symbol

    async def start(self) -> None:
        """Connect the client and follow the orders."""
        await self.client.connect(InstrumentTable(await self.client.instruments()))
        self._tasks.append(asyncio.get_running_loop().create_task(self.client.run()))
        await self.until(lambda: bool(self.states) and self.states[-1][0])

    async def start_feed(self, *names: str) -> InstrumentTable:
        table = InstrumentTable(await self.client.instruments())
        await self.feed.subscribe(table, [table.index[name] for name in names])
        self._tasks.append(asyncio.get_running_loop().create_task(self.feed.run()))
        await self.until(lambda: bool(self.feed_states) and self.feed_states[-1][0])
        return table

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.close()

    @staticmethod
    async def until(condition: Callable[[], bool], within_s: float = 120.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - in virtual time this costs nothing
                await asyncio.sleep(0.01)

    def fault(self, what: Any, **more: Any) -> int:
        return self.faults.add(Fault(what=what, **more))

    def approve(
        self, side: int = 1, quantity: int = 10, limit: float = 300.05, name: str = IBM, **more: Any
    ) -> OrderApproved:
        self._numbers += 1
        defaults: dict[str, Any] = {"order": f"axORDER{self._numbers:011d}", "reduces": False}
        chosen = {**defaults, **more}
        return OrderApproved(
            self._now(), chosen["order"], self._numbers, "s", name, side, quantity, round(limit * 10_000),
            chosen["reduces"], 0, "test", 1.0,
        )  # fmt: skip

    def quote(self, bid: float, ask: float, symbol: str = "IBM", **more: Any) -> None:
        self.market.quote(symbol, bid, ask, **more)

    # ------------------------------------------------------------ what came out
    def fills(self, order: str = "") -> list[OrderFilled]:
        return [event for event in self.events if isinstance(event, OrderFilled) and order in ("", event.order)]

    def filled(self, order: str = "") -> int:
        return sum(fill.quantity for fill in self.fills(order))

    def accepted(self, order: str) -> list[OrderAccepted]:
        return [event for event in self.events if isinstance(event, OrderAccepted) and event.order == order]

    def ended(self, order: str) -> list[OrderEnded]:
        return [event for event in self.events if isinstance(event, OrderEnded) and event.order == order]

    def check(self) -> None:
        """What holds whatever went wrong: each fact once and in order, and nothing that the venue does not have."""
        executions = [fill.execution for fill in self.fills()]
        assert len(executions) == len(set(executions))
        venue = {order.request.client_id: order for order in self.market.exchange.orders()}
        for name in {event.order for event in self.fills()}:
            assert len(self.accepted(name)) == 1
            assert self.events.index(self.accepted(name)[0]) < self.events.index(self.fills(name)[0])
            assert self.filled(name) <= venue[name].filled or venue[name].replaced_by
        for event in self.events:
            if isinstance(event, OrderEnded):
                later = self.events[self.events.index(event) + 1 :]
                assert not [one for one in later if getattr(one, "order", "") == event.order]


def play(
    story: Callable[[Rig], Coroutine[Any, Any, Result]], *, seed: int = 0, start: bool = True, **options: Any
) -> Result:
    """Run a story on a rig in virtual time."""

    async def whole() -> Result:
        rig = Rig(seed, **options)
        if start:
            await rig.start()
        try:
            result = await story(rig)
            rig.check()
            return result
        finally:
            await rig.stop()

    return simulate(whole, seed=seed)


@contextmanager
def raises(kind: type[BrokerError], words: str = "") -> Iterator[None]:
    """A typed error that says these words and no secret."""
    with pytest.raises(kind) as caught:
        yield
    said = str(caught.value)
    assert caught.type is kind
    assert words in said
    assert SECRET not in said
    assert KEY not in said
