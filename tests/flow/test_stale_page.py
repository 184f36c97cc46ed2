"""A page of yesterday on a holiday that the calendar does not know: freshness alone stands before the orders."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from angelx.adapters.journal import MemoryJournal
from angelx.adapters.recorded import open_recording
from angelx.app.house import House, Paper, Parts
from angelx.app.sources import freeze_of
from angelx.bus.bus import Bus
from angelx.domain.events import OrderApproved, PhaseChanged, Signal, SignalRefused
from angelx.market import tables
from angelx.market.differential import Differential
from angelx.market.sessions import Sessions, SessionsTable
from angelx.services.data_feed import DataFeed
from angelx.services.guard import Unguarded
from angelx.services.kill_switch import MemoryLatch
from angelx.signals.filters.standard import FreshnessFilter, SessionFilter
from angelx.sim.loop import simulate
from tests.flow.small_house import CAPITAL, LIMITS, Gambler, fee

DATA = Path(os.environ.get("ANGELX_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")).resolve()
PAGES = sorted((DATA / "nifty-options").glob("chain_stale_holiday_*.parquet")) if DATA.is_dir() else []


def without_holiday(day: str) -> Sessions:
    table = json.loads((Path(tables.__file__).parent / "sessions.json").read_text("utf-8"))
    table["calendars"]["IN"]["holidays"].remove(day)
    return Sessions(tables.parse("sessions.json", json.dumps(table).encode(), SessionsTable))


@pytest.mark.skipif(not PAGES, reason=f"no page of a holiday in {DATA} (ANGELX_DATA)")
def test_every_signal_on_a_page_of_yesterday_is_refused_by_freshness() -> None:
    source = open_recording(PAGES[0], freeze=freeze_of)
    day = PAGES[0].stem.split("_")[3]
    sessions = without_holiday(f"{day[:4]}-{day[4:6]}-{day[6:]}")
    bus = Bus()
    journal = MemoryJournal(bus)
    gambler = Gambler("eager", 1, range(len(source.instruments)), eager=1.0)
    parts = Parts(
        instruments=source.instruments, source_kind=source.kind, strategies=[gambler],
        filters=[SessionFilter(), FreshnessFilter()], limits=LIMITS, paper=Paper(fee=fee), sessions=sessions,
        run="stale", capital=CAPITAL, seed=1, silent_feed_ns=10**18,
    )  # fmt: skip
    house = House(bus, parts, journal, MemoryLatch(), Unguarded())
    differential = Differential(len(source.instruments), [one.tick_size for one in source.instruments])
    feed = DataFeed(bus, source, differential, clock=None, most_rows=100, ends_at=lambda now: now)

    async def run() -> None:
        house.host.start()
        bus.advance(source.first_at)
        house.start()
        await feed.run(feed.accepted(0, house.warm))

    simulate(run)
    seen = Counter(type(event) for _, _, event in journal.records)
    refused = Counter(event.code for _, _, event in journal.records if isinstance(event, SignalRefused))
    assert any(isinstance(event, PhaseChanged) and event.phase == "open" for _, _, event in journal.records)
    assert seen[Signal] > 100
    assert refused == {"stale_session": seen[Signal]}
    assert not seen[OrderApproved]
