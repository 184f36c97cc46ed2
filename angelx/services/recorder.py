"""Recorder: writes every recorded event to the journal before anybody acts on it."""

from collections.abc import Iterable
from typing import Any, ClassVar

from angelx.bus.bus import Handler
from angelx.domain.events import RECORDED, Event, OrderApproved
from angelx.domain.ports import Journal


class Recorder:
    """Wired first. Intents are the router's to record, so that they are durable before they are sent."""

    name: ClassVar[str] = "recorder"
    emits: ClassVar[tuple[type[Event], ...]] = ()

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Every recorded class but the intent."""
        return [(kind, self._journal.record) for kind in RECORDED if kind is not OrderApproved]
