"""Ticks as columns: one int64 table of shape (fields, rows) from every source, live or recorded (docs/adr/0002)."""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

INSTRUMENT: Final = 0
"""Place in the run's `InstrumentTable`."""
AT: Final = 1
"""When this process received it, ns; never decreases from row to row."""
EXCHANGE_AT: Final = 2
"""When the exchange says it happened, ns."""
BID: Final = 3
ASK: Final = 4
"""Best prices, 1/10,000; 0 = no quote on that side."""
BID_SIZE: Final = 5
ASK_SIZE: Final = 6
"""Units displayed at the touch."""
LAST: Final = 7
"""Last traded price or index value, 1/10,000; 0 = none yet."""
VOLUME: Final = 8
"""Units traded so far in the session."""
OI: Final = 9
"""Open interest, units."""
CHANGED: Final = 10
"""Bits of the fields that differ from the instrument's row before (`1 << field`); 0 = nothing changed."""
FIELDS: Final = 11

FIELD_NAMES: Final = (
    "instrument", "at", "exchange_at", "bid", "ask", "bid_size", "ask_size", "last", "volume", "oi", "changed",
)  # fmt: skip

NOT_A_NUMBER: Final = -(2**62)
"""What a source writes where its input was NaN or unparsable, so that the row is refused by name."""

Table = NDArray[np.int64]


class TickBatch:
    """Rows of many instruments in order of arrival: `table[FIELD, row]`, C-contiguous int64.

    A row carries the whole top of book of its instrument after the change, not only what changed.
    """

    __slots__ = ("rows", "table", "view")

    def __init__(self, table: Table) -> None:
        if table.ndim != 2 or table.shape[0] != FIELDS or table.dtype != np.int64:
            raise ValueError(f"a tick table is int64 of shape ({FIELDS}, rows), was {table.dtype} {table.shape}")
        self.table = table
        self.rows: int = table.shape[1]
        self.view: memoryview[int] = memoryview(cast("Any", table))
        """The same table for single cells: `view[FIELD, row]` is a Python int, 4x faster than numpy's."""

    @classmethod
    def empty(cls) -> "TickBatch":
        """No rows."""
        return cls(np.zeros((FIELDS, 0), np.int64))

    def __len__(self) -> int:
        return self.rows


def batch_of(columns: Mapping[int, NDArray[np.int64] | int]) -> TickBatch:
    """A batch from columns by field; missing fields are 0, scalars fill their column."""
    rows = max(column.shape[0] for column in columns.values() if isinstance(column, np.ndarray))
    table = np.zeros((FIELDS, rows), np.int64)
    for field, column in columns.items():
        table[field] = column
    return TickBatch(table)


class Rows(msgspec.Struct, frozen=True, gc=False):
    """Rows [start, stop) of a batch were received; delivered to every stage as one run that decides at most once."""

    batch: TickBatch
    start: int
    stop: int
