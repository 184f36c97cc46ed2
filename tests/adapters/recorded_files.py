"""Writes recordings of the documented schemas for tests, and reads tick sources whole."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from angelx.domain.ports import TickSource
from angelx.domain.ticks import FIELDS, Table

UTC_US = pa.timestamp("us", tz="UTC")
NSE_OPEN = 1_756_439_100  # 29 Aug 2025 09:15 in India, s.
US_OPEN = 1_381_152_600  # 7 Oct 2013 09:30 in New York, s.

CHAIN = {
    "ts": UTC_US,
    "ts_exch": UTC_US,
    "source": pa.string(),
    "symbol": pa.string(),
    "expiry": pa.date32(),
    "strike": pa.float64(),
    "right": pa.string(),
    "ltp": pa.float64(),
    "bid": pa.float64(),
    "bid_qty": pa.int64(),
    "ask": pa.float64(),
    "ask_qty": pa.int64(),
    "volume": pa.int64(),
    "oi": pa.int64(),
    "spot": pa.float64(),
    "lot_size": pa.int32(),
}
BARS = {
    "ts": UTC_US,
    "symbol": pa.string(),
    **dict.fromkeys(("open", "high", "low", "close"), pa.float64()),
    "volume": pa.int64(),
}
SIDES = {
    **dict.fromkeys((f"bid_{price}" for price in ("open", "high", "low", "close")), pa.float64()),
    "bid_size": pa.float64(),
    **dict.fromkeys((f"ask_{price}" for price in ("open", "high", "low", "close")), pa.float64()),
    "ask_size": pa.float64(),
}
QUOTE_BARS = {"ts": UTC_US, "symbol": pa.string(), **SIDES}
QUOTE_TICKS = {
    "ts": UTC_US,
    "seq": pa.int32(),
    "symbol": pa.string(),
    "bid": pa.float64(),
    "bid_size": pa.int64(),
    "ask": pa.float64(),
    "ask_size": pa.int64(),
    "exchange": pa.string(),
    "suspicious": pa.bool_(),
}
TRADE_TICKS = {
    "ts": UTC_US,
    "seq": pa.int32(),
    "symbol": pa.string(),
    "price": pa.float64(),
    "size": pa.int64(),
    "exchange": pa.string(),
    "sale_condition": pa.string(),
    "suspicious": pa.bool_(),
}
CONTRACT = {
    "underlying": pa.string(),
    "root": pa.string(),
    "style": pa.string(),
    "expiry": pa.date32(),
    "strike": pa.float64(),
    "right": pa.string(),
}
OPTION_QUOTE_BARS = {"ts": UTC_US, **CONTRACT, **SIDES}
OPTION_BARS = {"ts": UTC_US, **CONTRACT, **{name: kind for name, kind in BARS.items() if name not in {"ts", "symbol"}}}
OPTION_OI = {"ts": UTC_US, **CONTRACT, "open_interest": pa.int64()}

Record = dict[str, Any]


def at(seconds: float) -> datetime:
    """An instant, exact to the microsecond."""
    return datetime.fromtimestamp(seconds, UTC)


def ns(instant: datetime) -> int:
    """An instant as ns since the epoch."""
    return round(instant.timestamp() * 1_000_000) * 1_000


def write(path: Path, schema: dict[str, Any], records: Iterable[Record], row_group_size: int = 1_000) -> Path:
    """A Parquet file of the schema; what a record does not say is null."""
    rows = list(records)
    columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in schema.items()}
    pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=row_group_size)
    return path


def chain_row(seconds: float = NSE_OPEN, **cells: Any) -> Record:
    """A row of a chain with a two-sided quote."""
    return {
        "ts": at(seconds),
        "ts_exch": at(seconds - 60),
        "source": "test",
        "symbol": "NIFTY",
        "expiry": date(2025, 9, 2),
        "strike": 24_500.0,
        "right": "CE",
        "ltp": 100.0,
        "bid": 99.95,
        "bid_qty": 75,
        "ask": 100.05,
        "ask_qty": 150,
        "volume": 10,
        "oi": 20,
        "lot_size": 75,
    } | cells


def quote_bar(seconds: float, symbol: str, bid: float | None, ask: float | None, **cells: Any) -> Record:
    """A quote bar that ends at bid and ask; `None` = no update of that side."""
    return {
        "ts": at(seconds),
        "symbol": symbol,
        "bid_close": bid,
        "bid_size": None if bid is None else 200,
        "ask_close": ask,
        "ask_size": None if ask is None else 300,
    } | cells


def bar(seconds: float, symbol: str, close: float, volume: int, **cells: Any) -> Record:
    """A bar of trades."""
    return {"ts": at(seconds), "symbol": symbol, "close": close, "volume": volume} | cells


def contract(root: str = "GOOG", strike: float = 750.0, right: str = "C", **cells: Any) -> Record:
    """The columns of a US option."""
    return {
        "underlying": root,
        "root": root,
        "style": "american",
        "expiry": date(2015, 12, 24),
        "strike": strike,
        "right": right,
    } | cells


def whole(source: TickSource, first_row: int = 0) -> Table:
    """All rows of a source as one table."""
    tables: Sequence[Table] = [batch.table for batch in source.batches(first_row)]
    return np.concatenate(tables, axis=1) if tables else np.zeros((FIELDS, 0), np.int64)
