"""EMA cross: long while the fast average of the mid is above the slow one, short (or flat) while it is below."""

from collections.abc import Sequence
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.events import OrderClosed, SignalRefused
from angelx.domain.instruments import Kind
from angelx.domain.ticks import ASK, BID, INSTRUMENT, TickBatch
from angelx.signals.strategy import ScanningStrategy

UP, DOWN, BUSY = 1, -1, 2


@nb.njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _lean(table: Any, fast: Any, slow: Any, seen: Any, watched: Any, weights: Any, warm_up: int, lean: Any) -> None:
    """Fold rows into the averages of their instrument; `lean[row]` is the sign of fast - slow once warmed up."""
    for row in range(table.shape[1]):
        place = table[INSTRUMENT, row]
        bid, ask = table[BID, row], table[ASK, row]
        lean[row] = 0
        if not watched[place] or bid <= 0 or ask <= 0:
            continue
        mid = (bid + ask) / 2.0
        if seen[place] == 0:
            fast[place] = mid
            slow[place] = mid
        else:
            fast[place] += weights[0] * (mid - fast[place])
            slow[place] += weights[1] * (mid - slow[place])
        seen[place] += 1
        if seen[place] >= warm_up:
            if fast[place] > slow[place]:
                lean[row] = UP
            elif fast[place] < slow[place]:
                lean[row] = DOWN


@nb.njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _first(table: Any, lean: Any, start: int, stop: int, stand: Any) -> int:
    """The first row whose lean differs from where its instrument stands."""
    for row in range(start, stop):
        if lean[row] != 0:
            at = stand[table[INSTRUMENT, row]]
            if at != BUSY and lean[row] != at:
                return row
    return stop


class EmaCross(ScanningStrategy):
    """EMA(`fast`) against EMA(`slow`) of each instrument's mid, alpha = 2 / (n + 1), from the `slow`-th quote on.

    Parameters
    ----------
    fast, slow
        Lengths in quotes, 0 < fast < slow.
    shorts
        True: short below the cross; False: flat.
    instruments
        Ids; all tradable equities where empty.
    """

    def __init__(
        self, *, fast: int = 10, slow: int = 20, shorts: bool = False, instruments: Sequence[str] = ()
    ) -> None:
        if not 0 < fast < slow:
            raise ValueError(f"ema_cross needs 0 < fast < slow, was {fast} and {slow}")
        self._lengths = (fast, slow)
        self._shorts = shorts
        self._ids = tuple(instruments)

    def start(self) -> None:
        table = self.desk.instruments
        for instrument_id in self._ids:
            if instrument_id not in table.index:
                raise ValueError(f"ema_cross: no instrument {instrument_id!r} in this source")
        n = len(table)
        self._watched = np.array([self._wanted(place) for place in range(n)], np.bool_)
        self._fast, self._slow = np.zeros(n), np.zeros(n)
        self._seen = np.zeros(n, np.int64)
        self._weights = np.array([2.0 / (length + 1.0) for length in self._lengths])
        self._stand = np.zeros(n, np.int64)
        self._stand_view = self._stand.data
        self._tried = [0] * n
        if not self._shorts:
            self._stand[:] = DOWN  # flat is where a long-only desk stands when it leans down

    def _wanted(self, place: int) -> bool:
        instrument = self.desk.instruments[place]
        if self._ids:
            return instrument.id in self._ids
        return instrument.tradable and instrument.kind is Kind.EQUITY

    def prepare(self, batch: TickBatch) -> None:
        self._batch = batch
        self._leans: NDArray[np.int8] = np.empty(batch.rows, np.int8)
        _lean(
            batch.table, self._fast, self._slow, self._seen, self._watched, self._weights, self._lengths[1], self._leans
        )
        self._lean_view = self._leans.data

    def scan(self, start: int, stop: int) -> int:
        row: int = _first(self._batch.table, self._leans, start, stop, self._stand)
        return row

    def decide(self, row: int) -> None:
        place = self._batch.view[INSTRUMENT, row]
        lean = self._lean_view[row]
        if lean > 0:
            signalled = self.desk.long(place, why="fast_above_slow")
        elif self._shorts:
            signalled = self.desk.short(place, why="fast_below_slow")
        else:
            signalled = self.desk.flat(place, why="fast_below_slow")
        self._tried[place] = lean
        self._stand_view[place] = BUSY if signalled else lean

    def on_closed(self, event: OrderClosed) -> None:
        place = self.desk.instruments.index[event.instrument]
        position = self.desk.position(place)
        if not event.filled:  # do not ask again before the averages have crossed
            self._stand_view[place] = self._tried[place]
        elif position:
            self._stand_view[place] = UP if position > 0 else DOWN
        else:
            self._stand_view[place] = 0 if self._shorts else DOWN

    def on_refused(self, event: SignalRefused) -> None:
        place = self.desk.instruments.index[event.instrument]
        self._stand_view[place] = self._tried[place]
