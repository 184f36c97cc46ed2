"""Compiled searches over tick columns."""

from typing import Any

import numba as nb

from angelx.domain.ticks import CHANGED, INSTRUMENT


@nb.njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def next_watched(table: Any, watched: Any, start: int, stop: int) -> int:
    """The first row in [start, stop) that changed a watched instrument, else `stop`.

    `watched` is a bool array by instrument place.
    """
    for row in range(start, stop):
        if table[CHANGED, row] != 0 and watched[table[INSTRUMENT, row]]:
            return row
    return stop
