"""Order stream and books into one run of events: every fill once, however often and in whatever order it is told.

A fill is known by its order and the order's cumulative quantity after it. The stream says how much is filled in all;
the trade book says each fill. Whichever is seen first is reported; what the other adds beyond that is reported when it
is seen; what it repeats is not. So nothing is lost by a message that does not come, and nothing doubled by one that
comes twice or late.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Final

import msgspec

from angelx.adapters.angelone.master import Contract, ScripMaster
from angelx.adapters.angelone.rows import OrderRow, TradeRow, money, side_of, units
from angelx.adapters.angelone.session import india_date
from angelx.domain.client_ids import PREFIX
from angelx.domain.errors import OrderRejected
from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.instruments import Instrument
from angelx.domain.reports import OrderReport

ENDED: Final = {
    "cancelled": "cancelled", "cancelled after market order": "cancelled", "rejected": "rejected", "complete": "filled",
}  # fmt: skip
"""Statuses that nothing but a late fill follows, and our word for them."""
UNDER_WAY: Final = ("", "put order req received", "validation pending", "open pending")
"""The broker has it, the exchange perhaps not yet."""

Fee = Callable[[Instrument, int, int, int, int], int]
"""`fee(instrument, side, quantity, notional, at)`: fees of a whole order so far filled, money."""


class Known(msgspec.Struct):
    """One order at the broker, and what of it was reported."""

    order: str
    """Client order id; empty where the order is not ours."""
    broker_order: str
    instrument: str
    side: int
    quantity: int = 0
    limit: int = 0
    variety: str = "NORMAL"
    product: str = ""
    kind: str = "LIMIT"
    unique_id: str = ""
    filled: int = 0
    """Units reported as filled."""
    notional: int = 0
    """Money of those, as reported."""
    fee: int = 0
    is_accepted: bool = False
    state: str = "working"
    code: str = ""
    day: date | None = None
    """Trading date of the book it was last seen in."""

    @property
    def is_working(self) -> bool:
        """Whether anything may still come."""
        return self.state == "working"

    def report(self) -> OrderReport:
        """The order as its broker has it."""
        return OrderReport(
            self.order, self.broker_order, self.instrument, self.side, self.quantity, self.limit, self.filled,
            self.notional, self.fee, self.state, self.code,
        )  # fmt: skip


class OrderMerge:
    """What is known of today's orders.

    Parameters
    ----------
    emit
        Gets `OrderAccepted`, `OrderFilled`, `OrderEnded` of our orders.
    now
        Time of events, ns.
    """

    def __init__(self, fee: Fee, now: Callable[[], int], emit: Callable[[Event], None]) -> None:
        self.master: ScripMaster | None = None
        """Today's; before it is there nothing is merged."""
        self.fills: list[OrderFilled] = []
        """Every fill reported, oldest first, recalled ones included."""
        self.counts: Counter[str] = Counter()
        """`foreign` orders, `same_tag` twice, `wrong_tag`: our tag on an order we did not send, `off_price`: fills
        reported at a price the trade book corrects."""
        self._fee, self._now, self._emit = fee, now, emit
        self._orders: dict[str, Known] = {}
        self._ours: dict[str, Known] = {}
        self._sent: dict[str, OrderApproved] = {}

    # ------------------------------------------------------------ what we know ourselves
    def recall(self, events: Iterable[Event]) -> None:
        """What an earlier process was told already, oldest first; before the first book."""
        for event in events:
            match event:
                case OrderApproved():
                    self._sent[event.order] = event
                case OrderAccepted():
                    known = self._of_tag(event.order)
                    known.is_accepted, known.broker_order, known.day = True, event.broker_order, india_date(event.at)
                    self._orders[event.broker_order] = known
                case OrderFilled():
                    known = self._of_tag(event.order)
                    known.filled += event.quantity
                    known.notional += event.quantity * event.price
                    known.fee += event.fee
                    self.fills.append(event)
                case OrderEnded():
                    self._of_tag(event.order).state = event.outcome

    def _of_tag(self, order: str) -> Known:
        known = self._ours.get(order)
        if known is None:
            sent = self._sent.get(order)
            known = self._ours[order] = (
                Known(order, "", "", 0)
                if sent is None
                else Known(order, "", sent.instrument, sent.side, sent.quantity, sent.limit)
            )
        return known

    def sending(self, order: OrderApproved) -> None:
        """An order of ours is about to leave."""
        self._sent[order.order] = order

    def was_sent(self, order: str) -> bool:
        """Whether an order of that id left, or may have, in this process or an earlier one."""
        return order in self._sent or order in self._ours

    def forget(self, order: str) -> None:
        """It did not leave, or was definitely refused."""
        self._sent.pop(order, None)

    def placed(self, order: OrderApproved, broker_order: str, variety: str, product: str) -> OrderAccepted:
        """The broker took an order; it is not reported as accepted again.

        Raises
        ------
        OrderRejected
            It was told already that it is rejected.
        """
        known = self._orders.get(broker_order)
        if known is None:
            known = self._of_tag(order.order)
            known.broker_order, known.variety, known.product = broker_order, variety, product
            self._orders[broker_order] = known
        if known.state == "rejected" and not known.is_accepted:
            raise OrderRejected(f"{known.code}: told before the answer came")
        known.is_accepted, known.day = True, known.day or india_date(self._now())
        return OrderAccepted(self._now(), order.order, broker_order)

    def of(self, order: str) -> Known | None:
        """Our order of a client id, as far as the broker ever told; `None` where it never did."""
        known = self._ours.get(order)
        return known if known is not None and known.broker_order else None

    @property
    def working(self) -> Sequence[Known]:
        """Our orders of which more may come."""
        return [known for known in self._ours.values() if known.is_working and known.broker_order]

    @property
    def unanswered(self) -> Sequence[str]:
        """Client ids of orders that were sent and that the broker never told of."""
        return [name for name in self._sent if self.of(name) is None]

    # ------------------------------------------------------------ what the broker tells
    def on_frame(self, row: OrderRow) -> None:
        """One message of the order stream.

        Raises
        ------
        ValueError
            A field of it makes no sense; nothing was taken.
        """
        self._take(*self._read(row))

    def books(self, orders: Sequence[OrderRow], trades: Sequence[TradeRow], day: date) -> list[OrderReport]:
        """The whole order book of a day and a trade book read before it: what they add is reported; the book as ours.

        Orders are good for a day: one that worked on another day and is in the book no more has expired.

        Raises
        ------
        ValueError
            A field makes no sense; nothing was taken.
        """
        read = [self._read(row) for row in orders]
        fills = _fills_by_order(trades)
        for known, row, filled, _ in read:
            if filled >= known.filled:
                self._remember(known, row)
            self._take_trades(known, fills.get(known.broker_order, ()))
        for known, row, filled, average in read:
            known.day = day
            self._take(known, row, filled, average)
        for known in self.working:
            if known.day is not None and known.day < day:
                self._expire(known)
        return [known.report() for known, *_ in read]

    def trades(self, trades: Sequence[TradeRow]) -> None:
        """A trade book; fills of orders never heard of wait for the order book.

        Raises
        ------
        ValueError
            A field makes no sense; nothing was taken.
        """
        for broker_order, fills in _fills_by_order(trades).items():
            known = self._orders.get(broker_order)
            if known is not None:
                self._take_trades(known, fills)

    # ------------------------------------------------------------ one order
    def _read(self, row: OrderRow) -> tuple[Known, OrderRow, int, int]:
        """The order a row is about, and how much of it is filled at which average; checked, nothing changed yet."""
        if not row.orderid:
            raise ValueError("orderid: missing")
        side = side_of(row.transactiontype)
        filled, average = units("filledshares", row.filledshares), money("averageprice", row.averageprice)
        quantity, limit = units("quantity", row.quantity), money("price", row.price)
        if not 0 <= filled <= quantity or average < 0 or (filled and not average):
            raise ValueError(f"filledshares: {filled} of {quantity} at {average}")
        known = self._orders.get(row.orderid)
        if known is None:
            known = self._meet(row, side, quantity, limit)
        return known, row, filled, average

    def _meet(self, row: OrderRow, side: int, quantity: int, limit: int) -> Known:
        master, token = self.master, str(row.symboltoken)
        contract = None if master is None else master.by_token.get((row.exchange, token))
        name = contract.instrument.id if contract else f"{row.exchange}:{token}"
        tag = row.ordertag or ""
        order = tag if tag.startswith(PREFIX) else ""
        sent = self._sent.get(order)
        if sent is not None and (sent.instrument, sent.side) != (name, side):
            self.counts["wrong_tag"] += 1
            order = ""
        if not order:
            self.counts["foreign"] += 1
            known = Known("", row.orderid, name, side, quantity, limit)
        else:
            known = self._of_tag(order)
            if known.broker_order:  # Sent once, there twice: the second is real too, and somebody has to know.
                self.counts["same_tag"] += 1
                known = Known(order, row.orderid, name, side, quantity, limit)
            known.broker_order, known.instrument, known.side = row.orderid, name, side
        self._orders[row.orderid] = known
        return known

    def _remember(self, known: Known, row: OrderRow) -> None:
        known.quantity, known.limit = units("quantity", row.quantity), money("price", row.price)
        known.variety, known.product = row.variety or known.variety, row.producttype or known.product
        known.kind, known.unique_id = row.ordertype or known.kind, row.uniqueorderid or known.unique_id

    def _take(self, known: Known, row: OrderRow, filled: int, average: int) -> None:
        if filled >= known.filled and known.is_working:  # An older message has older prices too.
            self._remember(known, row)
        status = (row.orderstatus or row.status or "").strip().lower()
        outcome = ENDED.get(status, "")
        if filled or (known.state != "rejected" and status not in UNDER_WAY and outcome != "rejected"):
            self._accept(known)
        if filled > known.filled:
            self._fill(known, filled - known.filled, self._increment(known, filled, average))
        if outcome and known.is_working and (outcome != "filled" or filled >= known.quantity):
            known.state = outcome
            known.code = "" if outcome == "filled" else f"broker_{outcome}"
            if outcome != "filled" and known.order:
                detail = f"{known.filled} of {known.quantity} filled; {row.text or 'no reason given'}"
                self._emit(OrderEnded(self._now(), known.order, outcome, known.code, detail))

    def _expire(self, known: Known) -> None:
        known.state, known.code = "expired", "day_over"
        if known.order:
            detail = f"{known.filled} of {known.quantity} filled on {known.day}"
            self._emit(OrderEnded(self._now(), known.order, "expired", known.code, detail))

    def _accept(self, known: Known) -> None:
        if not known.is_accepted:
            known.is_accepted = True
            if known.order:
                self._emit(OrderAccepted(self._now(), known.order, known.broker_order))

    # ------------------------------------------------------------ fills
    def _take_trades(self, known: Known, fills: Sequence[tuple[int, int]]) -> None:
        """Fills of the trade book, oldest first: those beyond what was reported."""
        if fills:
            self._accept(known)
        seen = notional = 0
        reported = known.filled
        for quantity, price in fills:
            fresh = min(seen + quantity - known.filled, quantity)
            if fresh > 0:
                self._fill(known, fresh, price)
            seen, notional = seen + quantity, notional + quantity * price
        if seen == reported and notional != known.notional:
            self.counts["off_price"] += 1

    def _increment(self, known: Known, filled: int, average: int) -> int:
        """Price of what was filled since, by the averages; on the instrument's tick, for averages are rounded."""
        quantity = filled - known.filled
        price = (average * filled - known.notional) / quantity
        contract = self._contract(known)
        tick = contract.instrument.tick_size if contract else 1
        return max(round(price / tick) * tick, tick)

    def _contract(self, known: Known) -> Contract | None:
        return None if self.master is None else self.master.by_id.get(known.instrument)

    def _fill(self, known: Known, quantity: int, price: int) -> None:
        known.filled += quantity
        known.notional += quantity * price
        contract = self._contract(known)
        fee = known.fee
        if contract is not None:
            fee = self._fee(contract.instrument, known.side, known.filled, known.notional, self._now())
        charged, known.fee = fee - known.fee, fee
        if known.order:
            execution = f"{known.broker_order}:{known.filled}"
            event = OrderFilled(
                self._now(), known.order, known.instrument, known.side, quantity, price, charged, execution
            )  # fmt: skip
            self.fills.append(event)
            self._emit(event)


def _fills_by_order(trades: Sequence[TradeRow]) -> dict[str, list[tuple[int, int]]]:
    """Quantity and price of each fill by broker order, oldest first; a line that is there twice counts once."""
    rows: dict[tuple[str, str], tuple[str, int, int, int]] = {}
    for trade in trades:
        quantity, price = units("fillsize", trade.fillsize), money("fillprice", trade.fillprice)
        if quantity <= 0 or price <= 0:
            raise ValueError(f"fillsize: {quantity} at {price}")
        fill = str(trade.fillid)
        number = int(fill) if fill.isascii() and fill.isdecimal() and len(fill) < 19 else 0
        rows[trade.orderid, fill] = (trade.filltime, number, quantity, price)
    fills: dict[str, list[tuple[int, int]]] = {}
    for (order, _), (_, _, quantity, price) in sorted(rows.items(), key=lambda item: item[1][:2]):
        fills.setdefault(order, []).append((quantity, price))
    return fills
