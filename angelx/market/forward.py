"""Forward and discount of an expiry, from put-call parity, compiled.

The mid of the call less that of the put of one strike is D (F - K): a line in K. It is fitted to the pairs near the
money by least squares, each weighted by its spread, with Tukey's biweight so that a wrong quote has no say. It starts
from the weighted median of the forwards that single pairs imply, which half of the quotes could not pull away.

Source
------
Tukey's biweight and its constant: Beaton and Tukey, *The fitting of power series, meaning polynomials* (1974); scale by
the median absolute deviation: Huber, *Robust statistics* (1981).
"""

import math
from typing import Final

import numba as nb
import numpy as np

from angelx.market.black76 import (
    CARRY,
    CLAMPED,
    DISCOUNT,
    FORWARD,
    MID,
    PAIRS,
    RESIDUAL,
    SPOT,
    SPREAD,
    STRIKE,
    TICK,
    YEARS,
    Floats,
    Places,
)

FITTED: Final = 0
CARRIED: Final = 1
NO_PAIR: Final = 2
EXPIRED: Final = 3
FORWARD_REASONS: Final = ("defined", "carried", "no_forward", "expired")
"""What each answer of `fit` says (`angelx.market.chain_view.ExpiryView.forward_reason`)."""

RATE_BAND: Final = 0.02
"""How far the implied rate may lie from the curve, a year (SPEC 3.1)."""
WINDOW: Final = 0.03
"""How far from the money a pair may lie, fraction of the strike there."""
WORK_ROWS: Final = 5

_FEWEST: Final = 6
"""Pairs to take even where they lie farther than the window."""
_FEWEST_FOR_A_SLOPE: Final = 3
_LARGEST_CARRY: Final = 0.5
"""A year. Just before the settlement a tick of basis would be any rate."""
_ROUNDS: Final = 12
_STANDS: Final = 1e-8
"""Of the forward: a round that moves it by less, far below what a tick says of it, was the last."""
_BIWEIGHT: Final = 4.685
_NORMAL: Final = 1.4826
_LEAST_SCALE: Final = 0.1
"""Of the half spreads: pairs that agree better than this are not weighed against each other."""
_X, _Y, _WEIGHT, _IMPLIED, _ROOT = range(WORK_ROWS)


