"""Open-interest flow: against a slow oracle in pandas, its classes by name, and open interest that jumps back."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, AT, BID, EXCHANGE_AT, INSTRUMENT, LAST, OI, VOLUME, Rows, TickBatch, batch_of
from angelx.market.oi_flow import (
    LONG_BUILD_UP,
    LONG_UNWINDING,
    PUBLICATION,
    SHORT_BUILD_UP,
    SHORT_COVERING,
    UNCLASSED,
    WINDOW,
    OiFlow,
    signed,
)

BEGIN = 1_700_000_000 * NS


def rows_of(*rows: tuple[int, int, int, int, int, int]) -> TickBatch:
    """Rows of (place, second, mid in ticks of 0.10, last, volume, open interest)."""
    place, second, mid, last, volume, oi = np.array(rows, np.int64).T
    at = BEGIN + second * NS
    bid = np.where(mid > 0, mid * 1000 - 500, 0)
    ask = np.where(mid > 0, mid * 1000 + 500, 0)
    return batch_of(
        {INSTRUMENT: place, AT: at, EXCHANGE_AT: at, BID: bid, ASK: ask, LAST: last, VOLUME: volume, OI: oi}
    )


def folded(batch: TickBatch, contracts: int = 4, size: int = 0) -> OiFlow:
    flow = OiFlow(np.arange(contracts), contracts)
    size = size or batch.rows
    for start in range(0, batch.rows, size):
        flow.fold(Rows(batch, start, min(start + size, batch.rows)))
    return flow


@pytest.mark.parametrize(
    ("oi", "mid", "expected"),
    [
        (130, 12, LONG_BUILD_UP),
        (130, 8, SHORT_BUILD_UP),
        (70, 8, LONG_UNWINDING),
        (70, 12, SHORT_COVERING),
        (130, 10, UNCLASSED),
    ],
)
def test_the_premium_says_who_was_in_a_hurry(oi: int, mid: int, expected: int) -> None:
    flow = folded(rows_of((0, 0, 10, 0, 500, 100), (0, 60, mid, 0, 900, oi)))

    assert flow.units[0, expected] == 30
    assert flow.units.sum() == 30


def test_the_last_trade_speaks_where_the_mid_does_not() -> None:
    flow = folded(
        rows_of((0, 0, 0, 70, 500, 100), (0, 60, 10, 80, 900, 130), (1, 0, 10, 70, 5, 9), (1, 61, 10, 60, 9, 7))
    )
    assert flow.units[0, LONG_BUILD_UP] == 30
    assert flow.units[1, LONG_UNWINDING] == 2


def test_an_interval_begins_at_the_exchanges_last_publication() -> None:
    """The contract fell for a minute, the exchange published (another contract), then it rose: that counts."""
    flow = folded(
        rows_of(
            (0, 0, 10, 0, 500, 100), (1, 0, 10, 0, 500, 100), (0, 50, 5, 0, 500, 100), (1, 60, 11, 0, 600, 110),
            (0, 90, 8, 0, 700, 100), (0, 120, 7, 0, 900, 130),
        )
    )  # fmt: skip
    assert flow.units[0, LONG_BUILD_UP] == 30


def test_what_is_older_than_the_window_leaves_it() -> None:
    flow = folded(
        rows_of((0, 0, 10, 0, 0, 100), (0, 60, 11, 0, 900, 130), (0, 359, 12, 0, 999, 140), (0, 360, 13, 0, 1_999, 141))
    )
    assert flow.units[0].tolist() == [11, 0, 0, 0, 0]
    assert flow.since == BEGIN + 60 * NS, "the oldest interval in the window began where the one before it ended"


def test_open_interest_that_jumps_back_is_taken_back() -> None:
    """A late page: 100, 180, 100, 180 without a trade is one build-up of 80, not three moves."""
    flow = folded(
        rows_of((0, 0, 10, 0, 500, 100), (0, 60, 11, 0, 700, 180), (0, 120, 10, 0, 700, 100), (0, 180, 11, 0, 700, 180))
    )
    assert flow.units[0].tolist() == [80, 0, 0, 0, 0]
    assert flow.ignored == {"oi_back": 1}


def test_positions_that_were_traded_may_come_back() -> None:
    flow = folded(rows_of((0, 0, 10, 0, 0, 100), (0, 60, 11, 0, 100, 180), (0, 120, 10, 0, 300, 100)))
    assert flow.units[0].tolist() == [80, 0, 80, 0, 0]
    assert not flow.ignored


def test_a_page_with_less_volume_is_an_older_one() -> None:
    flow = folded(
        rows_of((0, 0, 10, 0, 500, 100), (0, 60, 11, 0, 700, 180), (0, 120, 9, 0, 600, 150), (0, 180, 12, 0, 800, 190))
    )
    assert flow.units[0].tolist() == [90, 0, 0, 0, 0]
    assert flow.ignored == {"oi_older": 1}


def test_a_volume_that_stays_lower_was_corrected_and_is_believed() -> None:
    flow = folded(
        rows_of((0, 0, 10, 0, 500, 100), (0, 60, 11, 0, 400, 180), (0, 120, 12, 0, 410, 190), (0, 180, 13, 0, 420, 200))
    )
    assert flow.units[0].tolist() == [10, 0, 0, 0, 0]


def test_an_open_interest_of_zero_is_a_missing_one() -> None:
    flow = folded(rows_of((0, 0, 10, 0, 0, 100), (0, 60, 11, 0, 10, 0), (0, 120, 12, 0, 20, 105)))
    assert flow.units[0].tolist() == [5, 0, 0, 0, 0]
    assert flow.ignored == {"oi_missing": 1}


def test_a_new_session_begins_with_nothing() -> None:
    flow = folded(rows_of((0, 0, 10, 0, 500, 100), (0, 60, 11, 0, 700, 180)))
    flow.new_session()
    batch = rows_of((0, 64_800, 20, 0, 10, 300), (0, 64_900, 21, 0, 20, 310))
    flow.fold(Rows(batch, 0, 2))

    assert flow.units[0].tolist() == [10, 0, 0, 0, 0]


def test_signed_flow_speaks_for_the_premium() -> None:
    assert signed(np.array([5, 3, 2, 1, 9])) == 5 + 1 - 3 - 2


# ---------------------------------------------------------------- the oracle
def oracle(batch: TickBatch, contracts: int) -> list[list[int]]:
    """The same words in pandas, slowly: all publications first, then the intervals of every contract by itself."""
    names = {"contract": INSTRUMENT, "at": EXCHANGE_AT, "bid": BID, "ask": ASK, "last": LAST, "oi": OI}
    frame = pd.DataFrame({name: batch.table[field] for name, field in names.items()})
    frame["mid"] = (frame.bid + frame.ask).where(frame.bid > 0, 0)
    before = frame.groupby("contract").oi.shift()
    frame["change"] = (frame.oi - before).fillna(0).astype(int)
    changes = frame[frame.change != 0]
    publications: list[int] = []
    row: Any
    for row in changes.itertuples():
        if not publications or row.at >= frame["at"][publications[-1]] + PUBLICATION:
            publications.append(row.Index)
    answer = [[0] * 5 for _ in range(contracts)]
    for row in changes[changes["at"] > changes["at"].max() - WINDOW].itertuples():
        own = frame[(frame.contract == row.contract) & (frame.index < row.Index)]
        changed = own.index[own.change != 0]
        begin = changed[-1] if len(changed) else own.index[0]
        earlier = [one for one in publications if one < row.Index]
        if earlier and (own.index < earlier[-1]).any():
            begin = max(begin, own.index[own.index < earlier[-1]][-1])
        start = frame.loc[begin]
        move = row.mid - start.mid if row.mid and start.mid else 0
        move = move or (row.last - start["last"] if row.last and start["last"] else 0)
        kinds = {(True, 1): 0, (True, -1): 1, (False, -1): 2, (False, 1): 3}
        kind = kinds[row.change > 0, int(np.sign(move))] if move else 4
        answer[row.contract][kind] += abs(row.change)
    return answer


stream = st.lists(
    st.tuples(
        st.integers(0, 2),  # contract
        st.integers(0, 70),  # seconds since the row before
        st.sampled_from([0, 9, 10, 11, 12]),  # mid
        st.sampled_from([0, 90, 100, 110]),  # last
        st.integers(100, 130),  # open interest
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(stream, st.sampled_from([1, 3, 1_000]))
def test_it_is_what_pandas_says_however_the_stream_is_cut(told: list[tuple[int, ...]], size: int) -> None:
    second, rows = 0, []
    for number, (contract, pause, mid, last, oi) in enumerate(told):
        second += pause
        rows.append((contract, second, mid, last, 1_000 * number, oi))  # so much trades that anything may come back
    batch = rows_of(*rows)

    assert folded(batch, 3, size).units.tolist() == oracle(batch, 3)


def test_the_window_holds_any_number_of_intervals() -> None:
    """More changes within the window than the ring was made for."""
    rows = [(n % 4, n // 8, 10 + n % 3, 0, 1_000 * n, 100 + n) for n in range(1_000)]
    batch = rows_of(*rows)
    assert folded(batch, 4, 7).units.tolist() == folded(batch, 4).units.tolist() == oracle(batch, 4)
