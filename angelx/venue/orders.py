"""An order at the venue, and what the venue knows of one instrument: waiting orders, the quote we used up."""

from bisect import insort
from typing import Final

import msgspec

from angelx.domain.instruments import Kind
from angelx.domain.scalars import BUY, SELL
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE
from angelx.market.state import ASK_CHANGES, BID_CHANGES, Cells
from angelx.venue.account import Position

DAY: Final = "DAY"
"""What does not fill on arrival waits until it does, is cancelled, or the session ends."""
IOC: Final = "IOC"
"""What does not fill on arrival is cancelled."""
FOK: Final = "FOK"
"""All of it on arrival or none of it."""
TIMES_IN_FORCE: Final = (DAY, IOC, FOK)

REJECT_CODES: Final = (
    "duplicate_order", "unknown_instrument", "not_tradable", "market_closed", "bad_quantity", "bad_price", "off_lot",
    "over_freeze", "off_tick", "no_quote", "price_band", "self_trade", "insufficient_position", "fees_unknown",
    "insufficient_funds", "injected",
)  # fmt: skip
"""Why an order is refused, in the order in which it is asked; stable."""


BROKER_PREFIX: Final = "V"
"""The venue's id of an order is its sender's behind this."""


class Order(msgspec.Struct, gc=False):
    """One order. The first six fields are its sender's, who answers for side and time in force; the rest is kept by
    the engine.
    """

    id: str
    """Client order id, unique for life."""
    instrument: str
    side: int
    quantity: int
    limit: int
    tif: str = DAY
    broker_order: str = ""
    number: int = 0
    """Time priority: what was accepted first has the lower number."""
    state: str = "new"
    """`new`, `working`, `filled`, `cancelled`, `rejected`, `expired`."""
    code: str = ""
    """Why it ended, where it was not filled."""
    filled: int = 0
    notional: int = 0
    """Money its fills were worth, without fees."""
    fee: int = 0
    """Fees charged so far."""
    waiting: int = 0
    """Units in the book."""
    opening: int = 0
    """Units that would open or add to a position; those that close one are taken to fill first."""
    unit_hold: int = 0
    """Money to hold back for each opening unit."""
    fee_hold: int = 0
    """Fees to hold back for the whole order."""

    held: int = 0
    """Money held back now."""

    def hold(self) -> int:
        """What there is to hold back for the units in the book."""
        if not self.waiting:
            return 0
        return self.unit_hold * min(self.opening, self.waiting) + max(self.fee_hold - self.fee, 0)


class Queue:
    """The waiting orders of one side of one instrument, and how much of the opposite quote they have used up."""

    __slots__ = ("_changes", "_size", "orders", "side", "taken", "turn")

    def __init__(self, side: int) -> None:
        self.side = side
        self.orders: list[tuple[int, int, Order]] = []
        """(price priority, time priority, order), best first."""
        self.taken = 0
        """Units we took of the quote that stood at change number `turn`."""
        self.turn = 0
        self._size, self._changes = (ASK_SIZE, ASK_CHANGES) if side > 0 else (BID_SIZE, BID_CHANGES)

    def add(self, order: Order) -> None:
        """Put an order behind those of its price."""
        insort(self.orders, (-order.side * order.limit, order.number, order))

    def remove(self, order: Order) -> None:
        """Take an order out."""
        self.orders.remove((-order.side * order.limit, order.number, order))

    @property
    def best(self) -> int:
        """Limit of the first order, 0 where none waits."""
        return self.orders[0][2].limit if self.orders else 0

    def liquidity(self, quote: Cells, lot: int) -> tuple[int, int]:
        """Price of the opposite touch, and the units in whole lots that may be taken of it now; (0, 0) without one."""
        bid, ask = quote[BID], quote[ASK]
        price = ask if self.side > 0 else bid
        if price <= 0 or 0 < ask < bid:
            return 0, 0
        turn, left = quote[self._changes], quote[self._size]
        if turn == self.turn:
            left -= self.taken
        else:
            self.turn, self.taken = turn, 0
        return price, left - left % lot if left > 0 else 0

    def spent(self, quote: Cells, lot: int) -> tuple[int, int]:
        """Price and size of the opposite quote if the first order would still trade with it but it is used up."""
        if not self.orders:
            return 0, 0
        touch, left = self.liquidity(quote, lot)
        if left or not touch or not reaches(self.side, touch, self.best):
            return 0, 0
        return touch, quote[self._size]


def reaches(side: int, touch: int, limit: int) -> bool:
    """Whether an order of that side and limit trades at a price that is there."""
    return touch <= limit if side > 0 else touch >= limit


class Book:
    """What the venue knows of one instrument."""

    __slots__ = (
        "band_high", "band_low", "buys", "instrument", "largest", "lot", "place", "position", "quote", "sells", "tick",
        "tradable", "watch",
    )  # fmt: skip

    def __init__(self, place: int, position: Position, currency: str) -> None:
        instrument = self.instrument = position.instrument
        self.place = place
        self.position = position
        self.quote = position.quote
        self.tradable = instrument.tradable and instrument.kind is not Kind.INDEX
        if currency and instrument.currency != currency:
            self.tradable = False
        self.tick = instrument.tick_size
        self.lot = instrument.lot_size
        self.largest = instrument.largest_order
        self.buys = Queue(BUY)
        self.sells = Queue(SELL)
        self.band_low = self.band_high = 0
        """Lowest and highest price an order may ask for; high 0 = not yet known."""
        self.watch: tuple[int, ...] = ()
        """What `Search` was last told to wait for."""
