"""The last row of every instrument in one table: where a touch is looked up."""

from typing import Final

import numba as nb
import numpy as np

from angelx.domain.instruments import InstrumentTable
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, FIELDS, INSTRUMENT, LAST, Rows, Table

BID_CHANGES: Final = FIELDS
ASK_CHANGES: Final = FIELDS + 1
"""How many rows changed this side's price or size: two equal counts mean the same quote stood all the while."""
FIRST: Final = FIELDS + 2
"""First `LAST` of this state, 1/10,000; 0 = none yet."""
STATE_FIELDS: Final = FIELDS + 3

Cells = memoryview
"""int64 cells of one instrument by field."""

_WIDTH: Final = 16
"""Cells of one instrument in memory: two cache lines."""


@nb.njit(cache=True)
def _fold(table: Table, start: int, stop: int, cells: Table) -> int:
    """Rows [start, stop) into the cells; the row whose instrument is not in the table, -1 where there is none."""
    places = cells.shape[0]
    for row in range(start, stop):
        place = table[INSTRUMENT, row]
        if place < 0 or place >= places:
            return row
        cell = cells[place]
        if table[BID, row] != cell[BID] or table[BID_SIZE, row] != cell[BID_SIZE]:
            cell[BID_CHANGES] += 1
        if table[ASK, row] != cell[ASK] or table[ASK_SIZE, row] != cell[ASK_SIZE]:
            cell[ASK_CHANGES] += 1
        if cell[FIRST] == 0:
            cell[FIRST] = max(table[LAST, row], 0)
        for field in range(FIELDS):
            cell[field] = table[field, row]
    return -1


class MarketState:
    """Last state of every instrument, `columns[FIELD, place]`; subscribed to `Rows` before all who read it.

    Before the first row of an instrument its column is 0.
    """

    __slots__ = ("_cells", "columns", "quotes", "table", "view")

    def __init__(self, table: InstrumentTable) -> None:
        self.table = table
        self._cells: Table = np.zeros((len(table), _WIDTH), np.int64)  # An instrument's cells lie together in memory.
        self.columns: Table = self._cells.T[:STATE_FIELDS]
        """Shape (STATE_FIELDS, instruments): the fields of a tick, then those of this module. Read only."""
        self.columns.flags.writeable = False  # A person's strategy reads them too, and `+=` is soon written.
        self.quotes: tuple[Cells, ...] = tuple(cells.data.toreadonly() for cells in self._cells)
        """The cells of each instrument by place, live: `quotes[place][BID]` costs half of `view[BID, place]`."""
        self.view = self.columns.data
        """The same for single cells: `view[BID, place]` is a Python int."""
        _fold(np.zeros((FIELDS, 1), np.int64), 0, 0, self._cells)  # Compiles or loads now, not at the first tick.

    def of(self, place: int) -> Cells:
        """The cells of one instrument, live."""
        return self.quotes[place]

    def fold(self, rows: Rows) -> None:
        """Take the rows in.

        Raises
        ------
        IndexError
            A row names an instrument outside the table; the rows before it are folded.
        """
        batch = rows.batch
        broken = _fold(batch.table, rows.start, rows.stop, self._cells)
        if broken >= 0:
            place = batch.view[INSTRUMENT, broken]
            raise IndexError(f"row {broken} of the batch is of instrument {place}; the table has {len(self.table)}")
