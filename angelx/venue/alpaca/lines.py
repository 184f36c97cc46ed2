"""Rows of the tape as bars, quotes and trades. A line's `_at` is its time in ns, for choosing; it is not sent."""

from datetime import date, datetime, timedelta
from datetime import time as clock
from itertools import pairwise
from typing import Any, Final

import numpy as np
from msgspec.msgpack import Ext

from angelx.domain.instruments import Instrument, Kind
from angelx.domain.scalars import NS, SCALE
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, LAST, Table
from angelx.domain.timestamps import rfc3339
from angelx.venue.alpaca.account_api import day_of
from angelx.venue.alpaca.call import NEW_YORK
from angelx.venue.alpaca.names import each, number
from angelx.venue.alpaca.tape import times, traded
from angelx.venue.alpaca.views import Json

MINUTE: Final = 60 * NS
VENUE: Final = "V"
"""Exchange code of everything here."""
TAPE: Final = "A"
Time = str | Ext
"""RFC 3339 text, or msgpack's Timestamp."""


def quote_line(instrument: Instrument, time: Time, bid: int, ask: int, bid_size: int, ask_size: int) -> Json:
    """One quote; an option's has one condition as text and no tape."""
    unit = each(instrument)
    line: Json = {
        "t": time, "ax": VENUE if ask > 0 else " ", "ap": number(max(ask, 0)), "as": ask_size // unit,
        "bx": VENUE if bid > 0 else " ", "bp": number(max(bid, 0)), "bs": bid_size // unit,
    }  # fmt: skip
    return line | ({"c": "A"} if instrument.kind is Kind.OPTION else {"c": ["R"], "z": TAPE})


def trade_line(instrument: Instrument, time: Time, price: int, size: int, count: int) -> Json:
    """One trade."""
    line: Json = {"t": time, "x": VENUE, "p": number(price), "s": size // each(instrument)}
    return line | ({"c": "a"} if instrument.kind is Kind.OPTION else {"i": count, "c": ["@"], "z": TAPE})


def quotes(instrument: Instrument, rows: Table) -> list[Json]:
    """Every row at which the touch changed."""
    touch = rows[[BID, ASK, BID_SIZE, ASK_SIZE]]
    is_new = np.ones(rows.shape[1], np.bool_)
    is_new[1:] = (touch[:, 1:] != touch[:, :-1]).any(axis=0)
    is_new &= (rows[BID] > 0) | (rows[ASK] > 0)
    columns = (times(rows)[is_new].tolist(), *touch[:, is_new].tolist())
    return [
        {"_at": at, **quote_line(instrument, rfc3339(at), bid, ask, bid_size, ask_size)}
        for at, bid, ask, bid_size, ask_size in zip(*columns, strict=True)
    ]


def trades(instrument: Instrument, rows: Table) -> list[Json]:
    """Every row at which something traded."""
    sizes = rows[-1]
    chosen = sizes > 0
    columns = (times(rows)[chosen].tolist(), rows[LAST][chosen].tolist(), sizes[chosen].tolist())
    return [
        {"_at": at, **trade_line(instrument, rfc3339(at), price, size, count)}
        for count, (at, price, size) in enumerate(zip(*columns, strict=True), 1)
    ]


def bars(instrument: Instrument, rows: Table, count: int, unit: str) -> list[Json]:
    """Bars of what traded, labelled by their start; `unit` is T (minutes), H, D, W or M."""
    sizes = rows[-1]
    chosen = sizes > 0
    prices, sizes, at = rows[LAST][chosen], sizes[chosen], times(rows)[chosen]
    if not len(at):
        return []
    starts = _starts(at, count, unit)
    edges = [0, *(np.flatnonzero(np.diff(starts)) + 1).tolist(), len(starts)]
    found = []
    for first, last in pairwise(edges):
        price, size = prices[first:last], sizes[first:last]
        start, volume = int(starts[first]), int(size.sum())
        found.append(
            {
                "_at": start, "t": rfc3339(start), "o": number(int(price[0])), "h": number(int(price.max())),
                "l": number(int(price.min())), "c": number(int(price[-1])), "v": volume // each(instrument),
                "n": last - first, "vw": round(float((price * (size / volume)).sum()) / SCALE, 6),
            }
        )  # fmt: skip
    return found


def _starts(at: "np.ndarray[Any, np.dtype[np.int64]]", count: int, unit: str) -> "np.ndarray[Any, np.dtype[np.int64]]":
    if unit in ("T", "H"):
        step = count * MINUTE * (60 if unit == "H" else 1)
        return at // step * step
    labels: dict[int, int] = {}
    hours = at // (60 * MINUTE)
    for hour in np.unique(hours).tolist():
        labels[hour] = _day_start(day_of(hour * 60 * MINUTE), count, unit)
    return np.array([labels[hour] for hour in hours.tolist()], np.int64)


def _day_start(day: date, count: int, unit: str) -> int:
    if unit == "W":
        day -= timedelta(days=day.weekday())
    elif unit == "M":
        day = day.replace(month=(day.month - 1) // count * count + 1, day=1)
    return int(datetime.combine(day, clock(), NEW_YORK).timestamp()) * NS


def with_volume(rows: Table) -> Table:
    """The rows with what each traded as a last line."""
    return np.vstack([rows, traded(rows)])


def bare(line: Json) -> Json:
    """A line as it is sent: `_at` is for choosing only."""
    return {name: value for name, value in line.items() if name != "_at"}
