"""The real house behind the live driver, in virtual time, against a broker that answers late, twice or not at all."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from angelx.adapters.journal import MemoryJournal
from angelx.app.house import House, Paper, Parts
from angelx.bus.bus import Bus
from angelx.bus.records import Record
from angelx.domain.errors import BrokerUnreachable, OrderFateUnknown, OrderRejected, RateLimited
from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.instruments import Instrument, InstrumentTable
from angelx.domain.ports import Capabilities
from angelx.domain.reports import FundsReport, OrderReport, PositionReport
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, TickBatch
from angelx.market.differential import Differential
from angelx.services.broker_link import BrokerLink
from angelx.services.guard import Unguarded
from angelx.services.kill_switch import LatchedSends, MemoryLatch
from angelx.services.live_feed import LiveFeed
from angelx.signals.filters.standard import FreshnessFilter, SessionFilter, SpreadFilter
from angelx.signals.strategy import Strategy
from tests.flow.small_house import CAPITAL, LIMITS, OPENS_AT, SESSIONS, TABLE, TICK, fee

FAULTS = (
    "none",
    "rejected",
    "unreachable",
    "rate",
    "lost_reply",
    "never_arrived",
    "twice",
    "reports_first",
    "late",
    "refused_done",
)


class FickleBroker:
    """Fills every order at its limit, in one or two parts; `fate` says what goes wrong with the next one."""

    capabilities = Capabilities(
        broker="fickle", order_types=frozenset({"limit"}), times_in_force=frozenset({"DAY"}), client_ids=True,
        no_cross=True, replaces_keep_id=True, needs_static_ip=False, orders_per_s=10,
    )  # fmt: skip

    def __init__(self, seed: int, faults: Sequence[str] = FAULTS) -> None:
        self.random = Random(seed)
        self.faults = faults
        self.received: list[str] = []
        """Client order ids in order of arrival at the exchange."""
        self.posted: list[str] = []
        """Every POST that left."""
        self.fate: dict[str, str] = {}
        self.orders: dict[str, OrderReport] = {}
        self.held: dict[str, int] = {}
        self.foreign: dict[str, int] = {}
        self.read_at: list[float] = []
        """When the order book was asked for and told, in seconds of the loop."""
        self.reads_fail = False
        self.fills = True
        """False: what arrives rests."""
        self.takes_back = True
        """False: every cancel is refused."""
        self.cancels_fail = False
        """True: none gets through."""
        self.on_report: Callable[[Event], None] = print
        self.on_state: Callable[[bool, str], None] = print
        self.last_look: Callable[[OrderApproved], str] = lambda order: ""
        self._fills = 0
        self.told: list[Event] = []
        """Every report, in order."""
        self._under_way: set[asyncio.Task[None]] = set()

    async def instruments(self) -> Sequence[Instrument]:
        return list(TABLE)

    async def connect(self, table: InstrumentTable) -> None:
        """Ready."""

    async def run(self) -> None:
        """Whoever comes (again) is told everything."""
        for event in self.told:
            self.on_report(event)
        self.on_state(True, "")
        await asyncio.get_running_loop().create_future()

    def _tell(self, event: Event) -> None:
        self.told.append(event)
        self.on_report(event)

    def _begin(self, order: OrderApproved, after_s: float) -> None:
        """It is on its way, whatever becomes of who sent it."""
        task = asyncio.get_running_loop().create_task(self._arrive(order, after_s))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def place(self, order: OrderApproved) -> OrderAccepted:
        fault = self.fate[order.order] = self.random.choice(self.faults)
        if fault == "unreachable":
            raise BrokerUnreachable("no route")
        if self.last_look(order):
            raise OrderRejected("barred")
        self.posted.append(order.order)
        await asyncio.sleep(self.random.uniform(0.01, 0.2))
        if fault == "rate":
            raise RateLimited("slow down", 1.0)
        if fault == "rejected":
            raise OrderRejected("no margin")
        if fault == "never_arrived":
            raise OrderFateUnknown(order.order, "timeout")
        if fault == "late":
            self._begin(order, 30.0)
            raise OrderFateUnknown(order.order, "timeout")
        self._begin(order, 0.0 if fault == "reports_first" else 0.1)
        if fault == "refused_done":  # what stands before the broker refuses, and the broker has it all the same
            raise RateLimited("slow down", 1.0)
        if fault == "reports_first":
            await asyncio.sleep(0.5)
        if fault == "lost_reply":
            raise OrderFateUnknown(order.order, "connection reset")
        return OrderAccepted(0, order.order, f"B{order.order}")

    async def _arrive(self, order: OrderApproved, after_s: float) -> None:
        await asyncio.sleep(after_s)
        name = order.order
        self.received.append(name)
        self._report(name, order, 0, "working")
        self._tell(OrderAccepted(0, name, f"B{name}"))
        parts = [] if not self.fills else [order.quantity] if order.quantity < 150 else [75, order.quantity - 75]
        for part in parts:
            await asyncio.sleep(self.random.uniform(0.0, 0.4))
            known = self.orders[name]
            if known.state != "working":
                return
            self._fills += 1
            self.held[order.instrument] = self.held.get(order.instrument, 0) + order.side * part
            done = known.filled + part
            self._report(name, order, done, "filled" if done == order.quantity else "working")
            fill = OrderFilled(0, name, order.instrument, order.side, part, order.limit, 0, f"X{self._fills}")
            self._tell(fill)
            if self.fate[name] == "twice":
                self.on_report(OrderAccepted(0, name, f"B{name}"))
                self.on_report(fill)

    def _report(self, name: str, order: OrderApproved, filled: int, state: str) -> None:
        self.orders[name] = OrderReport(
            name, f"B{name}", order.instrument, order.side, order.quantity, order.limit, filled, 0, 0, state, ""
        )

    async def cancel(self, order: str) -> None:
        await asyncio.sleep(0.05)
        if self.cancels_fail:
            raise BrokerUnreachable("no route")
        known = self.orders.get(order)
        if known is None or known.state != "working" or not self.takes_back:
            raise OrderRejected("not working")
        self.orders[order] = OrderReport(*(*(getattr(known, f) for f in known.__struct_fields__[:-2]), "cancelled", ""))
        self._tell(OrderEnded(0, order, "cancelled", "requested", ""))

    async def order_book(self) -> Sequence[OrderReport]:
        asked_at = asyncio.get_running_loop().time()
        await asyncio.sleep(0.1)
        if self.reads_fail:
            raise BrokerUnreachable("no route")
        self.read_at.append(asked_at)
        return list(self.orders.values())

    async def trade_book(self) -> Sequence[OrderFilled]:
        return []

    async def positions(self) -> Sequence[PositionReport]:
        await asyncio.sleep(0.1)
        names = self.held.keys() | self.foreign.keys()
        held = {name: self.held.get(name, 0) + self.foreign.get(name, 0) for name in sorted(names)}
        return [PositionReport(name, units, 0) for name, units in held.items() if units]

    async def funds(self) -> FundsReport:
        return FundsReport(CAPITAL, CAPITAL, CAPITAL)

    async def close(self) -> None:
        """Nothing is held."""


class LoopClock:
    """Session time on the loop's virtual seconds."""

    def __init__(self, origin: int) -> None:
        self.origin = origin

    def now(self) -> int:
        return self.origin + int(asyncio.get_running_loop().time() * NS)

    def seconds_until(self, at: int) -> float:
        return (at - self.now()) / NS


