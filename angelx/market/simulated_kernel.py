"""The compiled heart of the simulated market: one pass over the chain per step of time, a row for what moved.

Every contract is looked at once a step (a second), in a scattered order. It is quoted anew when its flow says so, when
the price has run away from its quote, or when the exchange publishes its open interest; only then a row is written.
The index is published at the start of each step.
"""

import math
from typing import Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, CHANGED, EXCHANGE_AT, INSTRUMENT, LAST, OI, VOLUME
from angelx.market.simulated_chain import CENTRES, RULER, TICK, YEAR_DAYS
from angelx.market.simulated_model import (
    ANCHOR, ASK_LUCK, ASK_SHARE, BID_LUCK, BID_SHARE, CALL, CLASS, DAYS, DELAY, DELTA, DEVIATION, DISCOUNT, EXPIRY, FORWARD,
    FRESH_WIDTH, GROWTH, HEAT, INDEXED, LAST_AT, LEAN, LOOKS, LOTS, LOTS_A_STEP, LOTS_TAIL, MOOD, MOVES, NEWS, NEXT, OI_GROWTH, OI_LOTS,
    OWN_WIDTH, POPULAR, POPULAR_LOTS, POPULAR_SPREAD, POPULAR_TRADE, PUBLICATION, PUBLISHED, QUOTED_SPOT, REGIME, REQUOTE, RULER_LENGTH, SKEW,
    SPOT, SPREAD, SPREAD_TAIL, STEP, STRIKE, TOLERANCE, TRADE, TRADE_RATE, TRUE_OI, UPDATE, UPDATE_RATE,
    VOLATILITY, VOLUME_LOTS, YEARS, Laws, Session, State,
)  # fmt: skip
from angelx.market.simulated_pricing import Floats, Random, black, normal, uniform

Table = NDArray[np.int64]
Row = NDArray[np.int64]
Matrix = NDArray[np.float64]

LARGEST_DELAY: Final = 250_000_000
"""ns from the exchange's stamp to arrival, at most."""
_LEAST_DELAY, _MEAN_EXTRA = 30_000_000, 40_000_000
SMILE_END: Final = 4.5
"""Standard deviations from the money at which the smile's wings begin to flatten."""
TILT: Final = 2.0
"""Standard deviations over which the skew acts."""
_CENTRES: Final = np.array(CENTRES)
_MOVES: Final = 4
"""Moves of the index within a step."""
_MILLISECOND: Final = 1_000_000
_SECOND: Final = 1_000_000_000
_YEAR: Final = 365.0 * 86400.0 * _SECOND


