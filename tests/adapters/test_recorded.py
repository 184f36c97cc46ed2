"""Recordings of every schema become the ticks that docs/recordings.md says."""

import json
import subprocess
import sys
from datetime import date
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from angelx.adapters.recorded import open_recording
from angelx.adapters.recorded.source import RecordedSource
from angelx.domain.instruments import Kind, Right
from angelx.domain.ports import TickSource
from angelx.domain.scalars import NS
from angelx.domain.ticks import (
    ASK,
    ASK_SIZE,
    AT,
    BID,
    BID_SIZE,
    EXCHANGE_AT,
    INSTRUMENT,
    LAST,
    NOT_A_NUMBER,
    OI,
    VOLUME,
)
from tests.adapters.recorded_files import (
    BARS,
    CHAIN,
    NSE_OPEN,
    OPTION_BARS,
    OPTION_OI,
    OPTION_QUOTE_BARS,
    QUOTE_BARS,
    QUOTE_TICKS,
    TRADE_TICKS,
    US_OPEN,
    Record,
    at,
    bar,
    chain_row,
    contract,
    quote_bar,
    whole,
    write,
)

TOUCH = (BID, ASK, BID_SIZE, ASK_SIZE)


def opened(path: Path, **options: object) -> RecordedSource:
    source = open_recording(path, **options)  # type: ignore[arg-type]
    assert isinstance(source, RecordedSource)
    port: TickSource = source
    assert port.rows == whole(port).shape[1]
    return source


def cells(source: RecordedSource, *fields: int) -> list[tuple[int, ...]]:
    return [tuple(row) for row in whole(source)[list(fields)].T.tolist()]


# ---------------------------------------------------------------- NSE chain
def test_a_chain_row_is_in_units_and_keeps_both_clocks(tmp_path: Path) -> None:
    path = write(tmp_path / "any name.parquet", CHAIN, [chain_row(strike=24_550.5, right="PE")])
    source = opened(path, freeze=lambda symbol, on: 1_800 if (symbol, on) == ("NIFTY", date(2025, 8, 29)) else 0)
    index, option = source.instruments
    assert (index.id, index.kind, index.tradable) == ("NSE:NIFTY", Kind.INDEX, False)
    assert option.id == "NFO:NIFTY:2025-09-02:24550.5:PE"
    assert (option.underlying, option.lot_size, option.tick_size) == ("NSE:NIFTY", 75, 500)
    assert (option.strike, option.right, option.freeze_quantity) == (245_505_000, Right.PUT, 1_800)
    row = whole(source)[:, 0]
    assert row[[INSTRUMENT, AT, EXCHANGE_AT]].tolist() == [1, NSE_OPEN * NS, (NSE_OPEN - 60) * NS]
    assert row[[BID, ASK, BID_SIZE, ASK_SIZE]].tolist() == [999_500, 1_000_500, 75, 150]
    assert row[[LAST, VOLUME, OI]].tolist() == [1_000_000, 750, 1_500]
    assert (source.name, source.kind, source.scope) == ("nse-chain", "snapshot", "nbbo")
    assert (source.first_at, source.last_at) == (NSE_OPEN * NS, NSE_OPEN * NS)


def test_single_floats_are_the_decimals_they_stand_for(tmp_path: Path) -> None:
    """24,612.35 is 24,612.349609… as a single float: off every tick, were its bits believed."""
    rows = [
        chain_row(strike=1_234.55, bid=24_612.35, ask=None, ltp=65_535.05),
        chain_row(NSE_OPEN + 1, strike=1_234.55),
    ]
    single = dict.fromkeys(("strike", "bid", "ask", "ltp"), pa.float32())
    singles = opened(write(tmp_path / "single.parquet", CHAIN | single, rows))
    doubles = opened(write(tmp_path / "double.parquet", CHAIN, rows))
    assert cells(singles, BID, ASK, LAST) == cells(doubles, BID, ASK, LAST)
    assert singles.instruments.index == doubles.instruments.index


