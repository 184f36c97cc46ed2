"""What the rows of a session add up to: open, high, low, close of the day before, average, minute bars."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.instruments import InstrumentTable
from angelx.domain.scalars import NS
from angelx.domain.ticks import BID, EXCHANGE_AT, FIELDS, INSTRUMENT, LAST, OI, VOLUME, Table, TickBatch
from angelx.market.state import Cells
from angelx.venue.angelone.logins import INDIA

OPEN: Final = 0
HIGH: Final = 1
LOW: Final = 2
CLOSE: Final = 3
"""Last price of the day before, or as told; where neither is known, the first price or bid."""
LAST_QUANTITY: Final = 4
TRADED_AT: Final = 5
"""When the volume last grew, ns."""
SEEN_VOLUME: Final = 6
TURNOVER: Final = 7
"""Volume x last price, in units of price x 1,000 units, so that a day fits."""
DAY_LAST: Final = 8
DAY: Final = 9
"""Exchange date as its ordinal; a new one begins all this anew."""
FIRST_OI: Final = 10
"""Open interest of the day's first row that had any."""
_FIELDS: Final = 11

BAR_OPEN: Final = 0
BAR_HIGH: Final = 1
BAR_LOW: Final = 2
BAR_CLOSE: Final = 3
BAR_VOLUME: Final = 4
BAR_OI: Final = 5
_BAR: Final = 6
MINUTE: Final = 60 * NS
_INDIA_AHEAD: Final = 19_800 * NS
_DAY_NS: Final = 86_400 * NS


@nb.njit(cache=True, nogil=True)
def _fold_day(table: Table, start: int, stop: int, days: NDArray[np.int64]) -> None:
    for row in range(start, stop):
        cells, last = days[table[INSTRUMENT, row]], table[LAST, row]
        if last <= 0:
            if cells[CLOSE] == 0:
                cells[CLOSE] = table[BID, row]  # On its tick, as clients order at it.
            continue
        day = (table[EXCHANGE_AT, row] + _INDIA_AHEAD) // _DAY_NS
        if cells[DAY] != day:
            if cells[DAY_LAST] > 0:
                cells[CLOSE] = cells[DAY_LAST]
            elif cells[CLOSE] == 0:
                cells[CLOSE] = last  # As bands have it: clients divide by the previous close.
            cells[DAY] = day
            cells[OPEN] = cells[HIGH] = cells[LOW] = last
            cells[SEEN_VOLUME] = cells[TURNOVER] = cells[LAST_QUANTITY] = cells[FIRST_OI] = 0
        cells[HIGH] = max(cells[HIGH], last)
        cells[LOW] = min(cells[LOW], last)
        traded = table[VOLUME, row] - cells[SEEN_VOLUME]
        if traded > 0:
            cells[SEEN_VOLUME] = table[VOLUME, row]
            cells[LAST_QUANTITY] = traded
            cells[TRADED_AT] = table[EXCHANGE_AT, row]
            cells[TURNOVER] += last * traded // 1000
        cells[DAY_LAST] = last
        if cells[FIRST_OI] == 0:
            cells[FIRST_OI] = table[OI, row]


@nb.njit(cache=True, nogil=True)
def _fold_bars(
    table: Table, start: int, stop: int, minute: int, bars: NDArray[np.int64], seen: NDArray[np.int64]
) -> int:
    """Rows of one minute into its bars; the first row of another one, or `stop`."""
    for row in range(start, stop):
        if table[EXCHANGE_AT, row] // MINUTE != minute:
            return row
        place, last = table[INSTRUMENT, row], table[LAST, row]
        if last <= 0:
            continue
        bar = bars[place]
        if bar[BAR_OPEN] == 0:
            bar[BAR_OPEN] = bar[BAR_HIGH] = bar[BAR_LOW] = last
        bar[BAR_HIGH] = max(bar[BAR_HIGH], last)
        bar[BAR_LOW] = min(bar[BAR_LOW], last)
        bar[BAR_CLOSE] = last
        traded = table[VOLUME, row] - seen[place]
        if traded != 0:
            bar[BAR_VOLUME] += max(traded, 0)
            seen[place] = table[VOLUME, row]
        bar[BAR_OI] = table[OI, row]
    return stop


