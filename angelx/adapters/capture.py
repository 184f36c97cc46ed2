"""Captures: every received tick in Parquet by exchange day, replayed bit for bit.

A capture is a directory with a folder for each exchange day (`2025-08-29`), holding `instruments.json` and parts
`part-000001.parquet`, ... A part is written to a temporary file, made durable and renamed: after a crash there are
whole parts, at most one torn temporary one, and where rows outlive the process those that waited to be written, which
the next writer makes a part of. A second instrument table on the same day gets a folder of its own
(`2025-08-29.2`).
"""

import contextlib
import os
import threading
from pathlib import Path

import msgspec
import numpy as np

from angelx.adapters.recorded.captured import (
    COLUMNS,
    FORMAT,
    INSTRUMENTS,
    PART_NAME,
    ROW_PLACE,
    SCOPES,
    CaptureSource,
    Part,
    PartAbout,
    day_folders,
    parts_of,
)
from angelx.adapters.recorded.days import date_of, day_numbers, zone_of
from angelx.adapters.state_dir import durable_write, sync_directory
from angelx.adapters.waiting_rows import NAME, PATTERN, WaitingRows, left_behind
from angelx.domain.errors import AngelxError, InputInvalid
from angelx.domain.instruments import InstrumentTable
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, CHANGED, Table, TickBatch

__all__ = ["CaptureFailed", "CaptureSource", "CaptureWriter"]


class CaptureFailed(AngelxError):
    """Ticks could not be captured (full disk, I/O error); the message names the file. What was not written is kept in
    memory up to a bound, and the next `flush` tries again.
    """


