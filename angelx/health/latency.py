"""How long things took: a histogram of whole nanoseconds in buckets that grow with the value.

Buckets
-------
Below 128 ns each value has a bucket of its own; above, each power of two is cut into 64, so that a bucket is at most
1/64 as wide as its values are large and its middle is within 1/128 (0.8 %) of every one of them. The layout is that of
HdrHistogram (Tene, http://hdrhistogram.org) with 6 bits of precision; ours, because its Python package lacks wheels.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LARGEST: Final = 2**63 - 1
"""Longest duration that has a bucket, ns (292 years)."""

_BUCKETS: Final = 56 * 64 + 128


def _lowest(place: int) -> int:
    """Smallest value of a bucket."""
    octave = max(place // 64 - 1, 0)
    return (place - octave * 64) << octave


_LOWEST: Final = np.array([_lowest(place) for place in range(_BUCKETS)], np.int64)


class LatencyHistogram:
    """Counts of durations, with percentiles right to 1 % and the exact maximum."""

    __slots__ = ("counts", "max", "negative", "table")

    def __init__(self) -> None:
        self.table = np.zeros(_BUCKETS, np.int64)
        """Counts by bucket."""
        self.counts: Any = self.table.data
        """The same for single cells."""
        self.max = 0
        """Longest duration seen, ns, exact."""
        self.negative = 0
        """Durations below zero (two clocks disagreed); they are counted as 0 ns."""

    def add(self, ns: int) -> None:
        """Count one duration, whole ns, at most `LARGEST`."""
        if ns < 128:
            if ns < 0:
                self.negative += 1
                ns = 0
            self.counts[ns] += 1
        else:
            octave = ns.bit_length() - 7
            self.counts[(octave << 6) + (ns >> octave)] += 1
        if ns > self.max:  # noqa: PLR1730 - max() takes 50 ns
            self.max = ns

    def add_many(self, ns: NDArray[np.int64]) -> None:
        """Count durations of shape (n,), whole ns."""
        if not ns.size:
            return
        self.negative += int(np.count_nonzero(ns < 0))
        places = np.searchsorted(_LOWEST, np.maximum(ns, 0), side="right") - 1
        self.table += np.bincount(places, minlength=_BUCKETS)
        self.max = max(self.max, int(ns.max()))

    def merge(self, other: "LatencyHistogram") -> None:
        """Add everything the other one counted."""
        self.table += other.table
        self.max = max(self.max, other.max)
        self.negative += other.negative

    @property
    def count(self) -> int:
        """Durations counted."""
        return int(self.table.sum())

    def percentile(self, percent: float) -> int:
        """Duration that `percent` of all do not exceed (nearest rank), ns; 0 where nothing was counted.

        Right to 1/128 of its value; 100 is the exact maximum.
        """
        return self.percentiles((percent,))[0]

    def percentiles(self, percents: tuple[float, ...]) -> list[int]:
        """Several at once; `percents` ascending, each in (0, 100]."""
        upto = np.cumsum(self.table)
        total = int(upto[-1])
        if not total:
            return [0] * len(percents)
        ranks = [max(int(np.ceil(total * percent / 100)), 1) for percent in percents]
        places = np.searchsorted(upto, ranks, side="left")
        return [
            self.max if rank == total else min(_middle(int(place)), self.max)
            for rank, place in zip(ranks, places, strict=True)
        ]

    def buckets(self) -> Iterator[tuple[int, int, int]]:
        """(lowest value, first value beyond, count) of every bucket that holds something, ns, ascending."""
        for place, count in enumerate(self.counts):
            if count:
                yield _lowest(place), _lowest(place + 1), count

    def as_dict(self) -> dict[str, object]:
        """Figures for reports: `count`, `mean_ns`, `p50_ns`, `p95_ns`, `p99_ns`, `max_ns`, `negative`, `buckets`."""
        p50, p95, p99 = self.percentiles((50, 95, 99))
        buckets = [list(bucket) for bucket in self.buckets()]
        count = self.count
        total = sum((low + beyond - 1) / 2 * held for low, beyond, held in self.buckets())
        return {
            "count": count,
            "mean_ns": round(total / count) if count else 0,
            "p50_ns": p50,
            "p95_ns": p95,
            "p99_ns": p99,
            "max_ns": self.max,
            "negative": self.negative,
            "buckets": buckets,
        }


def _middle(place: int) -> int:
    low, beyond = _lowest(place), _lowest(place + 1)
    return low + (beyond - low) // 2
