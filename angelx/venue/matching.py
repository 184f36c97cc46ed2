"""The simulated exchange: one account's orders against the quote stream. Calls in, events out; no clock, bus or I/O.

How it fills (docs/paper-broker.md has the reasons):

1. Every fill is at the opposite touch as displayed: the ask for a buy, the bid for a sell; never beyond the limit. A
   side without price or size fills nothing, nor does a crossed quote (bid above ask).
2. An arriving order fills at once what it can; the rest waits (`DAY`) or is cancelled (`IOC`). `FOK`: all or nothing.
3. Waiting orders of a side fill by price, then by time, at a row of their instrument that brings the touch to them.
4. Whole lots of the displayed size are filled. What we took is gone until a row of that instrument changes the price or
   the size of that side; then the whole new size is there.
5. Our orders never meet each other: one that would is refused.
"""

from collections.abc import Mapping, Sequence
from random import Random

from angelx.domain.errors import JournalBroken
from angelx.domain.events import Event, OrderAccepted, OrderEnded, OrderFilled
from angelx.domain.ticks import AT, INSTRUMENT, Rows, TickBatch
from angelx.market.state import MarketState
from angelx.venue.account import Account, Margin
from angelx.venue.admission import Admission, Bands, Fee, IsOpen
from angelx.venue.orders import BROKER_PREFIX, DAY, FOK, Book, Order, Queue, reaches
from angelx.venue.recovery import Recovered
from angelx.venue.search import NEVER, Search


