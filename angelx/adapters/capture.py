"""Captures: every received tick in Parquet by exchange day, replayed bit for bit.

A capture is a directory with a folder for each exchange day (`2025-08-29`), holding `instruments.json` and parts
`part-000001.parquet`, ... A part is written to a temporary file, made durable and renamed: after a crash there are
whole parts and at most one torn temporary one. A second instrument table on the same day gets a folder of its own
(`2025-08-29.2`).
"""

import contextlib
import os
import re
import threading
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from angelx.adapters.recorded.days import date_of, day_numbers, zone_of
from angelx.domain.errors import AngelxError, InputInvalid
from angelx.domain.instruments import Instrument, InstrumentTable
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, CHANGED, FIELD_NAMES, FIELDS, INSTRUMENT, Table, TickBatch

ROW: Final = "row"
"""Number of the row in the stream it was received in."""
COLUMNS: Final = (ROW, *FIELD_NAMES[:CHANGED])
"""All int64. `changed` is not kept: it is made anew from the rows."""
INSTRUMENTS: Final = "instruments.json"
FORMAT: Final = "angelx.capture/1"

_DAY_FOLDER: Final = re.compile(r"\d{4}-\d{2}-\d{2}(\.\d+)?")
_PART: Final = re.compile(r"part-(\d{6,})\.parquet")
_ROW_PLACE: Final = CHANGED
"""Line of the buffers that holds the row numbers."""
_BATCH: Final = 10_000
_SCOPES: Final = ("indicative", "delayed", "simulated", "venue", "nbbo")
"""From the one that says least to the one that says most: of several parts the least counts."""


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
        """Temporary files that a crash left; they are ignored."""
        self.captured = 0
        """Rows written by this writer."""
        if scope not in _SCOPES or kind not in {"stream", "snapshot"}:
            raise ValueError(f"scope is one of {', '.join(_SCOPES)}, kind stream or snapshot; was {scope}, {kind}")
        self._scope, self._kind = scope, kind
        self._definitions = msgspec.json.encode(list(instruments))
        self._part_rows, self._part_ns, self._most_rows = part_rows, int(part_seconds * NS), most_rows
        self._buffers: list[Table] = []
        self._filled = 0  # Rows in the last buffer; the others are full.
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
                if not self._buffers or self._filled == self._part_rows:
                    self._buffers.append(np.empty((FIELDS, self._part_rows), np.int64))
                    self._filled = 0
                taken = min(stop - start, self._part_rows - self._filled)
                room = self._buffers[-1][:, self._filled : self._filled + taken]
                room[:CHANGED] = batch.table[:CHANGED, start : start + taken]
                room[_ROW_PLACE] = np.arange(first_row, first_row + taken)
                self._filled += taken
                start += taken
                first_row += taken

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
                tables, self._buffers = self._buffers, []
                if tables:
                    tables[-1] = tables[-1][:, : self._filled]
                self._filled = 0
            written: list[Path] = []
            waiting = [piece for table in tables for piece in self._by_day(table)]
            try:
                while waiting:
                    day, table = waiting[0]
                    written.append(self._write(day, table))
                    waiting.pop(0)
                    self.captured += table.shape[1]
                    with self._lock:
                        self._waiting -= table.shape[1]
            except OSError as error:
                where = error.filename or self.directory
                raise CaptureFailed(f"{where}: could not be written: {error.strerror or error}") from error
            finally:
                self._keep([table for _, table in waiting])
                with self._lock:
                    self._oldest = int(self._buffers[0][AT, 0]) if self._buffers else 0
            return written

    def _keep(self, tables: list[Table]) -> None:
        """Put rows that could not be written back, before those that came meanwhile."""
        if not tables:
            return
        with self._lock:
            if self._buffers:
                self._buffers[-1] = self._buffers[-1][:, : self._filled]
            self._buffers = [*tables, *self._buffers]
            self._filled = self._part_rows  # The next row begins a buffer of its own.

    def _by_day(self, table: Table) -> list[tuple[int, Table]]:
        """The table in runs of one exchange day."""
        days = day_numbers(table[AT], self.zone)
        cuts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
        return [(int(days[low]), table[:, low:high]) for low, high in pairwise(cuts) if high > low]

    def _write(self, day: int, table: Table) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from angelx.adapters.recorded.columns import integers

        folder = self._folder(day)
        number = 1 + max((int(_PART.fullmatch(part.name)[1]) for part in _parts(folder)), default=0)  # type: ignore[index]
        path = folder / f"part-{number:06d}.parquet"
        lines = [table[_ROW_PLACE], *table[:CHANGED]]
        columns = [integers(line) for line in lines]
        about = _About(
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
        _sync_folder(folder)
        return path

    def _folder(self, day: int) -> Path:
        """The folder of the day whose instruments are ours, the newest one; else a new one."""
        if day not in self._folders:
            name = date_of(day).isoformat()
            there = [one for one in _folders(self.directory) if one.name[:10] == name]
            if there and (there[-1] / INSTRUMENTS).read_bytes() == self._definitions:
                folder = there[-1]
            else:
                folder = self.directory / (f"{name}.{len(there) + 1}" if there else name)
                folder.mkdir(parents=True, exist_ok=True)
                _write_durably(folder / INSTRUMENTS, self._definitions)
                _sync_folder(self.directory)
            self._folders[day] = folder
        return self._folders[day]

    def _look_around(self) -> None:
        """Find where an earlier capture ended."""
        if self.directory.exists() and not self.directory.is_dir():
            raise CaptureFailed(f"{self.directory}: is not a directory")
        parts: list[Path] = []
        for folder in _folders(self.directory):
            self.torn += sorted(folder.glob("*.tmp"))
            parts += _parts(folder)[-1:]
        if parts:
            self.next_row = _Part(parts[-1]).about.last_row + 1


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """What a part says of itself in its footer."""

    first_row: int
    last_row: int
    first_at: int
    last_at: int
    zone: str
    scope: str
    kind: str


class _Part:
    """A part of a capture.

    Raises
    ------
    InputInvalid
        It is damaged or no part of a capture.
    """

    def __init__(self, path: Path) -> None:
        from angelx.adapters.recorded.stored import open_parquet

        self.path = path
        file = open_parquet(path)
        schema = file.schema_arrow
        about = (schema.metadata or {}).get(FORMAT.encode())
        if about is None or tuple(schema.names) != COLUMNS:
            raise InputInvalid(
                f"{path}: is no part of a capture: expected {FORMAT} with columns {', '.join(COLUMNS)}, "
                f"found {'one' if about else 'another file'} with {', '.join(schema.names)}"
            )
        self.rows: int = file.metadata.num_rows
        self.about = msgspec.json.decode(about, type=_About)

    def tables(self) -> Iterator[Table]:
        """Rows as tick tables whose `CHANGED` holds the row numbers."""
        from angelx.adapters.recorded.columns import raw
        from angelx.adapters.recorded.stored import open_parquet, reading

        with reading(self.path):
            for batch in open_parquet(self.path).iter_batches(batch_size=_BATCH, use_threads=False):
                table = np.empty((FIELDS, batch.num_rows), np.int64)
                for place, column in enumerate(batch.columns):
                    table[place - 1 if place else _ROW_PLACE] = raw(column)
                yield table


class CaptureSource:
    """A capture as a tick source: the same rows as were received. Satisfies `angelx.domain.ports.TickSource`.

    Parameters
    ----------
    path
        A capture, one day of it, or one part.
    begin, end
        Only rows received at or after `begin` and before `end`, ns.
    symbols
        Only rows of these symbols, underlyings or instrument ids.
    """

    name = "capture"

    def __init__(
        self,
        path: Path,
        *,
        begin: int | None = None,
        end: int | None = None,
        symbols: Collection[str] | None = None,
    ) -> None:
        from angelx.adapters.recorded.stored import digest_of

        self.path = path
        self._begin, self._end = begin, end
        folders = [path.parent] if path.is_file() else [path] if (path / INSTRUMENTS).exists() else _folders(path)
        self._parts = [(folder, [_Part(part) for part in _parts(folder)]) for folder in folders]
        if path.is_file():
            self._parts = [(path.parent, [_Part(path)])]
        self.torn = [torn for folder in folders for torn in sorted(folder.glob("*.tmp"))]
        tables = {folder: _read_instruments(folder) for folder in folders}
        self.instruments = _union(tables)
        self._places = {
            folder: np.array([self.instruments.index[one.id] for one in table], np.int64)
            for folder, table in tables.items()
        }
        self._wanted = self._asked_for(symbols)
        files = [part.path for _, parts in self._parts for part in parts]
        if not files:
            raise InputInvalid(f"{path}: a capture without any whole part; torn: {[str(torn) for torn in self.torn]}")
        self.digest = digest_of([folder / INSTRUMENTS for folder in folders] + files)
        self.reference = msgspec.json.encode(
            {
                "path": str(path),
                "begin": begin,
                "end": end,
                "symbols": None if symbols is None else sorted(symbols),
            }
        ).decode()
        everything = [part for _, parts in self._parts for part in parts]
        self.scope = min((part.about.scope for part in everything), key=_SCOPES.index)
        self.kind = min(part.about.kind for part in everything)  # `snapshot` where any part is.
        is_whole = begin is None and end is None and symbols is None
        self.rows = sum(part.rows for part in everything) if is_whole else 0
        self.first_at = everything[0].about.first_at if is_whole else 0
        self.last_at = everything[-1].about.last_at if is_whole else 0

    def batches(self, first_row: int = 0) -> Iterator[TickBatch]:
        """The rows in the order they were received, whatever parts they are in."""
        skip = first_row
        for folder, parts in self._parts:
            places = self._places[folder]
            for part in parts:
                if skip >= part.rows and self.rows:
                    skip -= part.rows
                    continue
                for numbered in part.tables():
                    table = self._chosen(numbered, places)
                    skipped = min(skip, table.shape[1])
                    skip -= skipped
                    if skipped < table.shape[1]:
                        yield TickBatch(np.ascontiguousarray(table[:, skipped:]))

    def describe(self) -> list[dict[str, Any]]:
        """Every folder: its parts and rows, the row numbers missing between them, and torn files."""
        described = []
        for folder, parts in self._parts:
            missing = [
                [before.about.last_row + 1, part.about.first_row - 1]
                for before, part in pairwise(parts)
                if part.about.first_row > before.about.last_row + 1
            ]
            described.append(
                {
                    "file": str(folder),
                    "schema": FORMAT,
                    "instruments": len(self._places[folder]),
                    "parts": len(parts),
                    "rows": sum(part.rows for part in parts),
                    "first_row": parts[0].about.first_row if parts else None,
                    "last_row": parts[-1].about.last_row if parts else None,
                    "missing": missing,
                    "torn": [torn.name for torn in self.torn if torn.parent == folder],
                }
            )
        return described

    def _asked_for(self, symbols: Collection[str] | None) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
        if symbols is None:
            return None
        wanted = [not {one.id, one.symbol, one.underlying}.isdisjoint(symbols) for one in self.instruments]
        if not any(wanted):
            raise InputInvalid(f"{self.path}: has no instrument of {', '.join(sorted(symbols))}")
        return np.array(wanted)

    def _chosen(self, table: Table, places: np.ndarray[Any, np.dtype[np.int64]]) -> Table:
        """Rows asked for, their instruments as in the table of the whole; unknown places stay as they are."""
        table[CHANGED] = 0
        known = (table[INSTRUMENT] >= 0) & (table[INSTRUMENT] < len(places))
        if not np.array_equal(places, np.arange(len(self.instruments))):
            # A place outside its folder's table must stay outside the table of the whole.
            table[INSTRUMENT] = np.where(known, places[np.where(known, table[INSTRUMENT], 0)], -1)
        keep = np.ones(table.shape[1], bool)
        if self._begin is not None:
            keep &= table[AT] >= self._begin
        if self._end is not None:
            keep &= table[AT] < self._end
        if self._wanted is not None:
            keep &= known & self._wanted[np.where(known, table[INSTRUMENT], 0)]
        return table if keep.all() else table[:, keep]


def is_capture(path: Path) -> bool:
    """True where the path is a capture, a day of one, or a part."""
    if path.is_file():
        return _PART.fullmatch(path.name) is not None and (path.parent / INSTRUMENTS).exists()
    return (path / INSTRUMENTS).exists() or bool(_folders(path))


def _folders(directory: Path) -> list[Path]:
    """Folders of days that hold a table of instruments, in order; none where there is no such directory."""
    if not directory.is_dir():
        return []
    folders = [one for one in directory.iterdir() if _DAY_FOLDER.fullmatch(one.name) and (one / INSTRUMENTS).exists()]
    return sorted(folders, key=lambda folder: (folder.name[:10], int(folder.name[11:] or 1)))


def _parts(folder: Path) -> list[Path]:
    """Whole parts in the order they were written."""
    found = [(match, path) for path in folder.iterdir() if (match := _PART.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda one: int(one[0][1]))]


def _read_instruments(folder: Path) -> list[Instrument]:
    path = folder / INSTRUMENTS
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Instrument])
    except (OSError, msgspec.MsgspecError) as error:
        raise InputInvalid(f"{path}: cannot be read: {error}") from error


def _union(tables: dict[Path, list[Instrument]]) -> InstrumentTable:
    """The instruments of all folders: those of the first in its order, then what the others add.

    Raises
    ------
    InputInvalid
        Two folders define one instrument differently.
    """
    found: dict[str, Instrument] = {}
    for folder, table in tables.items():
        for instrument in table:
            known = found.setdefault(instrument.id, instrument)
            if known != instrument:
                raise InputInvalid(
                    f"{folder / INSTRUMENTS}: {instrument.id} is defined otherwise than before: {instrument} is not "
                    f"{known}: replay the days apart"
                )
    return InstrumentTable(found.values())


def _write_durably(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
