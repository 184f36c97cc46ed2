"""Kill switch: turns commands and failures into levels, latched on disk; the router looks before each send."""

from collections.abc import Iterable
from typing import Any, ClassVar, Final, Protocol

from angelx.adapters.latch import LEVEL_NAMES
from angelx.bus.bus import Bus, Handler
from angelx.domain.events import CommandReceived, Event, IncidentReported, LevelChanged, OrderApproved, StrategyFailed

LEVELS: Final = LEVEL_NAMES
"""Names by level: HALT lets reductions out, FLATTEN only safe exit, SILENT nothing (SPEC 8.1)."""
NOT_ON_DISK: Final = "the kill switch is not on the disk: "
NOT_RESUMED: Final = "not resumed, the disk does not keep it: "


class Latch(Protocol):
    """The level, in memory and durable."""

    @property
    def level(self) -> int:
        """Place in `LEVELS`."""
        ...

    @property
    def reason(self) -> str:
        """Why."""
        ...

    def raise_to(self, level: int, reason: str, who: str, at: int) -> OSError | None:
        """Durable first, then memory; never lowers. Answers why it is not on the disk."""
        ...

    def lower(self, reason: str, who: str, at: int) -> None:
        """Back to running, audited; raises `OSError` where that cannot be kept: the level stays."""
        ...


class KillSwitch:
    """The listener's inline half: every level change goes through here and is recorded."""

    name: ClassVar[str] = "kill_switch"
    emits: ClassVar[tuple[type[Event], ...]] = (LevelChanged, IncidentReported)

    def __init__(self, bus: Bus, latch: Latch) -> None:
        self._bus, self._latch = bus, latch
        self._known = 0
        """The level last published."""

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Commands and failures."""
        yield CommandReceived, self.on_command
        yield StrategyFailed, self.on_failed

    def start(self) -> None:
        """Publish a level that was latched before this process began."""
        self._publish(self._latch.level, self._latch.reason, "latch")

    def on_command(self, event: CommandReceived) -> None:
        """Raise or lower the latch; other verbs are not its business."""
        if event.verb == "resume":
            self._lower(event)
        elif event.verb in LEVELS:
            self._raise(LEVELS.index(event.verb), event.reason, event.who, event.at)

    def on_failed(self, event: StrategyFailed) -> None:
        """An unexpected exception halts trading loudly."""
        reason = f"strategy {event.strategy} failed: {event.error}"
        self._raise(LEVELS.index("halt"), reason, "strategy_host", event.at)

    def _raise(self, level: int, reason: str, who: str, at: int) -> None:
        error = self._latch.raise_to(level, reason, who, at)
        if error is not None:  # it holds as long as this process lives
            self._bus.publish(IncidentReported(at, self.name, f"{NOT_ON_DISK}{error}"))
        self._publish(max(level, self._known), reason, who)

    def _lower(self, event: CommandReceived) -> None:
        try:
            self._latch.lower(event.reason, event.who, event.at)
        except OSError as error:
            self._bus.publish(IncidentReported(event.at, self.name, f"{NOT_RESUMED}{error}"))
        else:
            self._publish(0, event.reason, event.who)

    def _publish(self, level: int, reason: str, who: str) -> None:
        """The level that was asked for so far: the latch may be above, by a signal that is yet to be told."""
        if level != self._known:
            self._known = level
            self._bus.publish(LevelChanged(self._bus.now, LEVELS[level], reason, who))


class LatchedSends:
    """What the router asks as the last thing before a send: memory only."""

    def __init__(self, latch: Latch) -> None:
        self._latch = latch

    def bars(self, order: OrderApproved) -> str:
        """Why the order may not be sent; empty where it may."""
        level = self._latch.level
        if not level or (order.reduces and level < LEVELS.index("silent")):
            return ""
        return f"kill switch at {LEVELS[level]}: {self._latch.reason}"


class MemoryLatch:
    """A latch without a disk: benchmarks, and the re-run of a journal."""

    def __init__(self) -> None:
        self.level = 0
        self.reason = ""

    def raise_to(self, level: int, reason: str, who: str, at: int) -> OSError | None:
        """Never lowers."""
        if level > self.level:
            self.level, self.reason = level, reason
        return None

    def lower(self, reason: str, who: str, at: int) -> None:
        """Back to running."""
        self.level, self.reason = 0, ""
