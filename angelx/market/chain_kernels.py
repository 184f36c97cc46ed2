"""Compiled steps of the chain: read quotes, see what differs from what was computed with, compute what was chosen."""

from typing import Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.scalars import NS, SCALE
from angelx.domain.ticks import ASK, AT, BID, CHANGED, EXCHANGE_AT, INSTRUMENT, Table
from angelx.market.black76 import (
    CARRY,
    CROSSED,
    DEFINED,
    DELTA,
    DISCOUNT,
    EXPIRED,
    EXPIRY,
    FORWARD,
    GAMMA,
    IV,
    MID,
    NO_QUOTE,
    ONE_SIDED,
    RHO,
    SPOT,
    SPREAD,
    STALE,
    THETA,
    TICK,
    VEGA,
    WIDTH,
    YEARS,
    Floats,
    Reasons,
    analyse,
)
from angelx.market.chain_statistics import figures
from angelx.market.expiry_time import YEAR_S
from angelx.market.forward import RATE_BAND, WINDOW, fit
from angelx.market.priority import DRIFTED, SETTLED, URGENT
from angelx.market.smile import read_smile

# Columns of the quotes: one line for each contract.
Q_BID: Final = 0
Q_ASK: Final = 1
"""Prices as last read, 1/10,000."""
Q_STATE: Final = 2
"""`DEFINED`, or why the quote cannot be used: a code of `black76.REASONS`."""
Q_AT: Final = 3
"""Its exchange time, ns; 0 = none yet."""
QUOTE: Final = 4
"""The columns before this one are the quote, those after it say what is to be done."""
Q_DIFFERS: Final = 4
"""1: the quote is another one than the analytics are of."""
Q_SINCE: Final = 5
"""When an input first differed, ns; 0 = nothing waits."""
QUOTE_COLUMNS: Final = 6

# Columns of what the analytics were computed with.
W_VERSION: Final = 0
"""Of the expiry's terms: forward, discount, spot and carry are one version as long as none of them changes."""
W_FORWARD: Final = 1
W_YEARS: Final = 2
W_DISCOUNT: Final = 3
WITH_COLUMNS: Final = 4

IMMATERIAL: Final = 0.1
"""Ticks: terms that move a premium by less say nothing that a quote on the grid could."""

TIME_SHARE: Final = 1e-3
"""Time has passed when it is this share of what is left: half of it in volatility."""
_TOUCH: Final = 1 << BID | 1 << ASK

NEVER: Final = 1 << 62

Found = tuple[bool, int, int, int, tuple[float, float, float, float, float, float]]
"""What `bring_up_to_date` says."""

# Places in the counters.
C_APPEARED: Final = 0
"""Contracts first quoted after the first minutes of the chain."""
C_RETURNED: Final = 1
"""Stale quotes that came to life again."""
C_STATES: Final = 2
"""From here on: quotes that turned to each state of `black76.REASONS`."""


@nb.njit(cache=True, nogil=True)
def mark(table: Table, start: int, stop: int, lines: Table, quotes: Table, dirty: NDArray[np.int8]) -> None:
    """Note which contracts the rows [start, stop) are of, and since when they wait where the touch changed."""
    for row in range(start, stop):
        line = lines[table[INSTRUMENT, row]]
        if line < 0:
            continue
        dirty[line] = 1
        if table[CHANGED, row] & _TOUCH and quotes[line, Q_SINCE] == 0:
            quotes[line, Q_SINCE] = table[AT, row]


@nb.njit(cache=True, nogil=True)
def _state(bid: int, ask: int, exchange_at: int, seen: int, oldest: int, over: bool) -> int:
    if over:
        return EXPIRED
    if not seen or (bid <= 0 and ask <= 0):
        return NO_QUOTE
    if bid <= 0 or ask <= 0:
        return ONE_SIDED
    if bid > ask:
        return CROSSED
    return STALE if exchange_at < oldest else DEFINED


