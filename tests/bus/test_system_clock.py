"""The host's clock as the daemon takes it: set once at the start, and awake while the host sleeps."""

import sys
import time

import pytest

from angelx.bus.clock import SystemClock
from angelx.domain.scalars import NS

HOUR = 3600 * NS
START = 1_756_440_000 * NS


class Host:
    """A machine whose clocks a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.awake, self.passed = START, 5 * HOUR, 7 * HOUR
        monkeypatch.setattr(time, "time_ns", lambda: self.wall)
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.awake)
        monkeypatch.setattr(time, "clock_gettime_ns", self._read)

    def _read(self, which: int) -> int:
        return self.passed if sys.platform != "linux" or which == time.CLOCK_BOOTTIME else self.awake


def test_it_goes_on_while_the_host_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    clock = SystemClock()
    assert clock.now() == START
    host.wall, host.passed = START + 2 * HOUR, host.passed + 2 * HOUR
    assert clock.now() == START + 2 * HOUR
    assert clock.seconds_until(START + 3 * HOUR) == 3600


@pytest.mark.parametrize("step", [-HOUR, HOUR, 24 * HOUR])
def test_nobody_sets_it(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    host = Host(monkeypatch)
    clock = SystemClock()
    host.wall += step
    assert clock.now() == START