def test_what_is_null_in_a_chain_is_absent_and_never_carried(tmp_path: Path) -> None:
    blank = dict.fromkeys(("ltp", "bid", "bid_qty", "ask", "ask_qty", "volume", "oi", "ts_exch"))
    source = opened(write(tmp_path / "c.parquet", CHAIN, [chain_row(), chain_row(NSE_OPEN + 60, **blank)]))
    assert cells(source, *TOUCH, LAST, VOLUME, OI)[1] == (0,) * 7
    assert cells(source, EXCHANGE_AT)[1] == ((NSE_OPEN + 60) * NS,)


def test_values_that_cannot_be_are_passed_on_to_be_refused(tmp_path: Path) -> None:
    rows = [
        chain_row(bid=float("nan")),
        chain_row(NSE_OPEN + 1, ask=float("inf")),
        chain_row(NSE_OPEN + 2, bid=-1.0, bid_qty=-75, oi=-1),
        chain_row(NSE_OPEN + 3, ltp=1e30, volume=2**60),
        chain_row(NSE_OPEN + 4, ltp=100.00004),
    ]
    source = opened(write(tmp_path / "c.parquet", CHAIN, rows))
    found = cells(source, BID, ASK, BID_SIZE, LAST, VOLUME, OI)
    assert found[0][0] == NOT_A_NUMBER
    assert found[1][1] == NOT_A_NUMBER
    assert (found[2][0], found[2][2], found[2][5]) == (-10_000, -75, -75)
    assert (found[3][3], found[3][4]) == (NOT_A_NUMBER, NOT_A_NUMBER)
    assert found[4][3] == 1_000_000
    assert source.describe()[0]["rounded"] == 1


def test_the_spot_of_a_snapshot_comes_before_its_rows(tmp_path: Path) -> None:
    spots = ((0, 24_490.1), (1, None), (2, 24_500.0))
    rows = [
        chain_row(NSE_OPEN + minute * 60, strike=strike, spot=value, bid=None, ask=None)
        for minute, value in spots
        for strike in (24_500.0, 24_550.0)
    ]
    source = opened(write(tmp_path / "c.parquet", CHAIN, rows))
    spot = 0
    assert source.instruments[spot].id == "NSE:NIFTY"
    assert [row[0] for row in cells(source, INSTRUMENT)] == [spot, 1, 2, 1, 2, spot, 1, 2]
    assert [row[1] for row in cells(source, INSTRUMENT, LAST) if row[0] == spot] == [244_901_000, 245_000_000]
    assert (source.scope, source.cadence_ns) == ("indicative", 60 * NS)


