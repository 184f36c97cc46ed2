"""Announcer: tells people of state changes, beside the stream: log lines with stable names and fields."""

from collections.abc import Iterable
from typing import Any, ClassVar, Final

import structlog

from angelx.bus.bus import Handler
from angelx.bus.mailbox import Mailbox
from angelx.domain.events import (
    CommandReceived,
    Event,
    HealthChanged,
    IncidentReported,
    LevelChanged,
    PhaseChanged,
    SessionEnded,
    SessionStarted,
    StrategyFailed,
)

log = structlog.get_logger()

BOUND: Final = 10_000
"""State changes that may wait; one more means that nobody reads, and trading halts."""
LOUD: Final = (StrategyFailed, IncidentReported)
NAMES: Final = {
    SessionStarted: "session_started",
    SessionEnded: "session_ended",
    PhaseChanged: "phase_changed",
    CommandReceived: "command_received",
    LevelChanged: "kill_switch_moved",
    HealthChanged: "health_changed",
    StrategyFailed: "strategy_failed",
    IncidentReported: "incident",
}
LEFT_OUT: Final = frozenset({"config", "plugins"})


class Announcer:
    """A coroutine service: its mailbox fails when full, since a lost alarm is worse than a halt."""

    name: ClassVar[str] = "announcer"
    emits: ClassVar[tuple[type[Event], ...]] = ()

    def __init__(self) -> None:
        self.mailbox: Mailbox[Event] = Mailbox(self.name, BOUND)

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Whatever a person should hear of."""
        return [(kind, self.mailbox.put) for kind in NAMES]

    async def run(self) -> None:
        """Write a line for each, for as long as the process lives."""
        async for event in self.mailbox:
            self._say(event)

    def drain(self) -> None:
        """Say what still waits; the process ends."""
        for event in self.mailbox.take_all():
            self._say(event)

    def _say(self, event: Event) -> None:
        fields = {name: getattr(event, name) for name in event.__struct_fields__ if name not in LEFT_OUT}
        raised = isinstance(event, LevelChanged) and event.level != "running"
        sick = isinstance(event, HealthChanged) and event.state != "healthy"
        write = log.error if raised or isinstance(event, LOUD) else log.warning if sick else log.info
        write(NAMES[type(event)], **fields)
