"""One account at a simulated exchange, with everything brokers' APIs offer: no I/O, no clock of its own.

Rows and time come in by `feed` and `advance`, requests by `submit`, `cancel` and `replace`; reports and rows go out to
`on_report` and `on_rows`. The same calls with the same seed give the same answers. docs/venue.md has the rules.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace as changed

from angelx.domain.events import Event, OrderAccepted, OrderEnded, OrderFilled
from angelx.domain.instruments import Instrument, InstrumentTable
from angelx.domain.reports import PositionReport
from angelx.domain.ticks import ASK, AT, BID, INSTRUMENT, LAST, Rows, TickBatch
from angelx.market.state import MarketState
from angelx.venue.account import Funds, Margin
from angelx.venue.admission import Bands, Fee
from angelx.venue.agenda import Agenda, Line
from angelx.venue.engine import ExchangeEngine
from angelx.venue.entries import (
    BOOK,
    FLIGHT,
    GONE,
    HELD,
    QUEUED,
    STOPPED,
    Entry,
    check_form,
    copy_of,
    exit_request,
)
from angelx.venue.hours import NEVER, AlwaysOpen, Hours
from angelx.venue.reports import position_report
from angelx.venue.requests import (
    CLS,
    ENDED,
    GTC,
    LIMIT,
    OPG,
    STOP,
    STOP_LIMIT,
    STOPS,
    TRAILING_STOP,
    AnyCall,
    Cancel,
    Fill,
    Halt,
    Inject,
    OrderRequest,
    Refused,
    Replace,
    Report,
    Submit,
    VenueOrder,
)
from angelx.venue.watch import Watch

__all__ = ["Exchange", "Fill", "OrderRequest", "Policy", "Refused", "Report", "VenueOrder"]

SIDE_TOUCH: Final = {1: ASK, -1: BID}


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


def _v(number: int) -> str:
    return f"V{number}"


class Exchange:
    """One account at one exchange.

    Parameters
    ----------
    table
        What can be traded; rows are of its instruments.
    cash
        Money to begin with, 1/10,000.
    fee
        `fee(instrument, side, quantity, notional, at)` of a whole order so far filled.
    hours
        When segments trade; always by default.
    seed
        Of latency jitter and injected rejects.
    ids
        Makes the broker's order id from the order's number.
    """

    def __init__(
        self,
        table: InstrumentTable,
        *,
        cash: int,
        fee: Fee,
        hours: Hours | None = None,
        policy: Policy | None = None,
        currency: str = "",
        seed: int = 0,
        ids: Callable[[int], str] = _v,
        bands: Bands | None = None,
        margin: Margin | None = None,
        closes: Mapping[str, int] | None = None,
    ) -> None:
        self.table = table
        self.market = MarketState(table)
        self.policy = policy or Policy()
        self.currency = currency
        self.now = 0
        self.rows = 0
        """Fed so far."""
        self.on_report: list[Callable[[Report], None]] = []
        self.on_rows: list[Callable[[TickBatch, int, int], None]] = []
        self.on_call: list[Callable[[AnyCall], None]] = []
        """Told of every request before it is looked at."""
        self._hours = hours or AlwaysOpen()
        self._ids = ids
        self._random = Random(seed)
        self._watch = Watch(len(table))
        self._engine = ExchangeEngine(
            self.market, self._watch, cash=cash, fee=fee, is_open=self._is_open, random=self._random,
            reject_rate=self.policy.reject_rate, bands=bands, margin=margin, closes=closes, currency=currency,
            queue_position=self.policy.queue_position,
        )  # fmt: skip
        self._entries: dict[str, Entry] = {}
        self._by_ticket: dict[str, Entry] = {}
        self._by_client: dict[str, Entry] = {}
        self._stops: dict[int, list[Entry]] = {}
        self._queued: dict[int, list[Entry]] = {}
        self._fills: list[Fill] = []
        self._halted: set[str] = set()
        self._crossing = False
        self._agenda = Agenda()
        line = partial(Line, self._agenda, self.policy.latency_ns, self.policy.jitter_ns, self._random)
        self._out, self._back = line(), line()
        self._is_distant = self.policy.latency_ns > 0 or self.policy.jitter_ns > 0
        self._segments = tuple(sorted({instrument.segment for instrument in table}))
        self._has_begun = False

    # ------------------------------------------------------------ requests
    def submit(self, request: OrderRequest, *, keep_refused: bool = False) -> VenueOrder:
        """An order comes in.

        Parameters
        ----------
        keep_refused
            A refused order is kept as `rejected`, reported, and answered instead of raised.

        Raises
        ------
        Refused
            The order is not taken; nothing of it is kept.
        """
        self._note(Submit(request, keep_refused))
        try:
            self._check(request)
        except Refused as refusal:
            if not keep_refused:
                raise
            return self._keep_refused(request, refusal)
        entry = self._enter(request)
        self._add_exits(entry)
        self._tell("pending", entry)
        self._out.send(self.now, self._arrives, entry)
        for exit_entry in (*entry.children, *entry.rivals):
            if exit_entry.where == HELD:
                self._tell("accepted", exit_entry)
        return copy_of(entry.order)

    def cancel(self, order: str) -> VenueOrder:
        """Ask for the end of an order.

        Raises
        ------
        Refused
            `unknown_order`, `order_ended`.
        """
        self._note(Cancel(order))
        entry = self._working(order)
        if self._is_distant:
            self._change(entry, "pending_cancel", "pending_cancel")
        self._out.send(self.now, self._cancel_arrives, entry)
        return copy_of(entry.order)

    def replace(
        self,
        order: str,
        *,
        quantity: int | None = None,
        limit: int | None = None,
        stop: int | None = None,
        trail: int | None = None,
        kind: str | None = None,
        tif: str | None = None,
        client_id: str | None = None,
        keep_id: bool,
    ) -> VenueOrder:
        """Change an order that waits. What is `None` stays as it is; `quantity` is the new total.

        Where the price stays and the quantity does not grow, the order keeps its place in time.

        Parameters
        ----------
        keep_id
            The order is changed; else a new one replaces it, and is answered.

        Raises
        ------
        Refused
            The order goes on unchanged.
        """
        self._note(Replace(order, keep_id, quantity, limit, stop, trail, kind, tif, client_id))
        entry = self._working(order)
        now = entry.order
        if now.status not in ("working", "partially_filled", "trigger_pending", "accepted"):
            raise Refused("not_replaceable", f"order is {now.status}", order)
        old = now.request
        total = old.quantity if quantity is None else quantity
        kind = kind or old.kind
        wanted = changed(
            old,
            quantity=total,
            limit=0 if kind not in (LIMIT, STOP_LIMIT) else old.limit if limit is None else limit,
            stop=0 if kind not in (STOP, STOP_LIMIT) else old.stop if stop is None else stop,
            trail=old.trail if trail is None else trail,
            kind=kind,
            tif=tif or old.tif,
        )
        check_form(wanted, self.table.get(old.instrument))
        if total <= now.filled:
            raise Refused("bad_quantity", f"quantity {total}, of which {now.filled} are filled", order)
        successor = None
        if not keep_id:
            name = client_id or ""
            self._check_client_id(name)
            successor = self._enter(changed(wanted, client_id=name, quantity=total - now.filled))
            successor.order.replaces, successor.order.carried = now.id, now.carried + now.filled
        if self._is_distant:
            self._change(entry, "pending_replace", "pending_replace")
        self._out.send(self.now, self._replace_arrives, entry, wanted, successor)
        return copy_of(successor.order if successor else entry.order)

    # ------------------------------------------------------------ questions
    def order(self, order: str) -> VenueOrder | None:
        """The order of that broker id as it stands."""
        entry = self._entries.get(order)
        return None if entry is None else copy_of(entry.order)

    def by_client_id(self, client_id: str) -> VenueOrder | None:
        """The latest order of that client id."""
        entry = self._by_client.get(client_id)
        return None if entry is None else copy_of(entry.order)

    def orders(self) -> list[VenueOrder]:
        """Every order that ever came, oldest first."""
        return [copy_of(entry.order) for entry in self._entries.values()]

    def fills(self) -> list[Fill]:
        """Every fill, oldest first."""
        return self._fills.copy()

    def positions(self) -> list[PositionReport]:
        """Positions that are not flat, in table order."""
        held = sorted(self._engine.account.positions.items())
        return [position_report(position) for _, position in held if position.quantity]

    def position(self, instrument: str) -> int:
        """Signed units held."""
        found = self._engine.account.positions.get(self.table.index.get(instrument, -1))
        return 0 if found is None else found.quantity

    def funds(self) -> Funds:
        """Money now."""
        return self._engine.account.funds()

    def phase(self, instrument: str) -> str:
        """`pre_open`, `open`, `closing_auction`, `closed`, or `halted`."""
        found = self.table.get(instrument)
        if found is None:
            return "closed"
        phase = self._hours.phase(found.segment, self.now)
        is_halted = instrument in self._halted or found.segment in self._halted
        return "halted" if is_halted and phase != "closed" else phase

    def band(self, instrument: str) -> tuple[int, int]:
        """Lowest and highest price an order may ask for now; (0, 0) where that is not known yet."""
        book = self._engine.book(instrument)
        return (book.band_low, book.band_high) if book is not None and book.band_high else (0, 0)

    # ------------------------------------------------------------ halts
    def halt(self, name: str) -> None:
        """Stop trading in an instrument or a segment."""
        self._note(Halt(name))
        self._halted.add(name)

    def resume(self, name: str) -> None:
        """Let it trade again, from its next row on."""
        self._note(Halt(name, ends=True))
        self._halted.discard(name)

    def inject(self, rate: float) -> None:
        """From now on refuse this share of good orders with `injected`."""
        self._note(Inject(rate))
        self._engine.reject_rate = rate

    # ------------------------------------------------------------ requests again
    def _note(self, call: AnyCall) -> None:
        for hook in self.on_call:
            hook(call)

    def call(self, call: AnyCall) -> None:
        """Do a request that was written down, once more; a refusal is none of the caller's business now."""
        try:
            match call:
                case Submit(request, keep_refused):
                    self.submit(request, keep_refused=keep_refused)
                case Cancel(order):
                    self.cancel(order)
                case Replace():
                    self.replace(call.order, **{name: getattr(call, name) for name in _REPLACED})
                case Inject(rate):
                    self.inject(rate)
                case Halt(name, ends):
                    (self.resume if ends else self.halt)(name)
        except Refused:
            pass

    # ------------------------------------------------------------ rows and time
    def feed(self, batch: TickBatch, start: int, stop: int) -> None:
        """Take rows [start, stop) in, in order of arrival."""
        if start < stop and not self._has_begun:
            self._begin(batch.view[AT, start])
        while start < stop:
            while self._agenda.next_at < batch.view[AT, start]:
                self._act()
            end = self._cut(batch, start, stop)
            rows = Rows(batch, start, end)
            self.market.fold(rows)
            self.now = max(self.now, batch.view[AT, end - 1])
            self.rows += end - start
            self._row(rows)
            for hook in self.on_rows:
                hook(batch, start, end)
            start = end

    def advance(self, to_ns: int) -> None:
        """Let time pass: what is under way arrives. Rows up to then must have been fed."""
        if not self._has_begun:
            self._begin(to_ns)
        while self._agenda.next_at <= to_ns:
            self._act()
        self.now = max(self.now, to_ns)

    @property
    def next_at(self) -> int:
        """When something is due next without a row, ns; far away where nothing is."""
        return self._agenda.next_at

    def _begin(self, at: int) -> None:
        self._has_begun = True
        self.now = max(self.now, at)
        for segment in self._segments:
            self._expect(segment)

    def _act(self) -> None:
        when, act, args = self._agenda.take()
        self.now = max(self.now, when)
        act(*args)

    def _cut(self, batch: TickBatch, start: int, stop: int) -> int:
        """The row after the first one at which something may happen, or before which something is due."""
        due = self._agenda.next_at
        if due < batch.view[AT, stop - 1]:
            stop = start + int(np.searchsorted(batch.table[AT, start:stop], due, "right"))
        stop = self._engine.probe(batch, start, stop)
        return self._watch.next_row(batch, start, stop)

    def _row(self, rows: Rows) -> None:
        """What the last row of a run sets off."""
        place = rows.batch.view[INSTRUMENT, rows.stop - 1]
        if self.policy.queue_position:
            self._happened(self._engine.look(place, self.now))
        else:
            self._happened(self._engine.fold(rows))
        if self._watch.watches(place):
            if place in self._stops and self._is_open(self.table[place], self.now):
                for entry in tuple(self._stops[place]):
                    self._follow(entry)
            if place in self._queued:
                for entry in tuple(self._queued[place]):
                    if entry.where == QUEUED and entry.request.tif != CLS and self._may_trade(entry):
                        self._work(entry)

    # ------------------------------------------------------------ sessions
    def _is_open(self, instrument: Instrument, at: int) -> bool:
        if self._crossing:
            return True
        phase = self._hours.phase(instrument.segment, at)
        if phase != "open" and not (phase == "pre_open" and self.policy.extended_hours):
            return False
        return not self._halted or not (instrument.id in self._halted or instrument.segment in self._halted)

    def _may_trade(self, entry: Entry) -> bool:
        """Whether an order may be in the book now."""
        instrument = self.table[entry.place]
        if not self._is_open(instrument, self.now):
            return False
        return entry.request.extended_hours or self._crossing or self.phase(instrument.id) == "open"

    def _expect(self, segment: str) -> None:
        edge = self._hours.next_change(segment, self.now)
        if edge < NEVER:
            self._agenda.at(edge, self._edge, segment, self._hours.phase(segment, self.now))

    def _edge(self, segment: str, before: str) -> None:
        """A segment's phase changes."""
        if self._hours.is_over(segment, self.now):
            self._cross(segment, is_auction=before == "closing_auction")
            self._end_day(segment)
        self._expect(segment)

    def _cross(self, segment: str, *, is_auction: bool) -> None:
        """The close: what waits for it trades with the last quotes; after an auction everything else does too."""
        self._crossing = True
        for entry in self._in_segment(segment, QUEUED):
            if is_auction or entry.request.tif == CLS:
                self._work(entry)
        if is_auction:
            for place, instrument in enumerate(self.table):
                if instrument.segment == segment:
                    self._happened(self._engine.cross(place, self.now))
        self._crossing = False

    def _end_day(self, segment: str) -> None:
        for entry in self._in_segment(segment, QUEUED, STOPPED, BOOK):
            if entry.request.tif != GTC:
                self._end(entry, "expired", "session_end")
            elif entry.where == BOOK:
                self._engine.lift(entry.ticket)
                self._engine.objection(entry.ticket, self.now)
                self._engine.reserve(entry.ticket)
                self._shelve(self._queued, entry, QUEUED)
        self._engine.end_of_session(segment, self.now)

    def _in_segment(self, segment: str, *where: str) -> list[Entry]:
        return [
            entry
            for entry in self._by_ticket.values()
            if entry.where in where and self.table[entry.place].segment == segment
        ]

    # ------------------------------------------------------------ what speaks against a request
    def _check(self, request: OrderRequest) -> None:
        place = self.table.index.get(request.instrument, -1)
        check_form(request, self.table.get(request.instrument))
        for name in (request.client_id, *(leg.client_id for leg in (request.take_profit, request.stop_loss) if leg)):
            self._check_client_id(name)
        trial = Entry(VenueOrder("", 0, request, "", self.now, self.now), place)
        if not self._may_trade(trial):
            self._check_phase(trial)
        elif request.tif == OPG:
            raise Refused("opg", "the session is open already")
        objection = self._price(trial) or self._engine.objection(trial.ticket, self.now)
        if objection is not None:
            raise Refused(*objection)

    def _check_client_id(self, name: str) -> None:
        if name and self.policy.unique_client_ids and name in self._by_client:
            first = self._by_client[name].order.id
            raise Refused("duplicate_order", f"{name} was used for order {first}", first)

    def _check_phase(self, entry: Entry) -> None:
        """Whether an order may wait for a market that is not open."""
        request = entry.request
        phase = self.phase(request.instrument)
        waits = self.policy.queues_orders or request.queued or phase in ("pre_open", "closing_auction")
        if request.tif in ("IOC", "FOK") or not (waits or request.tif == OPG or request.kind in STOPS):
            raise Refused("halted" if phase == "halted" else "market_closed", f"{request.instrument} is {phase}")

    def _price(self, entry: Entry) -> tuple[str, str] | None:
        """Set the price the engine works an order at: the worst it may trade at; what speaks against it."""
        request, ticket = entry.request, entry.ticket
        if request.kind in (LIMIT, STOP_LIMIT):
            ticket.limit = request.limit
            return None
        book = self._engine.book(request.instrument)
        assert book is not None
        quote = book.quote
        touch = quote[SIDE_TOUCH[request.side]]
        is_waiting = request.kind in STOPS and not entry.order.triggered_at
        base = entry.stop if is_waiting and entry.stop else touch or quote[LAST] or entry.stop
        if base <= 0:
            return "no_quote", f"{request.instrument}: nobody quotes the side a {request.kind} order needs"
        low, high = self._engine.band(book)
        steps = base * (10_000 + request.side * self.policy.protection_bps) // (10_000 * book.tick)
        ticket.limit = max(low, min(high, max(steps, 1) * book.tick))
        return None

    # ------------------------------------------------------------ orders come in
    def _enter(self, request: OrderRequest, *, status: str = "pending") -> Entry:
        number = len(self._entries) + 1
        order = VenueOrder(self._ids(number), number, request, status, self.now, self.now)
        order.stop = request.stop
        entry = Entry(order, self.table.index.get(request.instrument, -1))
        self._entries[order.id] = self._by_ticket[order.id] = entry
        if request.client_id:
            self._by_client[request.client_id] = entry
        return entry

    def _keep_refused(self, request: OrderRequest, refusal: Refused) -> VenueOrder:
        entry = self._enter(request)
        self._tell("pending", entry)
        entry.where = GONE
        self._back.send(self.now, self._apply_end, entry, "rejected", refusal.code, refusal.detail)
        return copy_of(entry.order)

    def _add_exits(self, entry: Entry) -> None:
        request = entry.request
        exits = []
        side = request.side if request.is_oco else -request.side
        for leg in (request.take_profit, request.stop_loss):
            if leg is not None:
                made = exit_request(request, limit=leg.limit, stop=leg.stop, client_id=leg.client_id, side=side)
                child = self._enter(made, status="held")
                child.parent, child.where, child.order.parent = entry, HELD, entry.order.id
                exits.append(child)
        entry.order.legs = tuple(child.order.id for child in exits)
        if request.is_oco:
            entry.rivals, exits[0].rivals = tuple(exits), (entry,)
            return
        entry.children = tuple(exits)
        if len(exits) == 2:
            exits[0].rivals, exits[1].rivals = (exits[1],), (exits[0],)

    def _arrives(self, entry: Entry) -> None:
        """An order arrives at the exchange."""
        if entry.where == FLIGHT:
            self._place(entry)
            for rival in entry.rivals:
                if rival.where == HELD:
                    self._place(rival)

    def _place(self, entry: Entry) -> None:
        """Put an order where it belongs."""
        if entry.where == GONE:
            return
        if entry.request.kind in STOPS and not entry.order.triggered_at:
            self._arm(entry)
        elif entry.request.tif != CLS and self._may_trade(entry):
            self._work(entry)
        else:
            self._queue(entry)

    def _queue(self, entry: Entry) -> None:
        objection = self._price(entry) or self._engine.objection(entry.ticket, self.now)
        if objection is not None:
            self._end(entry, "rejected", *objection)
            return
        self._engine.reserve(entry.ticket)
        self._shelve(self._queued, entry, QUEUED)
        self._back.send(self.now, self._apply_accepted, entry, "accepted")

    def _work(self, entry: Entry) -> None:
        """Let the engine have an order."""
        self._unshelve(entry)
        objection = self._price(entry)
        if objection is not None:
            self._end(entry, "rejected", *objection)
            return
        entry.where = BOOK
        ticket = entry.ticket
        if ticket.number:
            self._put_back(entry, is_behind=False)
        else:
            ticket.tif = entry.engine_tif
            self._happened(self._engine.submit(ticket, self.now))

    def _put_back(self, entry: Entry, *, is_behind: bool) -> bool:
        """Let the engine have an order again that it had before; whether it took it."""
        fills = self._engine.put(entry.ticket, self.now, is_behind=is_behind)
        if isinstance(fills, tuple):
            self._end(entry, "rejected", *fills)
            return False
        self._happened(fills)
        return True

    def _shelve(self, shelf: dict[int, list[Entry]], entry: Entry, where: str) -> None:
        shelf.setdefault(entry.place, []).append(entry)
        entry.where = where
        self._watch.add(entry.place)

    def _unshelve(self, entry: Entry) -> None:
        """Take an order out of wherever it waits."""
        if entry.where in (QUEUED, STOPPED):
            shelf = self._queued if entry.where == QUEUED else self._stops
            shelf[entry.place].remove(entry)
            if not shelf[entry.place]:
                del shelf[entry.place]
            self._watch.add(entry.place, -1)
            self._engine.release(entry.ticket)
        elif entry.where == BOOK:
            self._engine.lift(entry.ticket)
        entry.where = FLIGHT

    # ------------------------------------------------------------ stops
    def _last(self, place: int, side: int) -> int:
        """What triggers: the last price; without one the touch the order would trade with."""
        cells = self.market.of(place)
        last: int = cells[LAST]
        return last if last > 0 else cells[SIDE_TOUCH[side]]

    def _arm(self, entry: Entry) -> None:
        request, side = entry.request, entry.request.side
        last = self._last(entry.place, side)
        if request.kind == TRAILING_STOP and not entry.best:
            if last <= 0:
                self._end(entry, "rejected", "no_quote", "there is no price to trail")
                return
            entry.best = last
            self._trail(entry)
        if self.policy.refuses_triggered and last > 0 and (last - entry.stop) * side >= 0:
            self._end(entry, "rejected", "would_trigger", f"stop {entry.stop}, last price {last}")
            return
        objection = self._price(entry) or self._engine.objection(entry.ticket, self.now, reserves=entry.reserves)
        if objection is not None:
            self._end(entry, "rejected", *objection)
            return
        if entry.reserves:
            self._engine.reserve(entry.ticket)
        self._shelve(self._stops, entry, STOPPED)
        self._back.send(self.now, self._apply_accepted, entry, "trigger_pending")
        self._back.send(self.now, self._apply_trail, entry, entry.stop, entry.best)
        if self._may_trade(entry):
            self._follow(entry)

    def _trail(self, entry: Entry) -> None:
        """Set the stop of a trailing order behind its best price."""
        request, tick = entry.request, self.table[entry.place].tick_size
        distance = request.trail or int(entry.best * request.trail_pct / 100)
        stop = entry.best - entry.request.side * -distance
        entry.stop = max(stop // tick * tick, tick) if request.side < 0 else -(-stop // tick) * tick

    def _follow(self, entry: Entry) -> None:
        """What the last price means to a stop: a trailing one moves, one that is reached triggers."""
        if entry.where != STOPPED:
            return
        side, last = entry.request.side, self._last(entry.place, entry.request.side)
        if last <= 0:
            return
        if entry.request.kind == TRAILING_STOP and (entry.best - last) * side > 0:
            entry.best = last
            self._trail(entry)
            self._back.send(self.now, self._apply_trail, entry, entry.stop, entry.best)
        if (last - entry.stop) * side >= 0:
            self._trigger(entry)

    def _trigger(self, entry: Entry) -> None:
        self._unshelve(entry)
        entry.order.triggered_at = self.now
        for rival in entry.rivals:
            self._end(rival, "cancelled", "linked")
        self._back.send(self.now, self._apply_triggered, entry)
        self._work(entry)

    # ------------------------------------------------------------ cancel and replace
    def _working(self, order: str) -> Entry:
        entry = self._entries.get(order)
        if entry is None:
            raise Refused("unknown_order", f"no order {order}", order)
        if entry.order.status in ENDED:
            raise Refused("order_ended", f"order is {entry.order.status}", order)
        return entry

    def _cancel_arrives(self, entry: Entry) -> None:
        if entry.where == GONE:
            self._back.send(self.now, self._apply_denied, entry, "cancel_rejected")
        else:
            self._end(entry, "cancelled", "requested")

    def _replace_arrives(self, entry: Entry, wanted: OrderRequest, successor: Entry | None) -> None:
        objection = self._unreplaceable(entry, wanted) or self._amend(entry, wanted, successor)
        if objection is not None:
            self._back.send(self.now, self._apply_denied, entry, "replace_rejected")
            if successor is not None:
                successor.where = GONE
                self._back.send(self.now, self._apply_end, successor, "rejected", *objection)

    def _unreplaceable(self, entry: Entry, wanted: OrderRequest) -> tuple[str, str] | None:
        if entry.where not in (BOOK, QUEUED, STOPPED):
            return "order_ended", "it ended before the change arrived"
        if wanted.quantity <= entry.filled:
            return "bad_quantity", f"{entry.filled} filled before the change arrived"
        return None

    def _amend(self, entry: Entry, wanted: OrderRequest, successor: Entry | None) -> tuple[str, str] | None:
        """Change an order where it waits; what speaks against it, and then nothing has changed."""
        ticket, where, old = entry.ticket, entry.where, entry.request
        kept = ticket.quantity, ticket.limit, entry.stop
        self._unshelve(entry)
        entry.request, ticket.quantity = wanted, wanted.quantity + entry.carried
        if wanted.kind in (STOP, STOP_LIMIT):
            entry.stop = wanted.stop
        elif wanted.kind == TRAILING_STOP and entry.best:
            self._trail(entry)
        objection = self._price(entry) or self._engine.objection(ticket, self.now, reserves=entry.reserves)
        if objection is None and self._engine.meets_own(ticket):
            objection = "self_trade", f"limit {ticket.limit} meets an order of ours"
        if objection is not None:
            entry.request, (ticket.quantity, ticket.limit, entry.stop) = old, kept
            self._return(entry, where, is_behind=False)
            return objection
        is_behind = ticket.limit != kept[1] or ticket.quantity > kept[0] or wanted.kind != old.kind
        where = self._where(entry)
        now = entry
        if successor is not None:
            self._succeed(entry, successor)
            now = successor
        self._back.send(self.now, self._apply_replaced, entry, now, _STATUS[where])
        self._return(now, where, is_behind=is_behind)
        return None

    def _succeed(self, entry: Entry, successor: Entry) -> None:
        """The new order takes over what the old one was."""
        successor.request = changed(
            entry.request, client_id=successor.request.client_id, quantity=entry.request.quantity - entry.filled
        )
        ticket = successor.ticket = entry.ticket
        successor.carried, successor.stop, successor.best = ticket.filled, entry.stop, entry.best
        successor.reserves, successor.parent = entry.reserves, entry.parent
        successor.children, successor.rivals = entry.children, entry.rivals
        successor.order.triggered_at = entry.order.triggered_at
        for child in entry.children:
            child.parent = successor
        for rival in entry.rivals:
            rival.rivals = tuple(successor if other is entry else other for other in rival.rivals)
        if entry.parent is not None:
            entry.parent.children = tuple(successor if child is entry else child for child in entry.parent.children)
        entry.where, entry.children, entry.rivals = GONE, (), ()
        self._by_ticket[ticket.id] = successor

    def _where(self, entry: Entry) -> str:
        if entry.request.kind in STOPS and not entry.order.triggered_at:
            return STOPPED
        return BOOK if entry.request.tif != CLS and self._may_trade(entry) else QUEUED

    def _return(self, entry: Entry, where: str, *, is_behind: bool) -> None:
        """Put a changed order, or one that could not be, to where it waits; only its fills are told."""
        if where == BOOK:
            if entry.ticket.number:
                entry.where = BOOK
                self._put_back(entry, is_behind=is_behind)
            else:
                self._work(entry)
            return
        self._engine.objection(entry.ticket, self.now, reserves=entry.reserves)
        if entry.reserves:
            self._engine.reserve(entry.ticket)
        self._shelve(self._stops if where == STOPPED else self._queued, entry, where)
        if where == STOPPED and self._may_trade(entry):
            self._follow(entry)

    # ------------------------------------------------------------ what happens at the exchange
    def _happened(self, events: Sequence[Event]) -> None:
        for event in events:
            if type(event) is OrderFilled:
                entry = self._by_ticket[event.order]
                position = self._engine.account.positions[entry.place].quantity
                fill = Fill(
                    event.execution, entry.order.id, event.instrument, event.side, event.quantity, event.price,
                    event.fee, event.at, position,
                )  # fmt: skip
                if not entry.left:
                    entry.where = GONE
                self._back.send(self.now, self._apply_fill, entry, fill)
                self._after_fill(entry, event.quantity)
            elif type(event) is OrderAccepted:
                self._back.send(self.now, self._apply_accepted, self._by_ticket[event.order], "working")
            elif type(event) is OrderEnded:
                entry = self._by_ticket[event.order]
                entry.where = GONE
                self._back.send(self.now, self._apply_end, entry, event.outcome, event.code, event.detail)
                self._after_end(entry, event.outcome)

    def _end(self, entry: Entry, outcome: str, code: str, detail: str = "") -> None:
        """An order ends where it is."""
        if entry.where == GONE:
            return
        self._unshelve(entry)
        entry.where, entry.ticket.state = GONE, outcome
        detail = detail or f"{entry.filled} of {entry.filled + entry.left} filled"
        self._back.send(self.now, self._apply_end, entry, outcome, code, detail)
        self._after_end(entry, outcome)

    def _after_fill(self, entry: Entry, units: int) -> None:
        """An exit that filled ends its rival, or makes it smaller; an entry that is filled lets its exits go."""
        for rival in entry.rivals:
            if not entry.left:
                self._end(rival, "cancelled", "linked")
            elif rival.where != GONE:
                self._shrink(rival, units)
        if entry.children and not entry.left:
            self._let_go(entry)

    def _after_end(self, entry: Entry, outcome: str) -> None:
        """The end of an exit ends its rival, that of an entry its exits; what it had filled is closed by them."""
        if entry.children:
            if entry.filled:
                self._let_go(entry)
            for child in entry.children:
                if child.where == HELD:
                    self._end(child, "cancelled", "entry_ended")
        for rival in entry.rivals:
            is_alone = outcome == "rejected" and entry.parent is not None
            if not is_alone:
                self._end(rival, "cancelled", "linked")
            elif not rival.reserves:
                rival.reserves = True

    def _shrink(self, entry: Entry, units: int) -> None:
        where = entry.where
        if where != HELD:
            self._unshelve(entry)
        entry.ticket.quantity -= units
        entry.request = changed(entry.request, quantity=entry.request.quantity - units)
        self._back.send(self.now, self._apply_replaced, entry, entry, "")
        if where != HELD:
            self._return(entry, where, is_behind=False)
        else:
            entry.where = HELD

    def _let_go(self, entry: Entry) -> None:
        """The exits of an entry begin to work, for what it filled; one of two holds back what both need."""
        units = entry.carried + entry.filled
        for child in entry.children:
            if child.where == HELD and units != child.request.quantity:
                child.ticket.quantity = units
                child.request = changed(child.request, quantity=units)
                self._back.send(self.now, self._apply_replaced, child, child, "")
        for number, child in enumerate(entry.children):
            if child.where == HELD:
                child.reserves = number == 0 or entry.children[0].where == GONE
                child.where = FLIGHT
                self._place(child)

    # ------------------------------------------------------------ what the broker hears
    def _tell(self, kind: str, entry: Entry, fill: Fill | None = None) -> None:
        entry.order.updated_at = self.now
        if self.on_report:
            report = Report(kind, copy_of(entry.order), fill, self.now)
            for hook in self.on_report:
                hook(report)

    def _change(self, entry: Entry, status: str, kind: str) -> None:
        if not entry.order.status.startswith("pending_"):
            entry.before = entry.order.status
        entry.order.status = status
        self._tell(kind, entry)

    def _set(self, entry: Entry, status: str) -> None:
        """The order's status, or what it will be once a pending request is answered."""
        if entry.order.status in ("pending_cancel", "pending_replace"):
            entry.before = status
        else:
            entry.order.status = status

    def _apply_accepted(self, entry: Entry, status: str) -> None:
        is_first = entry.order.status == "pending"
        self._set(entry, status)
        self._tell("accepted" if is_first else "working", entry)

    def _apply_fill(self, entry: Entry, fill: Fill) -> None:
        order = entry.order
        order.filled += fill.quantity
        order.notional += fill.quantity * fill.price
        order.fee += fill.fee
        self._fills.append(fill)
        if order.filled == order.request.quantity:
            order.status, order.ended_at = "filled", self.now
            self._tell("fill", entry, fill)
        else:
            self._set(entry, "partially_filled")
            self._tell("partial_fill", entry, fill)

    def _apply_end(self, entry: Entry, outcome: str, code: str, detail: str) -> None:
        order = entry.order
        order.status, order.code, order.detail, order.ended_at = outcome, code, detail, self.now
        self._tell(outcome, entry)

    def _apply_denied(self, entry: Entry, kind: str) -> None:
        if entry.order.status in ("pending_cancel", "pending_replace"):
            entry.order.status = entry.before
        self._tell(kind, entry)

    def _apply_triggered(self, entry: Entry) -> None:
        self._set(entry, "working")
        self._tell("triggered", entry)

    def _apply_trail(self, entry: Entry, stop: int, best: int) -> None:
        entry.order.stop, entry.order.best = stop, best

    def _apply_replaced(self, entry: Entry, now: Entry, status: str) -> None:
        order = now.order
        order.request, order.stop = now.request, now.stop
        if now is not entry:
            entry.order.status, entry.order.replaced_by, entry.order.ended_at = "replaced", order.id, self.now
            order.carried = entry.order.carried + entry.order.filled
            self._tell("replaced", entry)
            self._apply_accepted(now, status)
            return
        if status:
            status = "partially_filled" if order.filled and status == "working" else status
            entry.before = order.status = status
        self._tell("replaced", entry)


_REPLACED: Final = tuple(name for name in Replace.__struct_fields__ if name != "order")
_STATUS: Final = {BOOK: "working", STOPPED: "trigger_pending", QUEUED: "accepted"}