def test_index_bars_of_the_same_day_replace_the_spot(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", CHAIN, [chain_row(NSE_OPEN + 90, spot=24_490.0)])
    write(tmp_path / "b.parquet", BARS, [bar(NSE_OPEN, "NIFTY", 24_480.0, 0)])
    source = opened(tmp_path)
    assert cells(source, INSTRUMENT, AT, LAST) == [
        (0, (NSE_OPEN + 60) * NS, 244_800_000),
        (1, (NSE_OPEN + 90) * NS, 1_000_000),
    ]


def test_several_days_follow_one_another_whatever_the_names(tmp_path: Path) -> None:
    day = 86_400
    write(tmp_path / "a.parquet", CHAIN, [chain_row(NSE_OPEN + day)])
    write(tmp_path / "b.parquet", CHAIN, [chain_row(NSE_OPEN + 2 * day, bid=None, ask=None, strike=24_600.0)])
    write(tmp_path / "c.parquet", CHAIN, [chain_row(NSE_OPEN)])
    (tmp_path / "README.md").write_text("no data")
    source = opened(tmp_path)
    assert [row[0] for row in cells(source, AT)] == [(NSE_OPEN + days * day) * NS for days in (0, 1, 2)]
    assert (source.kind, source.cadence_ns) == ("snapshot", 0)
    assert [one["days"] for one in source.describe()] == [["2025-08-30"], ["2025-08-31"], ["2025-08-29"]]
    files = sorted(tmp_path.glob("*.parquet"))
    assert source.digest == sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    assert json.loads(source.reference)["path"] == str(tmp_path)


# ---------------------------------------------------------------- US equities
def test_bars_are_known_when_they_end_and_volume_adds_up_within_the_day(tmp_path: Path) -> None:
    day = 86_400
    rows = [bar(US_OPEN, "IBM", 180.0, 100), bar(US_OPEN + 60, "IBM", 180.5, 50), bar(US_OPEN + day, "IBM", 181.0, 7)]
    source = opened(write(tmp_path / "x.parquet", BARS, rows))
    assert cells(source, AT, EXCHANGE_AT, LAST, VOLUME) == [
        ((US_OPEN + 60) * NS, (US_OPEN + 60) * NS, 1_800_000, 100),
        ((US_OPEN + 120) * NS, (US_OPEN + 120) * NS, 1_805_000, 150),
        ((US_OPEN + day + 60) * NS, (US_OPEN + day + 60) * NS, 1_810_000, 7),
    ]
    assert source.instruments[0].id == "US:IBM"
    assert (source.instruments[0].kind, source.scope, source.cadence_ns) == (Kind.EQUITY, "indicative", 60 * NS)
    assert cells(source, *TOUCH) == [(0, 0, 0, 0)] * 3


def test_bars_of_seconds_are_told_by_their_stamps(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "x.parquet", BARS, [bar(US_OPEN + second, "IBM", 180.0, 1) for second in (0, 7)]))
    assert cells(source, AT) == [((US_OPEN + 1) * NS,), ((US_OPEN + 8) * NS,)]


def test_a_made_up_touch_lies_outwards_on_the_tick_and_only_where_there_are_no_quotes(tmp_path: Path) -> None:
    write(tmp_path / "bars.parquet", BARS, [bar(US_OPEN, "AIG", 50.005, 40), bar(US_OPEN, "IBM", 180.0, 100)])
    write(tmp_path / "quotes.parquet", QUOTE_BARS, [quote_bar(US_OPEN, "IBM", 179.9, 180.1)])
    assert opened(tmp_path / "bars.parquet", bar_spread_bps=10.0).scope == "simulated"
    source = opened(tmp_path, bar_spread_bps=10.0)
    assert [one.id for one in source.instruments] == ["US:AIG", "US:IBM"]
    found = cells(source, INSTRUMENT, *TOUCH, LAST)
    assert found == [
        (1, 1_799_000, 1_801_000, 200, 300, 0),
        (0, 499_800, 500_300, 40, 40, 500_050),
        (1, 1_799_000, 1_801_000, 200, 300, 1_800_000),
    ]
    assert source.scope == "nbbo"