@nb.njit(cache=True, nogil=True)
def read_quotes(
    first: int, stop: int, scan: bool, now: int, oldest: int, settled_in: int, settles: Table, places: Table,
    columns: Table, contracts: Floats, quotes: Table, dirty: NDArray[np.int8], touched: NDArray[np.int8],
    counts: Table,
) -> int:  # fmt: skip
    """Read the quotes of contracts [first, stop) from the market's last state.

    Parameters
    ----------
    scan
        False: only those of which rows came. None of the others may have grown stale, nor its expiry have passed.
    now
        Stream time, ns.
    oldest
        Exchange time before which a quote is stale, ns.
    settled_in
        What is quoted for the first time after this has appeared in mid-day, ns.
    settles
        By expiry, ns.
    dirty
        By contract, 1 where a row came since its quote was read.
    touched
        By expiry, set to 1 where a quote differs from the one read before.

    Returns
    -------
    int
        Oldest exchange time of the usable quotes that were read, ns.
    """
    least = NEVER
    for n in range(first, stop):
        if not scan and dirty[n] == 0:
            continue
        quote, place = quotes[n], places[n]
        dirty[n] = 0
        expiry = int(contracts[n, EXPIRY])
        bid, ask, exchange_at = columns[BID, place], columns[ASK, place], columns[EXCHANGE_AT, place]
        state = _state(bid, ask, exchange_at, columns[AT, place], oldest, settles[expiry] <= now)
        before, known = quote[Q_STATE], quote[Q_AT]
        quote[Q_AT] = exchange_at
        if state == DEFINED:
            least = min(least, exchange_at)
        if bid == quote[Q_BID] and ask == quote[Q_ASK] and state == quote[Q_STATE]:
            continue
        if state != before:
            counts[C_STATES + state] += 1
            counts[C_RETURNED] += np.int64(before == STALE and state == DEFINED)
            counts[C_APPEARED] += np.int64(now > settled_in and before == NO_QUOTE and known == 0)
        quote[Q_BID], quote[Q_ASK], quote[Q_STATE] = bid, ask, state
        contracts[n, MID] = (bid + ask) / (2.0 * SCALE) if state == DEFINED else 0.0
        contracts[n, SPREAD] = (ask - bid) / float(SCALE) if state == DEFINED else 0.0
        quote[Q_DIFFERS] = 1
        if quote[Q_SINCE] == 0:
            quote[Q_SINCE] = now
        touched[expiry] = 1
    return least


@nb.njit(cache=True, nogil=True)
def fit_forwards(
    now: int, settles: Table, touched: NDArray[np.int8], spots: Floats, contracts: Floats, calls: Table, puts: Table,
    sizes: Table, expiries: Floats, versions: Table, found: NDArray[np.int8], fitted: Floats,
    curve: float, work: Floats,
) -> int:  # fmt: skip
    """Time left of every expiry; forward, discount and carry of those touched, or whose spot moved, or
    under which time has passed.

    Parameters
    ----------
    touched
        By expiry; left alone.
    spots
        By expiry the present spot, currency units; 0.0 = none.
    calls, puts
        By expiry and strike the contract's line, -1 where there is none; `sizes` says how many strikes each has.
    versions
        By expiry, counted up where any of its terms changed.
    found
        By expiry, written: what `forward.fit` answered.
    fitted
        By expiry, written: the years left when it was fitted last.

    Returns
    -------
    int
        How many expiries' terms changed.
    """
    changed = 0
    for e in range(touched.shape[0]):
        changed += _fit_one(
            e, now, settles, touched, spots, contracts, calls, puts, sizes, expiries, versions, found, fitted, curve,
            work,
        )  # fmt: skip
    return changed


