"""The real house, a broker's real adapter and its real server at the venue, joined in memory on virtual time.

Between adapter and server is the fault menu. At the end both sides are compared: orders, fills, positions.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from msgspec.structs import replace

from angelx.adapters.alpaca.client import AlpacaClient
from angelx.adapters.alpaca.credentials import Credentials
from angelx.adapters.alpaca.feed import AlpacaFeed
from angelx.adapters.angelone.client import AngelOneClient
from angelx.adapters.angelone.feed import AngelOneFeed
from angelx.adapters.angelone.limits import rate_budget
from angelx.adapters.angelone.master import MasterStore
from angelx.adapters.angelone.session import AngelSession
from angelx.app.house import House, Paper, Parts
from angelx.bus.bus import Bus
from angelx.bus.records import Record
from angelx.domain.events import Event, HealthChanged, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.instruments import InstrumentTable
from angelx.domain.ports import BrokerClient, FeedClient
from angelx.domain.reports import held_in
from angelx.domain.scalars import NS
from angelx.domain.wire import Request, Response, Stream, WireServer
from angelx.market.differential import Differential
from angelx.orders.states import ENDED
from angelx.risk.limits import BENCH
from angelx.services.broker_link import BrokerLink
from angelx.services.guard import Unguarded
from angelx.services.kill_switch import LatchedSends, MemoryLatch
from angelx.services.live_feed import LiveFeed
from angelx.signals.filters.standard import FreshnessFilter, SessionFilter
from angelx.sim.loop import simulate
from angelx.sim.memory_transport import MemoryTransport
from angelx.venue.exchange import Exchange
from angelx.venue.faults import Fault, FaultyServer, Handles, OffsetClock
from tests.adapters.angelone_pair import LOGIN, LiveFloor
from tests.flow.live_house import KilledJournal, LoopClock, NoSource
from tests.flow.small_house import SESSIONS, Gambler, fee
from tests.venue.alpaca.alpaca_market import KEY, OPEN, SECRET, Market
from tests.venue.angelone_floor import CALL, PUT, START

BROKERS = ("angelone", "alpaca")
Ready = tuple[BrokerClient, FeedClient, InstrumentTable]
QUOTE_S = 0.25
OF_ORDERS = (OrderApproved, OrderAccepted, OrderFilled, OrderEnded)


class Restless(Gambler):
    """Acts on a timer too, whether there are quotes or not."""

    every_s = 1.0

    def on_timer(self) -> None:
        self.on_tick(self._random.choice(self._places))


class Side:
    """One broker's two ends, and a market that moves."""

    placing: ClassVar[str]
    """Path of the request that places an order."""
    order_stream: ClassVar[str]
    market_stream: ClassVar[str]
    currency: ClassVar[str]
    units: ClassVar[int]
    exchange: Exchange
    server: WireServer
    handles: Handles
    names: tuple[str, ...]

    def quote(self, random: Random) -> None:
        """One row for each instrument."""
        raise NotImplementedError

    async def ready(
        self, wire: MemoryTransport, clock: LoopClock, before: Sequence[Event], early: list[Event]
    ) -> Ready:
        """Logged in, what is watched chosen; `early` takes what is reported meanwhile."""
        raise NotImplementedError


class AngelSide(Side):
    placing, order_stream, market_stream = "*/placeOrder", "/smart-order-update", "/smart-stream"
    currency, units = "INR", 150
    begins_at = START

    def __init__(self) -> None:
        self.floor = LiveFloor(cash=10**12)
        self.exchange, self.server = self.floor.exchange, self.floor.server
        clock = OffsetClock(lambda: self.floor.now)
        self.server._now = clock
        self.handles = Handles(self.floor.server.expire_tokens, clock, self.exchange.inject)
        self.names = (CALL.id, PUT.id)

    def quote(self, random: Random) -> None:
        for name in self.names:
            mid = 100 + random.randrange(-20, 21) / 10
            self.floor.quote(mid - 0.05, mid + 0.05, name=name, size=75 * random.randint(1, 4), traded=75)

    async def ready(
        self, wire: MemoryTransport, clock: LoopClock, before: Sequence[Event], early: list[Event]
    ) -> Ready:
        session = AngelSession(LOGIN, wire, rate_budget(), clock, Random(3), timeout_s=3.0)
        store = MasterStore(Path(tempfile.mkdtemp()))
        client = AngelOneClient(
            session, orders=wire, master=wire, store=store, fee=lambda *_: 0, random=Random(4), timeout_s=3.0
        )
        table = InstrumentTable([one for one in await client.instruments() if one.id in self.names])
        client.recall(before)
        client.on_report = early.append
        await client.connect(table)
        return client, AngelOneFeed(client, wire, Random(5)), table


