"""What is wrong with a recording is said with its file, column and row, before a tick comes out of it."""

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from angelx.adapters.recorded import open_recording
from angelx.domain.errors import InputInvalid
from tests.adapters.recorded_files import (
    BARS,
    CHAIN,
    NSE_OPEN,
    OPTION_OI,
    QUOTE_TICKS,
    TRADE_TICKS,
    US_OPEN,
    at,
    bar,
    chain_row,
    whole,
    write,
)

DAY = 86_400


def refused(path: Path, *parts: str, **options: Any) -> None:
    """Opening or reading the path fails with a message that has all the parts."""
    with pytest.raises(InputInvalid) as failure:
        whole(open_recording(path, **options))
    message = str(failure.value)
    assert all(part in message for part in parts), message


def a_chain(path: Path, **kinds: Any) -> Path:
    return write(path, CHAIN | kinds, [chain_row(), chain_row(NSE_OPEN + 1)])


# ---------------------------------------------------------------- files
def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere", "no such file or directory")


def test_a_directory_without_recordings_names_those_inside_it(tmp_path: Path) -> None:
    refused(tmp_path, "has no Parquet files")
    (tmp_path / "us-equities").mkdir()
    a_chain(tmp_path / "us-equities" / "x.parquet")
    refused(tmp_path, "has no Parquet files", "choose one", "us-equities")


