"""What a server keeps beside its exchange (rules, combinations, settings), so that it outlives the process."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec


class Kept(msgspec.Struct, frozen=True):
    """One thing, as plain data; `None` = it is no more."""

    name: str
    value: Any


class Keeper:
    """Told of every change; who writes it down hangs itself on."""

    def __init__(self) -> None:
        self.on_change: list[Callable[[Kept], None]] = []

    def put(self, name: str, value: Any) -> None:
        """From now on this is what is kept under a name."""
        for hook in self.on_change:
            hook(Kept(name, msgspec.to_builtins(value)))


@runtime_checkable
class Keeps(Protocol):
    """A server that keeps something."""

    kept: Keeper

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take up what an earlier process kept, once its exchange is where it was; before anybody asks."""
        ...
