"""Rows that wait to be written as a part, in a file mapped into memory: what was put there outlives the process.

A page of header (mark, lines, room, rows so far; int64), then the lines of the table. Only the host's end loses them.
"""

import mmap
import os
from pathlib import Path
from typing import Final

import numpy as np

from angelx.domain.errors import InputInvalid
from angelx.domain.ticks import FIELDS, Table

NAME: Final = "waiting-{:06d}.rows"
PATTERN: Final = "waiting-*.rows"
_MARK: Final = int.from_bytes(b"angelxw1", "little")
_HEADER: Final = 512
"""Numbers in the header: a page."""


class WaitingRows:
    """A tick table that fills up.

    Parameters
    ----------
    table
        Room for rows; the first `count` are there.
    path, header
        The file behind it, if any, and its first page.
    """

    __slots__ = ("_header", "count", "path", "table")

    def __init__(self, table: Table, count: int = 0, path: Path | None = None, header: Table | None = None) -> None:
        self.table, self.count, self.path, self._header = table, count, path, header

    @classmethod
    def in_memory(cls, room: int) -> "WaitingRows":
        """They end with the process."""
        return cls(np.empty((FIELDS, room), np.int64))

    @classmethod
    def in_file(cls, path: Path, room: int) -> "WaitingRows":
        """They outlive it.

        Raises
        ------
        OSError
            No room on the disk, or the file is there.
        """
        size = 8 * (_HEADER + FIELDS * room)
        with path.open("x+b") as file:
            try:
                _allocate(file.fileno(), size)
                numbers: Table = np.frombuffer(mmap.mmap(file.fileno(), size), np.int64)
            except OSError:
                path.unlink()
                raise
        header = numbers[:_HEADER]
        header[1], header[2], header[3] = FIELDS, room, 0
        header[0] = _MARK
        return cls(numbers[_HEADER:].reshape(FIELDS, room), 0, path, header)

    @property
    def room(self) -> int:
        """Rows that still fit."""
        return int(self.table.shape[1]) - self.count

    def taken(self, rows: int) -> None:
        """So many more were filled in."""
        self.count += rows
        if self._header is not None:
            self._header[3] = self.count

    def rows(self) -> Table:
        """Those that are there."""
        return self.table[:, : self.count]

    def after(self, rows: int) -> "WaitingRows":
        """The same without its first rows, and no room for more."""
        return WaitingRows(self.table[:, rows : self.count], self.count - rows, self.path)

    def discard(self) -> None:
        """They are elsewhere now."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def left_behind(path: Path) -> WaitingRows:
    """What an earlier process put into a file.

    Raises
    ------
    InputInvalid
        It is damaged, or was not made whole.
    """
    numbers = np.fromfile(path, np.int64)
    if len(numbers) < _HEADER or numbers[0] != _MARK or numbers[1] != FIELDS:
        raise InputInvalid(f"{path}: holds no rows")
    room, count = int(numbers[2]), int(numbers[3])
    if not 0 <= count <= room or len(numbers) != _HEADER + FIELDS * room:
        raise InputInvalid(f"{path}: holds {count} rows of {room} in {8 * len(numbers)} bytes")
    return WaitingRows(numbers[_HEADER:].reshape(FIELDS, room), count, path)


def _allocate(descriptor: int, size: int) -> None:
    """Real blocks: a mapped page for which the disk has no room would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    block = bytes(1 << 20)  # macOS has no such call.
    while size > 0:
        size -= os.write(descriptor, block[:size])
