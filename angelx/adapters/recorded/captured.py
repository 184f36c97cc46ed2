"""Captures as tick sources: what `angelx.adapters.capture` wrote, bit for bit.

pyarrow is imported where a part is opened: the daemon that captures loads this too.
"""

import re
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from angelx.domain.errors import InputInvalid
from angelx.domain.instruments import Instrument, InstrumentTable
from angelx.domain.ticks import AT, CHANGED, FIELD_NAMES, FIELDS, INSTRUMENT, Table, TickBatch

ROW: Final = "row"
"""Number of the row in the stream it was received in."""
COLUMNS: Final = (ROW, *FIELD_NAMES[:CHANGED])
"""All int64. `changed` is not kept: it is made anew from the rows."""
INSTRUMENTS: Final = "instruments.json"
FORMAT: Final = "angelx.capture/1"
SCOPES: Final = ("indicative", "delayed", "simulated", "venue", "nbbo")
"""From the one that says least to the one that says most: of several parts the least counts."""
PART_NAME: Final = re.compile(r"part-(\d{6,})\.parquet")
ROW_PLACE: Final = CHANGED
"""Line of a table of rows to capture, or just read, that holds the row numbers."""

_DAY_FOLDER: Final = re.compile(r"\d{4}-\d{2}-\d{2}(\.\d+)?")
_BATCH: Final = 10_000


class PartAbout(msgspec.Struct, frozen=True, kw_only=True):
    """What a part says of itself in its footer."""

    first_row: int
    last_row: int
    first_at: int
    last_at: int
    zone: str
    scope: str
    kind: str


class Part:
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
        try:
            self.about = msgspec.json.decode(about, type=PartAbout)
        except msgspec.MsgspecError as error:
            raise InputInvalid(f"{path}: its footer does not say what it is: {error}") from error

    def tables(self) -> Iterator[Table]:
        """Rows as tick tables whose `CHANGED` holds the row numbers."""
        from angelx.adapters.recorded.columns import raw
        from angelx.adapters.recorded.stored import open_parquet, reading

        with reading(self.path):
            for batch in open_parquet(self.path).iter_batches(batch_size=_BATCH, use_threads=False):
                table = np.empty((FIELDS, batch.num_rows), np.int64)
                for place, column in enumerate(batch.columns):
                    table[place - 1 if place else ROW_PLACE] = raw(column)
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
    glance
        An instrument that two days define differently is listed as the first does.
    """

    name = "capture"

    def __init__(
        self,
        path: Path,
        *,
        begin: int | None = None,
        end: int | None = None,
        symbols: Collection[str] | None = None,
        glance: bool = False,
    ) -> None:
        from angelx.adapters.recorded.stored import digest_of

        self.path = path
        self._begin, self._end = begin, end
        folders = [path.parent] if path.is_file() else [path] if (path / INSTRUMENTS).exists() else day_folders(path)
        self._parts = [(folder, [Part(part) for part in parts_of(folder)]) for folder in folders]
        if path.is_file():
            self._parts = [(path.parent, [Part(path)])]
        if begin is not None or end is not None:  # Days beside it may define their instruments otherwise.
            inside = [(folder, parts) for folder, parts in self._parts if _lies_in(parts, begin, end)]
            self._parts = inside or self._parts
            folders = [folder for folder, _ in self._parts]
        self.torn = [torn for folder in folders for torn in sorted(folder.glob("*.tmp"))]
        tables = {folder: instruments_of(folder) for folder in folders}
        self.instruments = _union(tables, glance=glance)
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
        self.scope = min((part.about.scope for part in everything), key=SCOPES.index)
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

    def _asked_for(self, symbols: Collection[str] | None) -> NDArray[np.bool_] | None:
        if symbols is None:
            return None
        wanted = [not {one.id, one.symbol, one.underlying}.isdisjoint(symbols) for one in self.instruments]
        if not any(wanted):
            raise InputInvalid(f"{self.path}: has no instrument of {', '.join(sorted(symbols))}")
        return np.array(wanted)

    def _chosen(self, table: Table, places: NDArray[np.int64]) -> Table:
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
        return PART_NAME.fullmatch(path.name) is not None and (path.parent / INSTRUMENTS).exists()
    return (path / INSTRUMENTS).exists() or bool(day_folders(path))


def day_folders(directory: Path) -> list[Path]:
    """Folders of days that hold a table of instruments, in order; none where there is no such directory."""
    if not directory.is_dir():
        return []
    folders = [one for one in directory.iterdir() if _DAY_FOLDER.fullmatch(one.name) and (one / INSTRUMENTS).exists()]
    return sorted(folders, key=lambda folder: (folder.name[:10], int(folder.name[11:] or 1)))


def parts_of(folder: Path) -> list[Path]:
    """Whole parts in the order they were written."""
    found = [(match, path) for path in folder.iterdir() if (match := PART_NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda one: int(one[0][1]))]


def instruments_of(folder: Path) -> list[Instrument]:
    """The instrument table of one day's folder."""
    path = folder / INSTRUMENTS
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Instrument])
    except (OSError, msgspec.MsgspecError) as error:
        raise InputInvalid(f"{path}: cannot be read: {error}") from error


def _lies_in(parts: list[Part], begin: int | None, end: int | None) -> bool:
    """Whether a folder's parts may hold rows of [begin, end), ns."""
    return any(
        (begin is None or part.about.last_at >= begin) and (end is None or part.about.first_at < end) for part in parts
    )


def _union(tables: dict[Path, list[Instrument]], *, glance: bool = False) -> InstrumentTable:
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
            if known != instrument and not glance:
                raise InputInvalid(
                    f"{folder / INSTRUMENTS}: {instrument.id} is defined otherwise than before: {instrument} is not "
                    f"{known}: replay the days apart (--from, --to)"
                )
    return InstrumentTable(found.values())
