"""The simulated market as a source of ticks: the same rows again, and every row one that an exchange could send."""

import json
from collections.abc import Iterator
from datetime import date
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.domain.instruments import Kind, Right
from angelx.domain.ports import TickSource
from angelx.domain.scalars import NS
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
    OI,
    VOLUME,
    Table,
)
from angelx.market import simulated
from angelx.market.simulated import SimulatedMarket
from angelx.market.simulated_kernel import LARGEST_DELAY

DAY = date(2026, 8, 28)
EXPIRY_DAY = date(2026, 9, 1)
OPEN = 1_787_888_700 * NS  # 2026-08-28 09:15 in India.


def market(seed: int = 1, session: date = DAY, minutes: float = 5.0, **changed: object) -> SimulatedMarket:
    arguments: dict[str, object] = {"expiries": 4, "strikes": 12} | changed
    closes_at = OPEN + round(minutes * 60 * NS)
    return SimulatedMarket(seed=seed, session=session, opens_at=OPEN, closes_at=closes_at, **arguments)  # type: ignore[arg-type]


def rows_of(source: TickSource, first_row: int = 0) -> Table:
    tables = [batch.table for batch in source.batches(first_row)]
    return np.concatenate(tables, axis=1) if tables else np.zeros((FIELDS, 0), np.int64)


def books(source: SimulatedMarket, every: int) -> Iterator[Table]:
    """The last row of every instrument after each `every` rows, once all have been quoted: shape (FIELDS, n)."""
    table = rows_of(source)
    n = len(source.instruments)
    book = np.zeros((FIELDS, n), np.int64)
    for start in range(0, table.shape[1], every):
        part = table[:, start : start + every]
        book[:, part[INSTRUMENT]] = part
        if book[EXCHANGE_AT, 1:].all():
            yield book


small = st.fixed_dictionaries({
    "seed": st.integers(-(2**64), 2**64),
    "session": st.sampled_from((DAY, EXPIRY_DAY, date(2025, 12, 30))),
    "minutes": st.floats(0.01, 1.5),
    "expiries": st.integers(1, 20),
    "strikes": st.integers(1, 12),
    "pace": st.sampled_from((0.1, 0.5, 1.0, 3.0)),
    "lot_size": st.sampled_from((1, 65, 75)),
    "spot": st.sampled_from((1_000_000, 245_000_000, 2_345_678_900)),
})  # fmt: skip


# ---------------------------------------------------------------- the same rows again
def test_the_same_parameters_give_the_same_rows_and_others_do_not() -> None:
    one = rows_of(market(7))

    assert np.array_equal(one, rows_of(market(7)))
    assert not np.array_equal(one[:, :1_000], rows_of(market(8))[:, :1_000])


def test_a_reference_opens_the_same_market() -> None:
    source = market(7, holidays=(date(2026, 9, 14),), pace=2)

    again = SimulatedMarket.from_reference(source.reference)

    assert (again.reference, again.digest) == (source.reference, source.digest)
    assert [option.id for option in again.instruments] == [option.id for option in source.instruments]
    assert np.array_equal(rows_of(again), rows_of(source))


def test_the_digest_knows_parameters_generator_and_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {market(7).digest, market(8).digest, market(7, spot=240_000_000).digest}
    monkeypatch.setattr(simulated, "VERSION", simulated.VERSION + 1)
    digests.add(market(7).digest)
    fitted, text = simulated.read_fitted()
    monkeypatch.setattr(simulated, "read_fitted", lambda: (fitted, text + " "))
    digests.add(market(7).digest)

    assert len(digests) == 5


