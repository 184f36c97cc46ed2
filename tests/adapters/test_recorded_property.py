"""Random recordings of US equities against a plain-Python oracle: choice, order, folding, bounds, resuming."""

import tempfile
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.adapters.recorded import open_recording
from angelx.adapters.recorded.updates import UNSET, UPDATE_FIELDS, in_order, merge
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, BID, Table
from tests.adapters.recorded_files import (
    BARS,
    QUOTE_BARS,
    QUOTE_TICKS,
    TRADE_TICKS,
    US_OPEN,
    Record,
    at,
    bar,
    ns,
    quote_bar,
    whole,
    write,
)

DAY = 86_400
SYMBOLS = ("AIG", "IBM")


@dataclass(frozen=True, eq=False)
class File:
    """A kind of file: its schema, the length of its bars in s (0: ticks), whether it has quotes."""

    name: str
    schema: dict[str, Any]
    length: int
    quotes: bool


FILES = (
    File("a quotes of minutes", QUOTE_BARS, 60, quotes=True),
    File("b quotes of seconds", QUOTE_BARS, 1, quotes=True),
    File("c quotes", QUOTE_TICKS, 0, quotes=True),
    File("d bars of minutes", BARS, 60, quotes=False),
    File("e bars of seconds", BARS, 1, quotes=False),
    File("f trades", TRADE_TICKS, 0, quotes=False),
)


@st.composite
def records(draw: st.DrawFn, file: File) -> list[Record]:
    """Rows of a file in order of time."""
    length = max(file.length, 1)
    steps = draw(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6), st.sampled_from(SYMBOLS)), max_size=12))
    rows = []
    for number, (day, step, symbol) in enumerate(sorted(steps)):
        # Seconds lie off the whole minute, so that the file is one of seconds.
        stamp = US_OPEN + day * DAY + step * length + (1 if length == 1 else 0)
        price = st.integers(1_000, 1_010).map(lambda cents: cents / 100)
        side = st.none() | price
        if file.quotes and file.length:
            rows.append(quote_bar(stamp, symbol, draw(side), draw(side)))
        elif file.quotes:
            bid, ask = draw(side), draw(side)
            sizes = {"bid_size": 200 if bid else 0, "ask_size": 300 if ask else 0}
            rows.append({"ts": at(stamp), "seq": number, "symbol": symbol, "bid": bid, "ask": ask, **sizes,
                         "suspicious": draw(st.booleans())})  # fmt: skip
        elif file.length:
            rows.append(bar(stamp, symbol, draw(price), draw(st.integers(1, 5))))
        else:
            rows.append({"ts": at(stamp), "seq": number, "symbol": symbol, "price": draw(price),
                         "size": draw(st.integers(1, 5)), "sale_condition": "1", "suspicious": False})  # fmt: skip
    return rows


def day_of(row: Record) -> int:
    return int(row["ts"].timestamp() - US_OPEN) // DAY


def oracle(contents: dict[File, list[Record]]) -> list[tuple[Any, ...]]:
    """Rows as (symbol, known at, bid, ask, bid size, ask size, last, volume), prices in 1/10,000."""
    best: dict[tuple[str, int, bool], int] = {}
    for file, rows in contents.items():
        for row in rows:
            key = (row["symbol"], day_of(row), file.quotes)
            best[key] = min(best.get(key, 99), file.length)
    events = [
        (ns(row["ts"]) + file.length * NS, not file.quotes, file.name, number, file, row)
        for file, rows in contents.items()
        for number, row in enumerate(rows)
        if best[row["symbol"], day_of(row), file.quotes] == file.length and not row.get("suspicious")
    ]
    held: dict[tuple[str, int], dict[str, int]] = {}
    out = []
    for known_at, _, _, _, file, row in sorted(events, key=lambda event: event[:4]):
        state = held.setdefault(
            (row["symbol"], day_of(row)), dict.fromkeys(("bid", "ask", "bs", "as", "last", "vol"), 0)
        )
        if file.quotes:
            said = {}
            for side, size in (("bid", "bs"), ("ask", "as")):
                price = row.get(f"{side}_close", row.get(side))
                if price is not None:
                    said[side] = True
                    state |= {side: round(price * 10_000), size: int(row[f"{side}_size"])}
            if state["bid"] > state["ask"] > 0 and len(said) == 1:
                state |= {"ask": 0, "as": 0} if "bid" in said else {"bid": 0, "bs": 0}
        else:
            is_bar = file.length > 0
            state["last"] = round(row["close" if is_bar else "price"] * 10_000)
            state["vol"] += row["volume" if is_bar else "size"]
        out.append((row["symbol"], known_at, *state.values()))
    return out


