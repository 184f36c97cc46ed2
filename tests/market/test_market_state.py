"""The state is each instrument's last row, and knows how often each side of its quote changed."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from angelx.domain.instruments import Instrument, InstrumentTable, Kind
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, FIELDS, INSTRUMENT, LAST, Rows, TickBatch, batch_of
from angelx.market.state import ASK_CHANGES, BID_CHANGES, FIRST, STATE_FIELDS, MarketState

TABLE = InstrumentTable(
    Instrument(id=name, symbol=name, segment="US", kind=Kind.EQUITY, currency="USD", tick_size=1) for name in "ABCD"
)

cells = st.integers(0, 3)
tables = st.lists(st.lists(cells, min_size=FIELDS, max_size=FIELDS), min_size=1, max_size=40).map(
    lambda rows: np.ascontiguousarray(np.array(rows, np.int64).T)
)


def by_hand(table: NDArray[np.int64]) -> dict[int, list[int]]:
    """Cells of each instrument, one row after the other."""
    state = {place: [0] * STATE_FIELDS for place in range(len(TABLE))}
    for row in table.T.tolist():
        cell = state[row[INSTRUMENT]]
        cell[BID_CHANGES] += (row[BID], row[BID_SIZE]) != (cell[BID], cell[BID_SIZE])
        cell[ASK_CHANGES] += (row[ASK], row[ASK_SIZE]) != (cell[ASK], cell[ASK_SIZE])
        cell[FIRST] = cell[FIRST] or row[LAST]
        cell[:FIELDS] = row
    return state


@given(table=tables, cuts=st.lists(st.integers(0, 40)))
def test_it_is_the_last_row_of_each_instrument_however_the_rows_are_cut(
    table: NDArray[np.int64], cuts: list[int]
) -> None:
    state, batch = MarketState(TABLE), TickBatch(table)
    bounds = sorted({0, batch.rows, *(min(cut, batch.rows) for cut in cuts)})
    for start, stop in pairwise(bounds):
        state.fold(Rows(batch, start, stop))
    for place, cell in by_hand(table).items():
        assert state.columns[:, place].tolist() == cell
        assert [state.view[field, place] for field in range(STATE_FIELDS)] == cell
        assert state.of(place).tolist()[:STATE_FIELDS] == cell


@pytest.mark.parametrize("place", [-1, 4, 2**40])
def test_a_row_of_no_instrument_is_named(place: int) -> None:
    state = MarketState(TABLE)
    columns: dict[int, Any] = {INSTRUMENT: np.array([2, place, 3]), BID: np.array([7, 8, 9])}
    with pytest.raises(IndexError, match=f"row 1 of the batch is of instrument {place}; the table has 4"):
        state.fold(Rows(batch_of(columns), 0, 3))
    assert [state.view[BID, place] for place in range(4)] == [0, 0, 7, 0]


def test_a_price_that_is_no_number_is_never_the_first() -> None:
    state = MarketState(TABLE)
    state.fold(Rows(batch_of({INSTRUMENT: 0, LAST: np.array([-(2**62), 0, 5, 6])}), 0, 4))
    assert state.view[FIRST, 0] == 5
