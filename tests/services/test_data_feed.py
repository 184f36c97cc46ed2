"""A paced session that cannot keep up decides as one at full speed does: rows and timers stay in order of time."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest

from angelx.bus.bus import Bus
from angelx.bus.clock import PacedClock
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, Rows, TickBatch, batch_of
from angelx.services.data_feed import DataFeed
from angelx.sim.loop import simulate

BEGIN = 1_000 * NS
ROWS = 60


def batches(size: int) -> Iterator[TickBatch]:
    """A row every 0.7 s."""
    at = BEGIN + np.arange(1, ROWS + 1) * 7 * NS // 10
    for start in range(0, ROWS, size):
        yield batch_of({AT: at[start : start + size]})


def played(size: int, clock: PacedClock | None, most_rows: int = 100) -> list[tuple[str, int]]:
    """What came in which order: rows, and a timer every second."""
    bus = Bus()
    seen: list[tuple[str, int]] = []

    def on_rows(rows: Rows) -> None:
        seen.extend(("row", int(at)) for at in rows.batch.table[AT, rows.start : rows.stop])

    def on_timer() -> None:
        seen.append(("timer", bus.now))
        bus.at(bus.now + NS, on_timer)

    bus.subscribe(Rows, on_rows)
    bus.at(BEGIN + NS, on_timer)
    nothing: Any = cast("Any", None)
    feed = DataFeed(bus, nothing, nothing, clock=clock, most_rows=most_rows, ends_at=lambda _now: 0)

    async def run() -> None:
        bus.advance(BEGIN)
        await feed.run(batches(size))

    simulate(run)
    return seen


@pytest.mark.parametrize("size", [1, 7, 20, ROWS])
@pytest.mark.parametrize("late_s", [0.01, 0.4, 3.0, 30.0])
def test_however_late_it_is_and_however_the_rows_are_cut(size: int, late_s: float) -> None:
    ticks = iter(range(10**6))
    clock = PacedClock(BEGIN, 1.0, lambda: int(next(ticks) * late_s * NS))  # It moves whenever somebody looks.
    assert played(size, clock, most_rows=5) == played(ROWS, None)
