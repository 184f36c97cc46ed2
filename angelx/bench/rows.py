"""What a benchmark answers with: one measured figure beside its baseline."""

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import msgspec


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. `value` and `baseline_value` are medians of `n`, measured in turn in the same run."""

    bench: str
    case: str
    metric: str
    value: float
    unit: str
    baseline: str
    """What the baseline is; empty where there is none."""
    baseline_value: float | None
    n: int

    @property
    def ratio(self) -> float | None:
        """Value ÷ baseline; `None` without one."""
        return self.value / self.baseline_value if self.baseline_value else None

    def as_dict(self) -> dict[str, Any]:
        """The row as printed, figures rounded to six significant digits."""
        return {
            **msgspec.to_builtins(self),
            "value": _short(self.value),
            "baseline_value": None if self.baseline_value is None else _short(self.baseline_value),
            "ratio": None if self.ratio is None else _short(self.ratio),
        }


def _short(value: float) -> float:
    if float(value).is_integer():
        return int(value)
    return float(f"{value:.6g}")


def paired(measured: Callable[[], float], baseline: Callable[[], float], n: int) -> tuple[float, float]:
    """Medians of two measurements taken in turn, n times each, so that a machine whose speed drifts slows both."""
    values, baselines = [], []
    for _ in range(n):
        baselines.append(baseline())
        values.append(measured())
    return median(values), median(baselines)


def seconds(work: Callable[[], object]) -> float:
    """How long it took, on the monotonic clock."""
    began = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began) / 1e9


def table_of(name: str, rows: Sequence[Row]) -> Iterator[str]:
    """The rows for a person."""
    yield f"bench {name}"
    for row in rows:
        beside = ""
        if row.baseline_value is not None and row.ratio is not None:
            beside = f"   {row.baseline}: {row.baseline_value:,.4g} {row.unit}, ratio {row.ratio:.3g}"
        yield f"  {row.case:<12} {row.metric:<14} {row.value:>14,.6g} {row.unit:<10} n={row.n}{beside}"
