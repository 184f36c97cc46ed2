"""What the re-run of a journal takes from it as given: the host's part, which a re-run cannot have again."""

from angelx.bus.bus import Bus
from angelx.bus.records import Record
from angelx.bus.service import wire
from angelx.domain.events import CommandReceived, Event, IncidentReported, LevelChanged
from angelx.research.journal_replay import _latch_at_start
from angelx.services.kill_switch import KillSwitch, MemoryLatch


class FullDisk(MemoryLatch):
    """Cannot write the second change."""

    def raise_to(self, level: int, reason: str, who: str, at: int) -> OSError | None:
        super().raise_to(level, reason, who, at)
        return OSError(28, "No space left on device") if at == 7 else None


def said(latch: MemoryLatch) -> list[Event]:
    bus, events = Bus(), list[Event]()
    for kind in (CommandReceived, LevelChanged, IncidentReported):
        bus.subscribe(kind, events.append)
    wire(bus, [KillSwitch(bus, latch)])
    for at, verb in ((5, "halt"), (7, "flatten"), (9, "silent")):
        bus.advance(at)
        bus.publish(CommandReceived(at, verb, "why", "operator"))
    return events


def test_a_kill_switch_that_did_not_reach_the_disk_does_not_reach_it_again() -> None:
    recorded = said(FullDisk())
    assert sum(isinstance(event, IncidentReported) for event in recorded) == 1
    records = [Record(number, number, 0, event) for number, event in enumerate(recorded, 1)]
    assert said(_latch_at_start(records)) == recorded
