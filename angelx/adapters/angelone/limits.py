"""How often Angel One may be asked, per client code: its own table, with a margin where it is known to be touchy."""

from collections.abc import Mapping
from typing import Final

from angelx.adapters.rate_budget import RateBudget
from angelx.bus.clock import PacingClock
from angelx.orders.windows import HOUR, MINUTE, SECOND, Limit

ORDERS: Final = "orders"
LOGIN: Final = "login"
RENEW: Final = "renew"
LOGOUT: Final = "logout"
ORDER_BOOK: Final = "order_book"
TRADE_BOOK: Final = "trade_book"
POSITIONS: Final = "positions"
FUNDS: Final = "funds"
DETAILS: Final = "details"
QUOTES: Final = "quotes"
HISTORY: Final = "history"
GREEKS: Final = "greeks"
MASTER: Final = "master"

_ONE: Final = (Limit(1, SECOND),)
LIMITS: Final[Mapping[str, tuple[Limit, ...]]] = {
    ORDERS: (Limit(8, SECOND), Limit(500, MINUTE), Limit(1000, HOUR)),  # 9 a second are allowed, of all our programs
    LOGIN: _ONE,
    RENEW: (Limit(1, SECOND), Limit(1000, HOUR)),
    LOGOUT: _ONE,
    ORDER_BOOK: _ONE,
    TRADE_BOOK: _ONE,
    POSITIONS: _ONE,
    FUNDS: (Limit(2, SECOND),),
    DETAILS: (Limit(10, SECOND), Limit(500, MINUTE), Limit(5000, HOUR)),
    QUOTES: (Limit(10, SECOND), Limit(500, MINUTE), Limit(5000, HOUR)),
    HISTORY: (Limit(2, SECOND), Limit(180, MINUTE), Limit(5000, HOUR)),  # 3 a second trip even when well spaced
    GREEKS: _ONE,
    MASTER: (),
}
"""Placing, modifying and cancelling share one window; so do candles and OI history."""
RESERVE: Final = {ORDERS: 2, DETAILS: 2, QUOTES: 1}
"""What entries and polls leave free for exits, cancels and look-ups."""


def rate_budget(clock: PacingClock | None = None) -> RateBudget:
    """One for each client code, in the broker's time: everybody who uses it shares it."""
    return RateBudget(LIMITS, reserve=RESERVE, clock=clock)