class TapeFeed:
    """A feed that plays a batch at its own times."""

    def __init__(self, tape: TickBatch, clock: LoopClock) -> None:
        self._tape, self._clock = tape, clock
        self.on_rows: Callable[[TickBatch], None] = print
        self.on_state: Callable[[bool, str], None] = print

    async def subscribe(self, table: InstrumentTable, places: Sequence[int]) -> None: ...

    async def run(self) -> None:
        self.on_state(True, "")
        table = self._tape.table
        for start in range(0, self._tape.rows, 5):
            part = np.ascontiguousarray(table[:, start : start + 5])
            await asyncio.sleep(max(self._clock.seconds_until(int(part[AT, -1])), 0.0))
            self.on_rows(TickBatch(part.copy()))
        await asyncio.get_running_loop().create_future()


class NoSource:
    """What a live feed's source looks like."""

    name, reference, digest, kind, scope = "live:fickle", "{}", "", "stream", "nbbo"
    instruments = TABLE
    rows = first_at = last_at = 0

    def batches(self, first_row: int = 0) -> "list[TickBatch]":
        return []


class KilledJournal(MemoryJournal):
    """Knows what is on the disk: all up to the last intent."""

    durable = 0

    def intent(self, event: Event) -> None:
        self.record(event)
        self.durable = len(self.records)


class LivePlay:
    """A house at a fickle broker."""

    def __init__(self, broker: FickleBroker, tape: TickBatch, strategies: Sequence[Strategy], seconds: float) -> None:
        self.broker, self.bus = broker, Bus()
        self.clock = LoopClock(OPENS_AT)
        self.journal = KilledJournal(self.bus)
        self.latch = MemoryLatch()
        self.is_restored = False
        self.link = BrokerLink(self.bus, broker, LatchedSends(self.latch), Random(1))
        parts = Parts(
            instruments=TABLE, source_kind="stream", strategies=strategies,
            filters=[SessionFilter(), FreshnessFilter(), SpreadFilter(max_bps=100, max_ticks=9)], limits=LIMITS,
            paper=Paper(fee=fee), sessions=SESSIONS, run="live", capital=CAPITAL, seed=1, silent_feed_ns=3600 * NS,
        )  # fmt: skip
        self.house = House(self.bus, parts, self.journal, self.latch, Unguarded(), link=self.link)
        self.market = TapeFeed(tape, self.clock)
        until = OPENS_AT + int(seconds * NS)
        self.feed = LiveFeed(
            self.bus, NoSource(), Differential(len(TABLE), [TICK] * len(TABLE)),  # type: ignore[arg-type]
            feed=self.market, link=self.link, clock=self.clock, ends_at=lambda now: until,
        )  # fmt: skip

    def restore(self, records: Sequence[tuple[int, int, Event]], at: int = 0) -> None:
        """Go on with the journal of a process that was killed: now, or in a loop of its own half a minute later."""
        self.journal.records, self.journal.durable = list(records), len(records)
        self.house.host.start()
        self.house.restore([Record(number, *one) for number, one in enumerate(records, 1)])
        if not at:
            at = self.bus.now + 30 * NS
            self.clock = self.feed._time = self.market._clock = LoopClock(at)
        self.is_restored = True
        self.link.begin((), at, [(name, units) for name, units in self.broker.held.items() if units])

    async def run(self) -> "LivePlay":
        if not self.is_restored:
            self.house.host.start()
        self.bus.advance(self.clock.now())
        self.house.start(unclean=self.is_restored)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.link.run()), group.create_task(self.market.run())]
            await group.create_task(self.feed.run(()))
            for task in tasks:
                task.cancel()
        return self

    def of(self, *kinds: type[Event]) -> list[Event]:
        return [event for _, _, event in self.journal.records if isinstance(event, kinds)]
