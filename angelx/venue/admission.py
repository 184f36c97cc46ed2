"""May this order in? One answer with a stable code, `None` where nothing speaks against it."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import numpy as np

from angelx.domain.instruments import Instrument, Kind
from angelx.domain.scalars import price_text, side_text
from angelx.domain.ticks import ASK, BID, LAST
from angelx.market.state import FIRST, MarketState
from angelx.orders.fees import FeesUnknown
from angelx.venue.account import Account
from angelx.venue.orders import Book, Order, reaches

Fee = Callable[[Instrument, int, int, int, int], int]
"""`fee(instrument, side, quantity, notional, at)`: fees of a whole order so far filled, money."""
IsOpen = Callable[[Instrument, int], bool]
Objection = tuple[str, str]
"""Code and the numbers compared."""

MAX_BAND: Final = 2**62
UNBANDED: Final = frozenset({"USD"})
"""Currencies of the markets without static price bands."""


class Bands(msgspec.Struct, frozen=True, kw_only=True):
    """How far from its reference price a limit may lie at NSE, both ways; 0 percent = no band for that kind.

    The reference is the previous close, else the first last price seen, else the middle of the present quote. An
    equity's band is a share of the reference (20 %: NSE's widest daily band). An option's is a share of its *strike*:
    its premium may change many-fold in a session, but never by more than its underlying does (10 %: the first index
    circuit breaker).

    That is NSE's rule. US markets know no band around the previous close: the one of Limit Up-Limit Down is 5 % to 20 %
    and more around the mean of the last five minutes' trades, and follows the price over a gap or a split. A limit at
    the touch is hardly ever outside it, and it pauses trading rather than refuse an order, so there is none here.
    """

    equity_pct: int = 20
    option_pct: int = 10
    absolute: int = 50_000
    """No band is narrower than this price."""

    def width(self, instrument: Instrument, reference: int) -> int:
        """Price from the reference to either end of the band; `MAX_BAND` = none."""
        if instrument.currency in UNBANDED:
            return MAX_BAND
        is_option = instrument.kind is Kind.OPTION
        percent = self.option_pct if is_option else self.equity_pct
        if percent <= 0:
            return MAX_BAND
        return max((instrument.strike if is_option else reference) * percent // 100, self.absolute)


class Admission:
    """Asks the questions of `REJECT_CODES` from `not_tradable` to `insufficient_funds`."""

    __slots__ = ("_account", "_bands", "_closes", "_fee", "_is_open", "_state")

    def __init__(
        self, state: MarketState, account: Account, bands: Bands, is_open: IsOpen, fee: Fee, closes: Mapping[str, int]
    ) -> None:
        self._state = state
        self._account = account
        self._bands = bands
        self._is_open = is_open
        self._fee = fee
        self._closes = np.array([closes.get(instrument.id, 0) for instrument in state.table], np.int64)

    def objection(self, book: Book, order: Order, at: int) -> Objection | None:
        """What speaks against an order that comes now; else the order knows what it opens and what to hold back."""
        side, quantity, limit = order.side, order.quantity, order.limit
        quote = book.quote
        bid, ask = quote[BID], quote[ASK]
        if not book.band_high and (bid > 0 or ask > 0):
            self._set_band(book, bid, ask)
        opposite = book.sells if side > 0 else book.buys
        code = (
            "not_tradable" if not book.tradable
            else "market_closed" if not self._is_open(book.instrument, at)
            else "bad_quantity" if quantity <= 0
            else "bad_price" if limit <= 0
            else "off_lot" if quantity % book.lot
            else "over_freeze" if quantity > book.largest
            else "off_tick" if limit % book.tick
            else "no_quote" if bid <= 0 and ask <= 0
            else "price_band" if not book.band_low <= limit <= book.band_high
            else "self_trade" if opposite.orders and reaches(side, opposite.best, limit)
            else ""
        )  # fmt: skip
        if not code:
            return self.unaffordable(book, order, quantity, at)
        return code, (
            f"{side_text(side)} {quantity} at {price_text(limit)}: lots of {book.lot}, most {book.largest}, "
            f"ticks of {price_text(book.tick)}; quote {price_text(bid)} / {price_text(ask)}, band "
            f"{price_text(book.band_low)} to {price_text(book.band_high)}, ours opposite {price_text(opposite.best)}"
        )

    def _set_band(self, book: Book, bid: int, ask: int) -> None:
        reference = int(self._closes[book.place]) or book.quote[FIRST]
        if reference <= 0:
            reference = (bid + ask) // 2 if bid > 0 and ask > 0 else max(bid, ask)
        width = self._bands.width(book.instrument, reference)
        book.band_low, book.band_high = reference - width, reference + width

    def unaffordable(self, book: Book, order: Order, units: int, at: int) -> Objection | None:
        """What speaks against these units of an order for want of units or money.

        The order is told how many of them open or add to a position, and what to hold back for them while they wait.
        """
        side, position = order.side, book.position
        covered = -position.quantity - position.buying if side > 0 else position.quantity - position.selling
        opening = order.opening = units if covered <= 0 else units - covered if covered < units else 0
        if not opening:
            return None
        if side > 0:
            unit_hold = order.limit
            try:
                order.fee_hold = self._fee(book.instrument, side, order.quantity, order.quantity * unit_hold, at)
            except FeesUnknown as error:
                return "fees_unknown", str(error)
        elif position.lock_pct:  # The proceeds come in and are locked: what is locked beyond them must be there before.
            bid = book.quote[BID]
            price = bid if bid > order.limit else order.limit  # noqa: FURB136  (the call costs 0.1 us)
            unit_hold = position.lock(price) - price
        else:
            return "insufficient_position", f"sells {units}, of which {opening} are not held or on sale already"
        order.unit_hold = unit_hold
        account, need = self._account, opening * unit_hold + order.fee_hold
        available = account.cash - account.held
        if account.shorts:
            available -= account.locked()
        if need <= available:
            return None
        return "insufficient_funds", f"needs {price_text(need)}, has {price_text(available)}"

    def end_session(self, segment: str) -> None:
        """Last prices become the reference of the next session."""
        last = self._state.columns[LAST]
        mine = np.array([instrument.segment == segment for instrument in self._state.table], np.bool_) & (last > 0)
        self._closes[mine] = last[mine]
