"""Rows of the tape as bars, quotes and trades. A bar's `_at` is its time in ns, for choosing; it is not sent."""

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from datetime import time as clock
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from msgspec.msgpack import Ext
from msgspec.structs import replace

from angelx.domain.instruments import Instrument, Kind
from angelx.domain.scalars import NS, SCALE
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, LAST, Table
from angelx.domain.timestamps import rfc3339
from angelx.venue.alpaca.account_api import day_of
from angelx.venue.alpaca.call import NEW_YORK
from angelx.venue.alpaca.minutes import MINUTE, Integers, Traded
from angelx.venue.alpaca.names import each, number
from angelx.venue.alpaca.tape import times, traded
from angelx.venue.alpaca.views import Json

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


class Lines(NamedTuple):
    """Lines of one instrument that are written when they are wanted, in order of time."""

    at: Integers
    """Times, ns."""
    write: Callable[[Integers], list[Json]]
    """Those at these places."""


def quotes(instrument: Instrument, rows: Table) -> Lines:
    """Every row at which the touch changed."""
    touch = rows[[BID, ASK, BID_SIZE, ASK_SIZE]]
    is_new = np.ones(rows.shape[1], np.bool_)
    is_new[1:] = (touch[:, 1:] != touch[:, :-1]).any(axis=0)
    is_new &= (rows[BID] > 0) | (rows[ASK] > 0)
    at, touch = times(rows)[is_new], touch[:, is_new]

    def write(places: Integers) -> list[Json]:
        columns = (at[places].tolist(), *touch[:, places].tolist())
        return [quote_line(instrument, rfc3339(when), *quote) for when, *quote in zip(*columns, strict=True)]

    return Lines(at, write)


def trades(instrument: Instrument, rows: Table, last: int) -> Lines:
    """Every row at which something traded; `last` is the number of the last one."""
    sizes = traded(rows)
    chosen = sizes > 0
    at, prices, sizes = times(rows)[chosen], rows[LAST][chosen], sizes[chosen]
    first = last + 1 - len(at)

    def write(places: Integers) -> list[Json]:
        columns = (at[places].tolist(), prices[places].tolist(), sizes[places].tolist(), (first + places).tolist())
        return [
            trade_line(instrument, rfc3339(when), price, size, count)
            for when, price, size, count in zip(*columns, strict=True)
        ]

    return Lines(at, write)


def history(instrument: Instrument, minutes: Iterable[Traded], count: int, unit: str) -> Lines:
    """Bars."""
    found = bars(instrument, minutes, count, unit)
    at = np.array([bar["_at"] for bar in found], np.int64)
    return Lines(at, lambda places: [bare(found[place]) for place in places.tolist()])


def bars(instrument: Instrument, minutes: Iterable[Traded], count: int, unit: str) -> list[Json]:
    """Bars of what traded, labelled by their start; `unit` is T (minutes), H, D, W or M."""
    spans: list[Traded] = []
    for minute in minutes:
        start = _start(minute.at, count, unit)
        if spans and spans[-1].at == start:
            spans[-1].add(minute)
        else:
            spans.append(replace(minute, at=start))
    unit_size = each(instrument)
    return [
        {
            "_at": span.at, "t": rfc3339(span.at), "o": number(span.open), "h": number(span.high),
            "l": number(span.low), "c": number(span.close), "v": span.volume // unit_size, "n": span.count,
            "vw": round(span.money / span.volume / SCALE, 6),
        }
        for span in spans
    ]  # fmt: skip


def _start(at: int, count: int, unit: str) -> int:
    if unit in ("T", "H"):
        step = count * MINUTE * (60 if unit == "H" else 1)
        return at // step * step
    return _day_label(at // (60 * MINUTE), count, unit)


@lru_cache(maxsize=1 << 12)
def _day_label(hour: int, count: int, unit: str) -> int:
    """Of an hour since the epoch: New York's days begin with one."""
    return _day_start(day_of(hour * 60 * MINUTE), count, unit)


def _day_start(day: date, count: int, unit: str) -> int:
    if unit == "W":
        day -= timedelta(days=day.weekday())
    elif unit == "M":
        day = day.replace(month=(day.month - 1) // count * count + 1, day=1)
    return int(datetime.combine(day, clock(), NEW_YORK).timestamp()) * NS


def bare(line: Json) -> Json:
    """A line as it is sent: `_at` is for choosing only."""
    return {name: value for name, value in line.items() if name != "_at"}
