"""The million quotes and the EMA rule through everything, journal on, beside the bare Python loop of the rule."""

import resource
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from angelx.bench.house import BenchHouse
from angelx.bench.market import QuoteSource, bare_loop
from angelx.bench.rows import Row, paired, seconds
from angelx.domain.scalars import SCALE
from angelx.domain.ticks import ASK, BID
from angelx.services.quiet_memory import quiet_memory

ROUNDS: Final = 5
BARE: Final = "bare Python loop of the rule"
MEGABYTE: Final = 1024 * 1024


def run() -> Sequence[Row]:
    """Rows `ema` and `noop`: ticks per second beside the bare loop, peak memory, and what the `ema` case traded."""
    source = QuoteSource()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as directory:
        for case in ("ema", "noop"):
            rows += _case(source, case, Path(directory))
    return rows


def _case(source: QuoteSource, case: str, directory: Path) -> list[Row]:
    outcome: dict[str, float] = {}

    def measured() -> float:
        path = directory / "journal.db"
        path.unlink(missing_ok=True)
        house = BenchHouse(source, path, trading=case == "ema")
        with quiet_memory():
            forget_peak()
            took = seconds(house.replay) + seconds(house.close)
        outcome.update(orders=house.orders, pnl=house.pnl / SCALE, peak=peak_mb())
        return source.rows / took

    value, bare = paired(measured, lambda: source.rows / _bare(source), ROUNDS)
    found = [_row(case, "ticks_per_s", value, "ticks/s", ROUNDS, bare), _row(case, "peak_mb", outcome["peak"], "MB", 1)]
    if case == "ema":
        found.append(_row(case, "orders", outcome["orders"], "orders", ROUNDS))
        found.append(_row(case, "pnl", outcome["pnl"], "currency", ROUNDS))
    return found


def _row(case: str, metric: str, value: float, unit: str, n: int, bare: float | None = None) -> Row:
    baseline = "" if bare is None else BARE
    return Row(
        bench="replay", case=case, metric=metric, value=value, unit=unit, baseline=baseline, baseline_value=bare, n=n
    )


def _bare(source: QuoteSource) -> float:
    bids: list[int] = []
    asks: list[int] = []
    for batch in source.batches():
        bids += batch.table[BID].tolist()
        asks += batch.table[ASK].tolist()
    return seconds(lambda: bare_loop(bids, asks))


def forget_peak() -> None:
    """Begin the peak anew, so that the baseline's lists are not counted; only Linux can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb() -> float:
    """Largest resident memory of this process, the source's rows included, MB of 1024² bytes."""
    with suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MEGABYTE if sys.platform == "darwin" else peak / 1024
