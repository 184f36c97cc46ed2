"""How late the event loop is: a sleep that ends late says how long something else held it."""

import asyncio
import time
from typing import Final

import structlog

from angelx.health.latency import LatencyHistogram

log = structlog.get_logger()

EVERY_S: Final = 0.1
REPORT_S: Final = 60.0
"""Lateness above what is allowed is logged at most so often."""


class LoopLag:
    """Measures while it runs; `allowed_ms` is what may pass without a word."""

    def __init__(self, allowed_ms: float) -> None:
        self._allowed_ns = int(allowed_ms * 1_000_000)
        self._late = LatencyHistogram()

    @property
    def p99_ms(self) -> float | None:
        """99th percentile of the lateness; `None` before the first sleep."""
        return self._late.percentile(99.0) / 1e6 if self._late.count else None

    async def run(self) -> None:
        """Measure until cancelled."""
        reported = -REPORT_S
        while True:
            asked = time.monotonic_ns()
            await asyncio.sleep(EVERY_S)
            late = max(time.monotonic_ns() - asked - int(EVERY_S * 1e9), 0)
            self._late.add(late)
            if late > self._allowed_ns and time.monotonic() - reported > REPORT_S:
                reported = time.monotonic()
                log.warning("loop_late", late_ms=late // 1_000_000, allowed_ms=self._allowed_ns // 1_000_000)
