"""Implied volatility and five Greeks of changed contracts, by Black-76 on the forward: one compiled call.

Everything is float64 in currency units, years and fractions, a contract or an expiry a line of 64 bytes. No NaN and no
infinity leaves: where the volatility is undefined all results are 0.0 and `reasons` says why.

Conventions (docs/option-analytics.md)
--------------------------------------
delta, gamma
    Per unit of spot: dF/dS = F/S is carried. Without a spot F/S = exp(carry x years).
vega
    Per vol point (0.01).
theta
    Per calendar day, at fixed spot, rate and carry: the forward rolls down its carry.
rho
    Per unit of rate (1.0), at fixed spot: the forward moves with the rate.
"""

import math
from typing import Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.market.implied import ROOT_TWO_PI, deviation, normalised

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Reasons = NDArray[np.int8]

WIDTH: Final = 8
"""Numbers in a line."""

STRIKE: Final = 0
SIDE: Final = 1
"""+1.0 call, -1.0 put."""
EXPIRY: Final = 2
"""Which line of the expiries, as a float."""
TICK: Final = 3
MID: Final = 4
"""0.0 = no quote."""
SPREAD: Final = 5
"""Ask less bid: not of these computations, but of the forward's (`angelx.market.forward`)."""

FORWARD: Final = 0
DISCOUNT: Final = 1
YEARS: Final = 2
SPOT: Final = 3
"""0.0 = none."""
CARRY: Final = 4
"""d ln F / d years, a year: rate less yield."""
PAIRS: Final = 5
"""How many pairs of a call and a put the forward is from; written by `angelx.market.forward` with the next two."""
RESIDUAL: Final = 6
"""Median |residual| of put-call parity over those pairs, currency units."""
CLAMPED: Final = 7
"""1.0: the discount that the pairs imply lies outside the band around the curve and was put to its border."""

IV: Final = 0
"""Annual, a fraction. What is found there is where the next search starts; 0.0 = nowhere."""
DELTA: Final = 1
GAMMA: Final = 2
VEGA: Final = 3
THETA: Final = 4
RHO: Final = 5
TIME_VALUE: Final = 6
"""Mid less discounted intrinsic value, never negative."""

REASONS: Final = (
    "defined", "no_quote", "one_sided", "crossed", "stale", "expired", "no_forward", "below_intrinsic",
    "above_bound", "no_time_value",
)  # fmt: skip
"""What each code in `Reasons` says (`angelx.market.chain_view.Contract.reason`)."""
DEFINED: Final = 0
NO_QUOTE: Final = 1
ONE_SIDED: Final = 2
CROSSED: Final = 3
STALE: Final = 4
EXPIRED: Final = 5
NO_FORWARD: Final = 6
BELOW_INTRINSIC: Final = 7
ABOVE_BOUND: Final = 8
NO_TIME_VALUE: Final = 9
SMALLEST_TIME_VALUE: Final = 0.01
"""Ticks: with less, every volatility down to nothing prices back, and none is the answer."""
DAYS: Final = 365.0
"""In a year: all time is calendar time."""


