"""How long a person's own code may take."""

from collections.abc import Callable
from typing import Any, Protocol


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
