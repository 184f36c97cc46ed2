"""Rate limits per client code: sliding windows of a second, a minute and an hour."""

from collections.abc import Mapping
from typing import Final

from angelx.orders.windows import HOUR, MINUTE, SECOND, Limit, SlidingWindows

ORDERS: Final = "orders"
GTT: Final = "gtt"


def _limits(second: int, minute: int = 0, hour: int = 0) -> tuple[Limit, ...]:
    rows = ((second, SECOND), (minute, MINUTE), (hour, HOUR))
    return tuple(Limit(most, within) for most, within in rows if most)


LIMITS: Final[Mapping[str, tuple[Limit, ...]]] = {
    **{
        name: _limits(1)
        for name in (
            "loginByPassword", "logout", "searchScrip", "getOrderBook", "getTradeBook", "getPosition", "getHolding",
            "getAllHolding", "optionGreek",
        )
    },
    "generateTokens": _limits(1, hour=1000),
    "getProfile": _limits(3, hour=1000),
    "getRMS": _limits(2),
    ORDERS: _limits(9, 500, 1000),
    **{name: _limits(10, 500, 5000) for name in (
        "details", "getLtpData", "quote", "marginBatch", "convertPosition", "ruleDetails", "ruleList",
    )},
    GTT: _limits(9, 500, 5000),
    "getCandleData": _limits(3, 180, 5000),
}  # fmt: skip
"""By category; placing, modifying and cancelling share one, candles and OI history another. A call that is in none is
not limited."""


class RateWindows:
    """Counts the calls of each client code."""

    def __init__(self, limits: Mapping[str, tuple[Limit, ...]] = LIMITS) -> None:
        self._limits = limits
        self._windows: dict[tuple[str, str], SlidingWindows] = {}

    def admits(self, client_code: str, category: str, now: int) -> bool:
        """Whether one more call of the category fits; then it is counted. A refused one is not."""
        if category not in self._limits:
            return True
        windows = self._windows.get((client_code, category))
        if windows is None:
            windows = self._windows[client_code, category] = SlidingWindows(self._limits[category])
        if windows.wait_ns(now):
            return False
        windows.take(now)
        return True
