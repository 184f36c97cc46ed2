"""The real house on the real bus around a small market: three instruments, minutes of quotes, busy strategies."""

from collections.abc import Sequence
from datetime import date
from random import Random
from typing import Any

import numpy as np
from msgspec.structs import replace

from angelx.adapters.journal import MemoryJournal
from angelx.app.house import House, Paper, Parts
from angelx.bus.bus import Bus
from angelx.bus.records import Record
from angelx.domain.events import Event
from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.scalars import NS
from angelx.domain.ticks import (
    ASK,
    ASK_SIZE,
    AT,
    BID,
    BID_SIZE,
    EXCHANGE_AT,
    INSTRUMENT,
    LAST,
    Rows,
    TickBatch,
    batch_of,
)
from angelx.market.differential import Differential
from angelx.market.sessions import Sessions
from angelx.risk.limits import BENCH, Limits
from angelx.services.guard import Guard, Unguarded
from angelx.services.kill_switch import MemoryLatch
from angelx.signals.filters.base import Filter
from angelx.signals.filters.standard import FreshnessFilter, SessionFilter, SpreadFilter
from angelx.signals.strategy import ScanningStrategy, Strategy
from angelx.venue.admission import Bands

SESSIONS = Sessions.load()
DAY = date(2026, 1, 5)
OPENS_AT = 1_767_584_700 * NS
CLOSES_AT = OPENS_AT + 375 * 60 * NS
CAPITAL = 10**11
TICK = 500
LOT = 75


def option(right: Right) -> Instrument:
    return Instrument(
        id=f"NFO:{right}", symbol=right, segment="NFO", kind=Kind.OPTION, currency="INR", tick_size=TICK, lot_size=LOT,
        freeze_quantity=20 * LOT, underlying="NSE:X", expiry=date(2026, 1, 6), strike=24_000_0000, right=right,
    )  # fmt: skip


EQUITY = Instrument(id="NSE:X", symbol="X", segment="NSE", kind=Kind.EQUITY, currency="INR", tick_size=TICK)
CALL, PUT = option(Right.CALL), option(Right.PUT)
TABLE = InstrumentTable([EQUITY, CALL, PUT])

LIMITS = replace(
    BENCH, fixed_units=4 * LOT, collar_ticks=(0, 1, 2, 4), orders_per_s=8, allow_cross=False, allow_short=False
)
"""Never binds but where a test says so; exits and entries are apart, and limits rest when the touch moves away."""


def fee(instrument: Instrument, side: int, quantity: int, notional: int, at: int) -> int:
    return quantity * 7


class Gambler(Strategy):
    """In and out at random, of everything it watches; the same stream of calls makes the same signals."""

    def __init__(self, name: str, seed: int, places: Sequence[int] = (0, 1, 2), *, eager: float = 0.3) -> None:
        self.name, self._seed, self._places, self._eager = name, seed, places, eager

    def start(self) -> None:
        self._random = Random(self._seed)

    def watches(self) -> Sequence[int]:
        return self._places

    def on_tick(self, place: int) -> None:
        if self._random.random() > self._eager:
            return
        if self.desk.position(place):
            self.desk.flat(place, why="enough")
        else:
            self.desk.long(place, why="lucky")


class Sampler(ScanningStrategy):
    """In and out at rows that a sum of their cells picks: most rows pass between two decisions."""

    def __init__(self, name: str, place: int, every: int = 11, *, every_s: float = 0.0) -> None:
        self.name, self._place, self._every = name, place, every
        self.every_s = every_s  # type: ignore[misc]

    def start(self) -> None:
        self.decisions: list[int] = []

    def prepare(self, batch: TickBatch) -> None:
        table = batch.table
        cells = table[BID] // TICK + table[BID_SIZE] // LOT + table[ASK_SIZE] + table[AT] // 1_000
        self._picked = np.flatnonzero((table[INSTRUMENT] == self._place) & (cells % self._every == 0))

    def scan(self, start: int, stop: int) -> int:
        if self.desk.working(self._place):
            return stop
        found = self._picked[np.searchsorted(self._picked, start) :]
        return int(found[0]) if found.size and found[0] < stop else stop

    def decide(self, row: int) -> None:
        self.decisions.append(self.desk.now)
        self._turn()

    def on_timer(self) -> None:
        self._turn()

    def _turn(self) -> None:
        if self.desk.position(self._place):
            self.desk.flat(self._place, why=f"out {len(self.decisions)}")
        else:
            self.desk.long(self._place, why=f"in {len(self.decisions)}")


class Holder(Strategy):
    """Buys once on the first changed row of each instrument it watches, and holds."""

    intraday = True

    def __init__(self, name: str = "holder", places: Sequence[int] = (1,)) -> None:
        self.name, self._places = name, places
        self.heard: list[Event] = []

    def start(self) -> None:
        self._bought: set[int] = set()

    def watches(self) -> Sequence[int]:
        return self._places

    def on_tick(self, place: int) -> None:
        if place not in self._bought and self.desk.long(place, why="hold"):
            self._bought.add(place)

    def on_refused(self, event: Event) -> None:
        self.heard.append(event)


