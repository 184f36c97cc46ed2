"""Implied volatility and five Greeks of American options on a stock with cash dividends: a compiled binomial tree.

Broadie and Detemple's BBSR: a Cox-Ross-Rubinstein tree about the forward path whose last step is Black's formula, once
with `STEPS` steps and once with half as many, extrapolated as an error of order 1/steps. Dividends are escrowed: what
moves is the spot less the value of the dividends to come before the expiry, and whoever exercises has the spot. In a
step with a dividend the holder may also exercise right before it (a call) or right after it (a put). How far this is
from a fine grid of finite differences is in docs/option-analytics.md.

Lines and columns are those of `angelx.market.black76`; DISCOUNT and CARRY of an expiry are here of the curve, without
the cash dividends: see `terms_of`.

Sources
-------
Broadie and Detemple, *American option valuation: new bounds, approximations, and a comparison of existing methods*
(1996); Pelsser and Vorst, *The binomial model and the Greeks* (1994), for the tree that begins two steps early; Hull,
*Options, futures and other derivatives*, for escrowed dividends.
"""

import math
from typing import Final

import numba as nb
import numpy as np

from angelx.market.black76 import (
    ABOVE_BOUND,
    BELOW_INTRINSIC,
    CARRY,
    DAYS,
    DEFINED,
    DELTA,
    DISCOUNT,
    EXPIRED,
    EXPIRY,
    FORWARD,
    GAMMA,
    IV,
    MID,
    NO_FORWARD,
    NO_QUOTE,
    NO_TIME_VALUE,
    RHO,
    SIDE,
    SMALLEST_TIME_VALUE,
    SPOT,
    STRIKE,
    THETA,
    TICK,
    TIME_VALUE,
    VEGA,
    WIDTH,
    YEARS,
    Floats,
    Places,
    Reasons,
    value,
)
from angelx.market.implied import ROOT_TWO_PI, deviation

STEPS: Final = 160
"""Of the finer tree; even."""
WORK_ROWS: Final = 2
EX: Final = 0
AMOUNT: Final = 1
"""Columns of dividends: years until the ex-date, cash a share."""

_LEAST: Final = 0.002
"""Smallest volatility that is looked for."""
_MOST: Final = 10.0
_ROUNDS: Final = 60
_FAR: Final = 8.0
"""Deviations from the strike at which an option of one step has no time value."""
_BY_VOLATILITY: Final = 1e-3
_BY_RATE: Final = 1e-4


def workspace() -> Floats:
    """Scratch numbers for `analyse_american` and `american_value`."""
    return np.zeros((WORK_ROWS, STEPS + 4))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def terms_of(terms: Floats, rate: float, carry: float, dividends: Floats) -> None:
    """Write FORWARD, DISCOUNT and CARRY of an expiry with SPOT and YEARS; FORWARD is 0.0 where there is no spot.

    Parameters
    ----------
    rate
        Continuous, a year.
    carry
        Rate less the yield that is paid continuously (a borrow fee); cash dividends apart.
    dividends
        (k, 2): EX, AMOUNT; those that are not after now, or after the expiry, do not count.
    """
    years, spot = terms[YEARS], terms[SPOT]
    terms[DISCOUNT], terms[CARRY], terms[FORWARD] = math.exp(-rate * max(years, 0.0)), carry, 0.0
    if years > 0.0 and spot > 0.0:
        terms[FORWARD] = max(spot - _escrowed(dividends, 0.0, years, rate), 0.0) * math.exp(carry * years)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _escrowed(dividends: Floats, since: float, years: float, rate: float) -> float:
    """Value at `since` of the dividends after it and up to `years`."""
    total = 0.0
    for n in range(dividends.shape[0]):
        if since < dividends[n, EX] <= years:
            total += dividends[n, AMOUNT] * math.exp(-rate * (dividends[n, EX] - since))
    return total


