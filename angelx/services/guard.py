"""How long a person's own code may take, and what it may raise."""

from asyncio import CancelledError
from collections.abc import Callable
from typing import Any, Final, Protocol

from angelx.adapters.signals import StrategyTimeout

RAISED: Final = (Exception, SystemExit, GeneratorExit, CancelledError, StrategyTimeout)
"""It may do anything; Ctrl-C alone is nobody's mistake."""


class Guard(Protocol):
    """Bounds the time that a strategy's code may take."""

    def call(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Call the function; raises `StrategyTimeout` where it takes too long."""
        ...


class Unguarded:
    """No bound: benchmarks, and the re-run of a journal."""

    def call(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Call the function."""
        return function(*args)