def workspace(strikes: int) -> Floats:
    """Scratch numbers for `fit`, for an expiry of so many strikes or fewer."""
    return np.zeros((WORK_ROWS, max(strikes, 1)))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def fit(
    calls: Places, puts: Places, contracts: Floats, terms: Floats, curve: float, band: float, window: float,
    work: Floats,
) -> int:  # fmt: skip
    """Write FORWARD, DISCOUNT, CARRY, PAIRS, RESIDUAL and CLAMPED of one expiry.

    Parameters
    ----------
    calls, puts
        By ascending strike the contract's line, -1 where there is none.
    contracts
        As `black76.analyse` takes them; a pair counts where both MID are positive (fresh and two-sided).
    terms
        The expiry's line, with YEARS and SPOT (0.0 = none).
    curve
        Continuous rate of the expiry, a year, where the market does not tell.
    band
        The implied rate is kept within `curve` +- this; `inf` lets it go.
    window
        As `WINDOW`.
    work
        From `workspace`.

    Returns
    -------
    int
        `FITTED`; `CARRIED`: without a pair, the last carry on the present spot; `NO_PAIR` or `EXPIRED`: FORWARD is 0.0.
    """
    years = terms[YEARS]
    terms[PAIRS] = terms[RESIDUAL] = terms[CLAMPED] = 0.0
    if not years > 0.0:
        terms[FORWARD] = 0.0
        return EXPIRED
    count = _near_pairs(calls, puts, contracts, window, work)
    if count == 0:
        known = terms[SPOT] > 0.0 and terms[DISCOUNT] > 0.0
        terms[FORWARD] = terms[SPOT] * math.exp(terms[CARRY] * years) if known else 0.0
        return CARRIED if known else NO_PAIR
    if not _line(count, years, curve, band, work, terms):
        terms[FORWARD] = 0.0
        return NO_PAIR
    terms[PAIRS] = count
    terms[CARRY] = -math.log(terms[DISCOUNT]) / years
    if terms[SPOT] > 0.0:
        carry = math.log(terms[FORWARD] / terms[SPOT]) / years
        terms[CARRY] = min(max(carry, -_LARGEST_CARRY), _LARGEST_CARRY)
    return FITTED


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _near_pairs(calls: Places, puts: Places, contracts: Floats, window: float, work: Floats) -> int:
    """Gather strike, difference and weight of the pairs near the money into `work`; how many.

    The difference is positive below the forward only: where the pairs stand by how many are, is the money, and a few
    wrong quotes shift it by as many strikes at most.
    """
    count = below = 0
    for n in range(calls.shape[0]):
        call, put = calls[n], puts[n]
        if call < 0 or put < 0:
            continue
        bought, sold = contracts[call, MID], contracts[put, MID]
        if not (0.0 < bought < math.inf and 0.0 < sold < math.inf):
            continue
        half = 0.5 * (contracts[call, SPREAD] + contracts[put, SPREAD])
        half = max(half, 0.5 * (contracts[call, TICK] + contracts[put, TICK]), 1e-9)
        work[_X, count], work[_Y, count] = contracts[call, STRIKE], bought - sold
        work[_WEIGHT, count] = 1.0 / (half * half)
        below += 1 if bought > sold else 0
        count += 1
    if count == 0:
        return 0
    middle = min(max(below, 1), count - 1) if count > 1 else 0
    money = 0.5 * (work[_X, middle] + work[_X, max(middle - 1, 0)])
    reach, first, stop = window * money, middle, middle
    while first > 0 or stop < count:
        left = money - work[_X, first - 1] if first > 0 else math.inf
        right = work[_X, stop] - money if stop < count else math.inf
        if min(left, right) > reach and stop - first >= _FEWEST:
            break
        if left <= right:
            first -= 1
        else:
            stop += 1
    for n in range(first, stop):
        for row in range(3):
            work[row, n - first] = work[row, n]
    return stop - first


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _line(count: int, years: float, curve: float, band: float, work: Floats, terms: Floats) -> bool:
    """Fit the line through `count` pairs; False where its forward is not a positive number."""
    x, y, weight, implied, root = work[_X], work[_Y], work[_WEIGHT], work[_IMPLIED], work[_ROOT]
    order = np.empty(count, np.int64)
    discount = math.exp(-curve * years)
    least, most = math.exp(-(curve + band) * years), math.exp(-(curve - band) * years)
    for n in range(count):
        implied[n] = x[n] + y[n] / discount
        root[n] = math.sqrt(weight[n])
        order[n] = n
    forward = _weighted_median(implied, weight, order)
    scale, clamped = 0.0, False
    for _ in range(_ROUNDS):
        for n in range(count):
            implied[n] = abs(y[n] - discount * (forward - x[n])) * root[n]
        scale = max(_NORMAL * _median(implied, order), _LEAST_SCALE)
        w_sum = x_sum = y_sum = 0.0
        for n in range(count):
            implied[n] = _biweight(implied[n] / scale) * weight[n]
            w_sum += implied[n]
            x_sum += implied[n] * (x[n] - forward)
            y_sum += implied[n] * y[n]
        if not w_sum > 0.0:
            break
        x_mean, y_mean, xx, xy, used = x_sum / w_sum, y_sum / w_sum, 0.0, 0.0, 0
        for n in range(count):
            away = x[n] - forward - x_mean
            xx += implied[n] * away * away
            xy += implied[n] * away * y[n]
            used += 1 if implied[n] > 0.0 else 0
        free = -xy / xx if used >= _FEWEST_FOR_A_SLOPE and xx > 0.0 else discount
        before, discount = forward, min(max(free, least), most)
        clamped = free != discount
        forward += x_mean + y_mean / discount
        if abs(forward - before) <= _STANDS * abs(forward):
            break
    for n in range(count):
        implied[n] = abs(y[n] - discount * (forward - x[n]))
    residual = _median(implied, order)
    if not (0.0 < forward < math.inf and discount > 0.0 and residual < math.inf):
        return False
    terms[FORWARD], terms[DISCOUNT], terms[RESIDUAL], terms[CLAMPED] = (
        forward, discount, residual, 1.0 if clamped else 0.0,
    )  # fmt: skip
    return True


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _biweight(distance: float) -> float:
    share = distance / _BIWEIGHT
    return (1.0 - share * share) ** 2 if share < 1.0 else 0.0


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _sort(values: Floats, order: Places) -> None:
    """Bring `order` into that of the values; where it was left by values alike it takes few moves."""
    for n in range(1, order.shape[0]):
        one, place = order[n], n
        while place > 0 and values[order[place - 1]] > values[one]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = one


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _median(values: Floats, order: Places) -> float:
    """The lower one of an even number."""
    _sort(values, order)
    return float(values[order[(order.shape[0] - 1) // 2]])


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _weighted_median(values: Floats, weight: Floats, order: Places) -> float:
    """The least value that half of the weight lies at or below of."""
    _sort(values, order)
    half = 0.5 * _weight_below(values, weight, order, math.inf)
    low, high = 0, order.shape[0]
    while low < high:
        middle = (low + high) // 2
        if _weight_below(values, weight, order, values[order[middle]]) >= half:
            high = middle
        else:
            low = middle + 1
    return float(values[order[low]]) if low < order.shape[0] else math.inf


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _weight_below(values: Floats, weight: Floats, order: Places, most: float) -> float:
    """Summed in the order of the strikes: rounded alike, it never falls as `most` rises."""
    total = 0.0
    for n in range(order.shape[0]):
        total += weight[n] * (1.0 if values[n] <= most else 0.0)
    return total
