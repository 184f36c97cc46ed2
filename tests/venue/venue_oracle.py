"""A slow, obvious exchange to compare the engine with: row by row, plain lists, everything looked for anew."""

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.instruments import Instrument, InstrumentTable, Kind

Quote = tuple[int, int, int, int]
"""Bid, ask, bid size, ask size."""


@dataclass
class Resting:
    approved: OrderApproved
    tif: str
    left: int
    paid: int = 0
    worth: int = 0
    done: bool = False


@dataclass
class Oracle:
    """Speaks of money only where it refuses shorts of options; every order has money enough."""

    table: InstrumentTable
    latency: int
    fee: Callable[[Instrument, int, int, int, int], int]
    fills_accept: bool = False
    """An order that fills on arrival is not reported as accepted besides."""
    reports: list[Event] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)
    orders: list[Resting] = field(default_factory=list)
    quotes: dict[str, Quote] = field(default_factory=dict)
    shown: dict[tuple[str, int], int] = field(default_factory=dict)
    """What the quote that a buy (+1) or sell (-1) would meet has left for us."""
    agenda: list[tuple[int, int, Callable[[int], None]]] = field(default_factory=list)
    ticket: int = 0
    executions: int = 0

    # ------------------------------------------------------------ time
    def later(self, now: int, act: Callable[[int], None]) -> None:
        if not self.latency:
            act(now)
            return
        self.ticket += 1
        heappush(self.agenda, (now + self.latency, self.ticket, act))

    def until(self, at: int, *, inclusive: bool) -> None:
        while self.agenda and (self.agenda[0][0] < at or (inclusive and self.agenda[0][0] == at)):
            due, _, act = heappop(self.agenda)
            act(due)

    def say(self, now: int, *events: Callable[[int], Event]) -> None:
        if events:
            self.later(now, lambda at: self.reports.extend(make(at) for make in events))

    # ------------------------------------------------------------ inputs
    def row(self, name: str, quote: Quote, at: int) -> None:
        self.until(at, inclusive=False)
        before = self.quotes.get(name, (0, 0, 0, 0))
        if (quote[1], quote[3]) != (before[1], before[3]):
            self.shown[name, 1] = quote[3]
        if (quote[0], quote[2]) != (before[0], before[2]):
            self.shown[name, -1] = quote[2]
        self.quotes[name] = quote
        said: list[Callable[[int], Event]] = []
        for side in (1, -1):
            waiting = [order for order in self.orders if order.approved.instrument == name and not order.done]
            mine = [order for order in waiting if order.approved.side == side]
            mine.sort(key=lambda order: -side * order.approved.limit)  # Stable: then by time.
            for order in mine:
                said += self.take(order)
        self.say(at, *said)

    def submit(self, approved: OrderApproved, tif: str, now: int) -> None:
        self.later(now, lambda at: self.arrive(approved, tif, at))

    def cancel(self, name: str, now: int) -> None:
        self.later(now, lambda at: self.cancelled(name, at))

    # ------------------------------------------------------------ what happens
    def arrive(self, approved: OrderApproved, tif: str, at: int) -> None:
        code = self.refusal(approved)
        if code:
            self.say(at, lambda t: OrderEnded(t, approved.order, "rejected", code, ""))
            return
        order = Resting(approved, tif, approved.quantity)
        said: list[Callable[[int], Event]] = []
        if tif != "FOK" or self.fillable(order) == approved.quantity:
            said += self.take(order)
        if not (said and self.fills_accept):
            said.insert(0, lambda t: OrderAccepted(t, approved.order, "V" + approved.order))
        if order.left and tif != "DAY":
            order.done = True
            said.append(lambda t: OrderEnded(t, approved.order, "cancelled", tif.lower(), ""))
        self.orders.append(order)
        self.say(at, *said)

    def cancelled(self, name: str, at: int) -> None:
        for order in self.orders:
            if order.approved.order == name and not order.done:
                order.done = True
                self.say(at, lambda t: OrderEnded(t, name, "cancelled", "requested", ""))

    def refusal(self, approved: OrderApproved) -> str:
        name, side = approved.instrument, approved.side
        bid, ask, _, _ = self.quotes.get(name, (0, 0, 0, 0))
        if not bid and not ask:
            return "no_quote"
        working = [order for order in self.orders if order.approved.instrument == name and not order.done]
        for order in working:
            if order.approved.side == -side and (order.approved.limit - approved.limit) * side <= 0:
                return "self_trade"
        on_sale = sum(order.left for order in working if order.approved.side == -1)
        instrument = self.table.get(name)
        assert instrument is not None
        free = self.positions.get(name, 0) - on_sale
        return (
            "insufficient_position"
            if instrument.kind is Kind.OPTION and side == -1 and free < approved.quantity
            else ""
        )

    def fillable(self, order: Resting) -> int:
        name, side, limit = order.approved.instrument, order.approved.side, order.approved.limit
        bid, ask, _, _ = self.quotes[name]
        touch = ask if side == 1 else bid
        if touch == 0 or (bid and ask and bid > ask) or (touch - limit) * side > 0:
            return 0
        instrument = self.table.get(name)
        assert instrument is not None
        lots = 0
        while (lots + 1) * instrument.lot_size <= min(order.left, self.shown[name, side]):
            lots += 1
        return lots * instrument.lot_size

    def take(self, order: Resting) -> list[Callable[[int], Event]]:
        approved, units = order.approved, self.fillable(order)
        if not units:
            return []
        name, side = approved.instrument, approved.side
        price = self.quotes[name][1 if side == 1 else 0]
        self.shown[name, side] -= units
        self.positions[name] = self.positions.get(name, 0) + side * units
        order.left -= units
        order.done = order.left == 0
        order.worth += units * price
        instrument = self.table.get(name)
        assert instrument is not None
        total = self.fee(instrument, side, approved.quantity - order.left, order.worth, 0)
        fee, order.paid = total - order.paid, total
        self.executions += 1
        execution = f"P{self.executions}"
        return [lambda t: OrderFilled(t, approved.order, name, side, units, price, fee, execution)]
