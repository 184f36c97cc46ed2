"""The filter chain on a bus: every signal one answer, every margin told, what does not apply counted."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from angelx.bus.bus import Bus
from angelx.domain.events import CommandReceived, Event, Signal, SignalJudged, SignalRefused
from angelx.domain.scalars import NS
from angelx.market.chain_view import Flow
from angelx.market.freshness import Freshness
from angelx.market.sessions import Sessions
from angelx.services.filter_chain import FilterChain
from angelx.services.guard import Unguarded
from angelx.services.session_phases import Segment, SessionPhases
from angelx.signals.filters.base import NOT_APPLICABLE, Answer, Filter, Refusal, Scene
from angelx.signals.filters.bias_strength import BiasStrengthFilter
from angelx.signals.filters.oi_confirmation import OiConfirmationFilter
from angelx.signals.filters.time_of_day import TimeOfDayFilter
from angelx.signals.filters.trap import TrapFilter
from tests.signals.chain_scene import CALL, EQUITY, OPENS_AT, PUT, TABLE, UNDERLYING, FixedChains, market, view

SESSIONS = Sessions.load()
AT = OPENS_AT + 3600 * NS


class Fixed:
    """Answers what a test says, and remembers the scene."""

    name = "fixed"

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.seen: list[tuple[Any, ...]] = []

    def __call__(self, signal: Signal, scene: Scene) -> Answer:
        self.seen.append((scene.place, scene.twin, scene.window, scene.chain, scene.chains))
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: Answer = self.answer
        return answer


class Passed(NamedTuple):
    """What the risk engine is handed."""

    signal: Signal
    confidence: float


class Asked:
    """A filter chain on a bus an hour into a session."""

    def __init__(self, *filters: Filter, chains: FixedChains | None = None, before_the_open: bool = False) -> None:
        self.bus = Bus()
        self.heard: list[Event | Passed] = []
        phases = SessionPhases(self.bus, SESSIONS, ["NFO" if one.segment == "OPRA" else one.segment for one in TABLE])
        known = zip(TABLE, phases.by_place, strict=True)
        phases.by_place = tuple(Segment() if one.segment == "OPRA" else segment for one, segment in known)
        self.bus.advance(OPENS_AT - NS if before_the_open else AT - NS)
        phases.start(self.bus.now)
        self.chain = FilterChain(
            self.bus, market(), TABLE, phases, filters, Freshness("stream", 5 * NS), Unguarded(), self.pass_on, chains
        )
        for kind, handler in self.chain.handlers():
            self.bus.subscribe(kind, handler)
        for kind in (SignalRefused, SignalJudged, CommandReceived):
            self.bus.subscribe(kind, self.heard.append)
        if not before_the_open:
            self.bus.advance(AT)

    def pass_on(self, signal: Signal, confidence: float) -> None:
        self.heard.append(Passed(signal, confidence))

    def ask(self, instrument: str = CALL.id, direction: int = 1) -> list[Event | Passed]:
        before = len(self.heard)
        self.bus.publish(Signal(self.bus.now, 7, "s", instrument, direction, 100_0000, 100_0500))
        return self.heard[before:]


def good() -> FixedChains:
    chains = FixedChains(view(bias=0.5, bias_strength=0.8, trap_up=0.07, trap_down=0.9, trend_is_uncertain=False))
    chains.flows = {TABLE.index[CALL.id]: Flow(long_build_up=2_000)}
    return chains


def test_every_margin_is_told_and_the_smallest_is_the_confidence() -> None:
    filters: list[Filter] = [TimeOfDayFilter(), BiasStrengthFilter(), TrapFilter(), OiConfirmationFilter()]
    passed, judged = Asked(*filters, chains=good()).ask()
    assert isinstance(judged, SignalJudged)
    assert isinstance(passed, Passed)
    assert [name for name, _ in judged.margins] == ["time_of_day", "bias_strength", "trap", "oi_confirmation"]
    # An hour after the open is in the opening window: 0.78 is asked of the bias, 0.2 allowed of the trap.
    assert dict(judged.margins) == pytest.approx(
        {"time_of_day": 1.0, "bias_strength": 0.02 / 0.22, "trap": 0.65, "oi_confirmation": 0.5}
    )
    assert passed.confidence == min(margin for _, margin in judged.margins)
    assert (judged.signal, judged.refused_by, passed.signal.signal) == (7, "", 7)
    assert (judged.underlying, judged.outlook, judged.regime, judged.window) == (UNDERLYING, 1, "medium", "opening")


def test_a_refusal_is_told_with_the_margins_before_it() -> None:
    refused, judged = Asked(TimeOfDayFilter(), TrapFilter(), Fixed(0.5), chains=good()).ask(PUT.id)
    assert isinstance(judged, SignalJudged)
    assert (judged.refused_by, judged.margins, judged.outlook) == ("trap", (("time_of_day", 1.0),), -1)
    assert isinstance(refused, SignalRefused)
    assert (refused.by, refused.code) == ("filter", "likely_trap")


def test_what_does_not_apply_is_counted_and_no_part_of_the_confidence() -> None:
    asked = Asked(BiasStrengthFilter(), Fixed(0.3), chains=good())
    (passed,) = asked.ask(EQUITY.id)
    assert isinstance(passed, Passed)
    assert passed.confidence == 0.3
    asked.ask(EQUITY.id)
    assert asked.chain.not_applicable == {"bias_strength": 2}
    (alone,) = Asked(Fixed(NOT_APPLICABLE)).ask()
    assert isinstance(alone, Passed)
    assert alone.confidence == 1.0


def test_exits_are_not_asked_about() -> None:
    fixed = Fixed(Refusal("never", ""))
    (passed,) = Asked(fixed, chains=good()).ask(CALL.id, 0)
    assert isinstance(passed, Passed)
    assert fixed.seen == []


def test_the_scene_has_twin_window_and_chain() -> None:
    fixed, chains = Fixed(1.0), good()
    asked = Asked(fixed, TimeOfDayFilter(opening=2.0), chains=chains)
    for instrument in (CALL, PUT, EQUITY):
        asked.ask(instrument.id)
    call, put, equity = fixed.seen
    place = TABLE.index
    assert (call[:2], put[:2]) == ((place[CALL.id], place[PUT.id]), (place[PUT.id], place[CALL.id]))
    assert equity[1] == -1
    assert (call[2].name, call[2].multiplier) == ("opening", 2.0)
    assert (call[3], equity[3], call[4]) == (chains.views[UNDERLYING], None, chains)


def test_the_scene_follows_the_session() -> None:
    """Windows of one session, and the first of the next, though nothing was asked between."""
    fixed = Fixed(1.0)
    asked = Asked(fixed)
    for hours in (0, 1, 3, 4, 5, 22, 24):
        asked.bus.advance(AT + hours * 3600 * NS)
        asked.ask()
    windows = [seen[2] and seen[2].name for seen in fixed.seen]
    assert windows == ["opening", "morning", "midday", "afternoon", "closing", None, "opening"]


def test_a_session_that_opens_after_the_first_question_is_seen() -> None:
    fixed = Fixed(1.0)
    asked = Asked(fixed, before_the_open=True)
    asked.ask()
    asked.bus.advance(AT)
    asked.ask()
    assert [seen[2] and seen[2].name for seen in fixed.seen] == [None, "opening"]


@pytest.mark.parametrize("answer", [ZeroDivisionError("x"), float("nan"), 1.5, -0.1, True, None, 2, "yes"])
def test_a_filter_that_fails_refuses_and_halts(answer: Any) -> None:
    heard = Asked(Fixed(answer), chains=good()).ask()
    assert [type(event) for event in heard] == [CommandReceived, SignalRefused, SignalJudged]
    command, refused, judged = heard
    assert isinstance(command, CommandReceived)
    assert (command.verb, command.who) == ("halt", "filter_chain")
    assert isinstance(judged, SignalJudged)
    assert judged.refused_by == "fixed"
    assert isinstance(refused, SignalRefused)
    assert refused.code == "filter_failed"


@pytest.mark.parametrize("answer", [1, 0, np.float64(0.25), np.float32(0.25), np.int64(1)])
def test_a_margin_may_be_any_kind_of_number(answer: Any) -> None:
    (passed, *_) = Asked(Fixed(answer)).ask()
    assert isinstance(passed, Passed)
    assert (type(passed.confidence), passed.confidence) == (float, float(answer))


@pytest.mark.parametrize(
    "answer",
    [Refusal("wide", 3.2), Refusal(None, ""), Refusal("", "why"), Refusal("wide", "\ud800"), ValueError("\ud800")],  # type: ignore[arg-type]
)
def test_a_refusal_the_journal_could_not_keep_is_a_failure(answer: Any) -> None:
    halt, refused = Asked(Fixed(answer)).ask()
    assert isinstance(halt, CommandReceived)
    assert isinstance(refused, SignalRefused)
    assert (halt.verb, refused.code) == ("halt", "filter_failed")
    assert refused.detail == halt.reason
    assert refused.detail.encode().startswith(b"filter fixed failed: ")
