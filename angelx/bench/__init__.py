"""Benchmarks, each beside its baseline in the same run."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final

from angelx.bench.rows import Row

_MODULES: Final = {
    "bus": "bus",
    "tick-to-order": "tick_to_order",
    "replay": "replay",
    "journal": "journal",
    "chain": "chain",
    "wire": "wire",
}


def _runner(module: str) -> Callable[[], Sequence[Row]]:
    def run() -> Sequence[Row]:
        found: Callable[[], Sequence[Row]] = import_module(f"angelx.bench.{module}").run
        return found()

    return run


BENCHES: Final[dict[str, Callable[[], Sequence[Row]]]] = {name: _runner(module) for name, module in _MODULES.items()}
"""What `angelx bench NAME` runs, by name."""
