"""Conflation: nothing that lasts is lost, and what is left reads as if it had been all."""

from collections import defaultdict

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from angelx.domain.ticks import ASK, AT, BID, CHANGED, EXCHANGE_AT, FIELDS, INSTRUMENT, LAST, OI, VOLUME, TickBatch
from angelx.market.conflation import conflated
from angelx.market.differential import Differential

Step = tuple[int, int, int, int, int, int]
PLACES = 3
ROWS = st.lists(
    st.tuples(
        st.integers(0, PLACES - 1), st.integers(0, 1), st.integers(1, 4), st.integers(0, 4), st.integers(0, 2),
        st.integers(0, 2),
    ),
    max_size=60,
)  # fmt: skip
"""Place, whether the exchange's time moves on, bid, last, volume traded, open interest."""


def market(steps: list[Step]) -> TickBatch:
    table = np.zeros((FIELDS, len(steps)), np.int64)
    at, volume = 1_000, [0] * PLACES
    for row, (place, later, bid, last, traded, interest) in enumerate(steps):
        at += later
        volume[place] += traded
        for field, value in (
            (INSTRUMENT, place), (AT, at), (EXCHANGE_AT, at), (BID, bid), (ASK, bid + 1), (LAST, last),
            (VOLUME, volume[place]), (OI, interest),
        ):  # fmt: skip
            table[field, row] = value
    return TickBatch(table)


def flows(batch: TickBatch) -> dict[int, list[tuple[int, int]]]:
    """Open interest of each instrument where it moved, with the price of that moment."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row in range(batch.rows):
        if batch.view[CHANGED, row] & 1 << OI:
            found[batch.view[INSTRUMENT, row]].append((batch.view[OI, row], batch.view[LAST, row]))
    return found


@given(ROWS, ROWS)
@example([], [(0, 0, 1, 1, 0, 0), (0, 0, 2, 1, 0, 0), (0, 0, 1, 1, 0, 0)])
def test_what_lasts_is_kept(before: list[Step], steps: list[Step]) -> None:
    everything, again = Differential(PLACES), Differential(PLACES)
    for differential in (everything, again):
        differential.process(market(before))
    late = market([*before, *steps])
    whole = everything.process(TickBatch(np.ascontiguousarray(late.table[:, len(before) :])))
    left = conflated(TickBatch(whole.table.copy()), PLACES)

    assert flows(left) == flows(whole), "open interest is never conflated"
    for place in range(PLACES):
        every, kept = (one.table[:, one.table[INSTRUMENT] == place] for one in (whole, left))
        if not every.shape[1]:
            continue
        same = [field for field in range(FIELDS) if field not in (CHANGED, AT)]
        assert (every[same, -1] == kept[same, -1]).all(), "the newest quote, and the sum of what traded"
        assert (every[:, 0] == kept[:, 0]).all()
        for extreme in (np.max, np.min):
            traded, heard = every[LAST][every[LAST] > 0], kept[LAST][kept[LAST] > 0]
            assert traded.size == 0 or extreme(traded) == extreme(heard)

    marks = left.table[CHANGED].copy()
    read = again.process(TickBatch(left.table.copy()))
    assert read.rows == left.rows, "whoever reads a capture of it takes every row"
    assert (read.table[CHANGED] == marks).all(), "and finds the same changes"


def test_a_busy_instrument_leaves_few_rows() -> None:
    rows = 10_000
    batch = market([(row % PLACES, 1, 1 + row % 4, 1 + row * 7 % 4, 1, 5) for row in range(rows)])
    left = conflated(Differential(PLACES).process(batch), PLACES)
    assert left.rows <= 4 * PLACES
    assert left.table[VOLUME].max() == batch.table[VOLUME].max()


def test_nothing_is_no_rows() -> None:
    assert conflated(TickBatch.empty(), PLACES).rows == 0
