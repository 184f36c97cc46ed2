"""Broker link: a real broker's asynchronous client behind the stream's synchronous port.

Orders and cancels leave through a task of their own, cancels and exits first; reports come back into an inbox that the
driver empties between two inputs. What a report says twice, or says of orders that are not ours, goes no further.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Container, Coroutine, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, ClassVar, Final

import structlog
from msgspec.structs import replace

from angelx.bus.bus import Bus, Handler
from angelx.domain.errors import (
    AuthExpired,
    BrokerError,
    BrokerUnreachable,
    OrderFateUnknown,
    OrderRejected,
    RateLimited,
)
from angelx.domain.events import (
    BooksRead,
    Event,
    HealthChanged,
    IncidentReported,
    OrderAccepted,
    OrderApproved,
    OrderEnded,
    OrderFilled,
)
from angelx.domain.ports import BrokerClient
from angelx.domain.reports import held_in
from angelx.orders.order import Order
from angelx.orders.states import LIVE, State
from angelx.services.circuit_breaker import CircuitBreaker
from angelx.services.order_router import SendLatch

log = structlog.get_logger()

DOUBT_LOOKS_S: Final = (10.0, 13.5)
"""After a send without an answer the books are read so much later: twice, more than three seconds apart (SPEC 6.2)."""
CANCELS_FAILED: Final = 3
"""Cancels of one order that may come to nothing before a person hears of it."""
CANCEL_AGAIN_MOST_S: Final = 5.0
"""Longest pause between two cancels of an order that goes on working; the first is a second, the next two."""
BOOKS_FAILED: Final = 3
"""Reads that may fail in turn before a person hears of it."""
READ_AGAIN_S: Final = 1.0
READ_AGAIN_MOST_S: Final = 10.0
"""Least pause after a failed read, times the failures in turn, up to the second."""
BASELINE: Final = "baseline"
"""Who says what was held before us: it follows from the books, and is no input as what the link itself says."""
BARRED_LATE: Final = "kill_switch_late"
"""Code of an order that the kill switch stopped after it was approved and before it left."""
BREAKER: Final = "circuit_breaker"
"""Who says that the broker does not answer requests, though the session stands."""
BREAKER_OPEN: Final = "breaker_open"
"""Code of an entry that was approved before, and would have left after, the breaker opened."""
BARRED_BY_LINK: Final = frozenset({BARRED_LATE, BREAKER_OPEN})
"""Codes of orders that were approved and handed over, and never left."""
WAITING: Final = 256
"""Orders that may wait to be sent; more means that the broker does not take them."""


class RecordedLink:
    """A real broker's books as last read. Sends nothing: what a journal of live trading is re-run with."""

    name: ClassVar[str] = "broker_link"
    emits: ClassVar[tuple[type[Event], ...]] = (
        OrderAccepted, OrderFilled, OrderEnded, BooksRead, HealthChanged, IncidentReported,
    )  # fmt: skip

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.orders: Mapping[str, Order] = {}
        """The router's; set when it is there."""
        self._baseline: dict[str, int] | None = None
        self._held: dict[str, int] = {}
        self._known: frozenset[str] = frozenset()
        self._told: set[str] = set()
        """Executions that the stream has heard of."""
        self.asked_at = 0

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """The books, as they were read."""
        yield BooksRead, self.on_books

    def submit(self, order: OrderApproved) -> None:
        """Nothing leaves."""

    def cancel(self, order: str) -> None:
        """Nothing leaves."""

    def restore(self, events: Iterable[Event]) -> None:
        """What was held before the first order; the broker knows what became of orders, and says so when asked."""
        for event in events:
            if isinstance(event, BooksRead) and self._baseline is None:
                self._baseline = dict(event.held)
            elif isinstance(event, OrderFilled):
                self._told.add(event.execution)

    def ask(self) -> bool:
        """They come as `BooksRead`."""
        return False

    def knows(self, order: str) -> bool:
        """True where the books, as last read, have our order of that client id."""
        return order in self._known

    def held(self) -> dict[str, int]:
        """Signed units by instrument that are not of before us."""
        baseline = self._baseline or {}
        names = self._held.keys() | baseline.keys()
        return {name: units for name in names if (units := self._held.get(name, 0) - baseline.get(name, 0))}

    def in_account(self, instrument: str) -> int:
        """Signed units, those of before us among them."""
        return self._held.get(instrument, 0)

    def on_books(self, event: BooksRead) -> None:
        """Take the books; what was held before our first order is not ours and stays as it is."""
        self.asked_at, self._known, self._held = event.asked_at, frozenset(event.orders), dict(event.held)
        if self._baseline is None:
            ours = self._ours()
            self._baseline = {
                name: units - ours.get(name, 0) for name, units in event.held if units != ours.get(name, 0)
            }
            for name, units in self._baseline.items():
                what = f"{units} units of {name} are not ours: they are left alone"
                self._bus.publish(IncidentReported(event.at, BASELINE, what))

    def _ours(self) -> dict[str, int]:
        held: dict[str, int] = {}
        for order in self.orders.values():
            name = order.approved.instrument
            held[name] = held.get(name, 0) + order.approved.side * order.filled
        return held