def fill(table: Table, session: Session, laws: Laws, state: State) -> int:
    """Write the next rows of the stream into `table` until it is full or the session is over; answers how many."""
    return int(_fill(table, session, laws, *state))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _fill(
    table: Table, session: Session, laws: Laws, cells: Matrix, term: Matrix, random: Random, level: Floats,
    count: Row, curve: Matrix, quote: Table, trait: Matrix, watch: Matrix,
) -> int:  # fmt: skip
    n, law = trait.shape[0], np.empty(cells.shape[2])
    row, capacity = 0, table.shape[1]
    while row < capacity:
        at = session.opens_at + count[STEP] * session.step
        if at >= session.closes_at:
            break
        gone = (at - session.opens_at) / (session.closes_at - session.opens_at)
        activity = u_shape(laws.u_activity, gone)
        quietness = 1.0 / activity
        publication = int((at - session.opens_at) / (laws.oi_every_s * _SECOND))
        if count[INDEXED] == count[STEP]:
            count[INDEXED] += 1
            count[NEXT] = int(n * uniform(random))
            count[MOVES] = 0
            count[DELAY] = min(int(_LEAST_DELAY - _MEAN_EXTRA * math.log(uniform(random))), LARGEST_DELAY)
            count[NEWS], count[PUBLICATION] = int(publication != count[PUBLICATION]), publication
            _write_index(table, row, at, level, count)
            row += 1
        looks, i, news = count[LOOKS], count[NEXT], count[NEWS] > 0
        next_move = count[MOVES] * n // _MOVES
        while looks < n and row < capacity:
            if looks >= next_move:
                _move(session, laws, term, random, level, curve, gone)
                count[MOVES] += 1
                next_move = count[MOVES] * n // _MOVES
            chance = uniform(random) * quietness
            runs = abs(watch[i, DELTA] * (level[SPOT] - watch[i, QUOTED_SPOT])) > watch[i, TOLERANCE]
            if runs or chance < watch[i, UPDATE] or (news and quote[i, OI] != quote[i, TRUE_OI]):
                q, t, w = quote[i], trait[i], watch[i]
                if chance < t[TRADE]:
                    _print(session, laws, random, level, q, t, activity, gone)
                _requote(session, laws, cells, term, random, level, curve, q, t, w, law, chance < t[TRADE])
                if q[PUBLISHED] != publication:
                    q[OI], q[PUBLISHED] = q[TRUE_OI], publication
                _write(table, row, i + 1, at + looks * session.step // n, count, q)
                row += 1
            looks += 1
            i += session.stride if i + session.stride < n else session.stride - n
        if looks == n:
            looks = 0
            count[STEP] += 1
        count[LOOKS], count[NEXT] = looks, i
    return row


# ---------------------------------------------------------------- the index and its curve
@nb.njit(cache=True, nogil=True, error_model="numpy")
def u_shape(depth: float, gone: float) -> float:
    """The day's U: 1 on average, 1 + 2/3 depth at open and close, 1 - 1/3 depth at half-time."""
    return 1.0 + depth * ((2.0 * gone - 1.0) ** 2 - 1.0 / 3.0)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def u_passed(depth: float, gone: float) -> float:
    """Integral of `u_shape` from 0 to `gone`: the share of the day's variance that has passed."""
    return gone + depth * (((2.0 * gone - 1.0) ** 3 + 1.0) / 6.0 - gone / 3.0)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _move(
    session: Session, laws: Laws, term: Matrix, random: Random, level: Floats, curve: Matrix, gone: float
) -> None:
    """Let a part of a step pass for the index, its volatility and its regime, and set the curve of every expiry."""
    minutes = session.step / (_MOVES * 60.0 * _SECOND)
    keep = math.exp(-minutes / 45.0)
    level[HEAT] = keep * level[HEAT] + math.sqrt(1.0 - keep * keep) * laws.heat * normal(random)
    if uniform(random) < minutes / laws.regime_minutes:
        level[REGIME] = math.floor(3.0 * uniform(random)) - 1.0
    variance = laws.return_deviation**2 * math.exp(2.0 * (level[HEAT] - laws.heat**2))
    variance *= u_shape(laws.u_variance, gone) * minutes
    change = laws.trend * level[REGIME] * minutes + math.sqrt(variance) * normal(random)
    if uniform(random) < laws.jumps_a_day / 375.0 * minutes:
        change += laws.jump * normal(random)
    level[SPOT] *= math.exp(change)
    keep = math.exp(-minutes / 60.0)
    away = math.log(level[SPOT])
    level[ANCHOR] = keep * level[ANCHOR] + (1.0 - keep) * away
    level[MOOD] = keep * level[MOOD] + laws.mood * math.sqrt(minutes) * normal(random)
    _set_curve(session, laws, term, level, curve, gone, away - level[ANCHOR])


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _set_curve(
    session: Session, laws: Laws, term: Matrix, level: Floats, curve: Matrix, gone: float, away: float
) -> None:
    """Forward, discount and at-the-money deviation; variance passes in trading time, faster at open and close."""
    days_left = max(1.0 - u_passed(laws.u_variance, gone), 1e-3)
    years_left = (1.0 - gone) * (session.closes_at - session.opens_at) / _YEAR
    for e in range(term.shape[0]):
        days, years = term[e, DAYS] + days_left, term[e, YEARS] + years_left
        root = math.sqrt(days / YEAR_DAYS)
        base = term[e, VOLATILITY] * root
        shift = laws.leverage * min(max(away / base, -2.0), 2.0) + level[MOOD] / math.sqrt(max(days, 1.0))
        curve[e, FORWARD] = level[SPOT] * math.exp(laws.carry * years)
        curve[e, DISCOUNT] = math.exp(-laws.discount_rate * years)
        curve[e, DEVIATION] = base * math.exp(min(max(shift, -0.5), 0.5))
        curve[e, RULER_LENGTH] = RULER * root


@nb.njit(cache=True, nogil=True, error_model="numpy")
def smile(k: float, skew: float, wing: float, bend: float) -> float:
    """Volatility over at-the-money volatility, k standard deviations from the forward.

    A hyperbola, tilted near the money; from `SMILE_END` on it grows with the root of k only, because a volatility that
    stays linear prices far strikes above nearer ones (Lee, *The moment formula for implied volatility*, 2004).
    """
    near = min(max(k, -SMILE_END), SMILE_END)
    value = 1.0 + skew * near / math.sqrt(1.0 + (near / TILT) ** 2) + wing * (math.sqrt(near**2 + bend**2) - bend)
    return value * math.sqrt(max(abs(k) / SMILE_END, 1.0))


# ---------------------------------------------------------------- one option
@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _print(
    session: Session, laws: Laws, random: Random, level: Floats, quote: Row, trait: Floats, activity: float, gone: float
) -> None:
    """Trades since the last look, at the touch as it stood; they open and close positions."""
    buys = uniform(random) < 0.5
    price = quote[ASK] if quote[ASK] > 0 and (buys or quote[BID] == 0) else quote[BID]
    if price == 0:
        return
    mean = trait[LOTS_A_STEP] * activity / min(trait[TRADE] * activity, 1.0)
    lots = 1
    if mean > 1.0:
        lots += int(math.log(uniform(random)) / math.log(1.0 - 1.0 / mean))
    quote[LAST] = price
    quote[VOLUME] += lots * session.lot_size
    _open_or_close(laws, random, level, quote, trait, lots * session.lot_size, gone)


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _open_or_close(
    laws: Laws, random: Random, level: Floats, quote: Row, trait: Floats, units: int, gone: float
) -> None:
    """A print opens positions, closes some, or passes them on; more are opened in the morning than in the evening."""
    lean = trait[GROWTH] + laws.oi_build * (1.0 - 2.0 * gone) - trait[CALL] * level[REGIME] * laws.oi_tilt
    either = max(laws.oi_churn, abs(lean))
    chance = 2.0 * uniform(random)
    if chance < either + lean:
        quote[TRUE_OI] += units
    elif chance < 2.0 * either:
        quote[TRUE_OI] = max(0, quote[TRUE_OI] - units)


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _requote(
    session: Session, laws: Laws, cells: Matrix, term: Matrix, random: Random, level: Floats, curve: Matrix,
    quote: Row, trait: Floats, watch: Floats, law: Floats, traded: bool,
) -> None:  # fmt: skip
    """Price option i and set its touch around the fair value: bid <= fair <= ask, always."""
    e = int(trait[EXPIRY])
    away = math.log(trait[STRIKE] / curve[e, FORWARD])
    ratio = smile(away / curve[e, DEVIATION], term[e, SKEW], laws.wing, laws.bend)
    value, delta = black(curve[e, FORWARD], trait[STRIKE], curve[e, DEVIATION] * ratio, trait[CALL])
    fair = value * curve[e, DISCOUNT]
    _cell(cells, int(term[e, CLASS]), trait[CALL] * away / curve[e, RULER_LENGTH], law)
    _draw(session, laws, random, quote, trait, law)
    ticks = trait[POPULAR_SPREAD] * math.exp(law[SPREAD] + law[SPREAD_TAIL] * (trait[OWN_WIDTH] + trait[FRESH_WIDTH]))
    spread = max(1, int(min(ticks, 20.0 + fair) + 0.5))
    bid = int(math.floor(fair - trait[LEAN] * (spread - 1)))
    quote[BID] = bid * TICK if bid > 0 and trait[BID_LUCK] < law[BID_SHARE] else 0
    quote[ASK] = (bid + spread) * TICK if trait[ASK_LUCK] < law[ASK_SHARE] else 0
    _display(session, random, quote, trait, law, BID, traded)
    _display(session, random, quote, trait, law, ASK, traded)
    trait[TRADE] = min(law[TRADE_RATE] * trait[POPULAR_TRADE], 1.0)
    trait[LOTS_A_STEP] = math.exp(law[VOLUME_LOTS]) * trait[POPULAR]
    trait[GROWTH] = law[OI_GROWTH]
    watch[UPDATE] = max(law[UPDATE_RATE], trait[TRADE])
    watch[DELTA], watch[QUOTED_SPOT] = delta, level[SPOT]
    watch[TOLERANCE] = 0.4 * spread + laws.patience * (1.0 - abs(delta)) * math.sqrt(spread)


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _cell(cells: Matrix, row: int, x: float, law: Floats) -> None:
    """The fitted values at moneyness `x` (rulers out of the money), interpolated between the centres."""
    column = 0
    while column < _CENTRES.shape[0] - 2 and x > _CENTRES[column + 1]:
        column += 1
    share = min(max((x - _CENTRES[column]) / (_CENTRES[column + 1] - _CENTRES[column]), 0.0), 1.0)
    for n in range(law.shape[0]):
        law[n] = (1.0 - share) * cells[row, column, n] + share * cells[row, column + 1, n]


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _draw(session: Session, laws: Laws, random: Random, quote: Row, trait: Floats, law: Floats) -> None:
    """What is drawn now and then: open interest at the open, the fresh part of the spread, which sides are there."""
    first = quote[PUBLISHED] < 0
    if first:
        lots = trait[POPULAR] * math.exp(law[OI_LOTS] + 0.6 * normal(random))
        quote[TRUE_OI] = int(lots + 0.5) * session.lot_size
    if first or uniform(random) < law[REQUOTE]:
        trait[FRESH_WIDTH] = laws.fresh_width * normal(random)
        trait[LEAN] = 0.5 + laws.lean * (uniform(random) - 0.5)
        if first or uniform(random) < 0.02:
            trait[BID_LUCK], trait[ASK_LUCK] = uniform(random), uniform(random)


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _display(
    session: Session, random: Random, quote: Row, trait: Floats, law: Floats, side: int, traded: bool
) -> None:
    """Set what is shown on one side: drawn anew after a trade or with a new quote, else as before."""
    size = side + BID_SIZE - BID
    if quote[side] == 0:
        quote[size] = 0
    elif traded or quote[size] == 0 or uniform(random) < law[REQUOTE]:
        lots = trait[POPULAR_LOTS] * math.exp(law[LOTS] + law[LOTS_TAIL] * normal(random))
        quote[size] = max(1, int(lots + 0.5)) * session.lot_size


# ---------------------------------------------------------------- rows
@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _stamp(table: Table, row: int, at: int, count: Row) -> None:
    """Both times: the exchange's in whole milliseconds, ours after the step's delay and in order of arrival."""
    stamp = at // _MILLISECOND * _MILLISECOND
    count[LAST_AT] = max(count[LAST_AT], stamp + count[DELAY])
    table[EXCHANGE_AT, row] = stamp
    table[AT, row] = count[LAST_AT]


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _write(table: Table, row: int, place: int, at: int, count: Row, quote: Row) -> None:
    _stamp(table, row, at, count)
    table[INSTRUMENT, row] = place
    for field in range(BID, CHANGED):
        table[field, row] = quote[field]
    table[CHANGED, row] = 0


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _write_index(table: Table, row: int, at: int, level: Floats, count: Row) -> None:
    """The index has a last value only."""
    for field in range(table.shape[0]):
        table[field, row] = 0
    _stamp(table, row, at, count)
    table[LAST, row] = int(level[SPOT] + 0.5) * TICK
