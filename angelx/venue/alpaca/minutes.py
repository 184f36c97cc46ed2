"""What traded in each minute of each instrument, since the venue began: the tape forgets, these do not."""

from typing import Final

import msgspec
import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, EXCHANGE_AT, INSTRUMENT, LAST, Table, TickBatch

MINUTE: Final = 60 * NS
Integers = NDArray[np.int64]

_OPEN: Final = 0
_HIGH: Final = 1
_LOW: Final = 2
_CLOSE: Final = 3
_VOLUME: Final = 4
_COUNT: Final = 5
_MONEY: Final = 6
_FIELDS: Final = 7


class Traded(msgspec.Struct):
    """Trades of a span as one: prices and money in 1/10,000, volume in units."""

    at: int
    """Its start, ns."""
    open: int
    high: int
    low: int
    close: int
    volume: int
    count: int
    money: int
    """Sum of price x size."""

    def add(self, later: "Traded") -> None:
        """Those of a later span too."""
        self.high, self.low, self.close = max(self.high, later.high), min(self.low, later.low), later.close
        self.volume += later.volume
        self.count += later.count
        self.money += later.money


@nb.njit(cache=True, nogil=True)
def _fold(
    table: Table, start: int, stop: int, sizes: Integers, first: int, minute: int, bars: NDArray[np.int64]
) -> int:
    """Trades of one minute into its bars; the first row that traded in another one, or `stop`."""
    for row in range(start, stop):
        size = sizes[row - first]
        if size <= 0:
            continue
        at = table[EXCHANGE_AT, row] if table[EXCHANGE_AT, row] > 0 else table[AT, row]
        if at // MINUTE != minute:
            return row
        bar, price = bars[table[INSTRUMENT, row]], table[LAST, row]
        if bar[_COUNT] == 0:
            bar[_OPEN] = bar[_HIGH] = bar[_LOW] = price
        bar[_HIGH] = max(bar[_HIGH], price)
        bar[_LOW] = min(bar[_LOW], price)
        bar[_CLOSE] = price
        bar[_VOLUME] += size
        bar[_COUNT] += 1
        bar[_MONEY] += price * size
    return stop


class Minutes:
    """Minutes in which something traded, by instrument."""

    def __init__(self, instruments: int) -> None:
        self._past: dict[int, list[Traded]] = {}
        self._minute = 0
        """Since the epoch: the one that `_bars` is of."""
        self._bars = np.zeros((instruments, _FIELDS), np.int64)
        nothing = TickBatch.empty()  # Compiles or loads now, not at the first row.
        _fold(nothing.table, 0, 0, np.zeros(1, np.int64), 0, 0, self._bars)

    def take(self, batch: TickBatch, start: int, stop: int, sizes: Integers) -> None:
        """Rows [start, stop) came; `sizes` says what each traded, from the first one on."""
        row = start
        while True:
            row = int(_fold(batch.table, row, stop, sizes, start, self._minute, self._bars))
            if row == stop:
                return
            view = batch.view
            minute = (view[EXCHANGE_AT, row] or view[AT, row]) // MINUTE
            if minute > self._minute:
                self._turn(minute)
            else:
                price, size = view[LAST, row], int(sizes[row - start])
                trade = Traded(minute * MINUTE, price, price, price, price, size, 1, price * size)
                self._late(view[INSTRUMENT, row], trade)
                row += 1

    def _turn(self, minute: int) -> None:
        for place in np.flatnonzero(self._bars[:, _COUNT]).tolist():
            self._past.setdefault(place, []).append(Traded(self._minute * MINUTE, *self._bars[place].tolist()))
        self._bars[:] = 0
        self._minute = minute

    def _late(self, place: int, trade: Traded) -> None:
        """A trade of a minute that is over."""
        past = self._past.setdefault(place, [])
        where = len(past)
        while where and past[where - 1].at > trade.at:
            where -= 1
        if where and past[where - 1].at == trade.at:
            past[where - 1].add(trade)
        else:
            past.insert(where, trade)

    def of(self, place: int) -> list[Traded]:
        """All minutes of an instrument, ascending, the present one too."""
        found = list(self._past.get(place, ()))
        if self._bars[place, _COUNT]:
            found.append(Traded(self._minute * MINUTE, *self._bars[place].tolist()))
        return found
