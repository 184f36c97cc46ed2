"""What a service declares about itself: the wiring, the graph and the wiring test are all made from it."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from angelx.bus.bus import Bus, Handler, Probe
from angelx.domain.events import Event


class Service(Protocol):
    """A part of the house. Its handlers run inline, in the order in which services were wired."""

    name: ClassVar[str]
    emits: ClassVar[tuple[type[Event], ...]]
    """Everything it may publish."""

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """What it consumes, and by which method."""
        ...


@runtime_checkable
class Deciding(Protocol):
    """A service that may cut a run of rows."""

    probe: Probe


@runtime_checkable
class Waking(Protocol):
    """A service that some events concern only from a certain moment on: it subscribes these itself, when that comes."""

    def later(self) -> Iterable[tuple[type[Any], Handler]]:
        """What it consumes from then on, and by which method."""
        ...


@runtime_checkable
class Handing(Protocol):
    """A service that hands something to another without an event: what, and to whom. Drawn in the graph."""

    hands_to: ClassVar[tuple[str, str]]


def wire(bus: Bus, services: Sequence[Service]) -> None:
    """Subscribe every service, in order."""
    for service in services:
        for kind, handler in service.handlers():
            bus.subscribe(kind, handler)
        if isinstance(service, Deciding):
            bus.probe(service.probe)


def consumes(service: Service) -> tuple[type[Any], ...]:
    """What a service consumes, in its order of declaration."""
    later = service.later() if isinstance(service, Waking) else ()
    return tuple(kind for kind, _ in (*service.handlers(), *later))
