"""Columns of a recording as numpy arrays and as integers: prices of 1/10,000, units, exact or counted.

Only raw buffers are used: `to_numpy`, `np.asarray` and Python scalars make pyarrow import pandas, a second of start-up
and 60 MB that a replay does not need.
"""

from typing import Any, Final

import numba as nb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from angelx.domain.scalars import NS, SCALE
from angelx.domain.ticks import NOT_A_NUMBER

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Column = Any
"""A pyarrow array; its stubs cannot say of which type."""

_LARGEST_PRICE: Final = 2.0**60
_LARGEST_COUNT: Final = 2.0**40
_REMAINDER: Final = 1e-3
"""Of 1/10,000: less is the error of a float, more was a price between two integers."""
_NONE: Final = np.empty(0, np.bool_)
_UNIT_NS: Final = {"s": NS, "ms": 1_000_000, "us": 1_000, "ns": 1}


def raw(column: Column) -> NDArray[Any]:
    """The values of a column of numbers; where they are null, anything."""
    dtype = np.dtype(column.type.to_pandas_dtype())
    return np.frombuffer(column.buffers()[1], dtype)[column.offset : column.offset + len(column)]


def widened(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with doubles for its single floats: the shortest decimal that each stands for.

    24,612.35 as a single float is 24,612.349609…: taken by its bits it would be off every tick.
    """
    if pa.float32() not in batch.schema.types:
        return batch
    columns = [one.cast(pa.string()).cast(pa.float64()) if one.type == pa.float32() else one for one in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def nulls(column: Column) -> Flags:
    """True where the column is null."""
    return np.ones(len(column), bool) if pa.types.is_null(column.type) else ~_bits(column, 0, missing=True)


def flags(column: Column) -> Flags:
    """True where a column of truth values is true; null is false."""
    return _bits(column, 1, missing=False) & _bits(column, 0, missing=True)


def _bits(column: Column, buffer: int, *, missing: bool) -> Flags:
    bitmap = column.buffers()[buffer]
    if bitmap is None:
        return np.full(len(column), missing)
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little").view(np.bool_)
    return bits[column.offset : column.offset + len(column)]


def integers(values: Ints) -> Column:
    """A numpy array of int64 as a pyarrow one."""
    buffer = pa.py_buffer(memoryview(np.ascontiguousarray(values)))  # type: ignore[arg-type]
    return pa.Array.from_buffers(pa.int64(), len(values), [None, buffer])


def nanoseconds(column: Column) -> Ints:
    """Instants as integer ns since the epoch; where they are null, anything."""
    return raw(column.cast(pa.int64())) * np.int64(_UNIT_NS[column.type.unit])


def prices(column: Column, absent: int) -> tuple[Ints, int]:
    """Prices as integers of 1/10,000, rounded half-even, and how many had a remainder.

    Null becomes `absent`; NaN, infinities and what no integer can hold become `NOT_A_NUMBER`; negative stays negative.
    """
    return _rounded(column, SCALE, _LARGEST_PRICE, absent)


def units(column: Column, per_unit: Ints | int, absent: int) -> Ints:
    """Counts times `per_unit` (units in a lot, per row or for all), rounded to whole units; else as `prices`."""
    whole, _ = _rounded(column, 1, _LARGEST_COUNT, NOT_A_NUMBER)
    if not isinstance(per_unit, int) or per_unit != 1:
        whole = np.where(whole == NOT_A_NUMBER, NOT_A_NUMBER, whole * per_unit)
    return np.where(nulls(column), absent, whole) if column.null_count else whole


def _rounded(column: Column, scale: int, largest: float, absent: int) -> tuple[Ints, int]:
    if pa.types.is_null(column.type):
        return np.full(len(column), absent, np.int64), 0
    result = np.empty(len(column), np.int64)
    absences = nulls(column) if column.null_count else _NONE
    values = raw(column).astype(np.float64, copy=False)
    return result, _round(values, absences, float(scale), largest, absent, result)


@nb.njit(cache=True, nogil=True)
def _round(
    values: NDArray[np.float64], absences: Flags, scale: float, largest: float, absent: int, result: Ints
) -> int:
    """Round each value times scale half-even; answer how many had a remainder."""
    remainders = 0
    for row in range(values.shape[0]):
        scaled = values[row] * scale
        rounded = np.rint(scaled)
        if absences.shape[0] and absences[row]:
            result[row] = absent
        elif abs(rounded) < largest:  # False for NaN.
            result[row] = np.int64(rounded)
            remainders += abs(scaled - rounded) > _REMAINDER
        else:
            result[row] = NOT_A_NUMBER
    return remainders
