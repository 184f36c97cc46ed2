"""The next row of an instrument that somebody watches: compiled."""

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.ticks import FIELDS, INSTRUMENT, Table, TickBatch


@nb.njit(cache=True)
def _first_watched(table: Table, start: int, stop: int, watched: NDArray[np.int64]) -> int:
    places = watched.shape[0]
    for row in range(start, stop):
        place = table[INSTRUMENT, row]
        if 0 <= place < places and watched[place] > 0:
            return row
    return -1


class Watch:
    """Counts who watches an instrument, and finds its rows."""

    __slots__ = ("_counts", "total")

    def __init__(self, places: int) -> None:
        self._counts: NDArray[np.int64] = np.zeros(places, np.int64)
        self.total = 0
        _first_watched(np.zeros((FIELDS, 1), np.int64), 0, 0, self._counts)  # Compiles or loads now.

    def add(self, place: int, more: int = 1) -> None:
        """One more, or with -1 one fewer, watches."""
        self._counts[place] += more
        self.total += more

    def watches(self, place: int) -> bool:
        """Whether anybody watches an instrument."""
        return bool(self._counts[place])

    def next_row(self, batch: TickBatch, start: int, stop: int) -> int:
        """The row after the first watched one in [start, stop); `stop` where there is none."""
        if not self.total:
            return stop
        row = _first_watched(batch.table, start, stop, self._counts)
        return stop if row < 0 else row + 1
