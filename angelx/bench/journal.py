"""Durable appends per second, single and in groups, beside bare SQLite with the same pragmas."""

import sqlite3
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from angelx.adapters.journal import PRAGMAS, SqliteJournal
from angelx.bench.rows import Row, paired, seconds
from angelx.bus.bus import Bus
from angelx.bus.records import encode
from angelx.domain.events import OrderFilled

SINGLES: Final = 300
GROUP: Final = 100
GROUPS: Final = 100
ROUNDS: Final = 5
FILL: Final = OrderFilled(1_767_584_700_000_000_000, "ax7H2K9QWERTYUIOPA", "NSE:BENCH", 1, 200, 25_000_000, 0, "P123")


def run() -> Sequence[Row]:
    """Cases `single` and `group-100`, metric `records_per_s`."""
    rows = []
    for case, group, count in (("single", 1, SINGLES), (f"group-{GROUP}", GROUP, GROUPS)):
        with tempfile.TemporaryDirectory() as directory:
            value, bare = paired(
                partial(_appended, Path(directory), group, count),
                partial(_bare, Path(directory), group, count),
                ROUNDS,
            )
        rows.append(
            Row(
                bench="journal", case=case, metric="records_per_s", value=value, unit="records/s",
                baseline="bare SQLite, same pragmas", baseline_value=bare, n=ROUNDS,
            )
        )  # fmt: skip
    return rows


def _appended(directory: Path, group: int, count: int) -> float:
    journal = SqliteJournal(Bus(), directory / "journal.db")

    def work() -> None:
        for _ in range(count):
            for _ in range(group):
                journal.record(FILL)
            journal.flush()

    took = seconds(work)
    journal.close()
    return group * count / took


def _bare(directory: Path, group: int, count: int) -> float:
    database = sqlite3.connect(directory / "bare.db", isolation_level=None)
    for pragma in PRAGMAS:
        database.execute(f"pragma {pragma}")
    database.execute("create table if not exists bare(n integer primary key, body blob)")
    rows = [(encode([(1, 1, 1, FILL)]),)] * group

    def work() -> None:
        for _ in range(count):
            database.execute("begin immediate")
            database.executemany("insert into bare(body) values (?)", rows)
            database.execute("commit")

    took = seconds(work)
    database.close()
    return group * count / took
