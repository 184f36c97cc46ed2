"""One Parquet file of a recording: opened with errors a person can act on, read in batches, in order of time."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from angelx.adapters.recorded.columns import Column, Ints, integers, nanoseconds, nulls, raw, widened
from angelx.adapters.recorded.layouts import NSE_CHAIN, Layout, layout_of, why_not, wrong_type
from angelx.domain.errors import InputInvalid
from angelx.domain.scalars import NS

BATCH_ROWS: Final = 60_000
LARGEST_SORT: Final = 20_000_000
"""Rows of a file that is not in order of time and must be sorted in memory."""

_MAGIC: Final = b"PAR1"
_UTC: Final = frozenset({"UTC", "Etc/UTC", "+00:00", "Z"})
_EARLIEST: Final = 631_152_000 * NS  # 1990: before it a stamp is in a wrong unit.
_LATEST: Final = 4_102_444_800 * NS  # 2100
_DAY_NS: Final = 86_400 * NS
_INDIA_OPENS: Final = 3 * 3_600 * NS  # UTC
_INDIA_CLOSED: Final = 10 * 3_600 * NS + 1_800 * NS
_READ_ERRORS: Final = (pa.ArrowException, OSError)


def is_parquet(path: Path) -> bool:
    """True where a file says by its name or its first bytes that it is Parquet."""
    if path.suffix in {".parquet", ".pq"}:
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def digest_of(paths: Sequence[Path]) -> str:
    """sha256 over the contents of the files, one after another, as `cat FILES | sha256sum` answers.

    Raises
    ------
    InputInvalid
        One cannot be read.
    """
    sha = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    sha.update(block)
        except OSError as error:
            raise InputInvalid(f"{path}: cannot be read: {error.strerror}") from error
    return sha.hexdigest()


def open_parquet(path: Path, **options: Any) -> pq.ParquetFile:
    """The file, its footer read.

    Raises
    ------
    InputInvalid
        Missing, unreadable, empty, truncated or not Parquet.
    """
    try:
        if path.stat().st_size == 0:
            raise InputInvalid(f"{path}: is empty (0 bytes), expected a Parquet file")
        return pq.ParquetFile(path, page_checksum_verification=True, **options)
    except FileNotFoundError as error:
        raise InputInvalid(f"{path}: no such file") from error
    except _READ_ERRORS as error:
        raise InputInvalid(f"{path}: is not a whole Parquet file (truncated or damaged?): {error}") from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What pyarrow says against a file while it is read becomes `InputInvalid`."""
    try:
        yield
    except _READ_ERRORS as error:
        raise InputInvalid(f"{path}: is damaged: {error}") from error


