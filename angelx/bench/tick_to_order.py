"""From a tick batch entering the bus to the approved order in the broker's hands, everything wired."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from angelx.adapters.journal import PRAGMAS, SqliteJournal
from angelx.bench.house import BenchHouse
from angelx.bench.market import BareRule, QuoteSource
from angelx.bench.rows import Row
from angelx.domain.events import OrderApproved
from angelx.domain.ticks import ASK, AT, BID, TickBatch
from angelx.services.quiet_memory import quiet_memory

TICKS: Final = 200_000
COLD_TICKS: Final = 4_000
COLD_GAP_S: Final = 0.005
DURABLE_TICKS: Final = 30_000
WARM: Final = 500
"""Orders left out at the start."""
BARE_DECISION: Final = "bare Python decision of the rule"
BARE_COMMIT: Final = "bare SQLite commit"


class _Stopwatch:
    """Notes when the broker is handed each order; the paper broker then goes on as always."""

    def __init__(self, bench: BenchHouse) -> None:
        self.began = 0
        self.took: list[int] = []
        broker = bench.house.broker
        submit = broker.submit

        def timed(order: OrderApproved) -> None:
            self.took.append(time.perf_counter_ns() - self.began)
            submit(order)

        broker.submit = timed  # type: ignore[method-assign]


def run() -> Sequence[Row]:
    """Cases `memory`, `cold` and `durable`, metrics `p50_us` and `p99_us`.

    Beside `memory` and `cold` stands what the rule costs in plain Python under the same conditions: how fast, and how
    cold, this machine is. Beside `durable` stands a bare commit.
    """
    source = QuoteSource(TICKS)

    def gap() -> None:
        time.sleep(COLD_GAP_S)  # noqa: TID251  (the gap is what is measured)

    took, bare = _ticks(BenchHouse(source), source, TICKS, _at_once), _bare_ticks(source, TICKS, _at_once)
    rows = _rows("memory", took[WARM:], BARE_DECISION, bare[WARM:])
    took, bare = _ticks(BenchHouse(source), source, COLD_TICKS, gap), _bare_ticks(source, COLD_TICKS, gap)
    rows += _rows("cold", took, BARE_DECISION, bare)
    with tempfile.TemporaryDirectory() as directory:
        rows += _durable(source, Path(directory))
    return rows


def _ticks(bench: BenchHouse, source: QuoteSource, count: int, between: Callable[[], None]) -> NDArray[np.float64]:
    """One tick a batch; microseconds to each order."""
    watch = _Stopwatch(bench)
    feed, clock = bench.bus.feed, time.perf_counter_ns
    with quiet_memory():
        for batch, row in _one_by_one(map(bench.validated, source.batches()), count, between):
            watch.began = clock()
            feed(batch, row, row + 1)
    return np.array(watch.took, np.float64) / 1e3


def _one_by_one(
    batches: Iterable[TickBatch], count: int, between: Callable[[], None]
) -> Iterator[tuple[TickBatch, int]]:
    """The first `count` rows, each with its batch, after what comes between two ticks."""
    rows = ((batch, row) for batch in batches for row in range(batch.rows))
    for tick in islice(rows, count):
        between()
        yield tick


def _at_once() -> None:
    """The next tick follows the last."""


def _bare_ticks(source: QuoteSource, count: int, between: Callable[[], None]) -> NDArray[np.float64]:
    """The rule in plain Python, a tick at a time, an order made and kept; microseconds to each."""
    clock, orders, took = time.perf_counter_ns, list[tuple[int, str, int, int]](), list[int]()
    rule = BareRule()
    with quiet_memory():
        for batch, row in _one_by_one(source.batches(), count, between):
            began, view = clock(), batch.view
            bid, ask = view[BID, row], view[ASK, row]
            units = rule.quote(bid, ask)
            if units:
                orders.append((view[AT, row], f"bare{len(orders)}", units, ask if units > 0 else bid))
                took.append(clock() - began)
    return np.array(took, np.float64) / 1e3


def _durable(source: QuoteSource, directory: Path) -> list[Row]:
    """Each order's intent is on the disk before the send; in turn with it a bare commit of the same bytes."""
    bench = BenchHouse(source, directory / "journal.db", durable=True)
    journal = bench.journal
    assert isinstance(journal, SqliteJournal)
    bare = _BareCommit(directory / "bare.db")
    commits: list[float] = []

    def settle() -> None:
        """What the live loop does between inputs: the rest of the last cascade becomes durable; then the baseline."""
        if journal.pending:
            journal.flush()
            commits.append(bare.commit())

    took = _ticks(bench, source, DURABLE_TICKS, settle)
    bench.close()
    bare.close()
    return _rows("durable", took[20:], BARE_COMMIT, np.array(commits[20:]))


class _BareCommit:
    """A row of an intent's size into SQLite, committed, with the journal's pragmas."""

    def __init__(self, path: Path) -> None:
        import sqlite3

        self._db = sqlite3.connect(path, isolation_level=None)
        for pragma in PRAGMAS:
            self._db.execute(f"pragma {pragma}")
        self._db.execute("create table bare(n integer primary key, body blob)")
        self._body = b"x" * 400

    def commit(self) -> float:
        """Microseconds of one transaction."""
        began = time.perf_counter_ns()
        self._db.execute("begin immediate")
        self._db.execute("insert into bare(body) values (?)", (self._body,))
        self._db.execute("commit")
        return (time.perf_counter_ns() - began) / 1e3

    def close(self) -> None:
        self._db.close()


def _rows(case: str, took: NDArray[np.float64], baseline: str, bare: NDArray[np.float64]) -> list[Row]:
    return [
        Row(
            bench="tick-to-order",
            case=case,
            metric=f"p{percent}_us",
            value=float(np.percentile(took, percent)),
            unit="us",
            baseline=baseline,
            baseline_value=float(np.percentile(bare, percent)),
            n=len(took),
        )
        for percent in (50, 99)
    ]