class MatchingEngine:
    """One account at one simulated exchange.

    Parameters
    ----------
    state
        Folded with every row before the engine is.
    cash
        Money to begin with.
    fee
        Fees of a whole order so far filled; each fill is charged the difference.
    is_open
        Whether an instrument trades at a time; while it does not, orders are refused and waiting ones do not fill.
    random, reject_rate
        Share of good orders that are refused with `injected`, and what draws them.
    closes
        Previous close by instrument id, where known.
    currency
        Instruments of another currency are not traded; empty = all are.
    """

    def __init__(
        self,
        state: MarketState,
        *,
        cash: int,
        fee: Fee,
        is_open: IsOpen,
        random: Random,
        reject_rate: float = 0.0,
        bands: Bands | None = None,
        margin: Margin | None = None,
        closes: Mapping[str, int] | None = None,
        currency: str = "",
    ) -> None:
        self.account = Account(cash, margin or Margin(), state)
        self.orders: dict[str, Order] = {}
        """Every order that ever came, by client order id."""
        self.trades: list[OrderFilled] = []
        """Every fill, oldest first."""
        self._table = state.table
        self._fee = fee
        self._is_open = is_open
        self._random = random
        self._reject_rate = reject_rate
        self._currency = currency
        self._admission = Admission(state, self.account, bands or Bands(), is_open, fee, closes or {})
        self._search = Search(len(state.table))
        self._books: dict[str, Book] = {}
        self.waiting: dict[int, Book] = {}
        """By place: the books in which orders wait."""
        self._accepted = 0
        self._executions = 0

    # ------------------------------------------------------------ orders
    def submit(self, order: Order, at: int) -> list[Event]:
        """An order arrives: accepted, with what it fills at once, or rejected.

        One whose id was there before is answered `duplicate_order`, which says nothing about the first of that id.
        """
        if self.orders.setdefault(order.id, order) is not order:
            return [OrderEnded(at, order.id, "rejected", "duplicate_order", "an order of that id came before")]
        book = self._books.get(order.instrument) or self._open_book(order.instrument)
        if book is None:
            return [self._end(order, "rejected", "unknown_instrument", order.instrument, at)]
        objection = self._admission.objection(book, order, at)
        if objection is not None:
            return [self._end(order, "rejected", *objection, at)]
        if self._reject_rate and self._random.random() < self._reject_rate:
            return [self._end(order, "rejected", "injected", f"drawn at rate {self._reject_rate}", at)]
        side, quantity, limit = order.side, order.quantity, order.limit
        order.number = self._accepted = self._accepted + 1
        order.broker_order = name = BROKER_PREFIX + order.id
        events: list[Event] = [OrderAccepted(at, order.id, name)]
        queue = book.buys if side > 0 else book.sells
        touch, left = queue.liquidity(book.quote, book.lot)
        reached = touch <= limit if side > 0 else touch >= limit
        if left and reached and (left >= quantity or order.tif != FOK):
            part = quantity if left > quantity else left  # noqa: FURB136  (the call costs 0.1 us)
            events.append(self._fill(book, queue, order, part, touch, at))
        if order.filled < quantity:
            if order.tif == DAY:
                order.state = "working"
                self._rest(book, queue, order)
            else:
                detail = f"{order.filled} of {order.quantity} filled on arrival"
                events.append(self._end(order, "cancelled", order.tif.lower(), detail, at))
        return events

    def _open_book(self, instrument_id: str) -> Book | None:
        place = self._table.index.get(instrument_id)
        if place is None:
            return None
        book = Book(place, self.account.position(place), self._currency)
        self._books[instrument_id] = book
        return book

    def cancel(self, order_id: str, at: int) -> list[OrderEnded]:
        """A cancel arrives: nothing happens to an order that has ended; one that never came is `absent`."""
        order = self.orders.get(order_id)
        if order is None:
            return [OrderEnded(at, order_id, "absent", "unknown_order", "no order of that id came")]
        if order.state != "working":
            return []
        return [self._end(order, "cancelled", "requested", f"{order.filled} of {order.quantity} filled", at)]

    def end_of_session(self, segment: str, at: int) -> list[OrderEnded]:
        """The session of a segment ends: its waiting orders expire, oldest first; last prices become closes."""
        orders = [
            order
            for book in self.waiting.values()
            if book.instrument.segment == segment
            for queue in (book.buys, book.sells)
            for _, _, order in queue.orders
        ]
        orders.sort(key=lambda order: order.number)
        self._admission.end_session(segment)
        for book in self._books.values():
            if book.instrument.segment == segment:
                book.band_high = 0
        return [
            self._end(order, "expired", "session_end", f"{order.filled} of {order.quantity} filled", at)
            for order in orders
        ]

    # ------------------------------------------------------------ rows
    def probe(self, batch: TickBatch, start: int, stop: int) -> int:
        """The row after the first one in [start, stop) at which something fills; changes nothing.

        The answer may come short of that row, where nothing fills before it either.
        """
        return self._search.next_row(batch, start, stop) if self.waiting else stop

    def fold(self, rows: Rows) -> Sequence[Event]:
        """Fill what the last row of the run fills; by `probe`, the rows before it fill nothing."""
        if not self.waiting:
            return ()
        batch, row = rows.batch, rows.stop - 1
        if not self._search.stirs(batch, row):
            return ()
        return self._match(self.waiting[batch.view[INSTRUMENT, row]], batch.view[AT, row])

    def _match(self, book: Book, at: int) -> list[Event]:
        events: list[Event] = []
        if self._is_open(book.instrument, at):
            for queue in (book.buys, book.sells):
                touch, left = queue.liquidity(book.quote, book.lot)
                while left and queue.orders and reaches(queue.side, touch, queue.best):
                    order = queue.orders[0][2]
                    quantity = min(left, order.waiting)
                    left -= quantity
                    events.append(self._fill(book, queue, order, quantity, touch, at))
        self._watch(book)
        return events

    # ------------------------------------------------------------ what happens to an order
    def _fill(self, book: Book, queue: Queue, order: Order, quantity: int, price: int, at: int) -> OrderFilled:
        """An order trades now."""
        side, notional = order.side, quantity * price
        fee = self._fee(book.instrument, side, order.filled + quantity, order.notional + notional, at) - order.fee
        queue.taken += quantity
        self._executions = execution = self._executions + 1
        fill = OrderFilled(at, order.id, order.instrument, side, quantity, price, fee, f"P{execution}")
        self._book_fill(book, order, fill, quantity, notional, fee)
        return fill

    def _book_fill(self, book: Book, order: Order, fill: OrderFilled, quantity: int, notional: int, fee: int) -> None:
        """Move money, position and order by a fill."""
        order.notional += notional
        order.fee += fee
        order.filled = filled = order.filled + quantity
        if filled == order.quantity:
            order.state = "filled"
        self.account.fill(book.position, order.side, quantity, notional, fee)
        self.trades.append(fill)
        if order.waiting:
            self._hold(book, order, order.waiting - quantity)
            if not order.waiting:
                self._leave(book, order)

    def _end(self, order: Order, outcome: str, code: str, detail: str, at: int) -> OrderEnded:
        if order.waiting:
            book = self._books[order.instrument]
            self._hold(book, order, 0)
            self._leave(book, order)
        order.state, order.code = outcome, code
        return OrderEnded(at, order.id, outcome, code, detail)

    def _rest(self, book: Book, queue: Queue, order: Order) -> None:
        self._hold(book, order, order.quantity - order.filled)
        queue.add(order)
        self.waiting[book.place] = book
        self._watch(book)

    def _leave(self, book: Book, order: Order) -> None:
        (book.buys if order.side > 0 else book.sells).remove(order)
        if not book.buys.orders and not book.sells.orders:
            del self.waiting[book.place]
        self._watch(book)

    def _hold(self, book: Book, order: Order, units: int) -> None:
        """Let `units` of an order be in the book: money and position know of them."""
        more, held = units - order.waiting, order.held
        order.waiting = units
        order.held = order.hold()
        self.account.held += order.held - held
        if order.side > 0:
            book.position.buying += more
        else:
            book.position.selling += more

    def _watch(self, book: Book) -> None:
        """Tell the search what this book waits for."""
        buys, sells = book.buys, book.sells
        spent_ask = buys.spent(book.quote, book.lot)
        spent_bid = sells.spent(book.quote, book.lot)
        is_spent = spent_ask[0] > 0 or spent_bid[0] > 0
        watch = (buys.best, sells.best or NEVER, is_spent, *spent_ask, *spent_bid)
        if watch != book.watch:
            book.watch = watch
            self._search.wait(book.place, watch)

    # ------------------------------------------------------------ after a crash
    def adopt(self, recovered: Recovered) -> None:
        """Take over what an earlier process left; before any order comes in.

        What that process had used up of a quote is not known any more.

        Raises
        ------
        JournalBroken
            A fill or a working order is of an instrument outside the table.
        """
        self._accepted, self._executions = len(recovered.orders), recovered.executions
        self.orders.update((order.id, order) for order in recovered.orders)
        for fill in recovered.fills:
            notional = fill.quantity * fill.price
            self._book_fill(self._known_book(fill), self.orders[fill.order], fill, fill.quantity, notional, fill.fee)
        for order in recovered.orders:
            if order.state == "working":
                book = self._known_book(order)
                self._admission.unaffordable(book, order, order.quantity - order.filled, recovered.at)
                self._rest(book, book.buys if order.side > 0 else book.sells, order)

    def _known_book(self, of: Order | OrderFilled) -> Book:
        book = self._books.get(of.instrument) or self._open_book(of.instrument)
        if book is None:
            raise JournalBroken(f"{of}: the instrument is not in this run's table")
        return book