@nb.njit(cache=True, nogil=True)
def _fit_one(
    e: int, now: int, settles: Table, touched: NDArray[np.int8], spots: Floats, contracts: Floats, calls: Table,
    puts: Table, sizes: Table, expiries: Floats, versions: Table, found: NDArray[np.int8], fitted: Floats,
    curve: float, work: Floats,
) -> int:  # fmt: skip
    terms = expiries[e]
    terms[YEARS] = max(settles[e] // NS - now // NS, 0) / YEAR_S  # as `expiry_time.years_until`
    passed = abs(fitted[e] - terms[YEARS]) > TIME_SHARE * terms[YEARS]
    if touched[e] == 0 and terms[SPOT] == spots[e] and not passed:
        return 0
    fitted[e] = terms[YEARS]
    forward, discount, spot, carry = terms[FORWARD], terms[DISCOUNT], terms[SPOT], terms[CARRY]
    terms[SPOT] = spots[e]
    size = sizes[e]
    found[e] = fit(calls[e, :size], puts[e, :size], contracts, terms, curve, RATE_BAND, WINDOW, work)
    if forward == terms[FORWARD] and discount == terms[DISCOUNT] and spot == terms[SPOT] and carry == terms[CARRY]:
        return 0
    versions[e] += 1
    return 1


@nb.njit(cache=True, nogil=True)
def look(
    now: int, expiry_of: Table, contracts: Floats, expiries: Floats, versions: Table, quotes: Table, used: Floats,
    greeks: Floats, slack: float, waiting: NDArray[np.int8],
) -> tuple[int, int]:  # fmt: skip
    """Fill `waiting`: whether the analytics of each contract are of its present inputs; note since when not.

    A contract is `URGENT` where its quote differs, time has passed, or the terms moved its premium by more than
    `slack` of its spread; `DRIFTED` where they moved it by less; else, and where by less than `IMMATERIAL` ticks,
    `SETTLED`.

    Returns
    -------
    tuple[int, int]
        How many wait, and how many have a usable quote.
    """
    wait = usable = 0
    for n in range(waiting.shape[0]):
        standing = SETTLED
        if quotes[n, Q_STATE] == DEFINED:
            usable += 1
            expiry = expiry_of[n]
            years = expiries[expiry, YEARS]
            if abs(years - used[n, W_YEARS]) > TIME_SHARE * years:
                standing = URGENT
            elif versions[expiry] != used[n, W_VERSION]:
                delta, then, forward = abs(greeks[n, DELTA]), used[n, W_FORWARD], expiries[expiry, FORWARD]
                moved = abs(forward - then) * (delta if delta > 0.0 else 1.0)
                moved += abs(expiries[expiry, DISCOUNT] - used[n, W_DISCOUNT]) * contracts[n, MID]
                if not (then > 0.0 and forward > 0.0) or moved > slack * contracts[n, SPREAD]:
                    standing = URGENT
                elif moved > IMMATERIAL * contracts[n, TICK]:
                    standing = DRIFTED
        if quotes[n, Q_DIFFERS] != 0:
            standing = URGENT
        waiting[n] = standing
        if standing == SETTLED:
            quotes[n, Q_SINCE] = 0
        else:
            wait += 1
            if quotes[n, Q_SINCE] == 0:
                quotes[n, Q_SINCE] = now
    return wait, usable


@nb.njit(cache=True, nogil=True)
def differs(n: int, contracts: Floats, expiries: Floats, versions: Table, quotes: Table, used: Floats) -> bool:
    """True where any input of a contract is another one than its analytics are of, by however little."""
    expiry = int(contracts[n, EXPIRY])
    other = versions[expiry] != used[n, W_VERSION] or expiries[expiry, YEARS] != used[n, W_YEARS]
    return bool(quotes[n, Q_DIFFERS] != 0 or (quotes[n, Q_STATE] == DEFINED and other))


@nb.njit(cache=True, nogil=True)
def compute(
    chosen: Table, now: int, contracts: Floats, expiries: Floats, versions: Table, quotes: Table, used: Floats,
    greeks: Floats, reasons: Reasons, waited: Table,
) -> None:  # fmt: skip
    """Analytics of the chosen contracts from their present inputs.

    `waited` adds up: how many had waited, the sum, and the longest, ns.
    """
    analyse(chosen, contracts, expiries, greeks, reasons)
    for number in range(chosen.shape[0]):
        n = chosen[number]
        expiry = int(contracts[n, EXPIRY])
        quote = quotes[n]
        if quote[Q_STATE] != DEFINED:
            reasons[n] = quote[Q_STATE]
            for column in range(WIDTH):
                greeks[n, column] = 0.0
        used[n, W_VERSION] = versions[expiry]
        used[n, W_FORWARD], used[n, W_YEARS] = expiries[expiry, FORWARD], expiries[expiry, YEARS]
        used[n, W_DISCOUNT] = expiries[expiry, DISCOUNT]
        if quote[Q_SINCE] != 0:
            age = now - quote[Q_SINCE]
            waited[0] += 1
            waited[1] += age
            waited[2] = max(waited[2], age)
        quote[Q_DIFFERS] = 0
        quote[Q_SINCE] = 0


@nb.njit(cache=True, nogil=True)
def bring_up_to_date(
    n: int, now: int, oldest: int, settles: Table, places: Table, columns: Table, contracts: Floats, quotes: Table,
    dirty: NDArray[np.int8], touched: NDArray[np.int8], counts: Table, terms: Floats, versions: Table,
    used: Floats, greeks: Floats, reasons: Reasons, waited: Table,
) -> Found:  # fmt: skip
    """Read the quote of contract `n`, and compute it where an input differs.

    Returns
    -------
    tuple[bool, int, int, int, tuple[float, float, float, float, float, float]]
        Whether it was computed; time and state of its quote; what came of it: reason, and IV and Greeks.
    """
    read_quotes(n, n + 1, True, now, oldest, NEVER, settles, places, columns, contracts, quotes, dirty, touched, counts)
    other = differs(n, contracts, terms, versions, quotes, used)
    if other:
        one = np.empty(1, np.int64)
        one[0] = n
        compute(one, now, contracts, terms, versions, quotes, used, greeks, reasons, waited)
    line = greeks[n]
    return (
        other, quotes[n, Q_AT], quotes[n, Q_STATE], reasons[n],
        (line[IV], line[DELTA], line[GAMMA], line[VEGA], line[THETA], line[RHO]),
    )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def refresh(
    n: int, first: int, stop: int, now: int, oldest: int, settled_in: int, spot: float, settles: Table, places: Table,
    columns: Table, contracts: Floats, quotes: Table, dirty: NDArray[np.int8], touched: NDArray[np.int8],
    counts: Table, spots: Floats, calls: Table, puts: Table, sizes: Table, expiries: Floats, versions: Table,
    found: NDArray[np.int8], fitted: Floats, curve: float, work: Floats, used: Floats, greeks: Floats,
    reasons: Reasons, waited: Table,
) -> tuple[int, int, float, Found]:  # fmt: skip
    """Read those of one expiry's contracts [first, stop) of which rows came, fit its forward, and bring contract `n` of
    it up to date.

    Returns
    -------
    tuple[int, int, float, Found]
        What `read_quotes` says; the version of the expiry's terms, and its years; what `bring_up_to_date` says.
    """
    e = int(contracts[first, EXPIRY])
    spots[e] = spot
    least = read_quotes(
        first, stop, False, now, oldest, settled_in, settles, places, columns, contracts, quotes, dirty, touched,
        counts,
    )  # fmt: skip
    _fit_one(
        e, now, settles, touched, spots, contracts, calls, puts, sizes, expiries, versions, found, fitted, curve, work
    )
    touched[e] = 0
    answer = bring_up_to_date(
        n, now, oldest, settles, places, columns, contracts, quotes, dirty, touched, counts, expiries, versions, used,
        greeks, reasons, waited,
    )  # fmt: skip
    return least, versions[e], expiries[e, YEARS], answer


@nb.njit(cache=True, nogil=True)
def sum_up(
    first: int, stop: int, front: int, around: int, strikes: Table, calls: Table, puts: Table, sizes: Table,
    starts: Table, steps: Table, contracts: Floats, expiries: Floats, greeks: Floats, reasons: Reasons, oi: Table,
    volume: Table, flow: Table, money: Table, distance: Table, smiles: Floats, statistics: Table,
) -> float:  # fmt: skip
    """What the expiries [first, stop) say together: smiles and money of all, statistics of the front one.

    Parameters
    ----------
    front
        -1: all have passed; no statistics.
    around
        How many strikes each side of the money the width is measured at.
    strikes, calls, puts
        By expiry and strike: the strike, 1/10,000, and the contracts' lines, -1 where there is none; `sizes` says how
        many strikes each has.
    starts
        The contracts of an expiry are the lines from its start to the next one's.
    steps
        By contract, the number of its strike.
    oi, volume, flow
        By contract, units.
    money
        By expiry, the number of the strike nearest to the forward, written; -1 before there was a forward.
    distance
        By contract, strike steps from the money, written.
    smiles
        By expiry, as `smile.read_smile` writes them.
    statistics
        As `chain_statistics.figures` writes them.

    Returns
    -------
    float
        `_width_near` the money of the front expiry.
    """
    for e in range(first, stop):
        size, forward = sizes[e], expiries[e, FORWARD]
        read_smile(calls[e, :size], puts[e, :size], contracts, forward, greeks, reasons, smiles[e])
        if forward > 0.0:
            nearest = _nearest(strikes[e, :size], forward * SCALE)
            if nearest != money[e]:
                money[e] = nearest
                for n in range(starts[e], starts[e + 1]):
                    distance[n] = abs(steps[n] - nearest)
    if front < 0:
        return -1.0
    size, level = sizes[front], max(expiries[front, FORWARD], 0.0) * SCALE
    legs = calls[front, :size], puts[front, :size]
    figures(strikes[front, :size], legs[0], legs[1], oi, volume, flow, level, statistics)
    return _width_near(starts[front], starts[front + 1], money[front], around, steps, contracts)


@nb.njit(cache=True, nogil=True)
def _nearest(strikes: Table, level: float) -> int:
    """Number of the strike nearest to a level; of two as near the lower one."""
    low, place = 0, strikes.shape[0]
    while low < place:
        middle = (low + place) // 2
        if strikes[middle] < level:
            low = middle + 1
        else:
            place = middle
    if place > 0 and (place == strikes.shape[0] or strikes[place] - level >= level - strikes[place - 1]):
        place -= 1
    return int(place)


@nb.njit(cache=True, nogil=True)
def _width_near(first: int, stop: int, money: int, around: int, steps: Table, contracts: Floats) -> float:
    """Median of spread ÷ mid of the contracts [first, stop) at most `around` strikes from number `money`; -1 without
    any.
    """
    widths = np.empty(4 * around + 4)
    count = 0
    for n in range(first, stop):
        if abs(steps[n] - money) > around or not contracts[n, MID] > 0.0 or count == widths.shape[0]:
            continue
        width, place = contracts[n, SPREAD] / contracts[n, MID], count
        while place > 0 and widths[place - 1] > width:
            widths[place] = widths[place - 1]
            place -= 1
        widths[place] = width
        count += 1
    if count == 0:
        return -1.0
    middle = count // 2
    return float(widths[middle] if count % 2 else (widths[middle - 1] + widths[middle]) / 2)
