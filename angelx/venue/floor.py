"""The exchange's floor: where orders wait (queue, stops, book), and what happens to them there."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from angelx.domain.events import Event, OrderAccepted, OrderEnded, OrderFilled
from angelx.domain.instruments import InstrumentTable
from angelx.domain.ticks import ASK, BID, INSTRUMENT, LAST, Rows, TickBatch
from angelx.market.state import MarketState
from angelx.venue.admission import Objection
from angelx.venue.agenda import Act, Agenda, Line
from angelx.venue.broker_desk import BrokerDesk
from angelx.venue.engine import ExchangeEngine
from angelx.venue.entries import BOOK, FLIGHT, GONE, QUEUED, STOPPED, Entry
from angelx.venue.links import Links
from angelx.venue.phases import Phases
from angelx.venue.requests import CLS, GTC, LIMIT, STOP_LIMIT, STOPS, Fill
from angelx.venue.stops import Stops
from angelx.venue.watch import Watch

SIDE_TOUCH: Final = {1: ASK, -1: BID}
"""What an order of a side trades with."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How this exchange and its broker go about things."""

    unique_client_ids: bool = False
    """A client id is good for one order in the account's life."""
    queues_orders: bool = False
    """An order that comes while the market is closed waits for the session instead of being refused."""
    extended_hours: bool = False
    """`pre_open` trades, for orders that say so."""
    queue_position: bool = False
    """Waiting orders stand in a queue at their price (docs/venue.md)."""
    protection_bps: int = 300
    """How far beyond the touch a market order may trade, inside the band."""
    refuses_triggered: bool = False
    """A stop that the last price has reached already is refused; else it triggers at once."""
    latency_ns: int = 0
    jitter_ns: int = 0
    """From the broker to the exchange and back, each way; nothing overtakes."""
    reject_rate: float = 0.0
    """Share of good orders that are refused with `injected`."""