def test_a_link_to_nothing_is_not_left_out(tmp_path: Path) -> None:
    a_chain(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").symlink_to(tmp_path / "gone" / "b.parquet")
    refused(tmp_path, "b.parquet: links to", "gone/b.parquet, which is not there")


def test_an_empty_file_and_a_file_without_rows(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    refused(tmp_path / "a.parquet", "a.parquet", "empty (0 bytes)")
    refused(write(tmp_path / "b.parquet", CHAIN, []), "b.parquet", "nse-chain", "no rows")


def test_a_text_file_and_a_truncated_one(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("ts,symbol\n")
    refused(tmp_path / "a.parquet", "a.parquet", "not a whole Parquet file")
    path = a_chain(tmp_path / "b.parquet")
    path.write_bytes(path.read_bytes()[:-40])
    refused(path, "b.parquet", "not a whole Parquet file")


def test_a_damaged_page_in_a_directory_of_good_files(tmp_path: Path) -> None:
    a_chain(tmp_path / "good.parquet")
    rows = [bar(US_OPEN + 60 * minute, "IBM", 180.0 + minute, minute) for minute in range(500)]
    path = write(tmp_path / "bad.parquet", BARS, rows)
    content = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(5)  # `close`
    start = column.dictionary_page_offset or column.data_page_offset
    inside = slice(start + 20, start + column.total_compressed_size)
    content[inside] = bytes(byte ^ 0xFF for byte in content[inside])
    path.write_bytes(content)
    refused(tmp_path, "bad.parquet", "is damaged")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = a_chain(tmp_path / "a.parquet")
    path.chmod(0)
    refused(path, "a.parquet")


def test_a_directory_that_looks_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").mkdir()
    refused(tmp_path, "has no Parquet files")


# ---------------------------------------------------------------- schemas
def test_a_schema_nobody_knows_says_what_is_missing_from_the_nearest(tmp_path: Path) -> None:
    schema = {name: kind for name, kind in CHAIN.items() if name not in {"bid", "lot_size"}}
    path = write(tmp_path / "x.parquet", schema, [chain_row()])
    refused(path, "x.parquet", "nearest is nse-chain", "lacks lot_size, bid", "there are: ts")


def test_a_stamped_file_of_no_known_schema_spoils_its_directory_but_others_are_ignored(tmp_path: Path) -> None:
    a_chain(tmp_path / "a.parquet")
    pq.write_table(pa.table({"symbol": ["IBM"], "split_ratio": [7.0]}), tmp_path / "corporate_actions.parquet")
    source = open_recording(tmp_path)
    assert source.describe()[-1] == {
        "file": "corporate_actions.parquet", "schema": None, "used": 0, "left_out": "no column ts: no ticks"
    }  # fmt: skip
    write(tmp_path / "b.parquet", {"ts": CHAIN["ts"], "price": pa.float64()}, [{"ts": at(NSE_OPEN), "price": 1.0}])
    refused(tmp_path, "b.parquet", "fit no known schema")


def test_a_directory_of_nothing_but_other_files(tmp_path: Path) -> None:
    pq.write_table(pa.table({"symbol": ["IBM"], "split_ratio": [7.0]}), tmp_path / "corporate_actions.parquet")
    refused(tmp_path, "none of its files holds ticks", "corporate_actions.parquet")


@pytest.mark.parametrize(
    ("column", "kind", "found"),
    [
        ("bid", pa.string(), "expected numbers, found string"),
        ("symbol", pa.int64(), "expected text, found int64"),
        ("expiry", pa.string(), "expected a date, found string"),
        ("lot_size", pa.string(), "expected a number, found string"),
        ("ts", pa.int64(), "expected timestamp[us, tz=UTC], found int64"),
        ("ts", pa.timestamp("us"), "found timestamp[us] (no zone)"),
        ("ts", pa.timestamp("us", tz="Asia/Kolkata"), "zone Asia/Kolkata"),
        ("ts_exch", pa.timestamp("us"), "no zone"),
    ],
)
def test_a_column_of_a_wrong_type_or_zone(tmp_path: Path, column: str, kind: pa.DataType, found: str) -> None:
    table = pa.table({name: pa.array([], other) for name, other in (CHAIN | {column: kind}).items()})
    row = pa.table({name: pa.nulls(1, table.schema.field(name).type) for name in table.schema.names})
    pq.write_table(row, tmp_path / "x.parquet")
    refused(tmp_path / "x.parquet", "x.parquet", f"column {column}", found)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pq.read_table(a_chain(tmp_path / "x.parquet"))
    pq.write_table(table.append_column("bid", table["ask"]), tmp_path / "x.parquet")
    refused(tmp_path / "x.parquet", "x.parquet", "column bid: there are 2 of that name")


# ---------------------------------------------------------------- values
@pytest.mark.parametrize(
    ("cells", "parts"),
    [
        ({"ts": None}, ("column ts, row 1", "missing")),
        ({"ts": at(5)}, ("column ts, row 1", "1990")),
        ({"symbol": None}, ("column symbol, row 1", "a name", "None")),
        ({"symbol": ""}, ("column symbol, row 1", "a name")),
        ({"expiry": None}, ("column expiry, row 1",)),
        ({"expiry": date(9999, 12, 31)}, ("column expiry, row 1", "from 1970 to 2199", "9999")),
        ({"expiry": date(1, 1, 1)}, ("column expiry, row 1", "from 1970 to 2199")),
        ({"strike": None}, ("column strike, row 1",)),
        ({"strike": -5.0}, ("column strike, row 1", "-5.0")),
        ({"strike": float("nan")}, ("column strike, row 1", "nan")),
        ({"right": "XX"}, ("column right, row 1", "'XX'")),
        ({"lot_size": None}, ("column lot_size, row 1",)),
        ({"lot_size": 0}, ("column lot_size, row 1", "0")),
        ({"lot_size": 50}, ("column lot_size, row 1", "lots of 50", "75")),
    ],
)
def test_a_key_that_names_no_instrument(tmp_path: Path, cells: dict[str, Any], parts: tuple[str, ...]) -> None:
    rows = [chain_row(), chain_row(NSE_OPEN + 1) | cells]
    refused(write(tmp_path / "x.parquet", CHAIN, rows), "x.parquet", *parts)


def test_a_style_that_is_none_is_refused(tmp_path: Path) -> None:
    """What underlies a European option is an index; nothing else may pass for an American one."""
    row = {"ts": at(US_OPEN), "underlying": "X", "root": "X", "style": "bermudan", "expiry": date(2013, 10, 19)}
    path = write(tmp_path / "x.parquet", OPTION_OI, [{**row, "strike": 5.0, "right": "C", "open_interest": 1}])
    refused(path, "column style, row 0", "a style is american or european", "'bermudan'")


def test_rows_are_numbered_as_in_the_file_where_it_had_to_be_sorted(tmp_path: Path) -> None:
    rows = [chain_row(NSE_OPEN + 5), chain_row(NSE_OPEN + 9, right="?"), chain_row(NSE_OPEN)]
    refused(write(tmp_path / "x.parquet", CHAIN, rows), "column right, row 1", "'?'")


def test_lots_that_differ_between_files_ask_for_a_choice(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", CHAIN, [chain_row()])
    write(tmp_path / "b.parquet", CHAIN, [chain_row(NSE_OPEN + DAY, lot_size=65)])
    refused(tmp_path, "b.parquet", "lots of 65", "75", "a.parquet", "--from")
    assert open_recording(tmp_path, begin=(NSE_OPEN + DAY) * 10**9).rows == 1


def test_bars_that_are_not_stamped_at_whole_seconds(tmp_path: Path) -> None:
    refused(write(tmp_path / "x.parquet", BARS, [bar(US_OPEN + 0.5, "IBM", 1.0, 1)]), "x.parquet", "whole seconds")


def test_a_sale_condition_that_is_no_number(tmp_path: Path) -> None:
    row = {"ts": at(US_OPEN), "seq": 0, "symbol": "IBM", "price": 1.0, "size": 1, "sale_condition": "@F I"}
    refused(write(tmp_path / "x.parquet", TRADE_TICKS, [row]), "x.parquet", "column sale_condition", "'@F I'")


def test_too_many_unsorted_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("angelx.adapters.recorded.stored.LARGEST_SORT", 1)
    path = write(tmp_path / "x.parquet", CHAIN, [chain_row(NSE_OPEN + 1), chain_row()])
    refused(path, "x.parquet", "1 of 2 rows are not in order of ts", "sort the file")


def test_a_column_without_any_value_is_absent_everywhere(tmp_path: Path) -> None:
    table = pq.read_table(a_chain(tmp_path / "x.parquet"))
    for column in ("bid", "oi", "spot"):
        table = table.set_column(table.schema.names.index(column), column, pa.nulls(2))
    pq.write_table(table, tmp_path / "x.parquet")
    assert whole(open_recording(tmp_path)).shape[1] == 2


def test_suspicious_rows_only_leave_nothing(tmp_path: Path) -> None:
    row = {"ts": at(US_OPEN), "seq": 0, "symbol": "IBM", "bid": 1.0, "suspicious": True}
    refused(write(tmp_path / "x.parquet", QUOTE_TICKS, [row]), "x.parquet", "no rows", "IBM", "2013-10-07")


# ---------------------------------------------------------------- what is asked for
@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"symbols": ["BANKNIFTY"]}, ("no rows of BANKNIFTY", "there are NIFTY from 2025-08-29")),
        ({"begin": (NSE_OPEN + DAY) * 10**9}, ("no rows within the time", "2025-08-29")),
        ({"begin": 5, "end": 5}, ("end must be after the beginning",)),
        ({"bar_spread_bps": 0.0}, ("bar_spread_bps", "more than 0")),
        ({"bar_spread_bps": float("nan")}, ("bar_spread_bps", "nan")),
    ],
)
def test_asking_for_what_is_not_there(tmp_path: Path, options: dict[str, Any], parts: tuple[str, ...]) -> None:
    refused(a_chain(tmp_path / "x.parquet"), *parts, **options)


def test_names_of_files_do_not_matter(tmp_path: Path) -> None:
    """Goal: a file without an ending is Parquet by its first bytes. Method: an odd name beside other files."""
    maker: Callable[[Path], Path] = a_chain
    maker(tmp_path / "29 August, NIFTY")
    (tmp_path / "notes").write_text("PA")
    (tmp_path / ".hidden.parquet").write_text("no")
    assert open_recording(tmp_path).rows == 2
    assert open_recording(tmp_path).describe()[0]["days"] == [date(2025, 8, 29).isoformat()]