@nb.njit(cache=True, nogil=True, error_model="numpy")
def analyse(places: Places, contracts: Floats, expiries: Floats, greeks: Floats, reasons: Reasons) -> None:
    """Work out the contracts at `places`, in place; the others keep what they have.

    Parameters
    ----------
    places
        Lines of `contracts`, `greeks` and `reasons`; must lie inside, this is not checked.
    contracts
        (n, 8): STRIKE, SIDE, EXPIRY, TICK, MID.
    expiries
        (m, 8): FORWARD, DISCOUNT, YEARS, SPOT, CARRY.
    greeks
        (n, 8), written: IV, DELTA, GAMMA, VEGA, THETA, RHO, TIME_VALUE. Its transpose is a table of columns.
    reasons
        (n,), written: `DEFINED`, or one of `NO_QUOTE`, `EXPIRED`, `NO_FORWARD`, `BELOW_INTRINSIC`, `ABOVE_BOUND`,
        `NO_TIME_VALUE`.
    """
    last = -1
    forward = discount = years = root = rate = carry = ratio = 0.0
    usable = DEFINED
    for index in range(places.shape[0]):  # Cells, not lines, are taken out of the tables: views are counted references.
        place = places[index]
        expiry = int(contracts[place, EXPIRY])
        if expiry != last:
            last = expiry
            forward, discount, years = expiries[expiry, FORWARD], expiries[expiry, DISCOUNT], expiries[expiry, YEARS]
            spot, carry = expiries[expiry, SPOT], expiries[expiry, CARRY]
            root, rate = math.sqrt(years), -math.log(discount) / years
            ratio = forward / spot if spot > 0.0 else math.exp(carry * years)
            usable = _usable(forward, discount, years, ratio * carry)
        strike, side, mid = contracts[place, STRIKE], contracts[place, SIDE], contracts[place, MID]
        time_value = mid / discount - max(side * (forward - strike), 0.0)
        least = min(forward, strike)
        reason = usable
        if not (mid > 0.0 and strike > 0.0):
            reason = NO_QUOTE
        elif reason == DEFINED:
            reason = _bounded(time_value, discount, least, contracts[place, TICK])
        if reason == DEFINED:
            scale, x = math.sqrt(forward * strike), abs(math.log(forward / strike))
            bound = least / scale
            s, near, far = deviation(time_value / scale, x, bound, greeks[place, IV] * root)
            volatility, delta, gamma, vega, theta, rho = greeks_at(
                s, near, far, x, bound, side, forward, strike, scale, mid, discount, years, root, rate, carry, ratio
            )
            if math.isfinite(volatility + delta + gamma + vega + theta + rho):
                greeks[place, IV], greeks[place, DELTA], greeks[place, GAMMA] = volatility, delta, gamma
                greeks[place, VEGA], greeks[place, THETA], greeks[place, RHO] = vega, theta, rho
                greeks[place, TIME_VALUE] = discount * time_value
            else:  # Of numbers that no market has.
                reason = NO_FORWARD
        reasons[place] = reason
        if reason != DEFINED:
            for column in range(WIDTH):
                greeks[place, column] = 0.0


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _usable(forward: float, discount: float, years: float, growth: float) -> int:
    """Written so that a NaN fails, whatever it is."""
    if not years > 0.0:
        return EXPIRED
    if not (0.0 < forward < math.inf and 0.0 < discount < math.inf and abs(growth) < math.inf):
        return NO_FORWARD
    return DEFINED


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _bounded(time_value: float, discount: float, most: float, tick: float) -> int:
    """A call is worth less than the forward, a put less than the strike: so is the time value of either."""
    if time_value < 0.0:
        return BELOW_INTRINSIC
    if not (discount * time_value > SMALLEST_TIME_VALUE * tick and time_value >= 1e-15 * most):
        return NO_TIME_VALUE
    if not time_value < most * (1.0 - 1e-15):
        return ABOVE_BOUND
    return DEFINED


@nb.njit(cache=True, nogil=True, error_model="numpy")
def greeks_at(
    s: float, near: float, far: float, x: float, bound: float, side: float, forward: float, strike: float,
    scale: float, price: float, discount: float, years: float, root: float, rate: float, carry: float, ratio: float,
) -> tuple[float, float, float, float, float, float]:  # fmt: skip
    """Volatility and Greeks at total deviation s.

    Parameters
    ----------
    near, far
        Mills' ratios there, as `implied.deviation` answers.
    x, bound
        As there.
    scale
        sqrt(forward strike).
    root
        sqrt(years).
    rate
        -ln(discount)/years.
    ratio
        forward/spot.
    """
    h, t = x / s, 0.5 * s
    density = math.exp(-0.5 * (h * h + t * t)) / ROOT_TWO_PI  # sqrt(n(d1) n(d2)); F n(d1) = K n(d2) = scale x density
    # Of the out-of-the-money call N(d1), 1 - N(d1) and N(d2), each without cancellation. Of the put the same numbers
    # are N(-d2), N(d2) and N(-d1).
    tail = density / bound * near
    first, rest = (tail, 1.0 - tail) if h > t else (1.0 - tail, tail)
    second = density * bound * far
    if forward > strike:
        first, rest, second, beyond = 1.0 - second, second, rest, first
    else:
        beyond = 1.0 - second
    delta, money = (first, second) if side > 0.0 else (-rest, -beyond)
    volatility = s / root
    by_volatility = discount * scale * density * root
    decay = 0.5 * by_volatility * volatility / years + discount * carry * forward * delta - rate * price
    return (
        volatility,
        discount * ratio * delta,
        discount * ratio * ratio * scale * density / (forward * forward * s),
        0.01 * by_volatility,
        -decay / DAYS,
        years * discount * strike * money,
    )


@nb.njit(cache=True, nogil=True, error_model="numpy")
def value(
    side: float, forward: float, strike: float, discount: float, years: float, volatility: float
) -> float:  # fmt: skip
    """Price of an option, currency units; its discounted intrinsic value where time or volatility is not positive."""
    intrinsic = max(side * (forward - strike), 0.0)
    s = volatility * math.sqrt(max(years, 0.0))
    if s > 0.0:
        scale = math.sqrt(forward * strike)
        intrinsic += scale * normalised(abs(math.log(forward / strike)), s, min(forward, strike) / scale)
    return discount * intrinsic


@nb.njit(cache=True, nogil=True, error_model="numpy")
def undefine(places: Places, reason: int, greeks: Floats, reasons: Reasons) -> None:
    """Empty the lines at `places` for a reason that is seen before any arithmetic: a stale quote, a crossed one."""
    for index in range(places.shape[0]):
        reasons[places[index]] = reason
        for column in range(WIDTH):
            greeks[places[index], column] = 0.0
