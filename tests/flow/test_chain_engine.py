"""The chain engine in the house: the same answers whatever the batches and after a restart; no reader, no cost."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, ClassVar

import msgspec
import pytest

from angelx.adapters.journal import MemoryJournal
from angelx.app.config import load_config
from angelx.app.house import House, Paper, Parts, no_fee
from angelx.app.session import parts_of
from angelx.app.sources import Bounds, open_source
from angelx.bus.bus import Bus
from angelx.domain.events import OrderFilled, PhaseChanged
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, TickBatch
from angelx.market.chain import ChainSettings
from angelx.market.differential import Differential
from angelx.market.iv_closes import IvCloses
from angelx.market.sessions import Session, Sessions
from angelx.market.simulated import SimulatedMarket
from angelx.risk.limits import BENCH
from angelx.services.guard import Unguarded
from angelx.services.kill_switch import MemoryLatch
from angelx.signals.strategy import Strategy
from tests.flow.small_house import cut

DAY = date(2026, 10, 21)
SESSIONS = Sessions.load()
ROWS = 6_000


def simulated() -> SimulatedMarket:
    session = SESSIONS.on("NFO", DAY)
    assert isinstance(session, Session)
    return SimulatedMarket(
        seed=3, session=DAY, opens_at=session.opens_at, closes_at=session.closes_at, expiries=2, strikes=8, pace=4.0
    )


SOURCE = simulated()


def rows() -> TickBatch:
    """The first rows, validated and marked."""
    batch = next(iter(simulated().batches()))
    marked = Differential(len(SOURCE.instruments), [500] * len(SOURCE.instruments)).process(batch)
    return cut(marked, 0, ROWS)


class Reader(Strategy):
    """Looks at the chain on ticks and timers, and trades now and then."""

    every_s: ClassVar[float] = 7.0
    uses_chains: ClassVar[bool] = True
    name = "reader"

    def __init__(self, every: int = 13) -> None:
        self.seen: list[Any] = []
        self._every, self._count = every, 0

    def watches(self) -> Sequence[int]:
        return (3, 9, 20)

    def on_tick(self, place: int) -> None:
        self._count += 1
        chains = self.desk.chains
        assert chains is not None
        if self._count % self._every == 0:
            self.seen.append((self.desk.now, chains.contract(place), chains.contract(place + 1)))
            self.seen.append(chains.strike_flow(place))
            if self.desk.position(place):
                self.desk.flat(place)
            else:
                self.desk.long(place)

    def on_timer(self) -> None:
        chains = self.desk.chains
        assert chains is not None
        self.seen.append(msgspec.to_builtins(chains.views["NSE:NIFTY"]))


def house_of(reader: Strategy, settings: ChainSettings | None) -> tuple[House, MemoryJournal]:
    bus = Bus()
    journal = MemoryJournal(bus)
    parts = Parts(
        instruments=SOURCE.instruments, source_kind="stream", strategies=[reader], filters=[],
        limits=msgspec.structs.replace(BENCH, fixed_units=65), paper=Paper(fee=no_fee, latency_ns=100_000_000),
        sessions=SESSIONS, run="chain", capital=10**12, seed=1, chain=settings,
    )  # fmt: skip
    house = House(bus, parts, journal, MemoryLatch(), Unguarded())
    house.host.start()
    return house, journal


def played(batch: TickBatch, size: int, settings: ChainSettings) -> tuple[House, Reader, MemoryJournal]:
    reader = Reader()
    house, journal = house_of(reader, settings)
    house.bus.advance(batch.view[AT, 0])
    house.start()
    for start in range(0, batch.rows, size):
        part = cut(batch, start, min(start + size, batch.rows))
        house.bus.feed(part, 0, part.rows)
    return house, reader, journal


@pytest.mark.parametrize("budget", [3, 1_000])
def test_the_same_answers_and_journal_whatever_the_batches(budget: int) -> None:
    batch, settings = rows(), ChainSettings(budget=budget)
    one_house, one, journal = played(batch, 1, settings)
    assert len(one.seen) > 100
    assert any(isinstance(event, OrderFilled) for _, _, event in journal.records)
    assert one_house.chains is not None
    for size in (7, 256, ROWS):
        house, reader, other = played(batch, size, settings)
        assert house.chains is not None
        assert reader.seen == one.seen
        assert other.records == journal.records
        assert house.chains.greeks.tolist() == one_house.chains.greeks.tolist()
        assert house.chains.work == one_house.chains.work
        assert house.chains.waited().as_dict() == one_house.chains.waited().as_dict()


def test_after_a_restart_the_chain_is_what_it_was() -> None:
    """The rows of before are taken with their steps: flows, forwards and Greeks go on where they were."""
    batch, settings = rows(), ChainSettings(budget=1_000)
    whole, _, _ = played(batch, 256, settings)
    again, _ = house_of(Reader(10**9), settings)
    at = batch.view[AT, ROWS // 2]
    again.warm(cut(batch, 0, ROWS // 2))
    again.bus.resume(ROWS // 2, ROWS // 2, at)
    again.start()
    again.bus.feed(cut(batch, ROWS // 2, ROWS), 0, ROWS - ROWS // 2)

    assert whole.chains is not None
    assert again.chains is not None
    assert again.chains.flow.units.tolist() == whole.chains.flow.units.tolist()
    later = whole.bus.now + 2 * NS
    for house in (whole, again):
        assert house.chains is not None
        house.chains.settle(later, 60 * NS)
    mine, theirs = (msgspec.to_builtins(house.chains.views["NSE:NIFTY"]) for house in (again, whole) if house.chains)
    assert mine.keys() == theirs.keys()
    for name, value in flat(mine).items():
        expected = flat(theirs)[name]
        assert value == (pytest.approx(expected, rel=1e-9) if isinstance(expected, float) else expected), name
    assert again.chains.greeks == pytest.approx(whole.chains.greeks, rel=1e-9)


def flat(data: Any, name: str = "") -> dict[str, Any]:
    """Every value in it by its path."""
    if not isinstance(data, dict):
        return {name: data}
    return {path: value for key, part in data.items() for path, value in flat(part, f"{name}.{key}").items()}


@pytest.mark.parametrize(("enabled", "reads", "wired"), [
    ("auto", True, True), ("auto", False, False), ("never", True, False), ("always", False, True),
])  # fmt: skip
def test_nobody_pays_for_chains_that_nobody_reads(enabled: str, reads: bool, wired: bool, tmp_path: Any) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"from angelx.signals.strategy import Strategy\nclass Mine(Strategy):\n    uses_chains = {reads}\n")
    config = load_config(
        None, {"chain.enabled": enabled, "strategies": [{"use": f"{file}:Mine"}], "filters": []}, environ={}
    )
    parts = parts_of(config, open_source(config, SESSIONS, Bounds()), SESSIONS, "x")

    assert (parts.chain is not None) == wired
    bus = Bus()
    house = House(bus, parts, MemoryJournal(bus), MemoryLatch(), Unguarded())
    assert (house.chains is not None) == wired


def test_the_rank_is_read_from_the_closes_of_earlier_sessions_and_the_close_is_told() -> None:
    """They are part of what a house is made of, and what a session adds is told when it ends."""
    closes = [(DAY - timedelta(days), 0.05 + 0.001 * days) for days in range(70, 0, -1)]
    config = load_config(None, {"filters": []}, environ={})
    parts = parts_of(config, SOURCE, SESSIONS, "x", iv_closes=IvCloses(closes={"NSE:NIFTY": closes}))
    house = House(Bus(), parts, MemoryJournal(Bus()), MemoryLatch(), Unguarded())
    told: list[dict[str, Any]] = []
    assert house.chain_engine is not None
    house.chain_engine.on_session_end = lambda histories: told.append({**histories})
    house.host.start()
    batch = rows()
    house.bus.advance(batch.view[AT, 0])
    house.start()
    house.bus.feed(batch, 0, batch.rows)
    assert house.chains is not None
    view = house.chains.views["NSE:NIFTY"]
    assert view.sessions == 70
    assert view.iv_rank is not None
    house.bus.publish(PhaseChanged(house.bus.now, "NFO", "closed", DAY.isoformat()))
    assert [one["NSE:NIFTY"].closes[-1][0] for one in told] == [DAY]