class Floor:
    """Works the entries of one account. `back` is the line on which the broker hears of it."""

    def __init__(
        self,
        table: InstrumentTable,
        market: MarketState,
        engine: ExchangeEngine,
        *,
        phases: Phases,
        policy: Policy,
        agenda: Agenda,
        watch: Watch,
        back: Line,
        desk: BrokerDesk,
    ) -> None:
        self.table, self.market, self.engine, self.desk = table, market, engine, desk
        self.phases, self.policy = phases, policy
        self.by_ticket: dict[str, Entry] = {}
        """By the id the engine knows: an order that replaced another keeps that one's."""
        self._agenda, self._watch, self._back = agenda, watch, back
        self._queue: dict[int, list[Entry]] = {}
        self._stopped: dict[int, list[Entry]] = {}
        self._stops, self._links = Stops(self), Links(self)
        self._told: dict[int, int] = {}
        """Positions by place after the last fill that was told: the engine does several before one of them is told."""

    @property
    def now(self) -> int:
        """Exchange time, ns."""
        return self._agenda.now

    # ------------------------------------------------------------ rows
    def cut(self, batch: TickBatch, start: int, stop: int) -> int:
        """The row after the first one in [start, stop) at which something may happen."""
        return self._watch.next_row(batch, start, self.engine.probe(batch, start, stop))

    def row(self, rows: Rows) -> None:
        """What the last row of a run sets off."""
        place = rows.batch.view[INSTRUMENT, rows.stop - 1]
        if self.policy.queue_position:
            self.happened(self.engine.look(place, self.now))
        else:
            self.happened(self.engine.fold(rows))
        if not self._watch.watches(place):
            return
        if place in self._stopped and self.phases.is_open(self.table[place], self.now):
            for entry in tuple(self._stopped[place]):
                self._stops.follow(entry)
        for entry in tuple(self._queue.get(place, ())):
            if entry.where == QUEUED and entry.request.tif != CLS and self.may_trade(entry):
                self.work(entry)

    def may_trade(self, entry: Entry) -> bool:
        """Whether an order may be in the book now."""
        return self.phases.admits(self.table[entry.place], extended_hours=entry.request.extended_hours)

    # ------------------------------------------------------------ prices
    def last(self, place: int, side: int) -> int:
        """What triggers: the last price; without one the touch that an order of the side would trade with."""
        cells = self.market.of(place)
        last: int = cells[LAST]
        return last if last > 0 else cells[SIDE_TOUCH[side]]

    def price(self, entry: Entry) -> Objection | None:
        """Set the price that the engine works an order at, the worst it may trade at; what speaks against it."""
        request, ticket = entry.request, entry.ticket
        if request.kind in (LIMIT, STOP_LIMIT):
            ticket.limit = request.limit
            return None
        book = self.engine.book(request.instrument)
        assert book is not None
        quote = book.quote
        touch = quote[SIDE_TOUCH[request.side]]
        base = entry.stop if is_stopped(entry) and entry.stop else touch or quote[LAST] or entry.stop
        if base <= 0:
            return "no_quote", f"{request.instrument}: nobody quotes the side that a {request.kind} order needs"
        low, high = self.engine.prices(book)
        steps = base * (10_000 + request.side * self.policy.protection_bps) // (10_000 * book.tick)
        ticket.limit = max(low, min(high, max(steps, 1) * book.tick))
        return None

    def objection(self, entry: Entry) -> Objection | None:
        """What speaks against an order as it would be worked."""
        return self.price(entry) or self.engine.objection(entry.ticket, self.now, reserves=entry.reserves)

    # ------------------------------------------------------------ where orders wait
    def place(self, entry: Entry) -> None:
        """Put an order that comes where it belongs."""
        if entry.where == GONE:
            return
        where = self.where(entry)
        if where == STOPPED:
            self._stops.arm(entry)
        elif where == BOOK:
            self.work(entry)
        else:
            objection = self.objection(entry)
            if objection is not None:
                self.end(entry, "rejected", *objection)
            else:
                self.shelve(entry, QUEUED)
                self.tell(self.desk.accepted, entry, "accepted")

    def where(self, entry: Entry) -> str:
        """Where an order belongs now."""
        if is_stopped(entry):
            return STOPPED
        return BOOK if entry.request.tif != CLS and self.may_trade(entry) else QUEUED

    def work(self, entry: Entry) -> None:
        """Let the engine have an order."""
        self.unshelve(entry)
        objection = self.price(entry)
        if objection is not None:
            self.end(entry, "rejected", *objection)
        elif entry.ticket.number:
            self._put_back(entry, is_behind=False)
        else:
            entry.where = BOOK
            entry.ticket.tif = entry.engine_tif
            self.happened(self.engine.submit(entry.ticket, self.now))

    def put(self, entry: Entry, where: str, *, is_behind: bool) -> None:
        """Put an order that was taken out for a moment to where it waits; only what that fills is told."""
        if where == BOOK and entry.ticket.number:
            self._put_back(entry, is_behind=is_behind)
        elif where == BOOK:
            self.work(entry)
        else:
            self.engine.objection(entry.ticket, self.now, reserves=entry.reserves)
            self.shelve(entry, where)
            if where == STOPPED and self.may_trade(entry):
                self._stops.follow(entry)

    def _put_back(self, entry: Entry, *, is_behind: bool) -> None:
        entry.where = BOOK
        fills = self.engine.put(entry.ticket, self.now, is_behind=is_behind)
        if isinstance(fills, tuple):
            self.end(entry, "rejected", *fills)
        else:
            self.happened(fills)

    def shelve(self, entry: Entry, where: str) -> None:
        """Let an order wait outside the book; the account knows of it."""
        if entry.reserves:
            self.engine.reserve(entry.ticket)
        self._shelf(where).setdefault(entry.place, []).append(entry)
        entry.where = where
        self._watch.add(entry.place)

    def unshelve(self, entry: Entry) -> None:
        """Take an order out of wherever it waits."""
        if entry.where in (QUEUED, STOPPED):
            shelf = self._shelf(entry.where)
            shelf[entry.place].remove(entry)
            if not shelf[entry.place]:
                del shelf[entry.place]
            self._watch.add(entry.place, -1)
            self.engine.release(entry.ticket)
        elif entry.where == BOOK:
            self.engine.lift(entry.ticket)
        entry.where = FLIGHT

    def _shelf(self, where: str) -> dict[int, list[Entry]]:
        return self._queue if where == QUEUED else self._stopped

    # ------------------------------------------------------------ what happens to orders
    def tell(self, act: Act, *args: Any) -> None:
        """Let the broker hear of something, when it arrives there."""
        self._back.send(self.now, act, *args)

    def happened(self, events: Sequence[Event]) -> None:
        """Take in what the engine did."""
        for event in events:
            if type(event) is OrderFilled:
                self._filled(self.by_ticket[event.order], event)
            elif type(event) is OrderAccepted:
                self.tell(self.desk.accepted, self.by_ticket[event.order], "working")
            elif type(event) is OrderEnded:
                entry = self.by_ticket[event.order]
                entry.where = GONE
                self.tell(self.desk.ended, entry, event.outcome, event.code, event.detail)
                self._links.ended(entry, event.outcome)

    def _filled(self, entry: Entry, event: OrderFilled) -> None:
        position = self._told[entry.place] = self._told.get(entry.place, 0) + event.side * event.quantity
        fill = Fill(
            event.execution, entry.order.id, event.instrument, event.side, event.quantity, event.price, event.fee,
            event.at, position,
        )  # fmt: skip
        if not entry.left:
            entry.where = GONE
        self.tell(self.desk.filled, entry, fill)
        self._links.filled(entry, event.quantity)

    def end(self, entry: Entry, outcome: str, code: str, detail: str = "") -> None:
        """An order ends where it is."""
        if entry.where == GONE:
            return
        self.unshelve(entry)
        entry.where, entry.ticket.state = GONE, outcome
        detail = detail or f"{entry.filled} of {entry.filled + entry.left} filled"
        self.tell(self.desk.ended, entry, outcome, code, detail)
        self._links.ended(entry, outcome)

    # ------------------------------------------------------------ the end of a session
    def edge(self, segment: str, before: str) -> None:
        """A segment's phase changes: at the end of its day the close trades, and what is good for the day ends."""
        if self.phases.hours.is_over(segment, self.now):
            self._cross(segment, is_auction=before == "closing_auction")
            self._end_day(segment)

    def _cross(self, segment: str, *, is_auction: bool) -> None:
        """What waits for the close trades with the last quotes; after an auction everything else does too."""
        self.phases.is_crossing = True
        if is_auction:
            for place, instrument in enumerate(self.table):
                if instrument.segment == segment:
                    self.happened(self.engine.cross(place, self.now))
        for entry in self._in_segment(segment, QUEUED):
            if is_auction or entry.request.tif == CLS:
                self.work(entry)
        self.phases.is_crossing = False

    def _end_day(self, segment: str) -> None:
        for entry in self._in_segment(segment, QUEUED, STOPPED, BOOK):
            if entry.request.tif != GTC:
                self.end(entry, "expired", "session_end")
            elif entry.where == BOOK:
                self.unshelve(entry)
                self.put(entry, QUEUED, is_behind=False)
        self.engine.end_of_session(segment, self.now)

    def _in_segment(self, segment: str, *where: str) -> list[Entry]:
        entries = self.by_ticket.values()
        return [one for one in entries if one.where in where and self.table[one.place].segment == segment]


def is_stopped(entry: Entry) -> bool:
    """Whether an order is a stop that was not triggered yet."""
    return entry.request.kind in STOPS and not entry.is_triggered
