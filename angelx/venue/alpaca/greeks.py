"""Implied volatility and Greeks as Alpaca shows them beside an option's quote; absent where they cannot be computed.

Source
------
Black and Scholes (1973), Merton (1973): European values on the spot without dividends, at a fixed rate; early exercise
is left out.
"""

import math
from typing import Final

import msgspec

RATE: Final = 0.04
"""Yearly, continuous."""
LOWEST: Final = 0.005
HIGHEST: Final = 5.0
STEPS: Final = 60
DAYS: Final = 365.0


class Greeks(msgspec.Struct, frozen=True):
    """Per unit of spot; theta per day, vega and rho per point."""

    delta: float
    gamma: float
    rho: float
    theta: float
    vega: float


def implied_volatility(price: float, spot: float, strike: float, years: float, *, is_call: bool) -> float | None:
    """The volatility at which the option is worth `price`, by bisection; `None` where there is none."""
    if years <= 0 or spot <= 0 or price <= 0:
        return None
    low, high = LOWEST, HIGHEST
    if not value(low, spot, strike, years, is_call=is_call) < price < value(high, spot, strike, years, is_call=is_call):
        return None
    for _ in range(STEPS):
        middle = (low + high) / 2
        if value(middle, spot, strike, years, is_call=is_call) < price:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def value(volatility: float, spot: float, strike: float, years: float, *, is_call: bool) -> float:
    """What a European option is worth."""
    first, second = _distances(volatility, spot, strike, years)
    paid = strike * math.exp(-RATE * years)
    if is_call:
        return spot * _below(first) - paid * _below(second)
    return paid * _below(-second) - spot * _below(-first)


def greeks(volatility: float, spot: float, strike: float, years: float, *, is_call: bool) -> Greeks:
    """The five sensitivities."""
    first, second = _distances(volatility, spot, strike, years)
    root = math.sqrt(years)
    density = math.exp(-first * first / 2) / math.sqrt(2 * math.pi)
    paid = strike * math.exp(-RATE * years)
    sign = 1.0 if is_call else -1.0
    decay = -spot * density * volatility / (2 * root) - sign * RATE * paid * _below(sign * second)
    return Greeks(
        delta=sign * _below(sign * first),
        gamma=density / (spot * volatility * root),
        rho=sign * paid * years * _below(sign * second) / 100,
        theta=decay / DAYS,
        vega=spot * density * root / 100,
    )


def _distances(volatility: float, spot: float, strike: float, years: float) -> tuple[float, float]:
    spread = volatility * math.sqrt(years)
    first = (math.log(spot / strike) + (RATE + volatility * volatility / 2) * years) / spread
    return first, first - spread


def _below(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))