def test_an_index_never_gets_a_touch(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", BARS, [bar(NSE_OPEN, "NIFTY", 24_500.0, 0)])
    source = opened(path, bar_spread_bps=10.0)
    assert source.instruments[0].id == "NSE:NIFTY"
    assert not source.instruments[0].tradable
    assert cells(source, *TOUCH, LAST) == [(0, 0, 0, 0, 245_000_000)]


def quote_tick(seconds: float, bid: float | None, ask: float | None, **more: object) -> Record:
    side = {"bid": bid, "bid_size": 100 if bid else 0, "ask": ask, "ask_size": 200 if ask else 0}
    return {"ts": at(seconds), "seq": 0, "symbol": "IBM", "exchange": "Q", "suspicious": False} | side | more


def test_each_tick_replaces_its_side_and_drops_an_older_one_it_crosses(tmp_path: Path) -> None:
    rows = [
        quote_tick(US_OPEN, 180.0, None, exchange="P"),
        quote_tick(US_OPEN + 1, None, 180.1, exchange="N"),
        quote_tick(US_OPEN + 2, 180.05, None, exchange="N"),
        quote_tick(US_OPEN + 3, 179.9, None, exchange="P"),  # The next best after N's bid is gone.
        quote_tick(US_OPEN + 4, 999.0, None, suspicious=True),
        quote_tick(US_OPEN + 5, 180.2, None),  # Crosses N's ask, which is older: that ask is gone.
        quote_tick(US_OPEN + 6, None, 180.2),  # Locked is not crossed.
        quote_tick(US_OPEN + 7, None, 180.0),
    ]
    source = opened(write(tmp_path / "q.parquet", QUOTE_TICKS, rows))
    assert cells(source, *TOUCH) == [
        (1_800_000, 0, 100, 0),
        (1_800_000, 1_801_000, 100, 200),
        (1_800_500, 1_801_000, 100, 200),
        (1_799_000, 1_801_000, 100, 200),
        (1_802_000, 0, 100, 0),
        (1_802_000, 1_802_000, 100, 200),
        (0, 1_800_000, 0, 200),
    ]
    assert source.describe()[0]["left_out"] == {"suspicious": 1}
    assert (source.kind, source.scope, source.cadence_ns) == ("stream", "nbbo", 0)


def trade(seconds: float, price: float, size: int, condition: str = "1", **more: object) -> Record:
    row = {"ts": at(seconds), "seq": 0, "symbol": "IBM", "price": price, "size": size}
    return row | {"exchange": "N", "sale_condition": condition, "suspicious": False} | more


def test_trades_of_some_conditions_count_without_being_the_last_price(tmp_path: Path) -> None:
    rows = [
        trade(US_OPEN, 180.0, 100),
        trade(US_OPEN + 1, 170.0, 10, "100200"),  # Average and derivatively priced.
        trade(US_OPEN + 2, 171.0, 10, "80000001"),  # An odd lot.
        trade(US_OPEN + 3, 180.5, 100, "20002020"),  # Extended hours, sweep.
        trade(US_OPEN + 4, 180.6, 100, ""),
    ]
    source = opened(write(tmp_path / "t.parquet", TRADE_TICKS, rows))
    assert cells(source, LAST, VOLUME) == [
        (1_800_000, 100), (1_800_000, 110), (1_800_000, 120), (1_805_000, 220), (1_806_000, 320)
    ]  # fmt: skip


def test_an_impossible_value_spoils_its_own_row_only(tmp_path: Path) -> None:
    rows = [trade(US_OPEN, 180.0, 100), trade(US_OPEN + 1, float("nan"), 10), trade(US_OPEN + 2, 180.1, -5),
            trade(US_OPEN + 3, 180.2, 1)]  # fmt: skip
    source = opened(write(tmp_path / "t.parquet", TRADE_TICKS, rows))
    assert cells(source, LAST, VOLUME) == [(1_800_000, 100), (NOT_A_NUMBER, 110), (1_801_000, -5), (1_802_000, 111)]


def test_the_finest_source_of_each_day_is_used_and_the_rest_is_accounted_for(tmp_path: Path) -> None:
    day = 86_400
    minutes = [quote_bar(US_OPEN + days * day, symbol, 1.0, 1.1) for days in (0, 1) for symbol in ("AIG", "IBM")]
    write(tmp_path / "minutes.parquet", QUOTE_BARS, minutes)
    write(tmp_path / "seconds.parquet", QUOTE_BARS, [quote_bar(US_OPEN + second, "IBM", 2.0, 2.1) for second in (1, 2)])
    write(tmp_path / "ticks.parquet", QUOTE_TICKS, [quote_tick(US_OPEN, 3.0, None), quote_tick(US_OPEN + 9, None, 3.1)])
    write(tmp_path / "bars.parquet", BARS, [bar(US_OPEN, "IBM", 4.0, 10)])
    source = opened(tmp_path)
    quotes = {(source.instruments[row[0]].id, row[1], row[2]) for row in cells(source, INSTRUMENT, BID, LAST)}
    assert quotes == {
        ("US:AIG", 10_000, 0), ("US:IBM", 30_000, 0), ("US:IBM", 30_000, 40_000), ("US:IBM", 10_000, 0)
    }  # fmt: skip
    left_out = {one["file"]: (one["used"], one["left_out"]) for one in source.describe()}
    assert left_out == {
        "bars.parquet": (1, {}),
        "minutes.parquet": (3, {"finer in ticks.parquet": 1}),
        "seconds.parquet": (0, {"finer in ticks.parquet": 2}),
        "ticks.parquet": (2, {}),
    }


def test_a_day_in_two_files_is_used_whole_but_nothing_twice(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", BARS, [bar(US_OPEN, "IBM", 1.0, 1), bar(US_OPEN + 60, "IBM", 2.0, 2)])
    write(tmp_path / "b.parquet", BARS, [bar(US_OPEN + 120, "IBM", 3.0, 3)])
    write(tmp_path / "c.parquet", BARS, [bar(US_OPEN + 60, "IBM", 2.0, 2), bar(US_OPEN + 180, "IBM", 9.0, 9)])
    source = opened(tmp_path)
    assert cells(source, LAST, VOLUME) == [(10_000, 1), (20_000, 3), (30_000, 6)]
    assert source.describe()[2]["left_out"] == {"also in a.parquet": 2}


def test_only_the_symbols_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", BARS, [bar(US_OPEN, symbol, 1.0, 1) for symbol in ("AIG", "IBM", "SPY")])
    assert [one.id for one in opened(path, symbols=["IBM", "US:SPY"]).instruments] == ["US:IBM", "US:SPY"]


def test_an_unsorted_file_is_sorted_and_says_so(tmp_path: Path) -> None:
    rows = [quote_tick(US_OPEN + 1, 3.0, None, seq=2), quote_tick(US_OPEN + 1, 2.0, None, seq=1),
            quote_tick(US_OPEN, 1.0, None, seq=9)]  # fmt: skip
    source = opened(write(tmp_path / "q.parquet", QUOTE_TICKS, rows))
    assert cells(source, BID) == [(10_000,), (20_000,), (30_000,)]
    assert source.describe()[0]["sorted"] == 2


# ---------------------------------------------------------------- US options
def test_a_blank_side_of_an_option_quote_bar_is_no_update(tmp_path: Path) -> None:
    def row(minute: int, bid: float | None, ask: float | None) -> Record:
        return contract() | quote_bar(US_OPEN + 60 * minute, "", bid, ask)

    rows = [row(0, 1.0, 1.1), row(1, None, 1.2), row(2, 1.15, None), row(3, 1.3, None), row(4, 1.3, 1.25)]
    source = opened(write(tmp_path / "q.parquet", OPTION_QUOTE_BARS, rows))
    underlying, option = source.instruments
    assert (underlying.id, underlying.kind) == ("US:GOOG", Kind.EQUITY)
    assert (option.id, option.lot_size, option.underlying) == ("OPRA:GOOG:2015-12-24:750:C", 100, "US:GOOG")
    assert cells(source, *TOUCH) == [
        (10_000, 11_000, 20_000, 30_000),
        (10_000, 12_000, 20_000, 30_000),
        (11_500, 12_000, 20_000, 30_000),
        (13_000, 0, 20_000, 0),
        (13_000, 12_500, 20_000, 30_000),
    ]


def test_open_interest_and_trades_of_an_option_are_in_units_and_an_index_is_told_by_its_style(tmp_path: Path) -> None:
    key = contract("SPXW", 3_700.0, "P", underlying="SPX", style="european")
    write(tmp_path / "oi.parquet", OPTION_OI, [key | {"ts": at(US_OPEN - 7_000), "open_interest": 5}])
    write(tmp_path / "t.parquet", OPTION_BARS, [key | bar(US_OPEN, "", 2.5, 3)])
    write(tmp_path / "i.parquet", BARS, [bar(US_OPEN, "SPX", 3_701.25, 59)])
    source = opened(tmp_path)
    assert [one.id for one in source.instruments] == ["US:SPX", "OPRA:SPXW:2015-12-24:3700:P"]
    assert source.instruments[0].kind is Kind.INDEX
    assert cells(source, INSTRUMENT, LAST, VOLUME, OI) == [
        (1, 0, 0, 500),
        (0, 37_012_500, 59, 0),
        (1, 25_000, 300, 500),
    ]


def test_a_new_exchange_day_begins_with_nothing(tmp_path: Path) -> None:
    rows = [quote_bar(US_OPEN, "IBM", 1.0, 1.1), quote_bar(US_OPEN + 86_400, "IBM", None, 1.2)]
    source = opened(write(tmp_path / "q.parquet", QUOTE_BARS, rows))
    assert cells(source, BID, ASK)[1] == (0, 12_000)


# ---------------------------------------------------------------- all
def test_bounds_give_exactly_those_rows_of_the_whole(tmp_path: Path) -> None:
    rows = [quote_bar(US_OPEN + 60 * minute, "IBM", None if minute % 3 else 1.0 + minute, 99.0 - minute)
            for minute in range(20)]  # fmt: skip
    trades = [bar(US_OPEN + 60 * minute, "IBM", 5.0, minute + 1) for minute in range(20)]
    write(tmp_path / "q.parquet", QUOTE_BARS, rows)
    write(tmp_path / "t.parquet", BARS, trades)
    everything = whole(opened(tmp_path))
    begin, end = (US_OPEN + 300) * NS, (US_OPEN + 900) * NS
    inside = (everything[AT] >= begin) & (everything[AT] < end)
    source = opened(tmp_path, begin=begin, end=end)
    assert (whole(source) == everything[:, inside]).all()
    assert (source.first_at, source.last_at) == (begin, end - 60 * NS)
    for first_row in (0, 1, 7, source.rows, source.rows + 5):
        assert np.array_equal(whole(source, first_row), whole(source)[:, first_row:])


def test_opening_a_recording_does_not_load_pandas(tmp_path: Path) -> None:
    """Goal: replay starts fast and small. Method: a fresh process."""
    path = write(tmp_path / "c.parquet", CHAIN, [chain_row(spot=24_500.0), chain_row(NSE_OPEN + 1, bid=None)])
    code = (
        "import sys, pathlib; from angelx.adapters.recorded import open_recording as o;"
        "assert 'pyarrow' not in sys.modules;"
        f"s = o(pathlib.Path({str(path)!r})); print(sum(b.rows for b in s.batches())); print('pandas' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["3", "False"]


@pytest.mark.parametrize("rows", [3, 11])
def test_the_size_of_what_is_read_at_once_does_not_matter(
    tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotes = [quote_tick(US_OPEN + number // 2, 1.0 + number, None) for number in range(40)]
    write(tmp_path / "q.parquet", QUOTE_TICKS, quotes)
    write(tmp_path / "t.parquet", TRADE_TICKS, [trade(US_OPEN + number // 3, 2.0, 1) for number in range(60)])
    write(tmp_path / "c.parquet", CHAIN, [chain_row(US_OPEN + number // 8, spot=1.0) for number in range(80)])
    expected = whole(opened(tmp_path))
    monkeypatch.setattr("angelx.adapters.recorded.readers._ROWS", rows)
    monkeypatch.setattr("angelx.adapters.recorded.source.BATCH", 7)
    assert np.array_equal(whole(opened(tmp_path)), expected)
