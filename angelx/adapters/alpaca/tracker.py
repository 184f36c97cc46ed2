"""What became of our orders, from two witnesses: the order stream and the books. Each fact comes out once, in order.

A fill is known by its order and the cumulative quantity after it (`<broker order>/<cumulative>`): the stream and the
activities both say it, while their own ids differ. A fill that does not join on to the ones before it is a `Gap`: the
books are read before anything later is told.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final

from angelx.adapters.alpaca.messages import UpdateData, WireFill, WireOrder
from angelx.domain.client_ids import PREFIX
from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.instruments import Instrument
from angelx.domain.reports import OrderReport
from angelx.domain.scalars import BUY, SELL, price_of
from angelx.domain.timestamps import instant_of

Fee = Callable[[Instrument, int, int, int, int], int]
"""`fee(instrument, side, quantity, notional, at)`: fees of a whole order so far filled, money."""

OUTCOMES: Final = {
    "canceled": "cancelled", "expired": "expired", "rejected": "rejected", "done_for_day": "expired",
    "stopped": "", "filled": "",
}  # fmt: skip
"""How a status ends an order, in our word; empty where fills say so."""
TERMINAL: Final = frozenset(("canceled", "expired", "rejected", "filled", "replaced", "done_for_day"))
STATES: Final = {
    "filled": "filled", "canceled": "cancelled", "expired": "expired", "rejected": "rejected",
    "done_for_day": "expired", "replaced": "cancelled",
}  # fmt: skip
MOST_UNITS: Final = 2**62


class Gap(Exception):
    """Something happened before this that was not told: read the books."""

    def __init__(self, broker_order: str, what: str) -> None:
        super().__init__(f"order {broker_order}: {what}")
        self.broker_order = broker_order
        self.events: list[Event] = []
        """What the message said before it came to that: to be told."""


class Unreadable(ValueError):
    """A message says what cannot be: it is counted and not acted on."""


class Tracked:
    """One order of ours, over all its replacements."""

    __slots__ = (
        "accepted",
        "broker_order",
        "ended",
        "fee",
        "filled",
        "instrument",
        "name",
        "notional",
        "quantity",
        "side",
    )

    def __init__(self, name: str, instrument: Instrument, side: int, quantity: int) -> None:
        self.name, self.instrument, self.side, self.quantity = name, instrument, side, quantity
        self.broker_order = ""
        """The latest in the chain of replacements."""
        self.filled = self.notional = self.fee = 0
        self.accepted = self.ended = False


class _Link:
    """One order id of the broker."""

    __slots__ = ("before", "filled", "order", "status")

    def __init__(self, order: Tracked, before: "_Link | None") -> None:
        self.order = order
        self.before = before
        """The order it replaces."""
        self.filled = 0
        """Units filled as far as they were told."""
        self.status = ""


class Tracker:
    """Knows every order of ours. Orders whose client id is not ours are counted and left alone.

    Parameters
    ----------
    instrument_of
        By the broker's symbol; `None` = not in the table.
    """

    def __init__(self, instrument_of: Callable[[str], Instrument | None], fee: Fee | None = None) -> None:
        self.orders: dict[str, Tracked] = {}
        """By client order id."""
        self.counts: Counter[str] = Counter()
        """`foreign`, `duplicate` and what else was not acted on, by reason."""
        self._instrument_of, self._fee = instrument_of, fee
        self._links: dict[str, _Link] = {}
        self._executions: set[str] = set()
        self.fills: dict[str, OrderFilled] = {}
        """Every fill that was told, by execution."""

    def expect(self, approved: OrderApproved, instrument: Instrument) -> Tracked:
        """An order is about to be sent."""
        return self.orders.setdefault(
            approved.order, Tracked(approved.order, instrument, approved.side, approved.quantity)
        )

    def forget(self, order: str) -> None:
        """An order was refused: it never was."""
        tracked = self.orders.get(order)
        if tracked is not None and not tracked.broker_order:
            del self.orders[order]

    def live(self) -> list[Tracked]:
        """Orders the broker has and that have not ended, as far as is known."""
        return [order for order in self.orders.values() if order.broker_order and not order.ended]

    def name_of(self, broker_order: str) -> str:
        """Client order id of a broker's order; empty where it is not ours."""
        link = self._links.get(broker_order)
        return link.order.name if link is not None else ""

    # ------------------------------------------------------------ what the stream says
    def told(self, update: UpdateData, at: int) -> list[Event]:
        """One message of the order stream.

        Raises
        ------
        Gap
            Something before it is missing; nothing was taken in.
        Unreadable
            It contradicts itself.
        """
        link = self._link(update.order)
        if link is None:
            return []
        if update.event in ("fill", "partial_fill"):
            if update.execution_id and update.execution_id in self._executions:
                self.counts["duplicate"] += 1
                return []
            events = self._filled(link, update, at)
            if update.execution_id:
                self._executions.add(update.execution_id)
            try:
                return events + self._settle(link, update.order, at)
            except Gap as gap:
                gap.events = events
                raise
        if update.event in ("trade_bust", "trade_correct"):
            self.counts[update.event] += 1
            return []
        return self._settle(link, update.order, at)

    def _filled(self, link: _Link, update: UpdateData, at: int) -> list[Event]:
        order = update.order
        if update.price is None or update.qty is None or order.filled_qty is None:
            raise Unreadable(f"a {update.event} of {order.id} without price, quantity or filled quantity")
        when = _instant(update.timestamp, at)
        return self._fill(link, order, self._units(link, order.filled_qty), self._units(link, update.qty),
                          _price(update.price), at, when)  # fmt: skip

    # ------------------------------------------------------------ what the books say
    def read(
        self, orders: Iterable[WireOrder], fills: Mapping[str, list[WireFill]], at: int
    ) -> tuple[list[Event], list[Gap]]:
        """Both books: what was not told before, and what even they leave open.

        Parameters
        ----------
        orders
            Oldest first.
        fills
            By the broker's order id.
        """
        events: list[Event] = []
        gaps: list[Gap] = []
        known: list[tuple[_Link, WireOrder]] = []
        for order in orders:
            try:
                link = self._link(order)
                if link is None:
                    continue
                for fill in sorted(fills.get(order.id, ()), key=lambda fill: fill.cum_qty):
                    cumulative, units = self._units(link, fill.cum_qty), self._units(link, fill.qty)
                    when = _instant(fill.transaction_time, at)
                    events += self._fill(link, order, cumulative, units, _price(fill.price), at, when)
                known.append((link, order))
            except Gap as gap:
                gaps.append(gap)
            except Unreadable:
                self.counts["unreadable"] += 1
        doubtful: set[str] = set()
        for link, order in known:  # Nothing ends before a fill of what it replaced was told.
            if link.order.name in doubtful:
                continue
            try:
                events += self._settle(link, order, at)
            except Gap as gap:
                gaps.append(gap)
                doubtful.add(link.order.name)
            except Unreadable:
                self.counts["unreadable"] += 1
        return events, gaps

    # ------------------------------------------------------------ facts
    def _fill(
        self, link: _Link, wire: WireOrder, cumulative: int, units: int, price: int, at: int, when: int
    ) -> list[Event]:
        if units <= 0 or price <= 0 or cumulative < units:
            raise Unreadable(f"a fill of {units} at {price}, {cumulative} in all")
        if cumulative <= link.filled:
            self.counts["duplicate"] += 1
            return []
        before = cumulative - units
        if before != link.filled and not self._carries(link, before):
            raise Gap(wire.id, f"filled {before} before this fill, of which {link.filled} were told")
        order = link.order
        events = self._accept(order, wire.id, at)
        link.filled = cumulative
        order.filled += units
        order.notional += units * price
        fee = 0
        if self._fee is not None:
            whole = self._fee(order.instrument, order.side, order.filled, order.notional, when)
            fee, order.fee = whole - order.fee, whole
        name, execution = order.instrument.id, f"{wire.id}/{cumulative}"
        fill = self.fills[execution] = OrderFilled(at, order.name, name, order.side, units, price, fee, execution)
        return [*events, fill]

    @staticmethod
    def _carries(link: _Link, before: int) -> bool:
        """A replacement may count what the order before it had filled."""
        if link.filled or link.before is None or link.before.filled != before:
            return False
        link.filled = before
        return True

    def _settle(self, link: _Link, wire: WireOrder, at: int) -> list[Event]:
        """The state an order is in, after all fills it knows of were told."""
        order = link.order
        filled = self._units(link, wire.filled_qty or Decimal(0))
        if filled > link.filled and not self._carries(link, filled):
            raise Gap(wire.id, f"{filled} filled, of which {link.filled} were told")
        if filled < link.filled and wire.status not in TERMINAL:
            self.counts["late"] += 1  # It was overtaken: what it says is no longer so.
            return []
        if link.status in TERMINAL:
            return []
        is_latest = order.broker_order == wire.id
        if wire.status == "replaced" and is_latest and wire.replaced_by and wire.replaced_by not in self._links:
            raise Gap(wire.replaced_by, f"replaces {wire.id} and is not known")
        link.status = wire.status
        if wire.status == "rejected":
            return self._reject(link, wire, at)
        events = self._accept(order, wire.id, at)
        if wire.status == "replaced":
            return events
        return events + self._end(order, wire, at)

    def _end(self, order: Tracked, wire: WireOrder, at: int) -> list[Event]:
        if wire.status not in TERMINAL or order.ended:
            return []
        order.ended = True
        outcome = OUTCOMES[wire.status]
        detail = f"{order.filled} of {order.quantity} filled"
        return [OrderEnded(at, order.name, outcome, f"alpaca_{wire.status}", detail)] if outcome else []

    def _reject(self, link: _Link, wire: WireOrder, at: int) -> list[Event]:
        """A refused replacement leaves the order before it at work."""
        order, before = link.order, link.before
        if before is not None and before.status != "replaced":
            order.broker_order = next(id_ for id_, one in self._links.items() if one is before)
            return []
        if order.ended:
            return []
        order.ended = True
        return [OrderEnded(at, order.name, "rejected", "alpaca_rejected", wire.reject_reason or "")]

    def _accept(self, order: Tracked, broker_order: str, at: int) -> list[Event]:
        if order.accepted:
            return []
        order.accepted = True
        return [OrderAccepted(at, order.name, broker_order)]

    # ------------------------------------------------------------ whose order it is
    def _link(self, wire: WireOrder) -> _Link | None:
        link = self._links.get(wire.id)
        if link is not None:
            return link
        before = self._links.get(wire.replaces or "")
        order = before.order if before is not None else self.orders.get(wire.client_order_id) or self._adopted(wire)
        if order is None:
            self.counts["foreign"] += 1
            return None
        link = self._links[wire.id] = _Link(order, before)
        order.broker_order = wire.id
        return link

    def _adopted(self, wire: WireOrder) -> Tracked | None:
        """An order that carries our mark but is of an earlier process."""
        if not wire.client_order_id.startswith(PREFIX):
            return None
        instrument = self._instrument_of(wire.symbol or "")
        if instrument is None or wire.side not in ("buy", "sell") or wire.qty is None:
            self.counts["unknown_instrument"] += 1
            return None
        units = whole_units(wire.qty) * multiplier(instrument)
        order = Tracked(wire.client_order_id, instrument, BUY if wire.side == "buy" else SELL, units)
        self.orders[wire.client_order_id] = order
        return order

    @staticmethod
    def _units(link: _Link, quantity: Decimal) -> int:
        return whole_units(quantity) * multiplier(link.order.instrument)

    # ------------------------------------------------------------ the order book
    def report(self, wire: WireOrder) -> OrderReport:
        """One line of the order book. An order that is not ours has no client id there."""
        instrument = self._instrument_of(wire.symbol or "")
        each = multiplier(instrument) if instrument is not None else 1
        filled = whole_units(wire.filled_qty or Decimal(0)) * each
        name = self.name_of(wire.id) or (wire.client_order_id if wire.client_order_id.startswith(PREFIX) else "")
        average = wire.filled_avg_price or Decimal(0)
        tracked = self.orders.get(name)
        is_told = tracked is not None and tracked.broker_order == wire.id and tracked.filled == filled
        return OrderReport(
            order=name,
            broker_order=wire.id,
            instrument=instrument.id if instrument is not None else foreign_id(wire.symbol or ""),
            side=SELL if wire.side == "sell" else BUY,
            quantity=whole_units(wire.qty or Decimal(0)) * each,
            limit=_price(wire.limit_price) if wire.limit_price is not None else 0,
            filled=filled,
            notional=tracked.notional if tracked is not None and is_told else _price(average * filled),
            fee=tracked.fee if tracked is not None and is_told else 0,
            state=STATES.get(wire.status, "working"),
            code="" if wire.status == "filled" or wire.status not in TERMINAL else f"alpaca_{wire.status}",
        )


