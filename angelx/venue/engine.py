"""The matching engine with what brokers' orders need beside plain limits: orders that only reserve, orders that change
while they wait, and a place in the queue at their price.
"""

from collections.abc import Mapping
from random import Random
from typing import Final

from angelx.domain.events import Event, OrderFilled
from angelx.domain.scalars import price_text
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, LAST, VOLUME
from angelx.market.state import MarketState
from angelx.venue.account import Margin
from angelx.venue.admission import MAX_BAND, Bands, Fee, IsOpen, Objection
from angelx.venue.matching import MatchingEngine
from angelx.venue.orders import Book, Order, Queue, reaches
from angelx.venue.watch import Watch

UNKNOWN: Final = -1
"""Units ahead of an order that was never at the touch."""


class ExchangeEngine(MatchingEngine):
    """As `MatchingEngine`, and more.

    - `reserve` holds money and units back for an order that is not in the book (a stop, one that waits for the open);
    - `lift` takes an order out of the book and `put` puts it back, changed or not;
    - with `queue_position` a waiting order fills at its own limit, once the volume that traded there has eaten what
      was displayed ahead of it; a touch that comes to its limit or a trade beyond it fills it too.
    """

    def __init__(
        self,
        state: MarketState,
        watch: Watch,
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
        queue_position: bool = False,
    ) -> None:
        super().__init__(
            state, cash=cash, fee=fee, is_open=is_open, random=random, reject_rate=reject_rate, bands=bands,
            margin=margin, closes=closes, currency=currency,
        )  # fmt: skip
        self._watched = watch
        self._queues = queue_position
        self._ahead: dict[str, int] = {}
        """Units ahead of each waiting order at its price, with `queue_position`."""
        self._volume: dict[int, int] = {}
        """Volume of an instrument when it was last looked at."""

    @property
    def reject_rate(self) -> float:
        """Share of good orders that are refused with `injected`."""
        return self._reject_rate

    @reject_rate.setter
    def reject_rate(self, rate: float) -> None:
        self._reject_rate = rate

    # ------------------------------------------------------------ orders outside the book
    def book(self, instrument_id: str) -> Book | None:
        """What the venue knows of an instrument; `None` where it is not in the table."""
        return self._books.get(instrument_id) or self._open_book(instrument_id)

    def objection(self, order: Order, at: int, *, reserves: bool = True) -> Objection | None:
        """What speaks against an order whatever the quote and the session; it learns what to hold back."""
        book = self.book(order.instrument)
        if book is None:
            return "unknown_instrument", order.instrument
        quantity, limit = order.quantity - order.filled, order.limit
        low, high = self.band(book)
        code = (
            "not_tradable" if not book.tradable
            else "bad_quantity" if quantity <= 0
            else "bad_price" if limit <= 0
            else "off_lot" if quantity % book.lot
            else "over_freeze" if quantity > book.largest
            else "off_tick" if limit % book.tick
            else "price_band" if high and not low <= limit <= high
            else ""
        )  # fmt: skip
        if code:
            return code, (
                f"{quantity} at {price_text(limit)}: lots of {book.lot}, most {book.largest}, "
                f"ticks of {price_text(book.tick)}, band {price_text(low)} to {price_text(high)}"
            )
        return self._admission.unaffordable(book, order, quantity, at) if reserves else None

    def reserve(self, order: Order) -> None:
        """Hold back what an order that was not objected to needs, though it is not in the book."""
        book = self._books[order.instrument]
        self._hold(book, order, order.quantity - order.filled)

    def release(self, order: Order) -> None:
        """Give back what `reserve` held."""
        self._hold(self._books[order.instrument], order, 0)

    def band(self, book: Book) -> tuple[int, int]:
        """Ends of the band, as the first order of the session would fix it now; (0, 0) where there is no quote yet."""
        if book.band_high:
            return book.band_low, book.band_high
        bid, ask = book.quote[BID], book.quote[ASK]
        if bid <= 0 and ask <= 0:
            return 0, 0
        self._admission._set_band(book, bid, ask)  # noqa: SLF001 - and take it back: to look fixes nothing
        band, book.band_low, book.band_high = (book.band_low, book.band_high), 0, 0
        return band

    def prices(self, book: Book) -> tuple[int, int]:
        """Lowest and highest price an order may ask for, in whole ticks; wide open where there is no band."""
        low, high = self.band(book)
        if not 0 < high < MAX_BAND // 2:
            return book.tick, MAX_BAND
        return max(-(-low // book.tick), 1) * book.tick, high // book.tick * book.tick

    # ------------------------------------------------------------ orders that change while they wait
    def lift(self, order: Order) -> None:
        """Take an order out of the book; nobody is told."""
        if order.waiting:
            book = self._books[order.instrument]
            self._hold(book, order, 0)
            self._leave(book, order)

    def put(self, order: Order, at: int, *, is_behind: bool) -> Objection | list[OrderFilled]:
        """Put a lifted order back: what it fills at once, or why it may not stand as it is now.

        Parameters
        ----------
        is_behind
            It goes behind those of its price; else it keeps its place in time.
        """
        objection = self.objection(order, at)
        if objection is not None:
            return objection
        book = self._books[order.instrument]
        if self.meets_own(order):
            return "self_trade", f"limit {price_text(order.limit)} meets an order of ours"
        queue = book.buys if order.side > 0 else book.sells
        ahead = self._ahead.get(order.id)
        if is_behind:
            order.number = self._accepted = self._accepted + 1
        order.state = "working"
        fills = []
        touch, left = queue.liquidity(book.quote, book.lot)
        if left and self._is_open(book.instrument, at) and reaches(order.side, touch, order.limit):
            fills.append(self._fill(book, queue, order, min(left, order.quantity - order.filled), touch, at))
        if order.filled < order.quantity:
            self._rest(book, queue, order)
            if ahead is not None and not is_behind:
                self._ahead[order.id] = ahead
        return fills

    def meets_own(self, order: Order) -> bool:
        """Whether an order would trade with one of ours that waits."""
        book = self._books[order.instrument]
        opposite = book.sells if order.side > 0 else book.buys
        return bool(opposite.orders) and reaches(order.side, opposite.best, order.limit)

    # ------------------------------------------------------------ rows, with a queue
    def look(self, place: int, at: int) -> list[Event]:
        """What the last row of an instrument fills, with `queue_position`."""
        book = self.waiting.get(place)
        if book is None:
            return []
        volume = book.quote[VOLUME]
        traded = volume - self._volume.get(place, volume)
        self._volume[place] = volume
        events: list[Event] = []
        if self._is_open(book.instrument, at):
            for queue in (book.buys, book.sells):
                self._pass_trades(book, queue, max(traded, 0), at, events)
                touch, left = queue.liquidity(book.quote, book.lot)
                while left and queue.orders and reaches(queue.side, touch, queue.best):
                    order = queue.orders[0][2]
                    quantity = min(left, order.waiting)
                    left -= quantity
                    events.append(self._fill(book, queue, order, quantity, order.limit, at))
        self._watch(book)
        return events

    def _pass_trades(self, book: Book, queue: Queue, traded: int, at: int, events: list[Event]) -> None:
        """Volume at an order's price eats what is ahead of it and then fills it; a trade beyond its price fills it."""
        last, quote, flow = book.quote[LAST], book.quote, traded
        touch, size = (quote[BID], quote[BID_SIZE]) if queue.side > 0 else (quote[ASK], quote[ASK_SIZE])
        for _, _, order in tuple(queue.orders):
            ahead = self._ahead.get(order.id, UNKNOWN)
            if flow and last > 0 and reaches(queue.side, last, order.limit):
                is_through = last != order.limit
                eaten = 0 if is_through else min(max(ahead, 0), traded)
                ahead = 0 if is_through else ahead - eaten if ahead != UNKNOWN else UNKNOWN
                units = min(traded - eaten, flow, order.waiting) if ahead == 0 else 0
                units -= units % book.lot
                if units:
                    flow -= units
                    events.append(self._fill_passively(book, queue, order, units, at))
            if touch == order.limit:
                ahead = size if ahead == UNKNOWN else min(ahead, size)
            if order.waiting:
                self._ahead[order.id] = ahead

    def _fill_passively(self, book: Book, queue: Queue, order: Order, units: int, at: int) -> OrderFilled:
        """A fill that somebody else's order came for: it uses up nothing of the opposite quote."""
        taken = queue.taken
        fill = self._fill(book, queue, order, units, order.limit, at)
        queue.taken = taken
        return fill

    def _rest(self, book: Book, queue: Queue, order: Order) -> None:
        if self._queues:
            quote, side, limit = book.quote, order.side, order.limit
            touch, size = (quote[BID], quote[BID_SIZE]) if side > 0 else (quote[ASK], quote[ASK_SIZE])
            is_inside = touch <= 0 or (touch < limit if side > 0 else touch > limit)
            self._ahead[order.id] = size if touch == limit else 0 if is_inside else UNKNOWN
            self._volume[book.place] = quote[VOLUME]
            self._watched.add(book.place)
        super()._rest(book, queue, order)

    def _leave(self, book: Book, order: Order) -> None:
        if self._queues:
            self._ahead.pop(order.id, None)
            self._watched.add(book.place, -1)
        super()._leave(book, order)

    # ------------------------------------------------------------ the end of a session
    def cross(self, place: int, at: int) -> list[Event]:
        """Match what waits in an instrument with the touch as it stands: the end of an auction."""
        book = self.waiting.get(place)
        return [] if book is None else self._match(book, at)
