"""Patience: an order that rests too long is taken back, and what is left of an exit goes out again at the touch.

SPEC 6.4 and 6.5. An entry is just taken back: its strategy hears `OrderClosed` and decides anew. An exit, once it was
let out, is carried through: whatever ended it short of the position, the next goes at the touch of then, further beyond
it each time, and never while anything of the strategy's works there. After three chases a person hears of it, and it
goes on more slowly. All of it is timers on the stream: orders that fill where they arrive cost nothing.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar, Final

import msgspec

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import (
    CancelRequested,
    CommandReceived,
    Event,
    IncidentReported,
    OrderAccepted,
    OrderApproved,
    OrderEnded,
    PhaseChanged,
    PositionChanged,
    Signal,
)
from angelx.domain.instruments import InstrumentTable
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, BID
from angelx.market.state import MarketState
from angelx.orders.order import Order
from angelx.orders.states import LIVE, State
from angelx.risk.book import Book
from angelx.services.safe_exit import MOST_URGENT, SafeExit
from angelx.services.session_phases import OPEN, SessionPhases
from angelx.services.strategy_host import StrategyHost

CHASES: Final = 3
"""So often an exit goes out again before a person hears of it (SPEC 6.5)."""
STEP: Final = 2 * NS
"""Chases are so far apart (SPEC 6.5)."""
LATE: Final = 30 * NS
"""After an exit that never arrived: so long it may still do so, and two must not fill."""
SLOW: Final = 5
"""Once a person knows, everything takes so many times as long: well below 20 cancels a minute (SPEC 5.4)."""
LEAST_SLOW: Final = 5 * NS
RESTING: Final = frozenset({State.WORKING, State.PARTIALLY_FILLED})
UNDONE: Final = frozenset({State.CANCELLED, State.REJECTED, State.EXPIRED, State.ABSENT})
"""Ends of an exit that leave a position; what the kill switch barred stays so."""
PREFIX: Final = "patience"
"""Every cancel and every signal of patience says so."""

Key = tuple[str, str]
"""Strategy and instrument."""


class Chase(msgspec.Struct):
    """An exit that ended before the position did."""

    side: int
    """Of the exit."""
    ended: int = 0
    """Orders of it that ended."""
    asked: int = 0
    """Signals of ours."""
    due: int = 0
    """Of the one timer that counts, ns."""
    is_told: bool = False

    @property
    def is_slow(self) -> bool:
        """A person has to look; meanwhile it goes on."""
        return max(self.ended, self.asked) > CHASES


class Patience:
    """Takes back what rests too long; asks for the rest of an exit until nothing is held.

    Parameters
    ----------
    exit_wait_ns, entry_wait_ns
        How long an order may rest, from when we hear that it does; 0 = to the end of the day.
    """

    name: ClassVar[str] = "patience"
    emits: ClassVar[tuple[type[Event], ...]] = (Signal, CancelRequested, IncidentReported)

    def __init__(
        self,
        bus: Bus,
        market: MarketState,
        instruments: InstrumentTable,
        phases: SessionPhases,
        host: StrategyHost,
        book: Book,
        safe_exit: SafeExit,
        *,
        exit_wait_ns: int,
        entry_wait_ns: int,
    ) -> None:
        self._bus, self._market, self._instruments, self._phases = bus, market, instruments, phases
        self._host, self._book, self._safe_exit = host, book, safe_exit
        self._waits = {True: exit_wait_ns, False: entry_wait_ns}
        self._watched: set[str] = set()
        self._taken_back: set[str] = set()
        self._chases: dict[Key, Chase] = {}
        self._stopping = self._is_awake = False

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Ends short of a fill; wired before the router, whose word on the order's state is not said yet."""
        yield OrderAccepted, self.on_accepted
        yield OrderEnded, self.on_ended
        yield PhaseChanged, self.on_phase
        yield CommandReceived, self.on_command

    def later(self) -> Iterable[tuple[type[Any], Handler]]:
        """Positions: from the first exit on that did not fill."""
        yield PositionChanged, self.on_position

    # ------------------------------------------------------------ what rests
    def on_accepted(self, event: OrderAccepted) -> None:
        """The broker works it, and it has not filled."""
        order = self._book.orders.get(event.order)
        if order is not None:
            self.watch(order)

    def watch(self, order: Order) -> None:
        """An order may rest from now on, or still does; the router says so where a part of it filled."""
        approved, bus = order.approved, self._bus
        wait = self._waits[approved.reduces]
        if wait and approved.order not in self._watched:
            chase = self._chases.get((approved.strategy, approved.instrument))
            if approved.reduces and chase is not None and chase.is_slow:
                wait = max(SLOW * wait, LEAST_SLOW)
            self._watched.add(approved.order)
            bus.at(bus.now + wait, partial(self._over, order, wait), first=approved.reduces)

    def _over(self, order: Order, wait: int) -> None:
        """Its time is over: take it back, unless nothing could go in its place."""
        approved, now = order.approved, self._bus.now
        if order.state not in RESTING:
            self._watched.discard(approved.order)
        elif not self._may_take_back(approved):
            self._bus.at(now + wait, partial(self._over, order, wait), first=True)
        else:
            self._watched.discard(approved.order)
            self._taken_back.add(approved.order)
            what = "exit" if approved.reduces else "entry"
            self._bus.publish(CancelRequested(now, approved.order, f"{PREFIX}:{what} after {wait / NS:g} s"))

    def _may_take_back(self, order: OrderApproved) -> bool:
        return self._may_chase((order.strategy, order.instrument)) if order.reduces else not self._safe_exit.is_silent

    def _may_chase(self, key: Key) -> bool:
        """False where nothing is sent, the exit is safe exit's, or the market is closed."""
        place = self._instruments.index.get(key[1])
        return (
            not self._stopping
            and place is not None
            and self._phases.by_place[place].phase == OPEN
            and not self._safe_exit.owns(*key)
        )

    # ------------------------------------------------------------ exits that ended
    def on_ended(self, event: OrderEnded) -> None:
        """The rest of an exit goes out again: at once where we took it back, else after a pause."""
        order = self._book.orders.get(event.order)
        if order is None or order.state not in LIVE or not self._count(order.approved, event.outcome):
            return
        self._wake()
        key = order.approved.strategy, order.approved.instrument
        is_ours = event.order in self._taken_back
        self._taken_back.discard(event.order)
        pause = 1 if is_ours else LATE if event.outcome == State.ABSENT else self._pause(self._chases[key])
        self._call(key, self._bus.now + pause)

    def _count(self, order: OrderApproved, outcome: str) -> bool:
        """Whether the end of an order leaves something to close; counted where it does."""
        if not order.reduces or outcome not in UNDONE:
            return False
        key = order.strategy, order.instrument
        chase = self._chases.setdefault(key, Chase(order.side))
        chase.side = order.side
        chase.ended += 1
        return True

    def _wake(self) -> None:
        """From the first such end on it matters when a position is closed."""
        if not self._is_awake:
            self._is_awake = True
            for kind, handler in self.later():
                self._bus.subscribe(kind, handler)

    def on_position(self, event: PositionChanged) -> None:
        """Flat, or turned: there is nothing to chase any more."""
        key = event.strategy, event.instrument
        chase = self._chases.get(key)
        if chase is not None and event.quantity * chase.side >= 0:
            del self._chases[key]

    def on_phase(self, event: PhaseChanged) -> None:
        """What a close left goes on when the segment opens."""
        if event.phase == OPEN:
            for key in self._chases:
                if self._instruments[self._instruments.index[key[1]]].segment == event.segment:
                    self._call(key, self._bus.now + 1)

    def on_command(self, event: CommandReceived) -> None:
        """At an orderly stop exits stay where they are: nothing is sent any more."""
        self._stopping = self._stopping or event.verb == "stop"

    # ------------------------------------------------------------ the next one
    def _call(self, key: Key, due: int) -> None:
        self._chases[key].due = due
        self._bus.at(due, partial(self._again, key, due), first=True)

    def _again(self, key: Key, due: int) -> None:
        """Ask for an exit of what is left; come again should it be refused."""
        chase = self._chases.get(key)
        if chase is None or chase.due != due:
            return
        line = self._book.ledger.line(key[1])
        works = any(one.approved.strategy == key[0] for one in line.working.values())
        if works and self._book.working_exit(key[0], line):
            return  # it is watched itself
        if self._may_chase(key) and not works:
            self._ask(key, chase)
        elif self._stopping or self._phases.by_place[self._instruments.index[key[1]]].phase != OPEN:
            return  # not before the next open
        self._call(key, self._bus.now + self._pause(chase))

    def _pause(self, chase: Chase) -> int:
        """Between two tries, where the last was refused."""
        return max(SLOW * (self._waits[True] or STEP), LEAST_SLOW) if chase.is_slow else STEP

    def _ask(self, key: Key, chase: Chase) -> None:
        strategy, instrument = key
        bus, host, view = self._bus, self._host, self._market.view
        place = self._instruments.index[instrument]
        chase.asked += 1
        if chase.is_slow and not chase.is_told:
            chase.is_told = True
            what = f"the exit of {instrument} of {strategy} has not filled in {CHASES} chases: it goes on, slowly"
            bus.publish(IncidentReported(bus.now, self.name, what))
        if not view[BID if chase.side < 0 else ASK, place]:
            return  # nobody to trade with
        number = host.next_signal()
        host.hold(strategy, instrument, number)
        bus.publish(
            Signal(
                bus.now, number, strategy, instrument, 0, view[BID, place], view[ASK, place], 0,
                f"{PREFIX}:try_{chase.asked + 1}", min(chase.ended, MOST_URGENT),
            )
        )  # fmt: skip

    # ------------------------------------------------------------ after a crash
    def restore(self, event: Event) -> None:
        """Fold one record of the journal, in order, after the router did."""
        if not isinstance(event, OrderApproved | OrderEnded):
            return
        order = self._book.orders.get(event.order)
        if isinstance(event, OrderEnded):
            if order is not None and order.state == event.outcome:
                self._count(order.approved, event.outcome)
        elif not event.reduces:
            self._chases.pop((event.strategy, event.instrument), None)

    def start(self) -> None:
        """Go on from a journal: what rests has its time again, what an end left is closed once its segment opens."""
        positions, index = self._book.ledger.positions, self._instruments.index
        for key, chase in list(self._chases.items()):
            held = positions[key].quantity if key in positions else 0
            if held * chase.side >= 0 or key[1] not in index:
                del self._chases[key]
        if self._chases:
            self._wake()
        for order in self._book.live.values():
            self.watch(order)