class AlpacaSide(Side):
    placing, order_stream, market_stream = "/v2/orders", "/stream", "/v2/sip"
    currency, units = "USD", 20
    begins_at = OPEN

    def __init__(self) -> None:
        self.market = Market(cash=10**12)
        clock = OffsetClock(lambda: OPEN + int(asyncio.get_running_loop().time() * NS))
        self.market.clock = clock
        self.market.open_for_business()
        self.exchange, self.server = self.market.exchange, self.market.server
        self.handles = Handles(self.market.server.expire_tokens, clock, self.exchange.inject)
        self.names = ("US:IBM", "US:AAPL")

    def quote(self, random: Random) -> None:
        for symbol in ("IBM", "AAPL"):
            mid = 300 + random.randrange(-20, 21) / 50
            self.market.quote(symbol, mid - 0.01, mid + 0.01, size=random.randint(5, 40), last=mid, traded=10)

    async def ready(
        self, wire: MemoryTransport, clock: LoopClock, before: Sequence[Event], early: list[Event]
    ) -> Ready:
        keys = Credentials(KEY, SECRET)
        client = AlpacaClient(wire, keys, now=clock.now, random=Random(4), timeout_s=3.0)
        table = InstrumentTable([one for one in await client.instruments() if one.id in self.names])
        client.on_report = early.append
        await client.connect(table)
        symbols = {one.id: one.symbol for one in table}
        feed = AlpacaFeed(
            wire, wire, keys, feed="sip", symbol_of=symbols.get, now=clock.now, random=Random(5), timeout_s=3.0,
            is_open=lambda: SESSIONS.phase("US", clock.now()) == "open",
        )  # fmt: skip
        return client, feed, table


SIDES: dict[str, type[AngelSide | AlpacaSide]] = {"angelone": AngelSide, "alpaca": AlpacaSide}