@settings(max_examples=15)
@given(data=st.data())
def test_random_recordings_are_replayed_as_the_oracle_says(data: st.DataObject) -> None:
    contents = {file: data.draw(records(file), label=file.name) for file in FILES}
    contents = {file: rows for file, rows in contents.items() if rows}
    expected = oracle(contents)
    if not expected:
        return
    with tempfile.TemporaryDirectory() as folder:
        for file, rows in contents.items():
            write(Path(folder) / f"{file.name}.parquet", file.schema, rows, row_group_size=5)
        source = open_recording(Path(folder))
        table = whole(source)
        got = [
            (source.instruments[row[0]].symbol, row[AT], *row[BID : BID + 6])
            for row in map(tuple, table[[0, 1, 2, 3, 4, 5, 6, 7, 8]].T.tolist())
        ]
        assert got == expected
        assert source.rows == len(expected)
        used = {one["file"]: one["used"] + sum(one["left_out"].values()) for one in source.describe()}
        assert used == {f"{file.name}.parquet": len(rows) for file, rows in contents.items()}
        first_row = data.draw(st.integers(0, len(expected)), label="first row")
        assert np.array_equal(whole(source, first_row), table[:, first_row:])
        times = [row[1] for row in expected]
        begin = data.draw(st.sampled_from(times), label="begin")
        end = data.draw(st.sampled_from([None, *[time for time in times if time > begin]]), label="end")
        part = open_recording(Path(folder), begin=begin, end=end)
        inside = (table[AT] >= begin) & (table[AT] < (end or 2**63 - 1))
        names = [source.instruments.index[one.id] for one in part.instruments]
        rows_of_part = whole(part)
        rows_of_part[0] = np.array(names)[rows_of_part[0]]
        assert np.array_equal(rows_of_part, table[:, inside])


@given(
    streams=st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), max_size=12), max_size=4),
)
def test_merging_is_sorting_by_time_then_stream(streams: list[list[tuple[int, int]]]) -> None:
    """Each stream is a run of (time, length of the table it comes in)."""
    tables: list[list[Table]] = []
    for number, stream in enumerate(streams):
        rows = sorted(stream)
        table = np.full((UPDATE_FIELDS, len(rows)), UNSET, np.int64)
        table[AT] = [row[0] for row in rows]
        table[BID] = [number * 1_000 + place for place in range(len(rows))]
        cuts = np.cumsum([row[1] for row in stream]).tolist()
        tables.append([part for part in np.split(table, [cut for cut in cuts if cut < len(rows)], axis=1) if part.size])
    merged = list(merge([iter(parts) for parts in tables]))
    everything = [part for parts in tables for part in parts]
    expected = in_order(everything) if everything else np.zeros((UPDATE_FIELDS, 0), np.int64)
    got = np.concatenate(merged, axis=1) if merged else expected[:, :0]
    assert np.array_equal(got, expected)
    for before, after in pairwise(merged):
        assert before[AT, -1] <= after[AT, 0]
    assert [time for time, _ in groupby(got[AT].tolist())] == sorted(set(got[AT].tolist()))
