"""How old a quote may be, from what kind of source it is and how that source has behaved (SPEC 1.5)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, EXCHANGE_AT, Rows

STREAM_AGE: Final = 60 * NS
"""Oldest exchange time of a quiet instrument of a stream."""
SNAPSHOT_MOST: Final = 600 * NS
"""No snapshot is fresh beyond this, however slow its source says it is."""
APART: Final = NS
"""Rows this far apart belong to two snapshots."""
REMEMBERED: Final = 128
"""Snapshots whose cadence and lag are remembered."""
FIRST_CADENCE: Final = 60 * NS
"""Taken for a snapshot source's cadence until two have come."""


class Freshness:
    """Cadence and lag of a source, measured as its rows come.

    Parameters
    ----------
    kind
        `stream` (rows as things happen) or `snapshot` (all instruments at intervals).
    silent_ns
        A stream that says nothing for this long in an open session is silent.
    """

    def __init__(self, kind: str, silent_ns: int) -> None:
        if kind not in ("stream", "snapshot"):
            raise ValueError(f"a source is a stream or a snapshot, was {kind!r}")
        self.is_snapshot = kind == "snapshot"
        self.silent_ns = silent_ns
        self._last_at = self._snapshot_at = 0
        self._gaps: list[int] = []
        self._lags: list[int] = []
        self.snapshot_age_ns = FIRST_CADENCE * 3 if self.is_snapshot else 0
        """Oldest exchange time that counts as fresh; 0 = a stream, which has no cadence of its own."""
        self.max_age_ns = self.snapshot_age_ns or STREAM_AGE
        """Oldest exchange time on which anything may be entered, ns before now."""
        self._since = 0

    def fold(self, rows: Rows) -> None:
        """Take the rows of a source of snapshots in."""
        batch = rows.batch
        if batch.view[AT, rows.stop - 1] != self._last_at:
            at, stamped = batch.table[AT, rows.start : rows.stop], batch.table[EXCHANGE_AT, rows.start : rows.stop]
            self._measure_each(at, stamped)

    def _measure_each(self, at: NDArray[np.int64], exchange_at: NDArray[np.int64]) -> None:
        """Measure the first row of every snapshot, however the stream was cut into runs."""
        for row in np.flatnonzero(np.diff(at, prepend=self._last_at) >= APART):
            self._measure(int(at[row]), int(at[row] - exchange_at[row]))
        self._last_at = int(at[-1])

    def _measure(self, at: int, lag: int) -> None:
        if self._snapshot_at and at - self._snapshot_at < SNAPSHOT_MOST:
            self._gaps = [*self._gaps[1 - REMEMBERED :], at - self._snapshot_at]
        self._snapshot_at = at
        self._lags = [*self._lags[1 - REMEMBERED :], lag]
        lags, gaps = sorted(self._lags), sorted(self._gaps)
        cadence = gaps[len(gaps) // 2] if gaps else FIRST_CADENCE
        self.snapshot_age_ns = self.max_age_ns = min(lags[(len(lags) * 99) // 100] + 2 * cadence, SNAPSHOT_MOST)

    def begin(self, now: int) -> None:
        """A session opens: silence counts from here."""
        self._since = now

    def silence(self, now: int, last_at: int) -> tuple[int, int]:
        """How long nothing came since `last_at`, and how long that may be, ns."""
        allowed = max(self.silent_ns, 2 * self.snapshot_age_ns) if self.is_snapshot else self.silent_ns
        return now - max(last_at, self._since), allowed
