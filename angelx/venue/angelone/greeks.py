"""Greeks of one option for the venue's `optionGreek`: Black-76 on the parity forward, discount 1."""

import math
from statistics import NormalDist
from typing import Final

import msgspec

_NORMAL: Final = NormalDist()
_LOWEST: Final = 1e-4
_HIGHEST: Final = 5.0
_STEPS: Final = 60
_DAYS: Final = 365.0


class Greeks(msgspec.Struct, frozen=True):
    """Of one unit: delta and gamma per rupee of forward, theta per calendar day, vega per vol point; IV in percent."""

    delta: float
    gamma: float
    theta: float
    vega: float
    iv_pct: float


def price(forward: float, strike: float, years: float, volatility: float, sign: int) -> float:
    """Undiscounted Black-76; `sign` is +1 for a call, -1 for a put."""
    root = volatility * math.sqrt(years)
    d1 = math.log(forward / strike) / root + root / 2
    return sign * (forward * _NORMAL.cdf(sign * d1) - strike * _NORMAL.cdf(sign * (d1 - root)))


def greeks_of(premium: float, forward: float, strike: float, years: float, sign: int) -> Greeks | None:
    """Greeks at the volatility that prices back; `None` where no volatility does."""
    if years <= 0 or forward <= 0 or premium <= max(sign * (forward - strike), 0.0):
        return None
    low, high = _LOWEST, _HIGHEST
    if price(forward, strike, years, high, sign) < premium:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if price(forward, strike, years, middle, sign) < premium else (low, middle)
    volatility = (low + high) / 2
    root = volatility * math.sqrt(years)
    d1 = math.log(forward / strike) / root + root / 2
    density = _NORMAL.pdf(d1)
    return Greeks(
        sign * _NORMAL.cdf(sign * d1),
        density / (forward * root),
        -forward * density * volatility / (2 * math.sqrt(years)) / _DAYS,
        forward * density * math.sqrt(years) / 100,
        100 * volatility,
    )
