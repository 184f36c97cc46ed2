"""Sliding windows: at most so many events in any second, minute and hour, all at once (SPEC 6.7)."""

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from angelx.domain.scalars import NS

SECOND: Final = NS
MINUTE: Final = 60 * NS
HOUR: Final = 3600 * NS


class Limit(msgspec.Struct, frozen=True, gc=False):
    """At most `most` events in any half-open interval of `within` ns."""

    most: int
    within: int


class SlidingWindows:
    """Counts events of one category against several limits.

    An event leaves a window exactly `within` ns after it came. Nothing is averaged: a burst of `most` is allowed, and
    no interval of that length ever holds more.
    """

    __slots__ = ("_kept", "_limits", "_most", "_times")

    def __init__(self, limits: Iterable[Limit]) -> None:
        self._limits = tuple(limits)
        if any(limit.most < 1 or limit.within < 1 for limit in self._limits):
            raise ValueError(f"a limit allows at least one event in at least 1 ns: {self._limits}")
        self._kept = max((limit.within for limit in self._limits), default=0)
        self._most = max((limit.most for limit in self._limits), default=0)
        self._times: deque[int] = deque()

    def wait_ns(self, now: int, spare: int = 0) -> int:
        """How long until one more event fits, ns; 0 = it fits now.

        Parameters
        ----------
        spare
            Places that must stay free after it in every window, for those who come before us; a window never keeps so
            many back that nothing fits.
        """
        times, wait = self._times, 0
        while times and times[0] <= now - self._kept:
            times.popleft()
        for limit in self._limits:
            room = max(limit.most - spare, 1)
            if len(times) >= room:
                wait = max(wait, times[-room] + limit.within - now)
        return wait

    def delay(self, now: int) -> None:
        """The last event came as late as now: what counts for whoever counts arrivals."""
        if self._times:
            self._times[-1] = max(now, self._times[-1])

    def take(self, now: int) -> None:
        """One event happens now; times never decrease."""
        times = self._times
        times.append(now if not times else max(now, times[-1]))
        if len(times) > self._most:
            times.popleft()
