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

from angelx.domain.ticks import ASK, AT, BID, BID_SIZE, CHANGED, EXCHANGE_AT, INSTRUMENT, LAST, OI, VOLUME
from angelx.market import simulated_model as m
from angelx.market.simulated_chain import CENTRES, TICK
from angelx.market.simulated_index import MOVES_A_STEP, move, smile, u_shape
from angelx.market.simulated_model import Laws, Session, State
from angelx.market.simulated_pricing import Floats, Random, black, normal, uniform

Table = NDArray[np.int64]
Row = NDArray[np.int64]
Matrix = NDArray[np.float64]

LARGEST_DELAY: Final = 250_000_000
"""ns from the exchange's stamp to arrival, at most."""
_LEAST_DELAY, _MEAN_EXTRA = 30_000_000, 40_000_000
_CENTRES: Final = np.array(CENTRES)
_MILLISECOND: Final = 1_000_000
_SECOND: Final = 1_000_000_000


def fill(table: Table, session: Session, laws: Laws, state: State) -> int:
    """Write the next rows of the stream into `table` until it is full or the session is over; answers how many."""
    return int(_fill(table, session, laws, *state))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _fill(
    table: Table, session: Session, laws: Laws, cells: Matrix, term: Matrix, random: Random, level: Floats,
    tally: Row, curve: Matrix, quote: Table, trait: Matrix, watch: Matrix,
) -> int:  # fmt: skip
    n, law = trait.shape[0], np.empty(cells.shape[2])
    row, capacity = 0, table.shape[1]
    while row < capacity:
        at = session.opens_at + tally[m.STEP] * session.step
        if at + session.step > session.closes_at:
            break
        gone = (at - session.opens_at) / (session.closes_at - session.opens_at)
        if tally[m.INDEXED] == tally[m.STEP]:
            tally[m.INDEXED] += 1
            tally[m.NEXT] = int(n * uniform(random))
            tally[m.MOVES] = 0
            tally[m.DELAY] = min(int(_LEAST_DELAY - _MEAN_EXTRA * math.log(uniform(random))), LARGEST_DELAY)
            publication = int((at - session.opens_at) / (laws.oi_every_s * _SECOND))
            tally[m.NEWS], tally[m.PUBLICATION] = int(publication != tally[m.PUBLICATION]), publication
            level[m.ACTIVITY] = u_shape(laws.u_activity, gone) * math.exp(0.5 * level[m.HEAT] - laws.heat**2 / 8.0)
            _write_index(table, row, at, level, tally)
            row += 1
        activity, quietness = level[m.ACTIVITY], 1.0 / level[m.ACTIVITY]
        looks, i, news = tally[m.LOOKS], tally[m.NEXT], tally[m.NEWS] > 0
        next_move = tally[m.MOVES] * n // MOVES_A_STEP
        while looks < n and row < capacity:
            if looks >= next_move:
                move(session, laws, term, random, level, curve, gone)
                tally[m.MOVES] += 1
                next_move = tally[m.MOVES] * n // MOVES_A_STEP
            chance = uniform(random) * quietness
            runs = abs(watch[i, m.DELTA] * (level[m.SPOT] - watch[i, m.QUOTED_SPOT])) > watch[i, m.TOLERANCE]
            if runs or chance < watch[i, m.UPDATE] or (news and quote[i, OI] != quote[i, m.TRUE_OI]):
                q, t, w = quote[i], trait[i], watch[i]
                if chance < t[m.TRADE]:
                    _print(session, laws, random, level, q, t, activity, gone)
                _requote(session, laws, cells, term, random, level, curve, q, t, w, law, chance < t[m.TRADE])
                if news or q[m.QUOTED] == 0:
                    q[OI], q[m.QUOTED] = q[m.TRUE_OI], 1
                _write(table, row, i + 1, at + looks * session.step // n, tally, q)
                row += 1
            looks += 1
            i += session.stride if i + session.stride < n else session.stride - n
        if looks == n:
            looks = 0
            tally[m.STEP] += 1
        tally[m.LOOKS], tally[m.NEXT] = looks, i
    return row


# ---------------------------------------------------------------- one option
@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _print(
    session: Session, laws: Laws, random: Random, level: Floats, quote: Row, trait: Floats, activity: float,
    gone: float,
) -> None:  # fmt: skip
    """Trades since the last look, at the touch as it stood; they open and close positions."""
    buys = uniform(random) < 0.5
    price = quote[ASK] if quote[ASK] > 0 and (buys or quote[BID] == 0) else quote[BID]
    if price == 0:
        return
    mean = trait[m.LOTS_A_STEP] * activity / min(trait[m.TRADE] * activity, 1.0)
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
    lean = trait[m.GROWTH] + laws.oi_build * (1.0 - 2.0 * gone) - trait[m.CALL] * level[m.REGIME] * laws.oi_tilt
    either = max(laws.oi_churn, abs(lean))
    chance = 2.0 * uniform(random)
    if chance < either + lean:
        quote[m.TRUE_OI] += units
    elif chance < 2.0 * either:
        quote[m.TRUE_OI] = max(0, quote[m.TRUE_OI] - units)


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _requote(
    session: Session, laws: Laws, cells: Matrix, term: Matrix, random: Random, level: Floats, curve: Matrix,
    quote: Row, trait: Floats, watch: Floats, law: Floats, traded: bool,
) -> None:  # fmt: skip
    """Price option i and set its touch around the fair value: bid <= fair <= ask, always."""
    e = int(trait[m.EXPIRY])
    away = math.log(trait[m.STRIKE] / curve[e, m.FORWARD])
    ratio = smile(away / curve[e, m.DEVIATION], term[e, m.SKEW], laws.wing, laws.bend)
    value, delta = black(curve[e, m.FORWARD], trait[m.STRIKE], curve[e, m.DEVIATION] * ratio, trait[m.CALL])
    fair = value * curve[e, m.DISCOUNT]
    _cell(cells, int(term[e, m.CLASS]), trait[m.CALL] * away / curve[e, m.RULER_LENGTH], law)
    _draw(session, laws, random, quote, trait, law)
    kept = 0 < quote[BID] <= fair * TICK <= quote[ASK] and uniform(random) < law[m.HOLD]
    spread = (quote[ASK] - quote[BID]) // TICK if kept else _spread(trait, law, fair)
    bid = quote[BID] // TICK if kept else math.floor(fair - trait[m.LEAN] * (spread - 1))
    if not kept:
        quote[BID] = bid * TICK if bid > 0 and trait[m.BID_LUCK] < law[m.BID_SHARE] else 0
        quote[ASK] = (bid + spread) * TICK if trait[m.ASK_LUCK] < law[m.ASK_SHARE] else 0
    _display(session, random, quote, trait, law, BID, traded)
    _display(session, random, quote, trait, law, ASK, traded)
    trait[m.TRADE] = min(law[m.TRADE_RATE] * trait[m.POPULAR_TRADE], 1.0)
    trait[m.LOTS_A_STEP] = math.exp(law[m.VOLUME_LOTS]) * trait[m.POPULAR]
    trait[m.GROWTH] = law[m.OI_GROWTH]
    watch[m.UPDATE] = max(law[m.UPDATE_RATE], trait[m.TRADE])
    watch[m.DELTA], watch[m.QUOTED_SPOT] = delta, level[m.SPOT]
    room = min(fair - bid, bid + spread - fair)
    watch[m.TOLERANCE] = room + laws.patience * 4.0 * abs(delta) * (1.0 - abs(delta)) * math.sqrt(spread)


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _spread(trait: Floats, law: Floats, fair: float) -> int:
    """Ticks between bid and ask, as drawn; of a cheap option not much more than it is worth."""
    odd = trait[m.OWN_WIDTH] + trait[m.FRESH_WIDTH]
    ticks = trait[m.POPULAR_SPREAD] * math.exp(law[m.SPREAD] + law[m.SPREAD_TAIL] * odd)
    return max(1, int(min(ticks, 20.0 + fair) + 0.5))


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
    first = quote[m.QUOTED] == 0
    if first:
        lots = trait[m.POPULAR] * math.exp(law[m.OI_LOTS] + 0.6 * normal(random))
        quote[m.TRUE_OI] = int(lots + 0.5) * session.lot_size
    if first or uniform(random) < law[m.REQUOTE]:
        trait[m.FRESH_WIDTH] = laws.fresh_width * normal(random)
        trait[m.LEAN] = 0.5 + laws.lean * (uniform(random) - 0.5)
        if first or uniform(random) < 0.02:
            trait[m.BID_LUCK], trait[m.ASK_LUCK] = uniform(random), uniform(random)


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _display(session: Session, random: Random, quote: Row, trait: Floats, law: Floats, side: int, traded: bool) -> None:
    """Set what is shown on one side: drawn anew after a trade or with a new quote, else as before."""
    size = side + BID_SIZE - BID
    if quote[side] == 0:
        quote[size] = 0
    elif traded or quote[size] == 0 or uniform(random) < law[m.REQUOTE]:
        lots = trait[m.POPULAR_LOTS] * math.exp(law[m.LOTS] + law[m.LOTS_TAIL] * normal(random))
        quote[size] = max(1, int(lots + 0.5)) * session.lot_size


# ---------------------------------------------------------------- rows
@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _stamp(table: Table, row: int, at: int, tally: Row) -> None:
    """Both times: the exchange's in whole milliseconds, ours after the step's delay and in order of arrival."""
    stamp = at // _MILLISECOND * _MILLISECOND
    tally[m.LAST_AT] = max(tally[m.LAST_AT], stamp + tally[m.DELAY])
    table[EXCHANGE_AT, row] = stamp
    table[AT, row] = tally[m.LAST_AT]


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _write(table: Table, row: int, place: int, at: int, tally: Row, quote: Row) -> None:
    _stamp(table, row, at, tally)
    table[INSTRUMENT, row] = place
    for field in range(BID, CHANGED):
        table[field, row] = quote[field]
    table[CHANGED, row] = 0


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _write_index(table: Table, row: int, at: int, level: Floats, tally: Row) -> None:
    """The index has a last value only."""
    for field in range(table.shape[0]):
        table[field, row] = 0
    _stamp(table, row, at, tally)
    table[LAST, row] = int(level[m.SPOT] + 0.5) * TICK
