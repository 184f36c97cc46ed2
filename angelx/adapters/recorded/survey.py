"""What a file holds before it is replayed: which instruments on which exchange days, how many rows of each."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final, Generic, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from angelx.adapters.recorded.columns import Flags, Ints, flags, integers, nanoseconds, nulls, raw, units
from angelx.adapters.recorded.days import INDIA, NEW_YORK, day_numbers
from angelx.adapters.recorded.layouts import BARS, NSE_CHAIN, Layout, Role
from angelx.adapters.recorded.stored import Stored, distinct
from angelx.domain.errors import InputInvalid

Key = tuple[Any, ...]
"""Values of a layout's key columns."""

Name = TypeVar("Name")

EARLIEST, LATEST = date(1970, 1, 1), date(2200, 1, 1)
"""Expiries are from this day on and before that one: settlements are counted in ns since 1970, until 2262."""
_RIGHTS: Final = {"CE": "CE", "PE": "PE", "C": "CE", "P": "PE"}


class Tally(msgspec.Struct, frozen=True):
    """Rows of one instrument on one exchange day in one file."""

    row: int
    """Number of its first one, in order of time."""
    first: int
    last: int
    """Stamps, ns."""
    rows: int
    suspicious: int
    inside: int
    """Neither suspicious nor outside the bounds."""
    since: int
    until: int
    """Stamps of the first and the last one inside, ns; 0 where there is none."""


class Tallies(Generic[Name]):
    """Counts rows by name, batch after batch in order of time."""

    def __init__(self) -> None:
        self._numbers: dict[Name, int] = {}
        self._columns = np.zeros((len(msgspec.structs.fields(Tally)), 0), np.int64)

    def add(
        self, which: Ints, names: Sequence[Name], numbers: Ints, stamps: Ints, suspicious: Flags, inside: Flags
    ) -> list[int]:
        """Count rows, each of `names[which]`, with their numbers in the file; answers which of the names are new."""
        known = len(self._numbers)
        places = np.array([self._numbers.setdefault(name, len(self._numbers)) for name in names], np.int64)
        size = len(self._numbers)
        self._columns = np.pad(self._columns, ((0, 0), (0, size - known)))
        row, first, last, rows, doubtful, used, since, until = self._columns
        which = places[which]
        fresh = rows[which] == 0
        row[which[fresh][::-1]] = numbers[fresh][::-1]
        first[which[fresh][::-1]] = stamps[fresh][::-1]
        last[which] = stamps
        rows += np.bincount(which, minlength=size)
        doubtful += np.bincount(which[suspicious], minlength=size)
        sound = inside & ~suspicious
        which, stamps = which[sound], stamps[sound]
        fresh = used[which] == 0
        since[which[fresh][::-1]] = stamps[fresh][::-1]
        until[which] = stamps
        used += np.bincount(which, minlength=size)
        return np.flatnonzero(places >= known).tolist()

    def result(self) -> dict[Name, Tally]:
        """What was counted, by name."""
        tallies = [Tally(*column) for column in self._columns.T.tolist()]
        return {name: tallies[number] for name, number in self._numbers.items() if tallies[number].rows}