class Moving:
    """The server, brought to the present before each request; every request noted."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self.seen: list[Request] = []

    async def handle(self, request: Request) -> Response:
        self.seen.append(request)
        self._side.exchange.advance(max(self._side.exchange.now, now_of(self._side)))
        return await self._side.server.handle(request)

    async def serve(self, request: Request, stream: Stream) -> None:
        await self._side.server.serve(request, stream)

    def admits(self, request: Request) -> Response | None:
        return self._side.server.admits(request)


def now_of(side: Side) -> int:
    return side.begins_at + int(asyncio.get_running_loop().time() * NS)  # type: ignore[attr-defined, no-any-return]


async def _run(feed: FeedClient) -> None:
    await feed.run()


class Wired:
    """A day at a venue: made and ended by `played`."""

    def __init__(self, side: AngelSide | AlpacaSide, seed: int, eager: float, run: str = "venue") -> None:
        self.side, self._seed, self._eager, self.random, self._name = side, seed, eager, Random(seed), run
        self.server = Moving(side)
        self.faults = FaultyServer(self.server, name="venue", random=Random(seed), handles=side.handles)
        self.wire = MemoryTransport(self.faults, latency_s=0.002, jitter_s=0.003, random=Random(seed))
        self.latch = MemoryLatch()
        self.clock = LoopClock(side.begins_at)
        self.is_quoted = True

    async def start(self, seconds: float, records: Sequence[tuple[int, int, Event]] = ()) -> None:
        """Build it, with what an earlier process left on the disk, and let it run to that second."""
        side, early = self.side, list[Event]()
        self.bus = Bus()
        self.journal = KilledJournal(self.bus)
        side.quote(Random(0))
        self.client, market, self.table = await side.ready(
            self.wire, self.clock, [event for _, _, event in records if isinstance(event, OF_ORDERS)], early
        )
        asked_at, held = self.clock.now(), held_in(await self.client.positions())
        self.link = BrokerLink(self.bus, self.client, LatchedSends(self.latch), Random(self._seed))
        limits = replace(BENCH, fixed_units=side.units, collar_ticks=(0, 2, 8, 40), allow_short=False)
        parts = Parts(
            instruments=self.table, source_kind="stream",
            strategies=[Restless("g", self._seed, range(len(self.table)), eager=self._eager)],
            filters=[SessionFilter(), FreshnessFilter()], limits=limits, paper=Paper(fee=fee), sessions=SESSIONS,
            run=self._name, capital=10**12, seed=1, silent_feed_ns=3600 * NS,
        )  # fmt: skip
        self.house = House(self.bus, parts, self.journal, self.latch, Unguarded(), link=self.link)
        source = NoSource()
        source.instruments = self.table
        until = side.begins_at + int(seconds * NS)
        self.feed = LiveFeed(
            self.bus, source, Differential(len(self.table), [one.tick_size for one in self.table]),  # type: ignore[arg-type]
            feed=market, link=self.link, clock=self.clock, ends_at=lambda now: until,
        )  # fmt: skip
        await market.subscribe(self.table, range(len(self.table)))
        self.house.host.start()
        if records:
            self.journal.records, self.journal.durable = list(records), len(records)
            self.house.restore([Record(number, *one) for number, one in enumerate(records, 1)])
        self.link.begin(early, asked_at, held)
        self.bus.advance(self.clock.now())
        self.house.start(unclean=bool(records))
        self.running = asyncio.get_running_loop().create_task(self._run(market))

    async def kill(self) -> list[tuple[int, int, Event]]:
        """End it as SIGKILL does; what is on the disk then, of what was recorded since the last intent some."""
        self.running.cancel()
        await asyncio.wait([self.running])
        self.wire.cut()
        journal = self.journal
        return journal.records[: self.random.randint(journal.durable, len(journal.records))]

    async def _run(self, market: FeedClient) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.link.run()), group.create_task(self._quote())]
            tasks.append(group.create_task(_run(market)))
            await group.create_task(self.feed.run(()))
            for task in tasks:
                task.cancel()
        await self.client.close()

    async def _quote(self) -> None:
        random = Random(self._seed)
        while True:
            await asyncio.sleep(QUOTE_S)
            if self.is_quoted:
                self.side.quote(random)

    # ------------------------------------------------------------ what a story does
    def fault(self, what: Any, **more: Any) -> int:
        return self.faults.add(Fault(what=what, **more))

    async def until(self, condition: Callable[[], Any], within_s: float = 120.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - in virtual time this costs nothing
                await asyncio.sleep(0.05)

    async def traded(self, fills: int) -> None:
        """So many fills more."""
        before = len(self.of(OrderFilled))
        await self.until(lambda: len(self.of(OrderFilled)) >= before + fills)

    def of(self, *kinds: type[Event]) -> list[Any]:
        return [event for _, _, event in self.journal.records if isinstance(event, kinds)]

    def states(self, service: str) -> list[str]:
        """What it went through, healthy or not."""
        return [event.state for event in self.of(HealthChanged) if event.service == service]

    def entries(self, since: int) -> list[OrderApproved]:
        return [event for event in self.of(OrderApproved) if event.at > since and not event.reduces]

    # ------------------------------------------------------------ both sides
    def check(self) -> None:
        """Nothing sent twice, and both sides say the same."""
        exchange, house = self.side.exchange, self.house
        theirs = {order.request.client_id or order.request.tag: order for order in exchange.orders()}
        assert max(Counter(order.request.client_id or order.request.tag for order in exchange.orders()).values()) == 1
        ours = house.router.orders
        assert set(theirs) <= set(ours)
        for name, order in ours.items():
            assert order.state in ENDED, f"{name} is {order.state}"
            assert order.filled == (theirs[name].filled if name in theirs else 0)
        held = {one.instrument: one.quantity for one in exchange.positions() if one.quantity}
        assert {name: units for name, units in house.book.net.items() if units} == held
        executions = [event.execution for event in self.of(OrderFilled)]
        assert len(executions) == len(set(executions))
        assert not house.router.live
        assert house.book.reserved == 0


def played(
    broker: str, story: Callable[[Wired], Coroutine[Any, Any, None]], *, seed: int = 1, eager: float = 0.2,
    seconds: float = 600.0,
) -> Wired:  # fmt: skip
    """Run a story with the house trading, then halt it, let everything settle, and compare both sides."""

    async def whole() -> Wired:
        wired = Wired(SIDES[broker](), seed, eager)
        await wired.start(seconds)
        await wired.traded(3)
        await story(wired)
        wired.faults.remove()
        if not wired.latch.level:
            await wired.feed.command("halt", "test", "operator")
        await wired.until(lambda: not wired.house.router.live)
        await asyncio.sleep(60)
        wired.check()
        wired.feed.stopping = "test"
        await wired.until(wired.running.done, 30)
        await wired.running
        await wired.wire.close()
        return wired

    return simulate(whole, seed=seed)