class CaptureWriter:
    """Keeps every tick it is given. `append` copies rows into memory; `flush` writes them and may run in a thread.

    Parameters
    ----------
    directory
        Made where it is missing. An earlier capture in it is continued.
    instruments
        The table the rows' places refer to.
    scope, kind
        Of the source that is captured: a replay has them too, so that what was only indicative stays so.
    outlives
        Rows that wait are kept in files, so that they are there after this process was killed.
    zone
        Time zone of the exchange day; `None` = that of the first instrument's segment.
    part_rows, part_seconds
        A part is due when so many rows wait or the oldest has waited so long.
    most_rows
        Rows that may wait while nothing can be written.
    """

    def __init__(
        self,
        directory: Path,
        instruments: InstrumentTable,
        *,
        scope: str = "nbbo",
        kind: str = "stream",
        outlives: bool = False,
        zone: str | None = None,
        part_rows: int = 200_000,
        part_seconds: float = 60.0,
        most_rows: int = 2_000_000,
    ) -> None:
        self.directory = directory
        self.zone = zone or zone_of(instruments[0].segment if len(instruments) else "US")
        self.next_row = 0
        """The lowest number the next row may have: one more than the last row ever captured here."""
        self.torn: list[Path] = []
        """Files that a crash or a bad disk left half; they are ignored."""
        self.captured = 0
        """Rows written by this writer."""
        import pyarrow.parquet  # noqa: F401 - 0.1 s that nobody else runs, so not while there is a market

        if scope not in SCOPES or kind not in {"stream", "snapshot"}:
            raise ValueError(f"scope is one of {', '.join(SCOPES)}, kind stream or snapshot; was {scope}, {kind}")
        self._scope, self._kind = scope, kind
        self._definitions = msgspec.json.encode(list(instruments))
        self._part_rows, self._part_ns, self._most_rows = part_rows, int(part_seconds * NS), most_rows
        self._outlives = outlives
        self._buffers: list[WaitingRows] = []
        self._waiting = 0
        self._oldest = 0
        self._lock = threading.Lock()  # The buffers; held for a moment only.
        self._flushing = threading.Lock()
        self._folders: dict[int, Path] = {}
        self._look_around()

    # ------------------------------------------------------------ on the loop
    def append(self, batch: TickBatch, start: int, stop: int, first_row: int) -> None:
        """Keep rows [start, stop) of the batch; the first has number `first_row` in its stream, the others follow.

        Raises
        ------
        ValueError
            A row of that number was captured before.
        CaptureFailed
            Too many rows wait to be written; these were not taken.
        """
        rows = stop - start
        if rows <= 0:
            return
        if first_row < self.next_row:
            raise ValueError(f"row {first_row} was captured before: the next one is {self.next_row} or later")
        with self._lock:
            if self._waiting + rows > self._most_rows:
                raise CaptureFailed(f"{self.directory}: {self._waiting} rows wait to be written, no more are taken")
            if not self._waiting:
                self._oldest = batch.view[AT, start]
            self._waiting += rows
            self.next_row = first_row + rows
            while start < stop:
                if not self._buffers or not self._buffers[-1].room:
                    self._buffers.append(self._buffer(batch.view[AT, start]))
                buffer = self._buffers[-1]
                taken = min(stop - start, buffer.room)
                room = buffer.table[:, buffer.count : buffer.count + taken]
                room[:CHANGED] = batch.table[:CHANGED, start : start + taken]
                room[ROW_PLACE] = np.arange(first_row, first_row + taken)
                buffer.taken(taken)
                start += taken
                first_row += taken

    def _buffer(self, at: int) -> WaitingRows:
        """Room for rows, the first of which came at a time."""
        if self._outlives:
            with contextlib.suppress(OSError):  # A full disk is told by `flush`, as ever; meanwhile memory has to do.
                folder = self._folder(int(day_numbers(np.array([at]), self.zone)[0]))
                number = 1 + max((int(one.stem.rpartition("-")[2]) for one in folder.glob(PATTERN)), default=0)
                return WaitingRows.in_file(folder / NAME.format(number), self._part_rows)
        return WaitingRows.in_memory(self._part_rows)

    def due(self, now: int) -> bool:
        """True where a part should be written."""
        return self._waiting >= self._part_rows or (self._waiting > 0 and now - self._oldest >= self._part_ns)

    # ------------------------------------------------------------ in a thread
    def flush(self) -> list[Path]:
        """Write everything that waits, durably; answers the new parts.

        Raises
        ------
        CaptureFailed
            It could not be written (full disk, I/O error): what is not in a part yet waits on.
        """
        with self._flushing:
            with self._lock:
                buffers, self._buffers = self._buffers, []
            written: list[Path] = []
            try:
                while buffers:
                    buffer = buffers[0]
                    while buffer.count:
                        day, rows = self._first_day(buffer.rows())
                        written.append(self._write(self._folder(day), rows))
                        buffers[0] = buffer = buffer.after(rows.shape[1])
                        self.captured += rows.shape[1]
                        with self._lock:
                            self._waiting -= rows.shape[1]
                    buffer.discard()
                    buffers.pop(0)
            except OSError as error:
                where = error.filename or self.directory
                raise CaptureFailed(f"{where}: could not be written: {error.strerror or error}") from error
            finally:
                with self._lock:  # What could not be written comes before what came meanwhile.
                    self._buffers = [*buffers, *self._buffers]
                    self._oldest = next((int(one.table[AT, 0]) for one in self._buffers if one.count), 0)
            return written

    def _first_day(self, table: Table) -> tuple[int, Table]:
        """The first rows of the table, of one exchange day, and the day."""
        days = day_numbers(table[AT], self.zone)
        ends = np.flatnonzero(np.diff(days))
        return int(days[0]), table[:, : ends[0] + 1] if len(ends) else table

    def _write(self, folder: Path, table: Table) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from angelx.adapters.recorded.columns import integers

        number = 1 + max((int(PART_NAME.fullmatch(part.name)[1]) for part in parts_of(folder)), default=0)  # type: ignore[index]
        path = folder / f"part-{number:06d}.parquet"
        lines = [table[ROW_PLACE], *table[:CHANGED]]
        columns = [integers(line) for line in lines]
        about = PartAbout(
            first_row=int(lines[0][0]),
            last_row=int(lines[0][-1]),
            first_at=int(table[AT, 0]),
            last_at=int(table[AT, -1]),
            zone=self.zone,
            scope=self._scope,
            kind=self._kind,
        )
        schema = pa.schema([(name, pa.int64()) for name in COLUMNS], metadata={FORMAT: msgspec.json.encode(about)})
        temporary = path.with_name(path.name + ".tmp")
        try:
            with temporary.open("wb") as file:
                pq.write_table(
                    pa.Table.from_arrays(columns, schema=schema),
                    file,
                    compression="zstd",
                    write_page_checksum=True,
                    use_dictionary=False,
                )
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise CaptureFailed(f"{temporary}: could not be written: {error.strerror or error}") from error
        sync_directory(folder)
        pa.default_memory_pool().release_unused()  # else a day's parts leave ever more behind
        return path

    def _folder(self, day: int) -> Path:
        """The folder of the day whose instruments are ours, the newest one; else a new one."""
        if day not in self._folders:
            name = date_of(day).isoformat()
            there = [one for one in day_folders(self.directory) if one.name[:10] == name]
            if there and (there[-1] / INSTRUMENTS).read_bytes() == self._definitions:
                folder = there[-1]
            else:
                folder = self.directory / (f"{name}.{len(there) + 1}" if there else name)
                folder.mkdir(parents=True, exist_ok=True)
                durable_write(folder / INSTRUMENTS, self._definitions)
                sync_directory(self.directory)
            self._folders[day] = folder
        return self._folders[day]

    def _look_around(self) -> None:
        """Find where an earlier capture ended."""
        if self.directory.exists() and not self.directory.is_dir():
            raise CaptureFailed(f"{self.directory}: is not a directory")
        for folder in day_folders(self.directory):
            self.torn += sorted(folder.glob("*.tmp"))
            for part in reversed(parts_of(folder)):
                try:
                    self.next_row = Part(part).about.last_row + 1
                    break
                except InputInvalid:  # Whoever reads it is told; what comes is written all the same.
                    self.torn.append(part)
            for waiting in sorted(folder.glob(PATTERN)):
                self._rescue(folder, waiting)

    def _rescue(self, folder: Path, path: Path) -> None:
        """Rows that waited when an earlier process ended become a part, those that are in one already left out."""
        try:
            waiting = left_behind(path)
        except InputInvalid:  # Not made whole, so nothing was in it, or damaged: it is left for people to look at.
            self.torn.append(path)
            return
        rows = waiting.rows()
        rows = rows[:, rows[ROW_PLACE] >= self.next_row]
        if rows.shape[1]:
            self._write(folder, rows)
            self.next_row = int(rows[ROW_PLACE, -1]) + 1
        waiting.discard()
