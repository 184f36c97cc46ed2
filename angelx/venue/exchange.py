"""One account at a simulated exchange, with everything brokers' APIs offer: no I/O, no clock of its own.

Rows and time come in by `feed` and `advance`, requests by `submit`, `cancel` and `replace`; reports and rows go out to
`on_report` and `on_rows`. The same calls with the same seed give the same answers. docs/venue.md has the rules.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import numpy as np
from msgspec.structs import replace as changed

from angelx.domain.instruments import InstrumentTable
from angelx.domain.reports import PositionReport
from angelx.domain.ticks import AT, Rows, TickBatch
from angelx.market.state import MarketState
from angelx.venue.account import Funds, Margin
from angelx.venue.admission import Bands, Fee
from angelx.venue.agenda import Agenda, Line
from angelx.venue.amending import Amending
from angelx.venue.broker_desk import BrokerDesk
from angelx.venue.engine import ExchangeEngine
from angelx.venue.entries import FLIGHT, GONE, HELD, Entry, check_form, copy_of, exit_request
from angelx.venue.floor import Floor, Policy
from angelx.venue.hours import AlwaysOpen, Hours
from angelx.venue.intake import Intake
from angelx.venue.phases import Phases
from angelx.venue.reports import position_report
from angelx.venue.requests import (
    ENDED,
    LIMIT,
    STOP,
    STOP_LIMIT,
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
        self.policy = policy = policy or Policy()
        self.currency = currency
        self.rows = 0
        """Fed so far."""
        self.on_rows: list[Callable[[TickBatch, int, int], None]] = []
        self.on_call: list[Callable[[AnyCall], None]] = []
        """Told of every request before it is looked at."""
        self.on_phase: list[Callable[[str, str], None]] = []
        """Told when a segment changes phase or is halted, or an instrument is: its name, and the phase from now on."""
        self._ids = ids
        random, watch = Random(seed), Watch(len(table))
        agenda = self._agenda = Agenda()
        self._phases = Phases(
            table, hours or AlwaysOpen(), agenda, self._on_edge, extended_hours=policy.extended_hours
        )  # fmt: skip
        self._engine = ExchangeEngine(
            self.market, watch, cash=cash, fee=fee, is_open=self._phases.is_open, random=random,
            reject_rate=policy.reject_rate, bands=bands, margin=margin, closes=closes, currency=currency,
            queue_position=policy.queue_position,
        )  # fmt: skip
        self._is_distant = policy.latency_ns > 0 or policy.jitter_ns > 0
        self._out, back = (Line(agenda, policy.latency_ns, policy.jitter_ns, random) for _ in range(2))
        self._desk = BrokerDesk(agenda)
        self._floor = Floor(
            table, self.market, self._engine, phases=self._phases, policy=policy, agenda=agenda, watch=watch, back=back,
            desk=self._desk,
        )  # fmt: skip
        self._amending = Amending(self._floor)
        self._entries: dict[str, Entry] = {}
        self._by_client: dict[str, Entry] = {}
        self._intake = Intake(self._floor, self._phases, self._by_client)

    @property
    def now(self) -> int:
        """Exchange time, ns."""
        return self._agenda.now

    @property
    def on_report(self) -> list[Callable[[Report], None]]:
        """Told of every change of every order."""
        return self._desk.on_report

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
            self._intake.check(request)
        except Refused as refusal:
            if not keep_refused:
                raise
            return self._keep_refused(request, refusal)
        entry = self._enter(request)
        self._add_exits(entry)
        self._desk.tell("pending", entry)
        for leg in (*entry.children, *entry.rivals):
            self._desk.tell("accepted", leg)
        self._out.send(self.now, self._arrives, entry)
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
            self._desk.ask(entry, "pending_cancel")
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
        trail_pct: float | None = None,
        kind: str | None = None,
        tif: str | None = None,
        client_id: str | None = None,
        keep_id: bool,
    ) -> VenueOrder:
        """Change an order that waits. What is `None` stays as it is; `quantity` is the new total, and a `trail` takes
        the place of a `trail_pct` or the other way round.

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
        self._note(Replace(order, keep_id, quantity, limit, stop, trail, kind, tif, client_id, trail_pct))
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
            trail=trail if trail is not None else 0 if trail_pct is not None else old.trail,
            trail_pct=trail_pct if trail_pct is not None else 0.0 if trail is not None else old.trail_pct,
            kind=kind,
            tif=tif or old.tif,
        )
        check_form(wanted, self.table.get(old.instrument))
        if (entry.parent is not None or entry.rivals) and (total != old.quantity or kind != old.kind):
            raise Refused("linked", "the quantity of an exit follows its entry and its rival, its kind stays", order)
        if total <= now.filled:
            raise Refused("bad_quantity", f"quantity {total}, of which {now.filled} are filled", order)
        successor = None
        if not keep_id:
            name = client_id or ""
            self._intake.check_client_id(name)
            successor = self._enter(changed(wanted, client_id=name, quantity=total - now.filled))
            successor.order.replaces, successor.order.carried = now.id, now.carried + now.filled
        if self._is_distant:
            self._desk.ask(entry, "pending_replace")
        self._out.send(self.now, self._amending.arrives, entry, wanted, successor)
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
        return self._desk.fills.copy()

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
        return "closed" if found is None else self._phases.of(found)

    def band(self, instrument: str) -> tuple[int, int]:
        """Lowest and highest price an order may ask for now; (0, 0) where that is not known yet."""
        book = self._engine.book(instrument)
        return (0, 0) if book is None else self._engine.band(book)

    # ------------------------------------------------------------ halts
    def halt(self, name: str) -> None:
        """Stop trading in an instrument or a segment."""
        self._note(Halt(name))
        self._phases.halted.add(name)
        self._tell_phase(name)

    def resume(self, name: str) -> None:
        """Let it trade again, from its next row on."""
        self._note(Halt(name, ends=True))
        self._phases.halted.discard(name)
        self._tell_phase(name)

    def _tell_phase(self, name: str) -> None:
        """Of an instrument, or of a segment by its first one."""
        one = self.table.get(name) or next((one for one in self.table if one.segment == name), None)
        if one is not None:
            for hook in self.on_phase:
                hook(name, self._phases.of(one))

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
        """Take rows [start, stop) in, in order of arrival. How they are cut into calls makes no difference."""
        agenda, times = self._agenda, batch.view
        if start < stop:
            self._phases.begin(times[AT, start])
        while start < stop:
            while agenda.next_at < times[AT, start]:
                agenda.act()
            end = self._cut(batch, start, stop)
            rows = Rows(batch, start, end)
            self.market.fold(rows)
            agenda.now = max(agenda.now, times[AT, end - 1])
            self.rows += end - start
            self._floor.row(rows)
            for hook in self.on_rows:
                hook(batch, start, end)
            start = end

    def advance(self, to_ns: int) -> None:
        """Let time pass: what is under way arrives. Rows up to then must have been fed."""
        agenda = self._agenda
        self._phases.begin(to_ns)
        while agenda.next_at <= to_ns:
            agenda.act()
        agenda.now = max(agenda.now, to_ns)

    @property
    def next_at(self) -> int:
        """When something is due next without a row, ns; far away where nothing is."""
        return self._agenda.next_at

    def _cut(self, batch: TickBatch, start: int, stop: int) -> int:
        """The row after the first one at which something may happen, or before which something is due."""
        due = self._agenda.next_at
        if due < batch.view[AT, stop - 1]:
            stop = start + int(np.searchsorted(batch.table[AT, start:stop], due, "right"))
        return self._floor.cut(batch, start, stop)

    def _on_edge(self, segment: str, before: str) -> None:
        self._floor.edge(segment, before)
        self._tell_phase(segment)

    # ------------------------------------------------------------ orders come in
    def _enter(self, request: OrderRequest, *, status: str = "pending") -> Entry:
        number = len(self._entries) + 1
        order = VenueOrder(self._ids(number), number, request, status, self.now, self.now)
        order.stop = request.stop
        entry = Entry(order, self.table.index.get(request.instrument, -1))
        self._entries[order.id] = self._floor.by_ticket[order.id] = entry
        if request.client_id:
            self._by_client[request.client_id] = entry
        return entry

    def _keep_refused(self, request: OrderRequest, refusal: Refused) -> VenueOrder:
        entry = self._enter(request)
        self._desk.tell("pending", entry)
        entry.where = GONE
        self._floor.tell(self._desk.ended, entry, "rejected", refusal.code, refusal.detail)
        return copy_of(entry.order)

    def _add_exits(self, entry: Entry) -> None:
        request, exits = entry.request, []
        side = request.side if request.is_oco else -request.side
        for leg in (request.take_profit, request.stop_loss):
            if leg is not None:
                made = exit_request(request, limit=leg.limit, stop=leg.stop, client_id=leg.client_id, side=side)
                child = self._enter(made, status="held")
                child.parent, child.where, child.order.parent = entry, HELD, entry.order.id
                exits.append(child)
        entry.order.legs = tuple(child.order.id for child in exits)
        if request.is_oco:
            entry.rivals, exits[0].rivals, exits[0].reserves = tuple(exits), (entry,), False
            return
        entry.children = tuple(exits)
        if len(exits) == 2:
            exits[0].rivals, exits[1].rivals = (exits[1],), (exits[0],)

    def _arrives(self, entry: Entry) -> None:
        """An order arrives at the exchange; the other half of an OCO with it."""
        if entry.where == FLIGHT:
            self._floor.place(entry)
            for rival in entry.rivals:
                if rival.where == HELD:
                    self._floor.place(rival)

    def _cancel_arrives(self, entry: Entry) -> None:
        if entry.where == GONE:
            self._floor.tell(self._desk.denied, entry, "cancel_rejected")
        else:
            self._floor.end(entry, "cancelled", "requested")

    def _working(self, order: str) -> Entry:
        entry = self._entries.get(order)
        if entry is None:
            raise Refused("unknown_order", f"no order {order}", order)
        if entry.order.status in ENDED:
            raise Refused("order_ended", f"order is {entry.order.status}", order)
        return entry


_REPLACED: Final = tuple(name for name in Replace.__struct_fields__ if name != "order")