class Stored:
    """A Parquet file of a documented schema, its stamps checked.

    Raises
    ------
    InputInvalid
        It is no such file; the message names it, the column and the row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        file = open_parquet(path)
        schema = file.schema_arrow
        layout = layout_of(schema.names)
        if layout is None:
            raise InputInvalid(f"{path}: {why_not(schema.names)}")
        wrong = wrong_type(layout, schema)
        if wrong is not None:
            raise InputInvalid(f"{path}: {wrong}")
        self.layout: Layout = layout
        self.rows: int = file.metadata.num_rows
        if self.rows == 0:
            raise InputInvalid(f"{path}: has the columns of {layout.name} but no rows")
        self.optional = frozenset(
            field.name for field in schema if field.name not in layout.columns and not pa.types.is_null(field.type)
        )
        """Further columns with values."""
        for column in ("ts", "ts_exch"):
            if column == "ts" or column in self.optional:
                self._require_utc(column, schema.field(column).type)
        self._sorted: pa.Table | None = None
        self._order: NDArray[np.int64] | None = None
        self.disorder = 0
        """Rows that came before a row with a later stamp; the file was sorted in memory where there are any."""
        self.step_ns = 60 * NS
        """The coarsest of a minute, a second and 1 ns that all stamps are multiples of."""
        self.indian_rows = 0
        """Rows stamped between 03:00 and 10:30 UTC, when Indian exchanges are open and American ones hardly."""
        self.cadence_ns = 0
        """Of snapshots: the median time from one to the next."""
        self._look_at_stamps()
        if self.disorder:
            self._sort()

    def _require_utc(self, column: str, kind: Any) -> None:
        if not pa.types.is_timestamp(kind) or kind.tz not in _UTC:
            zone = "no zone" if getattr(kind, "tz", None) is None else f"zone {kind.tz}"
            found = f"{kind} ({zone})" if pa.types.is_timestamp(kind) else str(kind)
            raise InputInvalid(f"{self.path}: column {column}: expected timestamp[us, tz=UTC], found {found}")

    def _look_at_stamps(self) -> None:
        ticks = self.layout.ticks
        last_stamp, start = np.int64(_EARLIEST), 0
        instants: list[Ints] = []
        last_row: tuple[Any, Any] = (None, 0)  # Symbol and seq: within one instant seq is the order.
        for batch in self._read(["ts", "seq", "symbol"] if ticks else ["ts"]):
            column = batch.column("ts")
            if column.null_count:
                row = start + int(np.argmax(nulls(column)))
                raise InputInvalid(f"{self.path}: column ts, row {row}: is missing")
            stamps = nanoseconds(column)
            beyond = (stamps < _EARLIEST) | (stamps >= _LATEST)
            if beyond.any():
                row = int(np.argmax(beyond))
                raise InputInvalid(
                    f"{self.path}: column ts, row {start + row}: {column[row]} is not between 1990 and 2100"
                )
            before = np.concatenate(([last_stamp], stamps[:-1]))
            wrong = stamps < before
            if ticks:
                seq = raw(batch.column("seq"))
                names: Any = batch.column("symbol")
                symbols = raw(names.indices)
                wrong[1:] |= (stamps[1:] == before[1:]) & (symbols[1:] == symbols[:-1]) & (seq[1:] < seq[:-1])
                wrong[0] |= bool(stamps[0] == before[0] and names[0].as_py() == last_row[0] and seq[0] < last_row[1])
                last_row = (names[-1].as_py(), seq[-1])
            self.disorder += int(wrong.sum())
            for step in (60 * NS, NS, 1):
                if self.step_ns >= step and not (stamps % step).any():
                    self.step_ns = step
                    break
            time_of_day = stamps % _DAY_NS
            self.indian_rows += int(((time_of_day >= _INDIA_OPENS) & (time_of_day < _INDIA_CLOSED)).sum())
            if self.layout is NSE_CHAIN:
                instants.append(np.unique(stamps))
            last_stamp, start = stamps[-1], start + len(stamps)
        steps = np.diff(np.unique(np.concatenate(instants))) if instants else np.empty(0, np.int64)
        self.cadence_ns = int(np.median(steps)) if steps.size else 0

    def _sort(self) -> None:
        if self.rows > LARGEST_SORT:
            raise InputInvalid(
                f"{self.path}: {self.disorder} of {self.rows} rows are not in order of ts, and more than "
                f"{LARGEST_SORT} rows are not sorted in memory: sort the file by ts first"
            )
        table = pa.Table.from_batches(list(self._read([*self.layout.columns, *self.optional])))
        keys = [nanoseconds(table.column("ts").combine_chunks())]
        if self.layout.ticks:
            keys.insert(0, raw(table.column("seq").combine_chunks()))
        self._order = np.lexsort(keys).astype(np.int64)  # Stable: what is equal stays in the order of the file.
        self._sorted = table.take(integers(self._order))

    def is_blank(self, column: str) -> bool:
        """True where the file says that the column has no value at all."""
        metadata = open_parquet(self.path).metadata
        place = metadata.schema.names.index(column)
        chunks = [metadata.row_group(group).column(place) for group in range(metadata.num_row_groups)]
        return all(chunk.statistics is not None and chunk.statistics.null_count == chunk.num_values for chunk in chunks)

    def row_number(self, row: int) -> int:
        """The row's number in the file, from 0, of a row number in order of time."""
        return row if self._order is None else int(self._order[row])

    def batches(self, columns: Sequence[str], rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The columns in order of time, at most `rows` rows at once.

        Raises
        ------
        InputInvalid
            A page of the file is damaged.
        """
        if self._sorted is not None:
            yield from self._sorted.select(list(columns)).to_batches(max_chunksize=rows)
        else:
            yield from self._read(columns, rows)

    def _read(self, columns: Sequence[str], rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        texts = [column for column in (*self.layout.key, *self.layout.texts) if column in columns]
        file = open_parquet(self.path, read_dictionary=texts)
        with reading(self.path):
            yield from map(widened, file.iter_batches(batch_size=rows, columns=list(columns), use_threads=False))


def distinct(columns: Sequence[Column]) -> tuple[NDArray[np.int64], NDArray[np.int64], list[tuple[Any, ...]]]:
    """The different combinations of values in several columns of equal length.

    Returns
    -------
    which, first, values
        For each row the number of its combination; for each combination its first row and its values, `None` for null.
    """
    combined = np.zeros(len(columns[0]), np.int64)
    dictionaries: list[list[Any]] = []
    for column in columns:
        encoded: Any = column if isinstance(column, pa.DictionaryArray) else pc.dictionary_encode(column, "encode")
        if encoded.dictionary.null_count == 0 and encoded.indices.null_count:
            encoded = encoded.cast(encoded.dictionary.type).dictionary_encode("encode")
        values = encoded.dictionary.to_pylist()
        combined = combined * len(values) + raw(encoded.indices)
        dictionaries.append(values)
    encoded = integers(combined).dictionary_encode()
    which = raw(encoded.indices).astype(np.int64)
    codes = raw(encoded.dictionary)
    first = np.empty(len(codes), np.int64)
    first[which[::-1]] = np.arange(len(which))[::-1]
    columns_of_values = []
    for values in reversed(dictionaries):
        codes, places = np.divmod(codes, len(values))
        columns_of_values.append([values[place] for place in places.tolist()])
    return which, first, list(zip(*reversed(columns_of_values), strict=True))