@nb.njit(cache=True, nogil=True, error_model="numpy")
def american_value(
    side: float, spot: float, strike: float, years: float, rate: float, carry: float, volatility: float,
    dividends: Floats, work: Floats,
) -> tuple[float, float, float]:  # fmt: skip
    """Price, delta and gamma per unit of spot; `side` is +1.0 for a call, -1.0 for a put, all others as elsewhere."""
    fine = _tree(side, spot, strike, years, rate, carry, volatility, dividends, STEPS, work)
    coarse = _tree(side, spot, strike, years, rate, carry, volatility, dividends, STEPS // 2, work)
    price, delta, gamma = 2.0 * fine[0] - coarse[0], 2.0 * fine[1] - coarse[1], 2.0 * fine[2] - coarse[2]
    intrinsic = side * (spot - strike)
    if price <= intrinsic:  # To be exercised now.
        return intrinsic, side, 0.0
    return price, delta, max(gamma, 0.0)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _tree(
    side: float, spot: float, strike: float, years: float, rate: float, carry: float, volatility: float,
    dividends: Floats, steps: int, work: Floats,
) -> tuple[float, float, float]:  # fmt: skip
    """Price, delta and gamma: node j after i steps is at root x growth^i x up^(2j - i - 2)."""
    step = years / steps
    root = spot - _escrowed(dividends, 0.0, years, rate)
    move, growth, shrink = volatility * math.sqrt(step), math.exp(carry * step), math.exp(-rate * step)
    up, down = math.exp(move), math.exp(-move)
    chance = (1.0 - down) / (up - down)
    rise, fall = shrink * chance, shrink * (1.0 - chance)
    worth, power = work[0], work[1]
    last = steps - 1
    lowest = root * growth**last * down ** (last + 2)
    spots = 1.0
    for j in range(last + 3):
        power[j] = spots
        spots *= up * up
    _last_step(worth, power, last, side, strike, lowest, volatility, step, years, rate, carry, dividends)
    back, paying = up / growth, root < spot
    for i in range(last - 1, -1, -1):
        now, ex, paid = i * step, math.inf, 0.0
        gain = -side * strike  # Exercise at a node is worth side x level + gain.
        if paying:
            gain += side * _escrowed(dividends, now, years, rate)
            for n in range(dividends.shape[0]):
                if now < dividends[n, EX] <= now + step:
                    ex, paid = min(ex, dividends[n, EX]), paid + dividends[n, AMOUNT]
        if paid != 0.0:
            later = _escrowed(dividends, now + step, years, rate)
            _pass(worth, power, i + 3, side, lowest, back, rise, fall, strike, ex - now, step, rate, later, paid)
        lowest *= back
        slope = side * lowest
        if paid != 0.0:
            for j in range(i + 3):
                worth[j] = max(worth[j], slope * power[j] + gain)
            continue
        for j in range(i + 3):  # A choice, not max(): this form compiles to vector instructions.
            kept, taken = fall * worth[j] + rise * worth[j + 1], slope * power[j] + gain
            worth[j] = kept if kept > taken else taken  # noqa: FURB136
    low, high = root * down * down, root * up * up
    upper, lower = (worth[2] - worth[1]) / (high - root), (worth[1] - worth[0]) / (root - low)
    gamma = (upper - lower) / (0.5 * (high - low))
    delta = (upper * (root - low) + lower * (high - root)) / (high - low)
    return worth[1], delta, gamma


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _last_step(
    worth: Floats, power: Floats, last: int, side: float, strike: float, lowest: float, volatility: float, step: float,
    years: float, rate: float, carry: float, dividends: Floats,
) -> None:  # fmt: skip
    """What the option is worth one step before the expiry: by Black's formula, or exercised."""
    begins, wait = last * step, 0.0
    escrow = _escrowed(dividends, begins, years, rate)
    for n in range(dividends.shape[0]):
        if begins < dividends[n, EX] <= years:
            wait = dividends[n, EX] - begins
    growth, shrink, far = math.exp(carry * step), math.exp(-rate * step), _FAR * volatility * math.sqrt(step)
    for j in range(last + 3):
        level = lowest * power[j]
        held = level * growth
        if abs(math.log(held / strike)) < far:
            worth[j] = value(side, held, strike, shrink, step, volatility)
        else:
            worth[j] = max(side * (held - strike), 0.0) * shrink
        worth[j] = max(worth[j], side * (level + escrow - strike))
        if wait > 0.0 and side > 0.0:  # A call to the expiry, or to its dividend: the better one of two Europeans.
            cum, until = (level + escrow) * math.exp(carry * wait), math.exp(-rate * wait)
            worth[j] = max(worth[j], value(side, cum, strike, until, wait, volatility))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _pass(
    worth: Floats, power: Floats, nodes: int, side: float, lowest: float, back: float, rise: float, fall: float,
    strike: float, wait: float, step: float, rate: float, later: float, paid: float,
) -> None:  # fmt: skip
    """Roll back over a step in which dividends are paid, and exercised for: a call just before, a put just after.

    Deciding that at the beginning of the step is right where they are paid then, at the end where they are paid then:
    the two are weighed by where between it is. `wait` is the time from the beginning, `later` what the end of the step
    knows of dividends after it.
    """
    since, until = math.exp(rate * (step - wait)), math.exp(-rate * wait)
    held = later * math.exp(-rate * step) + (paid * until if side > 0.0 else 0.0)
    early = side * (held - strike * until)
    late = side * (later + (paid * since if side > 0.0 else 0.0) - strike * since)
    slope, slope_late, weight = side * lowest * back, side * lowest, wait / step
    for j in range(nodes):
        at_once = max(fall * worth[j] + rise * worth[j + 1], slope * power[j] + early)
        down, up = max(worth[j], slope_late * power[j] + late), max(worth[j + 1], slope_late * power[j + 1] + late)
        worth[j] = (1.0 - weight) * at_once + weight * (fall * down + rise * up)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def analyse_american(
    places: Places, contracts: Floats, expiries: Floats, dividends: Floats, greeks: Floats, reasons: Reasons,
    work: Floats,
) -> None:  # fmt: skip
    """Work out the contracts at `places`, all of one underlying, in place: `black76.analyse` for American exercise.

    An option at its exercise value (0.01 tick of it) has no volatility: `no_time_value`. Theta is of the differential
    equation at fixed spot, so that dividends come nearer; vega and rho are differences of prices.

    Parameters
    ----------
    expiries
        Needs SPOT; FORWARD, DISCOUNT, CARRY as `terms_of` writes them.
    dividends
        (k, 2): EX, AMOUNT. A cash dividend of uncertain size is one of its expected size.
    work
        From `workspace`.
    """
    for index in range(places.shape[0]):
        place = places[index]
        expiry = int(contracts[place, EXPIRY])
        spot, years, carry = expiries[expiry, SPOT], expiries[expiry, YEARS], expiries[expiry, CARRY]
        forward, discount = expiries[expiry, FORWARD], expiries[expiry, DISCOUNT]
        strike, side, mid = contracts[place, STRIKE], contracts[place, SIDE], contracts[place, MID]
        tick = contracts[place, TICK]
        reason = _reason(side, mid, strike, tick, spot, forward, discount, years, carry)
        volatility = delta = gamma = 0.0
        rate = -math.log(discount) / years
        if reason == DEFINED:
            volatility, delta, gamma, reason = _volatility(
                side, spot, strike, years, rate, carry, mid, tick, forward, discount, greeks[place, IV], dividends, work
            )
        for column in range(WIDTH):
            greeks[place, column] = 0.0
        reasons[place] = reason
        if reason != DEFINED:
            continue
        escrow = _escrowed(dividends, 0.0, years, rate)
        moves = spot - escrow
        growth = carry * moves + rate * escrow  # Of the spot, where no dividend is paid in the next instant.
        theta = rate * mid - growth * delta - 0.5 * (volatility * moves) ** 2 * gamma
        by, h = min(_BY_VOLATILITY, 0.5 * volatility), _BY_RATE
        coarse = STEPS // 2  # Enough for differences.
        more = _tree(side, spot, strike, years, rate, carry, volatility + by, dividends, coarse, work)[0]
        less = _tree(side, spot, strike, years, rate, carry, volatility - by, dividends, coarse, work)[0]
        dear = _tree(side, spot, strike, years, rate + h, carry + h, volatility, dividends, coarse, work)[0]
        cheap = _tree(side, spot, strike, years, rate - h, carry - h, volatility, dividends, coarse, work)[0]
        vega, rho = 0.01 * (more - less) / (2.0 * by), (dear - cheap) / (2.0 * h)
        if not math.isfinite(volatility + delta + gamma + vega + theta + rho):
            reasons[place] = NO_FORWARD
            continue
        greeks[place, IV], greeks[place, DELTA], greeks[place, GAMMA] = volatility, delta, gamma
        greeks[place, VEGA], greeks[place, THETA], greeks[place, RHO] = vega, theta / DAYS, rho
        greeks[place, TIME_VALUE] = mid - max(side * (spot - strike), 0.0)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _reason(
    side: float, mid: float, strike: float, tick: float, spot: float, forward: float, discount: float, years: float,
    carry: float,
) -> int:  # fmt: skip
    """Written so that a NaN fails, whatever it is."""
    if not (mid > 0.0 and strike > 0.0):
        return NO_QUOTE
    if not years > 0.0:
        return EXPIRED
    if not (0.0 < spot < math.inf and 0.0 < forward < math.inf and 0.0 < discount < math.inf and abs(carry) < math.inf):
        return NO_FORWARD
    over = mid - max(side * (spot - strike), discount * side * (forward - strike), 0.0)
    if not abs(over) > SMALLEST_TIME_VALUE * tick:
        return NO_TIME_VALUE
    if over < 0.0:
        return BELOW_INTRINSIC
    return ABOVE_BOUND if mid >= (spot if side > 0.0 else strike) else DEFINED


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _volatility(
    side: float, spot: float, strike: float, years: float, rate: float, carry: float, mid: float, tick: float,
    forward: float, discount: float, guess: float, dividends: Floats, work: Floats,
) -> tuple[float, float, float, int]:  # fmt: skip
    """The volatility that prices back, delta and gamma there, and the reason.

    By secants within what the signs have shown. The European option of the same price has a higher volatility, as the
    right to exercise early is worth something.
    """
    root, scale, x = math.sqrt(years), math.sqrt(forward * strike), abs(math.log(forward / strike))
    bound = min(forward, strike) / scale
    european = (mid / discount - max(side * (forward - strike), 0.0)) / scale
    low, high, exact = _LEAST, _MOST, SMALLEST_TIME_VALUE * max(tick, 1e-6)
    if 1e-12 < european < bound * (1.0 - 1e-9):
        high = min(deviation(european, x, bound, guess * root)[0] / root * 1.02 + 1e-4, high)
    at = min(max(guess if guess > 0.0 else high / 1.02, low), high)
    h, t = x / (at * root), 0.5 * at * root
    slope = max(discount * scale * root * math.exp(-0.5 * (h * h + t * t)) / ROOT_TWO_PI, 1e-3 * scale * root)
    above, before = 0.0, 0.0
    for n in range(_ROUNDS):
        above_before = above
        price, delta, gamma = american_value(side, spot, strike, years, rate, carry, at, dividends, work)
        above = price - mid
        if abs(above) <= 0.1 * exact or (high - low <= 1e-9 * high and abs(above) <= exact):
            return at, delta, gamma, DEFINED
        if above > 0.0:
            high = at
        else:
            low = at
        if n > 0 and above != above_before:
            slope = (above - above_before) / (at - before)
        found, before = at - above / slope, at
        at = found if low < found < high else 0.5 * (low + high)
    return 0.0, 0.0, 0.0, BELOW_INTRINSIC
