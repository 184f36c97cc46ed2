"""Where time comes from: the host's clock, or a recorded or simulated session's at some speed."""

import sys
import time
from collections.abc import Callable
from typing import Final, Protocol

from angelx.domain.scalars import NS

_AWAKE_OR_NOT: Final = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC
"""Python's own monotonic clock stands still while a laptop sleeps; this one does not."""


def _ticks() -> int:
    return time.clock_gettime_ns(_AWAKE_OR_NOT)


class SystemClock:
    """The host's time, made monotonic: from the wall time it was made at it goes on by itself, whatever the wall clock
    is set to, and while the host sleeps too.
    """

    def __init__(self) -> None:
        self._origin = time.time_ns() - _ticks()  # noqa: TID251 - the one place that reads the wall clock

    def now(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        return self._origin + _ticks()

    def seconds_until(self, at: int) -> float:
        """Seconds until that time; negative when it is over."""
        return (at - self.now()) / NS


class PacingClock(Protocol):
    """A clock that knows how long to wait."""

    def now(self) -> int:
        """Nanoseconds since the epoch, UTC; never decreases."""
        ...

    def seconds_until(self, at: int) -> float:
        """Real seconds until that time; negative when it is over."""
        ...


class PacedClock:
    """A session's own time, `speed` seconds of it in one second; it starts at `origin` when first asked.

    Parameters
    ----------
    origin
        Session time at the start, ns.
    speed
        Session seconds per second of the monotonic clock, > 0.
    ticker
        Monotonic nanoseconds.
    """

    def __init__(self, origin: int, speed: float, ticker: Callable[[], int] = time.monotonic_ns) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be positive, was {speed}")
        self._origin, self._speed, self._ticker = origin, speed, ticker
        self._started: int | None = None
        self._held = 0

    def now(self) -> int:
        """Session time, ns."""
        return max(self._truth(), self._held)

    def seconds_until(self, at: int) -> float:
        """Real seconds until the session time is `at`; negative when it is over."""
        return (at - (self._truth() if at > self._held else self.now())) / self._speed / NS

    def wait_for(self, now: int) -> None:
        """The session is only there, as it stood still for a while: so does this clock, until it is here too."""
        truth = self._truth()
        if now < truth:
            self._held = max(self._held, truth)
            self._origin -= truth - now

    def catch_up(self, now: int) -> None:
        """The session is there already: so is this clock."""
        self._origin += max(now - self._truth(), 0)

    def _truth(self) -> int:
        if self._started is None:
            self._started = self._ticker()
        return self._origin + int((self._ticker() - self._started) * self._speed)
