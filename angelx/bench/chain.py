"""The chain engine measured: Greeks, work avoided, deferral, cache, and from a tick batch to a filtered signal.

The simulated day is played as the daemon plays it; the recorded day too, where it is there (`ANGELX_DATA`, or
`../shared/data`). Rows of a case that has no data are left out.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from time import perf_counter_ns
from typing import Any, ClassVar, Final

import msgspec
import numpy as np

from angelx.adapters.journal import MemoryJournal
from angelx.app.config import Config
from angelx.app.house import House
from angelx.app.session import parts_of, tick_sizes
from angelx.app.sources import Bounds, open_source
from angelx.bench import chain_greeks
from angelx.bench.rows import Row, seconds
from angelx.bus.bus import Bus
from angelx.domain.events import Signal, SignalRefused
from angelx.domain.instruments import Right
from angelx.domain.ports import TickSource
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, TickBatch
from angelx.market.black76 import FORWARD, MID, analyse
from angelx.market.differential import Differential
from angelx.market.sessions import Session, Sessions
from angelx.market.simulated import SimulatedMarket
from angelx.research.chain_play import ChainPlay
from angelx.risk.limits import BENCH
from angelx.services.filter_chain import FilterChain
from angelx.services.guard import Unguarded
from angelx.services.kill_switch import MemoryLatch
from angelx.services.quiet_memory import quiet_memory
from angelx.signals.chain_bias import ChainBias

RECORDED: Final = "nifty-options/chain_quotes_20250829_NIFTY.parquet"
LIVE: Final = 1_336
"""Contracts of the recorded chain."""
STRIKES: Final = 38
"""Of each of 18 expiries: 1,368 contracts."""
PRIORITY_BATCHES: Final = 15
"""Batches of the simulated market that hold about twenty minutes."""
TENTHS_MS: Final = 200
"""Ten steps in the two seconds in which everything must be computed once: a tenth of the chain in each."""
ROUNDS: Final = 60
DECISIONS: Final = 2_000
DECISIONS_LATE: Final = 400
PAUSE: Final = NS
"""Stream time between two decisions: every signal is forecast and scored for a quarter of an hour."""
LIVE_ROWS: Final = 8
"""Ticks of a live batch."""
FULL: Final = "full recompute whenever rows came"


def run() -> Sequence[Row]:
    """Cases `greeks-400`, `differential`, `priority`, `cache` and `tick-to-signal`."""
    return [*chain_greeks.rows(), *_differential(), *_full_chain(), *_priority(), *_cache(), *_tick_to_signal()]


# ---------------------------------------------------------------- sources
def _simulated(strikes: int = 40) -> SimulatedMarket:
    session = Sessions.load().on("NFO", date(2026, 10, 21))
    assert isinstance(session, Session)
    return SimulatedMarket(
        seed=1, session=session.day, opens_at=session.opens_at, closes_at=session.closes_at, strikes=strikes
    )


def _recorded() -> TickSource | None:
    root = Path(os.environ.get("ANGELX_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
    path = root / RECORDED
    if not path.exists():
        return None
    return open_source(_config(source=str(path)), Sessions.load(), Bounds())


def _config(source: str = "simulated", **chain: Any) -> Config:
    from angelx.app.config import load_config

    return load_config(None, {"market.source": source, **{f"chain.{key}": value for key, value in chain.items()}},
                       environ={})  # fmt: skip


def _row(case: str, metric: str, value: float, unit: str, n: int, baseline: tuple[str, float] | None = None) -> Row:
    name, beside = baseline or ("", None)
    return Row(
        bench="chain", case=case, metric=metric, value=value, unit=unit, baseline=name, baseline_value=beside, n=n
    )


def _quietly(now: int) -> None:
    """Nobody waits for progress."""


# ---------------------------------------------------------------- a day
class _Day:
    """A source played through the engine, its steps timed."""

    def __init__(self, source: TickSource, config: Config, batches: int | None = None) -> None:
        self.play = ChainPlay(_First(source, batches) if batches else source, config, Sessions.load())
        chains = self.chains = self.play.chains
        self.took: list[int] = []
        step = chains.step

        def timed(now: int, max_age_ns: int) -> None:
            before, began = chains.work.computed, perf_counter_ns()
            step(now, max_age_ns)
            if chains.work.computed > before:
                self.took.append(perf_counter_ns() - began)

        chains.step = timed  # type: ignore[method-assign]
        self.play.until(None, _quietly)


class _First:
    """The first batches of a source."""

    def __init__(self, source: TickSource, count: int) -> None:
        self._source, self._count = source, count
        self.instruments, self.kind, self.first_at = source.instruments, source.kind, source.first_at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def batches(self, first_row: int = 0) -> Iterator[TickBatch]:
        yield from islice(self._source.batches(first_row), self._count)


def _differential() -> Iterator[Row]:
    days = {"real day": _recorded(), "simulated day": _simulated()}
    for name, source in days.items():
        if source is None:
            continue
        day = _Day(source, _config())
        work, differential = day.chains.work, day.play.differential
        case = f"differential, {name}"
        same = (differential.unchanged + sum(differential.refused.values())) / differential.rows
        avoided = work.avoided
        assert avoided is not None
        yield _row(case, "rows_unchanged", same, "fraction", differential.rows)
        yield _row(case, "work_avoided", avoided, "fraction", work.steps, (FULL, 0.0))
        each = sum(day.took) / work.computed / 1e3
        yield _row(case, "us_per_changed", each, "us", work.computed)
        yield _row(case, "step_p50_us", float(np.percentile(day.took, 50)) / 1e3, "us", len(day.took))
        yield _row(case, "step_p99_us", float(np.percentile(day.took, 99)) / 1e3, "us", len(day.took))
        yield _row(case, "steps_over_budget", day.chains.waited().over_budget / work.steps, "fraction", work.steps)


def _full_chain() -> Iterator[Row]:
    """Every contract of a chain of the recorded size computed anew; beside it the bare kernel on the same contracts."""
    chains = _Day(_simulated(STRIKES), _config(), 2).chains
    lines = np.arange(min(LIVE, len(chains.layout)), dtype=np.int64)
    engine, bare = [], []
    for number in range(ROUNDS):
        shift = 1.0 + 1e-5 * (number % 2 or -1)
        chains.terms[:, FORWARD] *= shift
        chains.contracts[:, MID] *= shift
        engine.append(seconds(lambda: chains.recompute(lines)))
        bare.append(seconds(lambda: analyse(lines, chains.contracts, chains.terms, chains.greeks, chains.reasons)))
    yield _row(
        "differential", f"us_per_chain_{LIVE}", float(np.median(engine)) * 1e6, "us", ROUNDS,
        ("the bare compiled kernel on the same contracts", float(np.median(bare)) * 1e6),
    )  # fmt: skip


def _priority() -> Iterator[Row]:
    """A tenth of what a full recompute would take, a step: with steps so short that ten of them go round the chain.

    Steps a second apart would be two in that time, and half of what waits is more than a tenth of everything.
    """
    source = _simulated()
    budget = (len(source.instruments) - 1) // 10
    config = _config(budget_us=float(budget), contract_us=1.0, step_ms=TENTHS_MS)
    day = _Day(source, config, PRIORITY_BATCHES)
    waited = day.chains.waited()
    yield _row("priority", "worst_deferral_ms", waited.worst_ns / 1e6, "ms", waited.served, ("the limit", 2_000.0))
    yield _row("priority", "mean_deferral_ms", waited.waited_ns / waited.served / 1e6, "ms", waited.served)
    steps = day.chains.work.steps
    yield _row("priority", "deferred_per_step", waited.deferred / steps, "contracts", steps)
    yield _row("priority", "steps_over_budget", waited.over_budget / steps, "fraction", steps)


# ---------------------------------------------------------------- the house
class _Deciding(ChainBias):
    """The shipped strategy, made to decide at every tick it watches: it looks, chooses and signals as it always does,
    whatever the strength of the bias.
    """

    name = "deciding"
    uses_chains: ClassVar[bool] = True

    def start(self) -> None:
        super().start()
        self._again = 0

    def watches(self) -> Sequence[int]:
        legs = [next(iter(one.values())) for one in (self._calls, self._puts)]
        return [place for leg in legs for place in leg[len(leg) // 2 - 10 : len(leg) // 2 + 10].tolist()]

    def on_timer(self) -> None:
        """Decides on ticks only."""

    def on_tick(self, place: int) -> None:
        view = self._chains.views[self._underlying]
        if view.bias is None or self.desk.now < self._again:
            return
        self._again = self.desk.now + PAUSE
        found = self._choose(view, Right.CALL if view.bias > 0 else Right.PUT)
        if found is not None:
            self.desk.long(found, stop_distance=1_000, why="bench")


def _house(source: TickSource, config: Config, strategies: Sequence[Any]) -> House:
    bus = Bus()
    parts = parts_of(config, source, Sessions.load(), "bench")
    limits = msgspec.structs.replace(BENCH, max_positions=0) if strategies else parts.limits
    parts = msgspec.structs.replace(parts, strategies=strategies or parts.strategies, limits=limits)
    house = House(bus, parts, MemoryJournal(bus), MemoryLatch(), Unguarded())
    house.host.start()
    bus.advance(source.first_at)
    house.start()
    return house


def _rows(source: TickSource) -> Iterator[TickBatch]:
    differential = Differential(len(source.instruments), tick_sizes(source))
    for raw in source.batches():
        batch = differential.process(raw)
        if batch.rows:
            yield batch


def _cache() -> Iterator[Row]:
    """The shipped strategy and filters on the recorded day: what they ask the chain for, and how often it is known."""
    source = _recorded()
    if source is None:
        return
    house = _house(source, _config(), ())
    for batch in _rows(source):
        house.bus.feed(batch, 0, batch.rows)
    assert house.chains is not None
    cache = house.chains.cache
    asked = max(cache.asked, 1)
    yield _row("cache", "hit_rate", (cache.hits_within + cache.hits_across) / asked, "fraction", cache.asked)
    yield _row("cache", "hit_rate_within", cache.hits_within / asked, "fraction", cache.asked)
    yield _row("cache", "hit_rate_across", cache.hits_across / asked, "fraction", cache.asked)


def _tick_to_signal() -> Iterator[Row]:
    """Live batches of a few ticks: from the batch entering the bus to the filters' verdict, published or handed on.

    `after a step`: those that found a step of the chain due, which a loop that had no time before makes first.
    """
    for case, late in (("tick-to-signal", False), ("tick-to-signal after a step", True)):
        took = np.array(_decided(late=late)[100:], np.float64) / 1e3
        for percent in (50, 99):
            yield _row(case, f"p{percent}_us", float(np.percentile(took, percent)), "us", len(took))


def _decided(*, late: bool) -> list[int]:
    """Nanoseconds of each decision."""
    source = _simulated(STRIKES)
    watch = _Stopwatch(_house(source, _config(), [_Deciding()]), late=late)
    with quiet_memory():  # As in the daemon.
        for batch in islice(_rows(source), 1, None):
            for start in range(0, batch.rows, LIVE_ROWS):
                watch.feed(batch, start, min(start + LIVE_ROWS, batch.rows))
            if len(watch.took) > (DECISIONS_LATE if late else DECISIONS):
                break
    return watch.took


class _Stopwatch:
    """Notes how long each batch took to its first verdict.

    The rows of a live batch arrived at once. Timers that fall due before it have been fired when it comes, as by the
    daemon's loop, unless the loop is `late`: then the batch has to wait for them, and only such batches count.
    """

    def __init__(self, house: House, *, late: bool) -> None:
        self._bus, self._late, self._began = house.bus, late, 0
        self.took: list[int] = []
        chains = house.chains
        assert chains is not None
        self._chains, self._steps = chains, 0
        chain = next(one for one in house.services if isinstance(one, FilterChain))
        self._hand_on, chain.passed = chain.passed, self._passed
        house.bus.subscribe(SignalRefused, self._refused)

    def feed(self, batch: TickBatch, start: int, stop: int) -> None:
        """A live batch."""
        at = batch.view[AT, stop - 1]
        batch.table[AT, start:stop] = at
        if not self._late:
            self._bus.advance(at - 1)
        self._steps = self._chains.work.steps
        self._began = perf_counter_ns()
        self._bus.feed(batch, start, stop)
        self._began = 0

    def _passed(self, signal: Signal, confidence: float) -> None:
        self._note()
        self._hand_on(signal, confidence)

    def _refused(self, event: SignalRefused) -> None:
        self._note()

    def _note(self) -> None:
        if self._began and (not self._late or self._chains.work.steps > self._steps):
            self.took.append(perf_counter_ns() - self._began)
        self._began = 0
