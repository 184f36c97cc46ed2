"""The kill switch alone: what each level bars, which commands move it, and what it says of it."""

import pytest

from angelx.bus.bus import Bus
from angelx.bus.service import wire
from angelx.domain.events import CommandReceived, Event, IncidentReported, LevelChanged, OrderApproved, StrategyFailed
from angelx.services.kill_switch import LEVELS, KillSwitch, LatchedSends, MemoryLatch


class FullDisk(MemoryLatch):
    """Holds in memory what it cannot write."""

    def raise_to(self, level: int, reason: str, who: str, at: int) -> OSError | None:
        super().raise_to(level, reason, who, at)
        return OSError("No space left on device")

    def lower(self, reason: str, who: str, at: int) -> None:
        raise OSError("No space left on device")


def house(latch: MemoryLatch | None = None) -> tuple[Bus, MemoryLatch, list[Event]]:
    bus, latch, said = Bus(), latch or MemoryLatch(), list[Event]()
    for kind in (LevelChanged, IncidentReported):
        bus.subscribe(kind, said.append)
    wire(bus, [KillSwitch(bus, latch)])
    return bus, latch, said


def told(verb: str, reason: str = "why") -> CommandReceived:
    return CommandReceived(5, verb, reason, "operator")


def approved(*, reduces: bool) -> OrderApproved:
    return OrderApproved(1, "a", 1, "s", "X", 1, 75, 500, reduces, 500, "lot", 1.0)


@pytest.mark.parametrize(
    ("level", "entry", "exit_"),
    [("running", True, True), ("halt", False, True), ("flatten", False, True), ("silent", False, False)],
)
def test_what_each_level_lets_out(level: str, entry: bool, exit_: bool) -> None:
    latch = MemoryLatch()
    latch.raise_to(LEVELS.index(level), "loss", "operator", 1)
    bars = LatchedSends(latch).bars
    assert [not bars(approved(reduces=reduces)) for reduces in (False, True)] == [entry, exit_]
    for why in filter(None, (bars(approved(reduces=False)), bars(approved(reduces=True)))):
        assert why == f"kill switch at {level}: loss"


def test_levels_are_raised_by_name_never_lowered_but_by_a_resume_and_told_once_each() -> None:
    bus, latch, said = house()
    for verb in ("halt", "halt", "flatten", "halt", "silent", "flatten"):
        bus.publish(told(verb, f"{verb}!"))
    bus.publish(told("resume", "fixed"))
    assert latch.level == 0
    changes = [(event.level, event.reason) for event in said if isinstance(event, LevelChanged)]
    assert changes == [("halt", "halt!"), ("flatten", "flatten!"), ("silent", "silent!"), ("running", "fixed")]
    assert all(isinstance(event, LevelChanged) and event.who == "operator" for event in said)


def test_signals_in_quick_succession_are_told_one_by_one_each_with_its_own_reason() -> None:
    """Handlers latch at once; the stream hears of each a moment later, after commands that came before."""
    bus, latch, said = house()
    latch.raise_to(1, "SIGUSR1", "signal", 1)
    latch.raise_to(2, "SIGUSR2", "signal", 1)
    for verb in ("reload", "halt", "flatten"):
        bus.publish(told(verb, f"{verb}!"))
    changes = [(event.level, event.reason) for event in said if isinstance(event, LevelChanged)]
    assert changes == [("halt", "halt!"), ("flatten", "flatten!")]


@pytest.mark.parametrize("verb", ["stop", "reload", "status"])
def test_other_commands_are_not_its_business(verb: str) -> None:
    bus, latch, said = house()
    bus.publish(told(verb))
    assert (latch.level, said) == (0, [])
    latch.raise_to(1, "before", "operator", 1)
    bus.publish(told(verb))
    assert latch.level == 1


def test_a_strategy_that_fails_halts_and_is_named() -> None:
    bus, latch, said = house()
    bus.publish(StrategyFailed(7, "gambler", "ZeroDivisionError: division by zero"))
    assert (latch.level, latch.reason) == (1, "strategy gambler failed: ZeroDivisionError: division by zero")
    assert [(event.level, event.who) for event in said if isinstance(event, LevelChanged)] == [
        ("halt", "strategy_host")
    ]


def test_a_level_that_is_not_on_the_disk_holds_and_is_told() -> None:
    bus, latch, said = house(FullDisk())
    bus.publish(told("halt"))
    assert latch.level == 1
    incident, change = said
    assert isinstance(incident, IncidentReported)
    assert incident.what == "the kill switch is not on the disk: No space left on device"
    assert isinstance(change, LevelChanged)


def test_a_resume_that_the_disk_does_not_keep_is_told_and_the_level_stays() -> None:
    bus, latch, said = house(FullDisk())
    bus.publish(told("halt"))
    del said[:]
    bus.publish(told("resume"))
    (incident,) = said
    assert isinstance(incident, IncidentReported)
    assert incident.what == "not resumed, the disk does not keep it: No space left on device"
    assert latch.level == 1


def test_what_was_latched_before_is_told_at_the_start() -> None:
    bus, latch, said = Bus(), MemoryLatch(), list[Event]()
    bus.subscribe(LevelChanged, said.append)
    switch = KillSwitch(bus, latch)
    switch.start()
    assert said == []
    latch.raise_to(2, "yesterday", "operator", 1)
    switch.start()
    assert [(e.level, e.reason, e.who) for e in said if isinstance(e, LevelChanged)] == [
        ("flatten", "yesterday", "latch")
    ]