@pytest.mark.parametrize("size", [1, 17, 1_000])
def test_the_rows_do_not_depend_on_the_batches(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows_of(market(minutes=2.0))

    monkeypatch.setattr(simulated, "BATCH_ROWS", size)

    assert np.array_equal(rows_of(market(minutes=2.0)), whole)
    assert all(batch.rows == size for batch in list(market(minutes=2.0).batches())[:-1])


@given(data=st.data())
def test_it_resumes_at_any_row(data: st.DataObject) -> None:
    source = market(minutes=3.0)
    whole = rows_of(source)
    first = data.draw(st.integers(0, whole.shape[1] + 10))

    batches = list(source.batches(first))

    resumed = np.concatenate([batch.table for batch in batches], axis=1) if batches else whole[:, :0]
    assert np.array_equal(resumed, whole[:, first:])
    assert all(batch.table.flags.c_contiguous and batch.rows for batch in batches)


def test_two_streams_of_one_source_do_not_disturb_each_other() -> None:
    source = market(minutes=20.0)
    one, other = source.batches(), source.batches()

    for _ in range(2):
        assert np.array_equal(next(one).table, next(other).table)


# ---------------------------------------------------------------- rows that an exchange could send
@settings(max_examples=60)
@given(arguments=small)
def test_every_row_is_well_formed(arguments: dict[str, object]) -> None:
    source = market(**arguments)  # type: ignore[arg-type]
    table = rows_of(source)
    lots = np.array([instrument.lot_size for instrument in source.instruments])[table[INSTRUMENT]]
    bid, ask = table[BID], table[ASK]

    assert (table >= 0).all()
    assert (np.diff(table[AT]) >= 0).all()
    assert (np.diff(table[EXCHANGE_AT]) >= 0).all()
    assert (table[EXCHANGE_AT] <= table[AT]).all()
    assert (table[EXCHANGE_AT] < source.last_at - LARGEST_DELAY).all()
    assert ((table[AT] >= source.first_at) & (table[AT] <= source.last_at)).all()
    assert (bid[(bid > 0) & (ask > 0)] < ask[(bid > 0) & (ask > 0)]).all()
    assert (table[[BID, ASK, LAST]] % 500 == 0).all()
    assert (table[[BID_SIZE, ASK_SIZE, VOLUME, OI]] % lots == 0).all()
    assert ((bid > 0) == (table[BID_SIZE] > 0)).all()
    assert ((ask > 0) == (table[ASK_SIZE] > 0)).all()
    assert ((table[LAST] > 0) == (table[VOLUME] > 0))[table[INSTRUMENT] > 0].all()
    assert (table[CHANGED] == 0).all()
    index = table[:, table[INSTRUMENT] == 0]
    assert (index[[BID, ASK, BID_SIZE, ASK_SIZE, VOLUME, OI]] == 0).all()
    assert (index[LAST] > 0).all()


def test_volume_never_falls_and_last_moves_only_with_it() -> None:
    table = rows_of(market(minutes=10.0))
    for place in range(1, 97):
        rows = table[:, table[INSTRUMENT] == place]

        traded = np.diff(rows[VOLUME])
        assert (traded >= 0).all()
        assert (np.diff(rows[LAST])[traded == 0] == 0).all()


def test_trades_print_at_the_touch_that_stood_before_them() -> None:
    table = rows_of(market(minutes=10.0))
    prints = 0
    for place in range(1, 97):
        rows = table[:, table[INSTRUMENT] == place]
        for before, after in pairwise(rows.T):
            if after[VOLUME] > before[VOLUME]:
                assert after[LAST] in (before[BID], before[ASK])
                prints += 1
    assert prints > 500


def test_open_interest_moves_only_when_it_is_published() -> None:
    table = rows_of(market(minutes=12.0))
    moved = [
        int(after[EXCHANGE_AT] - OPEN) // NS
        for place in range(1, 97)
        for before, after in pairwise(table[:, table[INSTRUMENT] == place].T)
        if after[OI] != before[OI]
    ]

    assert {second // 180 for second in moved} == {1, 2, 3}
    assert {second % 180 for second in moved} == {0}


def test_everything_is_quoted_within_the_first_second_and_the_index_comes_each_second() -> None:
    source = market(minutes=1.0, expiries=18, strikes=40)
    table = rows_of(source)

    first = table[:, table[EXCHANGE_AT] < OPEN + NS]
    assert set(first[INSTRUMENT].tolist()) == set(range(len(source.instruments)))
    assert np.array_equal(table[EXCHANGE_AT, table[INSTRUMENT] == 0], OPEN + np.arange(60) * NS)


def verticals(source: SimulatedMarket, every: int) -> tuple[int, int]:
    """Pairs of neighbouring strikes of which the better option can be bought for less than the worse one can be sold,
    and pairs looked at, in the book as it stands after each `every` rows.
    """
    found, pairs = 0, 0
    for book in books(source, every):
        bid, ask = (book[side, 1:].reshape(-1, 40, 2) for side in (BID, ASK))
        better, worse = np.stack([ask[:, :-1, 0], ask[:, 1:, 1]]), np.stack([bid[:, 1:, 0], bid[:, :-1, 1]])
        both = (better > 0) & (worse > 0)
        found, pairs = found + int((both & (worse > better)).sum()), pairs + int(both.sum())
    return found, pairs


@pytest.mark.parametrize("seed", [1, 2])
def test_no_vertical_arbitrage_can_be_executed(seed: int) -> None:
    """The book is never all of one instant, yet between any two rows none is found."""
    found, pairs = verticals(market(seed, minutes=10.0, expiries=18, strikes=40), 50)

    assert pairs > 100_000
    assert found == 0


def test_hardly_any_while_a_chain_expires() -> None:
    found, pairs = verticals(market(5, EXPIRY_DAY, minutes=375.0, expiries=1, strikes=40), 200)

    assert pairs > 50_000
    assert found <= pairs * 2e-5


def test_an_expiring_chain_goes_to_its_intrinsic_value() -> None:
    """At the close nobody bids for what is worthless, and what is worth something is quoted around it."""
    source = market(3, EXPIRY_DAY, minutes=375.0, expiries=1)
    table = rows_of(source)
    index = table[LAST, table[INSTRUMENT] == 0][-1]
    worthless = 0
    for place, option in enumerate(source.instruments):
        bid, ask = table[:, table[INSTRUMENT] == place][[BID, ASK], -1]
        intrinsic = int(index - option.strike) * (1 if option.right is Right.CALL else -1)
        if option.kind is Kind.OPTION and intrinsic < -0.003 * index:
            assert (bid, ask) == (0, 500)
            worthless += 1
        elif option.kind is Kind.OPTION and intrinsic > 0.003 * index and bid and ask:
            assert bid - 0.0005 * index <= intrinsic <= ask + 0.0005 * index
    assert worthless >= 8


# ---------------------------------------------------------------- what it is not
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"spot": 0}, "spot must be positive, was 0"),
        ({"expiries": 0}, "expiries must be positive, was 0"),
        ({"strikes": -1}, "strikes must be positive, was -1"),
        ({"lot_size": 0}, "lot_size must be positive, was 0"),
        ({"freeze_quantity": -1}, "freeze_quantity must not be negative, was -1"),
        ({"pace": 0.0}, r"pace must lie in \[0.01, 100\] looks a second, was 0.0"),
        ({"pace": float("nan")}, "pace must lie in"),
        ({"minutes": -1.0}, "needs 0 < opens_at < closes_at"),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(changed: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        market(**changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": "recorded"}, "source must be 'simulated'"),
        ({"sead": 1}, "unknown field `sead`"),
        ({"seed": "one"}, r"Expected `int`, got `str` - at `\$.seed`"),
        ({"session": None}, r"\$.session"),
    ],
)
def test_a_reference_of_something_else_is_refused_by_name(change: dict[str, object], says: str) -> None:
    reference = json.loads(market().reference) | change

    with pytest.raises(ValueError, match=says):
        SimulatedMarket.from_reference(json.dumps(reference))
    with pytest.raises(ValueError, match="not a reference of a simulated market"):
        SimulatedMarket.from_reference("{")


def test_a_session_shorter_than_a_step_has_no_rows() -> None:
    assert rows_of(market(minutes=0.001)).shape == (FIELDS, 0)