class BrokerLink(RecordedLink):
    """One account at a real broker, as the house sees it.

    Parameters
    ----------
    client
        Connected; its callbacks are set here.
    latch
        Asked as the last thing before each send.
    random
        Of the waits of the circuit breaker.
    """

    def __init__(self, bus: Bus, client: BrokerClient, latch: SendLatch, random: Random) -> None:
        super().__init__(bus)
        self._breaker = CircuitBreaker(random)
        self._probes: asyncio.Queue[float] = asyncio.Queue()
        """In how many seconds a probe is due."""
        self._is_up = True
        """As the client last said of its session."""
        self._client, self._latch = client, latch
        self.on_arrival: Callable[[], None] = lambda: None
        """Called when the inbox has something: wakes the driver."""
        self._inbox: deque[Event] = deque()
        self._cancels: deque[str] = deque()
        self._cancelling: set[str] = set()
        """Orders whose cancel waits or is being asked for."""
        self._exits: deque[OrderApproved] = deque()
        self._entries: deque[OrderApproved] = deque()
        self._group: asyncio.TaskGroup | None = None
        """Of the tasks that talk to the broker, while `run` is under way."""
        self._placing: set[str] = set()
        """Orders on their way: they wait for their turn, or for an answer."""
        self._wanted = asyncio.Event()
        self._reading = False
        self._foreign: set[str] = set()
        client.on_report = self._arrived
        client.on_state = self._state
        client.last_look = latch.bars

    def begin(self, early: Sequence[Event], asked_at: int, held: Sequence[tuple[str, int]]) -> None:
        """What was reported and held before there was a session: the first that it hears, ahead of any order.

        Nobody has asked for orders yet: those of an earlier process are not missing.
        """
        self._inbox += early
        self._inbox.append(BooksRead(0, asked_at, self._open(self.orders), tuple(held)))

    def _open(self, known: Container[str]) -> tuple[str, ...]:
        """Orders among these that may still have arrived or not."""
        return tuple(
            name for name, order in self.orders.items() if not order.answered and order.state in LIVE and name in known
        )

    # ------------------------------------------------------------ the broker port
    def submit(self, order: OrderApproved) -> None:
        """Queue an order to be sent, exits before entries."""
        queue = self._exits if order.reduces else self._entries
        if len(queue) + len(self._placing) >= WAITING:
            self._arrived(OrderEnded(order.at, order.order, "rejected", "link_full", f"{WAITING} orders wait"))
            return
        queue.append(order)
        self._send()

    def cancel(self, order: str) -> None:
        """Queue a cancel, before all orders; while one of that order is being asked for, it is the one."""
        if order not in self._cancelling:
            self._cancelling.add(order)
            self._cancels.append(order)
            self._send()

    def ask(self) -> bool:
        """Have the books read; they come as `BooksRead`. While they are being read, that read is the answer."""
        if not self._reading:
            self._wanted.set()
        return False

    # ------------------------------------------------------------ the driver's side
    def take(self, now: int) -> Iterator[Event]:
        """What came in, at the time it is brought into the stream; repetitions and foreign orders are left out."""
        while self._inbox:
            event = self._inbox.popleft()
            if self._says_something(event, now):
                yield replace(event, at=now)

    @property
    def waits(self) -> bool:
        """True where the inbox holds something."""
        return bool(self._inbox)

    def at_work(self) -> list[str]:
        """Orders that have not ended, or whose end is not in the stream yet."""
        return [name for name, order in self.orders.items() if order.state in LIVE]

    def _says_something(self, event: Event, now: int) -> bool:
        if not isinstance(event, OrderAccepted | OrderFilled | OrderEnded):
            return True
        order = self.orders.get(event.order)
        if order is None:
            if event.order not in self._foreign:
                self._foreign.add(event.order)
                self._inbox.append(IncidentReported(now, self.name, f"order {event.order or '(no id)'} is not ours"))
            return False
        if isinstance(event, OrderAccepted):
            return not order.answered
        if isinstance(event, OrderEnded):
            return order.state in LIVE
        is_new = event.execution not in self._told
        self._told.add(event.execution)
        return is_new

    def _arrived(self, event: Event) -> None:
        self._inbox.append(event)
        self.on_arrival()

    def _state(self, is_up: bool, why: str) -> None:
        self._is_up = is_up
        self._arrived(HealthChanged(0, "healthy" if is_up else "recovering", why or "books merged", self.name))
        if is_up:
            self._wanted.set()

    # ------------------------------------------------------------ the task
    async def run(self) -> None:
        """Keep the session alive, send, and read the books, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._client.run(), name=f"{self.name}.client")
            group.create_task(self._probe(), name=f"{self.name}.probe")
            self._group = group
            for name, order in self.orders.items():  # What an earlier process asked for last may never have left.
                if order.state == State.CANCEL_PENDING:
                    self.cancel(name)
            self._send()
            try:
                await self._read_books()
            finally:
                self._group = None

    def _send(self) -> None:
        """What is queued leaves when the loop has its turn."""
        group = self._group
        if group is None:
            return
        while self._cancels:
            name = self._cancels.popleft()
            _begin(group, self._cancel(name), self._cancelling, name)
        while self._exits or self._entries:
            order = (self._exits or self._entries).popleft()
            self._placing.add(order.order)
            _begin(group, self._place(group, order), self._placing, order.order)

    async def _place(self, group: asyncio.TaskGroup, order: OrderApproved) -> None:
        """Send once. Whatever is not clear stays open: the books will tell."""
        barred = self._latch.bars(order)
        if barred:
            self._ended(order, "barred", BARRED_LATE, barred)
            return
        if self._breaker.why and not order.reduces:
            self._ended(order, "barred", BREAKER_OPEN, self._breaker.why)
            return
        try:
            self._arrived(await self._client.place(order))
            self._answered()
        except OrderFateUnknown as error:
            self._unanswered(error)
            log.warning("order_fate_unknown", order=order.order, why=str(error), action="look it up, never resend")
            self._arrived(IncidentReported(0, self.name, str(error)))
            for after_s in DOUBT_LOOKS_S:
                group.create_task(self._want_books(after_s))
        except OrderRejected as error:
            self._answered()
            code, _, detail = str(error).partition(": ")
            if code == "barred":
                self._ended(order, "barred", BARRED_LATE, detail)
            else:
                known = code.isidentifier() and bool(detail)
                self._ended(order, "rejected", code if known else "broker", detail if known else str(error))
        except (BrokerUnreachable, AuthExpired, RateLimited) as error:  # it did not leave, or was turned away
            self._unanswered(error)
            self._ended(order, "rejected", _CODES[type(error)], str(error))

    def _ended(self, order: OrderApproved, outcome: str, code: str, detail: str) -> None:
        self._arrived(OrderEnded(0, order.order, outcome, code, detail))

    async def _cancel(self, order: str) -> None:
        """Ask until the order has ended: a cancel may be repeated, and who wants it asks once."""
        attempt = 0
        while (known := self.orders.get(order)) is not None and known.state in LIVE:
            if attempt == CANCELS_FAILED:
                self._arrived(IncidentReported(0, self.name, f"cancel of {order} did not get through: it is repeated"))
            attempt += 1
            try:
                await self._client.cancel(order)
                self._answered()
            except OrderRejected as error:  # it has ended, or is not there yet: its report says which
                self._answered()
                log.info("cancel_refused", order=order, attempt=attempt, why=str(error))
                self._wanted.set()
            except BrokerError as error:
                self._unanswered(error)
                log.warning("cancel_failed", order=order, attempt=attempt, why=str(error))
            await asyncio.sleep(min(attempt, CANCEL_AGAIN_MOST_S))

    async def _want_books(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._wanted.set()

    async def _read_books(self) -> None:
        """Read the books whenever somebody wants them; a failed read is no answer, and never an empty one."""
        failed = 0
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._reading = True
            asked_at, under_way = self._bus.now, set(self._placing)
            try:
                orders = await self._client.order_book()
                positions = await self._client.positions()
            except BrokerError as error:
                failed += 1
                self._unanswered(error)
                log.warning("books_not_read", why=str(error), failed=failed)
                if failed == BOOKS_FAILED:
                    self._arrived(IncidentReported(0, self.name, f"books cannot be read: {error}"))
                await asyncio.sleep(min(READ_AGAIN_S * failed, READ_AGAIN_MOST_S))
                self._wanted.set()  # whoever asked has no answer yet
                continue
            finally:
                self._reading = False
            failed = 0
            self._answered()
            known = {report.order for report in orders} | under_way  # What had not left is not missing there.
            self._arrived(BooksRead(0, asked_at, self._open(known), held_in(positions)))

    # ------------------------------------------------------------ whether it answers
    def _answered(self) -> None:
        if self._breaker.answered():
            self._arrived(HealthChanged(0, "healthy", "the broker answers again", BREAKER))

    def _unanswered(self, error: BrokerError) -> None:
        """Count it, and bar entries where it is one too many; a probe is what lets them back.

        A session that is down bars them already, and comes back by proof of its own. Being told to log in or to wait is
        no failure: each has its own remedy.
        """
        if isinstance(error, AuthExpired | RateLimited) or not (self._is_up or self._breaker.why):
            return
        wait_s = self._breaker.failed(str(error))
        if wait_s:
            why = f"{self._breaker.why}; asked again in {wait_s:.0f} s"
            log.warning("breaker_open", why=why, action="entries are barred until the broker answers")
            self._arrived(HealthChanged(0, "recovering", why, BREAKER))
            self._probes.put_nowait(wait_s)

    async def _probe(self) -> None:
        """Have the books read when a wait is over: that answer decides."""
        while True:
            await asyncio.sleep(await self._probes.get())
            self._breaker.probe()
            self._wanted.set()


def _begin(group: asyncio.TaskGroup, work: Coroutine[Any, Any, None], under_way: set[str], name: str) -> None:
    """Do the work in a task of its own; until it is done the name is under way."""
    group.create_task(work).add_done_callback(lambda _: under_way.discard(name))


_CODES: Final[dict[type[BrokerError], str]] = {
    BrokerUnreachable: "unreachable", AuthExpired: "auth_expired", RateLimited: "rate_limited",
}  # fmt: skip