class Survey:
    """The instruments and days of a file.

    Raises
    ------
    InputInvalid
        A key cannot be one of an instrument: the message names file, column, row and value.
    """

    def __init__(self, stored: Stored, begin: int | None, end: int | None) -> None:
        self.stored = stored
        self.zone = INDIA if _is_indian(stored) else NEW_YORK
        is_bar = not stored.layout.ticks and stored.layout.role in {Role.QUOTES, Role.TRADES}
        if is_bar and stored.step_ns == 1:
            raise InputInvalid(f"{stored.path}: column ts: bars are stamped at whole seconds or minutes, these are not")
        self.length_ns = stored.step_ns if is_bar else 0
        """From the stamp of a row, the start of its bar, to the instant it is known."""
        self.has_quotes = stored.layout.role is Role.QUOTES or (
            stored.layout is NSE_CHAIN and not (stored.is_blank("bid") and stored.is_blank("ask"))
        )
        self.groups: dict[tuple[Key, int], Tally]
        self.spots: dict[tuple[str, int], Tally]
        """Snapshots with a value of the underlying, by its symbol and the exchange day."""
        self.traded: set[Key] = set()
        """Keys with a volume."""
        self._low = -(2**63) if begin is None else begin - self.length_ns
        self._high = 2**63 - 1 if end is None else end - self.length_ns
        self._take_stock()

    @property
    def layout(self) -> Layout:
        """The file's schema."""
        return self.stored.layout

    def _take_stock(self) -> None:
        layout, stored = self.layout, self.stored
        extra = ["suspicious"] if layout.ticks else ["volume"] if layout is BARS else []
        has_spot = layout is NSE_CHAIN and "spot" in stored.optional
        extra += ["spot"] if has_spot else []
        groups, spots = Tallies[tuple[Key, int]](), Tallies[tuple[str, int]]()
        start, heads = 0, Heads()
        for batch in stored.batches(["ts", *layout.key, *extra]):
            stamps = nanoseconds(batch.column("ts"))
            numbers = np.arange(start, start + len(stamps))
            inside = (stamps >= self._low) & (stamps < self._high)
            which, first, keys = keys_of(batch, layout, stamps, self.zone)
            suspicious = flags(batch.column("suspicious")) if layout.ticks else np.zeros(len(stamps), bool)
            for number in groups.add(which, keys, numbers, stamps, suspicious, inside):
                self._check(keys[number][0], start + int(first[number]))
            if layout is BARS:
                traded = np.bincount(which, units(batch.column("volume"), 1, 0) > 0, len(keys)) > 0
                self.traded |= {key for number, (key, _) in enumerate(keys) if traded[number]}
            if has_spot:
                rows = np.flatnonzero(heads.of(batch, stamps) & ~nulls(batch.column("spot")))
                names = [(key[0], day) for key, day in keys]
                spots.add(which[rows], names, numbers[rows], stamps[rows], suspicious[rows], inside[rows])
            start += len(stamps)
        self.groups, self.spots = groups.result(), spots.result()

    def _check(self, key: Key, row: int) -> None:
        """Every value of a key must be able to name an instrument."""
        for column, value in zip(self.layout.key, key, strict=True):
            why = _objection(column, value)
            if why:
                number = self.stored.row_number(row)
                raise InputInvalid(f"{self.stored.path}: column {column}, row {number}: {why}, was {value!r}")


class Heads:
    """Finds the first row of every snapshot: where stamp or symbol differ from the row before."""

    def __init__(self) -> None:
        self._before: tuple[int, str | None] = (0, None)

    def of(self, batch: pa.RecordBatch, stamps: Ints) -> Flags:
        """True for each row of the next batch that begins a snapshot."""
        names: Any = batch.column("symbol")
        codes = raw(names.indices)
        heads = np.ones(len(stamps), bool)
        heads[1:] = (stamps[1:] != stamps[:-1]) | (codes[1:] != codes[:-1])
        heads[0] = self._before != (int(stamps[0]), names[0].as_py())
        self._before = (int(stamps[-1]), names[-1].as_py())
        return heads


def keys_of(batch: pa.RecordBatch, layout: Layout, stamps: Ints, zone: str) -> tuple[Ints, Ints, list[tuple[Key, int]]]:
    """For each row the number of its (key, exchange day); for each of these its first row and itself."""
    days = day_numbers(stamps, zone)
    which, first, values = distinct([*(batch.column(column) for column in layout.key), integers(days)])
    return which, first, [(value[:-1], value[-1]) for value in values]


def call_or_put(right: str) -> str:
    """`CE` or `PE` of any of the spellings `CE`, `PE`, `C` and `P`."""
    return _RIGHTS[right]


def _is_indian(stored: Stored) -> bool:
    """Bars do not say of which market they are: those of NSE are stamped in its hours, 08:30 to 16:00 in India."""
    if stored.layout is BARS:
        return stored.indian_rows * 2 > stored.rows
    return stored.layout is NSE_CHAIN


def _objection(column: str, value: Any) -> str:
    if column == "right":
        return "" if value in _RIGHTS else "a right is CE, PE, C or P"
    if column == "expiry":
        fits = value is not None and EARLIEST <= value < LATEST
        return "" if fits else f"an expiry is a day from {EARLIEST.year} to {LATEST.year - 1}"
    if column == "style":
        return "" if value in {"american", "european"} else "a style is american or european"
    if column == "strike":
        return "" if value is not None and 0 < value < 1e9 else "a strike is a price above 0"
    if column == "lot_size":
        return "" if value is not None and value >= 1 and value == int(value) else "a lot is a whole number of units"
    return "" if value else "expected a name"