def multiplier(instrument: Instrument) -> int:
    """Units in one of the broker's: an option contract is a lot."""
    return instrument.lot_size


def foreign_id(symbol: str) -> str:
    """A name for what is not in the table."""
    return f"ALPACA:{symbol}"


def whole_units(quantity: Decimal) -> int:
    """Whole units, towards zero.

    Raises
    ------
    Unreadable
        It is no quantity.
    """
    if not quantity.is_finite() or abs(quantity) > MOST_UNITS:
        raise Unreadable(f"quantity {quantity}")
    return int(quantity)


def _price(price: Decimal) -> int:
    if not price.is_finite() or abs(price) > MOST_UNITS:
        raise Unreadable(f"price {price}")
    return price_of(price)


def _instant(text: str | None, otherwise: int) -> int:
    try:
        return instant_of(text) if text else otherwise
    except ValueError:
        return otherwise


def same_order(
    approved: OrderApproved, wire: WireOrder, contracts: int, symbol: str, earliest: int, latest: int
) -> bool:
    """Whether an order that already has our client id is the one we sent: symbol, side, quantity and time agree."""
    side = "buy" if approved.side > 0 else "sell"
    created = _instant(wire.created_at, 0)
    return wire.symbol == symbol and wire.side == side and wire.qty == contracts and earliest <= created <= latest