def market(
    seed: int,
    rows: int,
    *,
    begins_at: int = OPENS_AT + NS,
    gap_ns: int = 60_000_000,
    pause_ns: int = 0,
    calm: bool = False,
) -> TickBatch:
    """Random quotes; sizes of a few lots, so that orders fill in parts. `calm`: prices stand, every row
    changes sizes. `pause_ns` passes after every 25 rows."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, len(TABLE), rows)
    at = begins_at + np.cumsum(rng.integers(0, 2 * gap_ns // 1000, rows)) * 1000
    at += np.arange(rows) // 25 * pause_ns
    steps = np.zeros((rows, len(TABLE)), np.int64)
    if not calm:
        steps[np.arange(rows), places] = rng.integers(-2, 3, rows)
    mid = (2_000 + np.maximum(np.cumsum(steps, 0), -1_900))[np.arange(rows), places]
    spread = np.ones(rows, np.int64) if calm else rng.integers(1, 3, rows)
    bid, ask = mid * TICK, (mid + spread) * TICK
    return batch_of(
        {
            INSTRUMENT: places, AT: at, EXCHANGE_AT: at - 1_000, BID: bid, ASK: ask, LAST: bid,
            BID_SIZE: LOT * rng.integers(1, 7, rows), ASK_SIZE: LOT * rng.integers(1, 7, rows) + np.arange(rows) % 2,
        }
    )  # fmt: skip


def cut(batch: TickBatch, start: int, stop: int) -> TickBatch:
    return TickBatch(np.ascontiguousarray(batch.table[:, start:stop]))


class Play:
    """A house, its journal in memory, and a way to feed it."""

    def __init__(
        self,
        strategies: Sequence[Strategy],
        *,
        limits: Limits = LIMITS,
        latency_ns: int = 0,
        jitter_ns: int = 0,
        reject_rate: float = 0.0,
        filters: Sequence[Filter] | None = None,
        latch: MemoryLatch | None = None,
        begins_at: int = OPENS_AT,
        bus: Bus | None = None,
        records: Sequence[Record] = (),
        unclean: bool = False,
        start: bool = True,
        flat_before_close_ns: int = 20 * 60 * NS,
        source_kind: str = "stream",
        silent_feed_ns: int = 3600 * NS,
        guard: Guard | None = None,
        **more: Any,
    ) -> None:
        self.bus = bus or Bus()
        self.journal = MemoryJournal(self.bus)
        self.latch = latch or MemoryLatch()
        standard: list[Filter] = [SessionFilter(), FreshnessFilter(), SpreadFilter(max_bps=100, max_ticks=9)]
        parts = Parts(
            instruments=TABLE, source_kind=source_kind, strategies=strategies,
            filters=standard if filters is None else filters, limits=limits,
            paper=Paper(
                fee=fee, latency_ns=latency_ns, jitter_ns=jitter_ns, reject_rate=reject_rate,
                bands=Bands(equity_pct=0, option_pct=0),
            ),
            sessions=SESSIONS, run="flow", capital=CAPITAL, seed=1, flat_before_close_ns=flat_before_close_ns,
            silent_feed_ns=silent_feed_ns, **more,
        )  # fmt: skip
        self.house = House(self.bus, parts, self.journal, self.latch, guard or Unguarded())
        self.differential = Differential(len(TABLE), [TICK] * len(TABLE))
        self.house.host.start()
        if records:
            self.house.restore(records)
        if start:
            self.bus.advance(begins_at)
            self.house.start(unclean=unclean)

    def feed(self, batch: TickBatch, size: int = 4096) -> "Play":
        """Rows in batches of `size`."""
        marked = self.differential.process(TickBatch(batch.table.copy()))
        for start in range(0, marked.rows, size):
            part = cut(marked, start, min(start + size, marked.rows))
            self.bus.feed(part, 0, part.rows)
        return self

    def warm(self, batch: TickBatch) -> None:
        """Rows of before a restart."""
        marked = self.differential.process(TickBatch(batch.table.copy()))
        if marked.rows:
            self.house.market.fold(Rows(marked, 0, marked.rows))
            self.house.host.warm(marked)

    def pass_time(self, seconds: float) -> "Play":
        self.bus.advance(self.bus.now + int(seconds * NS))
        return self

    @property
    def records(self) -> list[Record]:
        return [Record(number, *entry) for number, entry in enumerate(self.journal.records, 1)]

    @property
    def events(self) -> list[Event]:
        return [event for _, _, event in self.journal.records]

    def of(self, *kinds: type[Any]) -> list[Any]:
        """Recorded events of these classes."""
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def held(self) -> dict[str, int]:
        """Signed units by instrument, as the ledger has them."""
        found: dict[str, int] = {}
        for position in self.house.ledger.positions.values():
            if position.quantity:
                found[position.instrument] = found.get(position.instrument, 0) + position.quantity
        return found