class DayBook:
    """Statistics of the present day and minute bars of every instrument, on exchange time.

    Parameters
    ----------
    closes
        Previous close by instrument id, 1/10,000, where known; of others it is the first price, or bid.
    """

    def __init__(self, table: InstrumentTable, closes: Mapping[str, int] | None = None) -> None:
        self._days = np.zeros((len(table), _FIELDS), np.int64)
        self._cells = [row.data for row in self._days]
        self._seen = np.zeros(len(table), np.int64)
        self._minutes: dict[int, NDArray[np.int64]] = {}
        self._places = len(table)
        nothing, bar = np.zeros((FIELDS, 1), np.int64), np.zeros((1, _BAR), np.int64)
        _fold_day(nothing, 0, 0, self._days)  # Compile or load now, not at the first tick.
        _fold_bars(nothing, 0, 0, 0, bar, self._seen)
        for instrument_id, close in (closes or {}).items():
            place = table.index.get(instrument_id)
            if place is not None:
                self._days[place, CLOSE] = close

    def fold(self, batch: TickBatch, start: int, stop: int) -> None:
        """Take rows in."""
        table = batch.table
        _fold_day(table, start, stop, self._days)
        while start < stop:
            minute = int(table[EXCHANGE_AT, start]) // MINUTE
            bars = self._minutes.get(minute)
            if bars is None:
                bars = self._minutes[minute] = np.zeros((self._places, _BAR), np.int64)
            start = int(_fold_bars(table, start, stop, minute, bars, self._seen))

    def cells(self, place: int) -> Cells:
        """The day's statistics of an instrument by field; live."""
        return self._cells[place]

    def last(self, place: int, last: int) -> int:
        """The last price as the broker says it: before the first trade it is the previous close."""
        return last or self._cells[place][CLOSE]

    def average(self, place: int) -> int:
        """Volume-weighted average of the last prices, 1/10,000; 0 without trades."""
        cells = self._cells[place]
        volume: int = cells[SEEN_VOLUME]
        return cells[TURNOVER] * 1000 // volume if volume else 0

    def first_interest(self, place: int) -> int:
        """Open interest when the day began, units; 0 = none seen."""
        first: int = self._cells[place][FIRST_OI]
        return first

    def bars(self, place: int, step: int, begins_at: int, ends_at: int) -> list[tuple[int, NDArray[np.int64]]]:
        """Bars of `step` ns that start in [begins_at, ends_at], ascending, labelled by their start.

        Steps count from midnight in India; a day is one bar from there.
        """
        merged: dict[int, NDArray[np.int64]] = {}
        for minute in sorted(self._minutes):
            bar, at = self._minutes[minute][place], minute * MINUTE
            label = _label(at, step)
            if bar[BAR_OPEN] == 0 or not begins_at <= label <= ends_at:
                continue
            known = merged.get(label)
            if known is None:
                merged[label] = bar.copy()
                continue
            known[BAR_HIGH], known[BAR_LOW] = max(known[BAR_HIGH], bar[BAR_HIGH]), min(known[BAR_LOW], bar[BAR_LOW])
            known[BAR_CLOSE], known[BAR_OI] = bar[BAR_CLOSE], bar[BAR_OI]
            known[BAR_VOLUME] += bar[BAR_VOLUME]
        return list(merged.items())


_OPENS: Final = 9 * 60 * MINUTE + 15 * MINUTE
"""09:15 in India: intraday bars count from there."""


def _label(at: int, step: int) -> int:
    midnight = (at + _INDIA_AHEAD) // _DAY_NS * _DAY_NS - _INDIA_AHEAD
    if step >= _DAY_NS:
        return midnight
    opens = midnight + _OPENS
    return opens + (at - opens) // step * step


def india_text(at: int, form: str) -> str:
    """A time in India by strftime's words."""
    return datetime.fromtimestamp(at // NS, INDIA).strftime(form)
