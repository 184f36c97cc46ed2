"""Minutes of what traded against a plain sum over all trades, and what is left when the tape forgets."""

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, AT, BID, EXCHANGE_AT, INSTRUMENT, LAST, VOLUME, TickBatch, batch_of
from angelx.venue.alpaca.lines import bars, trades
from angelx.venue.alpaca.minutes import MINUTE, Traded
from angelx.venue.alpaca.tape import Tape
from tests.venue.alpaca.alpaca_market import TABLE

FIRST = 1_767_623_460 * NS // MINUTE * MINUTE
Row = tuple[int, int, int, int]
"""Place, seconds since the first minute, price, units traded."""

ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 400), st.integers(1, 50), st.integers(0, 9)), min_size=1, max_size=60
)


def batch(rows: list[Row], volume: dict[int, int]) -> TickBatch:
    columns: dict[int, list[int]] = defaultdict(list)
    for place, second, price, size in rows:
        volume[place] += size
        at = FIRST + second * NS
        fields = {
            INSTRUMENT: place,
            AT: at,
            EXCHANGE_AT: at,
            LAST: price,
            VOLUME: volume[place],
            BID: price,
            ASK: price,
        }
        for field, value in fields.items():
            columns[field].append(value)
    return batch_of({field: np.array(values) for field, values in columns.items()})


def summed(rows: list[Row], place: int) -> list[Traded]:
    """By hand: in each minute, in order of arrival."""
    minutes: dict[int, list[tuple[int, int]]] = defaultdict(list)
    seen = False
    for where, second, price, size in rows:
        if where == place:
            if seen and size:
                minutes[FIRST + second * NS // MINUTE * MINUTE].append((price, size))
            seen = True
    return [
        Traded(
            at, found[0][0], max(price for price, _ in found), min(price for price, _ in found), found[-1][0],
            sum(size for _, size in found), len(found), sum(price * size for price, size in found),
        )
        for at, found in sorted(minutes.items())
    ]  # fmt: skip


@given(ROWS, st.integers(1, 60))
def test_minutes_are_sums_of_trades_however_late_and_however_cut(rows: list[Row], cut: int) -> None:
    tape, volume = Tape(3), defaultdict[int, int](int)
    for start in range(0, len(rows), cut):
        part = batch(rows[start : start + cut], volume)
        tape.take(part, 0, part.rows)
    for place in range(3):
        assert tape.minutes.of(place) == summed(rows, place)


def test_a_days_bar_outlives_the_rows_it_was_made_of() -> None:
    tape, volume = Tape(3, most_rows=20), defaultdict[int, int](int)
    rows = [(0, second, 100 + second % 7, 1) for second in range(300)]
    for start in range(0, 300, 10):
        part = batch(rows[start : start + 10], volume)
        tape.take(part, 0, part.rows)
    (day,) = bars(TABLE[0], tape.minutes.of(0), 1, "D")
    assert (day["o"], day["h"], day["l"], day["v"], day["n"]) == (0.0101, 0.0106, 0.01, 299, 299)
    left = trades(TABLE[0], tape.rows([0])[0], int(tape.count[0]))
    lines = left.write(np.arange(len(left.at)))
    assert [line["i"] for line in lines] == list(range(300 - len(lines), 300))
    assert len(lines) < 20
