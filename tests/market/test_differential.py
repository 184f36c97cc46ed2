"""The differential processor against a plain-Python oracle, whatever the batches."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from angelx.domain.ticks import (
    ASK,
    ASK_SIZE,
    AT,
    BID,
    BID_SIZE,
    CHANGED,
    EXCHANGE_AT,
    FIELDS,
    INSTRUMENT,
    LAST,
    NOT_A_NUMBER,
    OI,
    VOLUME,
    Table,
    TickBatch,
    batch_of,
)
from angelx.market.differential import (
    AHEAD_NS,
    AHEAD_OF_CLOCK,
    CLOCK_BACKWARDS,
    CROSSED,
    DUPLICATE,
    NEGATIVE,
    NOT_A_NUMBER_CODE,
    OFF_TICK,
    OUT_OF_ORDER,
    REASONS,
    UNKNOWN_INSTRUMENT,
    Differential,
)

TICKS = (0, 5, 2)
CELLS = tuple(range(BID, OI + 1))
Row = tuple[int, ...]


class Oracle:
    """The same rules, row by row, in plain Python."""

    def __init__(self, ticks: tuple[int, ...]) -> None:
        self.ticks = ticks
        self.last: dict[int, Row] = {}
        self.at: int | None = None
        self.refused: dict[str, int] = {}
        self.first: dict[str, tuple[int, int]] = {}
        self.unchanged = self.changed_cells = 0

    def refusal(self, row: Row) -> str | None:
        place, bid, ask = row[INSTRUMENT], row[BID], row[ASK]
        before = self.last.get(place)
        tick = self.ticks[place] if 0 <= place < len(self.ticks) else 0
        same = before is not None and row[EXCHANGE_AT : OI + 1] == before[EXCHANGE_AT : OI + 1]
        rules = (
            (CLOCK_BACKWARDS, self.at is not None and row[AT] < self.at),
            (UNKNOWN_INSTRUMENT, not 0 <= place < len(self.ticks)),
            (NOT_A_NUMBER_CODE, NOT_A_NUMBER in row[EXCHANGE_AT : OI + 1]),
            (NEGATIVE, min(row[EXCHANGE_AT : OI + 1]) < 0),
            (CROSSED, bid > ask and ask != 0),
            (OFF_TICK, tick != 0 and (bid % tick != 0 or ask % tick != 0)),
            (AHEAD_OF_CLOCK, row[EXCHANGE_AT] > row[AT] + AHEAD_NS),
            (OUT_OF_ORDER, before is not None and row[EXCHANGE_AT] < before[EXCHANGE_AT]),
            (DUPLICATE, same),
        )
        return next((reason for reason, broken in rules if broken), None)

    def run(self, rows: list[Row]) -> list[Row]:
        accepted = []
        for number, row in enumerate(rows):
            reason = self.refusal(row)
            if reason is not None:
                self.refused[reason] = self.refused.get(reason, 0) + 1
                self.first.setdefault(reason, (number, row[INSTRUMENT]))
                continue
            before = self.last.get(row[INSTRUMENT], (0,) * FIELDS)
            changed = [field for field in CELLS if row[field] != before[field]]
            self.changed_cells += len(changed)
            self.unchanged += not changed
            self.at, self.last[row[INSTRUMENT]] = row[AT], row
            accepted.append((*row[:CHANGED], sum(1 << field for field in changed)))
        return accepted


def table_of(rows: list[Row]) -> Table:
    table = np.zeros((FIELDS, len(rows)), np.int64)
    table[:CHANGED] = np.array(rows, np.int64).reshape(len(rows), CHANGED).T
    return table


def rows_of(table: Table) -> list[Row]:
    return [tuple(row) for row in table.T.tolist()]


cell = st.sampled_from([0, 10, 10, 20, 30, 7, -1, NOT_A_NUMBER])
plain = st.sampled_from([0, 10, 20, 30])


@st.composite
def streams(draw: st.DrawFn) -> list[Row]:
    """Rows of three instruments, now and then with something wrong in them."""
    at, rows = 1_000, []
    for _ in range(draw(st.integers(0, 25))):
        at += draw(st.sampled_from([0, 0, 1, 2, -1]))
        exchange_at = at + draw(st.sampled_from([0, -1, -2, -3, AHEAD_NS, AHEAD_NS + 1, -2_000, NOT_A_NUMBER]))
        value = draw(st.sampled_from([cell, plain, plain]))
        place = draw(st.sampled_from([0, 1, 2, 0, 1, 2, 3, -1, -(2**63), 2**62]))
        rows.append((place, at, exchange_at, *(draw(value) for _ in CELLS)))
    return rows


@given(rows=streams(), cuts=st.lists(st.integers(0, 25), max_size=6))
def test_every_split_says_what_the_oracle_says(rows: list[Row], cuts: list[int]) -> None:
    oracle, differential = Oracle(TICKS), Differential(len(TICKS), TICKS)
    expected = oracle.run(rows)
    table, got = table_of(rows), list[Row]()
    bounds = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for low, high in pairwise(bounds):
        batch = TickBatch(np.ascontiguousarray(table[:, low:high]))
        answer = differential.process(batch)
        assert (answer is batch) == (answer.rows == high - low)
        assert answer.table.flags.c_contiguous
        got += rows_of(answer.table)
    assert got == expected
    assert differential.refused == oracle.refused
    assert differential.first_refused == oracle.first
    assert (differential.unchanged, differential.changed_cells) == (oracle.unchanged, oracle.changed_cells)
    assert differential.rows == len(rows)
    last = rows_of(differential.snapshot())
    for place in range(len(TICKS)):
        held = oracle.last.get(place, (place, *[0] * FIELDS))
        assert last[place][EXCHANGE_AT:CHANGED] == held[EXCHANGE_AT:CHANGED]
        assert last[place][AT] == (oracle.at if place in oracle.last else 0)


GOOD = {
    INSTRUMENT: 0,
    AT: 100,
    EXCHANGE_AT: 90,
    BID: 500,
    ASK: 505,
    BID_SIZE: 1,
    ASK_SIZE: 1,
    LAST: 501,
    VOLUME: 3,
    OI: 4,
}


@pytest.mark.parametrize(
    ("reason", "wrong"),
    [
        (CLOCK_BACKWARDS, {AT: 99}),
        (UNKNOWN_INSTRUMENT, {INSTRUMENT: 1}),
        (NOT_A_NUMBER_CODE, {ASK: NOT_A_NUMBER}),
        (NOT_A_NUMBER_CODE, {EXCHANGE_AT: NOT_A_NUMBER}),
        (NEGATIVE, {BID: -5}),
        (NEGATIVE, {OI: -1}),
        (CROSSED, {BID: 510}),
        (OFF_TICK, {BID: 501}),
        (AHEAD_OF_CLOCK, {EXCHANGE_AT: 101 + AHEAD_NS}),
        (OUT_OF_ORDER, {EXCHANGE_AT: 89}),
        (DUPLICATE, {AT: 101}),
    ],
)
def test_a_bad_row_is_refused_by_name_and_leaves_no_trace(reason: str, wrong: dict[int, int]) -> None:
    differential = Differential(1, [5])
    good = batch_of({field: np.array([value]) for field, value in GOOD.items()})
    assert differential.process(good) is good
    before = differential.snapshot()
    bad = batch_of({field: np.array([value]) for field, value in (GOOD | wrong).items()})
    assert differential.process(bad).rows == 0
    assert differential.refused == {reason: 1}
    assert differential.first_refused == {reason: (1, (GOOD | wrong)[INSTRUMENT])}
    assert (differential.snapshot() == before).all()


def test_one_sided_and_locked_quotes_pass_and_last_may_lie_between_ticks() -> None:
    differential = Differential(1, [5])
    bids, asks = np.array([500, 500, 0]), np.array([0, 500, 500])
    rows = batch_of({INSTRUMENT: 0, AT: 1, EXCHANGE_AT: 1, BID: bids, ASK: asks, LAST: 3})
    assert differential.process(rows).rows == 3
    assert not differential.refused


def test_the_first_row_marks_what_it_says_and_a_fresher_stamp_marks_nothing() -> None:
    differential = Differential(2)
    rows = batch_of({INSTRUMENT: 1, AT: 5, EXCHANGE_AT: np.array([3, 4]), BID: 7, OI: 1})
    marked = differential.process(rows).table[CHANGED]
    assert marked.tolist() == [1 << BID | 1 << OI, 0]
    assert differential.unchanged == 1


@example(instruments=0)
@given(instruments=st.integers(0, 3))
def test_without_instruments_everything_is_unknown(instruments: int) -> None:
    differential = Differential(instruments)
    assert differential.process(batch_of({INSTRUMENT: np.array([instruments]), AT: 1})).rows == 0
    assert differential.refused == {UNKNOWN_INSTRUMENT: 1}
    assert differential.snapshot().shape == (FIELDS, instruments)
    assert differential.process(TickBatch(np.zeros((FIELDS, 0), np.int64))).rows == 0


def test_tick_sizes_must_fit() -> None:
    with pytest.raises(ValueError, match="tick_sizes"):
        Differential(2, [5])
    with pytest.raises(ValueError, match="tick_sizes"):
        Differential(1, [-5])
    assert len(set(REASONS)) == len(REASONS)
