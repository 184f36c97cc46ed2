"""Forecasts and what is learned of them, in stream time: against a slow scorer that sees the whole path."""

from collections.abc import Sequence
from datetime import date
from math import exp, log
from typing import Any

import numpy as np
import pytest

from angelx.bus.bus import Bus
from angelx.domain.events import Event, ForecastMade, ForecastScored, SignalJudged, TuningLearned, WorkDone, WorkFailed
from angelx.domain.scalars import NS
from angelx.market.chain_view import ChainView
from angelx.market.sessions import Sessions
from angelx.services.forecasts import CHECK_NS, EVERY_NS, STALE_NS, Forecasts
from angelx.services.isolation import InlinePool, Isolation
from angelx.services.learner import Learner
from angelx.services.session_phases import SessionPhases
from angelx.signals.bias import BiasSkill, implied_move
from angelx.signals.filters.bias_strength import BiasStrengthFilter
from angelx.signals.judge import ChainMemory
from angelx.signals.trap import BARRIER, HORIZON_NS, Evidence, TrapModel, refit
from angelx.signals.tuning import Tuning, tuning_of
from tests.signals.chain_scene import CLOSES_AT, EXPIRY, OPENS_AT, TABLE, UNDERLYING, FixedChains, view

SESSIONS = Sessions.load()
EVIDENCE = (Evidence(0.5, 0.1, 0.2, 0.3, 0.4), Evidence(0.4, 0.3, 0.2, 0.1, 0.0))


class Session:
    """Forecasts on a bus with a chain whose price walks."""

    def __init__(
        self, seed: int = 1, *, tunes: bool = True, tuning: Tuning | None = None, before: Sequence[Event] = (),
        begins_at: int = OPENS_AT - NS,
    ) -> None:  # fmt: skip
        self.bus = Bus()
        self.events: list[Event] = []
        for kind in (ForecastMade, ForecastScored, WorkDone, WorkFailed, TuningLearned):
            self.bus.subscribe(kind, self.events.append)
        self.phases = SessionPhases(self.bus, SESSIONS, {"NFO"})
        self.view: ChainView = view(bias=0.2, bias_strength=0.5, bias_chance=0.51, trap_up=0.1, trap_down=0.3)
        self.forecasts = Forecasts(self.bus, FixedChains(self.view), self.phases, TABLE, lambda name: EVIDENCE)
        self.isolation = Isolation(self.bus, InlinePool(), waits=True)
        self.memory = ChainMemory()
        self.filter = BiasStrengthFilter()
        self.learner = Learner(
            self.bus, self.isolation, self.phases, [self.filter], {UNDERLYING: self.memory}, tuning or Tuning(),
            applies=tunes,
        )  # fmt: skip
        for service in (self.phases, self.forecasts, self.isolation, self.learner):
            for kind, handler in service.handlers():
                self.bus.subscribe(kind, handler)
        self.path: dict[int, float] = {}
        self.random = np.random.default_rng(seed)
        front, self.view.front = self.view.front, None  # A journal is restored before the first row.
        for event in before:
            self.forecasts.restore(event)
            self.learner.restore(event)
        self.view.front = front
        self.bus.advance(begins_at)
        self.phases.start(self.bus.now)

    def walk(self, until: int, *, stale: tuple[int, int] = (0, 0), every: int = CHECK_NS) -> "Session":
        """Prices just before each look, all the same implied volatility."""
        price = self.view.expiries[EXPIRY].forward or 0.0
        for at in range(max(OPENS_AT, self.bus.now // every * every + every), until + 1, every):
            price *= exp(float(self.random.normal()) * 2.0 * implied_move(0.12, every))
            if not stale[0] <= at < stale[1]:
                self.view.at = at - 1
                self.view.expiries[EXPIRY].forward = price
            self.path[at] = self.view.expiries[EXPIRY].forward or 0.0
            self.bus.advance(at)
        self.bus.advance(until)
        return self

    def of(self, kind: type[Any], name: str = "") -> list[Any]:
        return [one for one in self.events if type(one) is kind and (not name or getattr(one, "name", "") == name)]


def outcome(session: Session, made: ForecastMade) -> int:
    """From the whole path at once."""
    later = [session.path[at] for at in sorted(session.path) if made.at < at <= made.at + made.horizon_ns]
    if not made.barrier:
        return int(later[-1] > made.price) if made.signal >= 0 else int(later[-1] < made.price)
    moves = [log(price / made.price) for price in later]
    first = next((move for move in moves if abs(move) >= made.barrier - 1e-12), 0.0)
    return int(first < 0) if made.name == "trap_up" else int(first > 0)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_minute_is_forecast_and_scored_as_the_path_says(seed: int) -> None:
    session = Session(seed).walk(CLOSES_AT + NS)
    made = {one.forecast: one for one in session.of(ForecastMade)}
    scored = session.of(ForecastScored)
    minutes = (CLOSES_AT - HORIZON_NS - OPENS_AT) // EVERY_NS
    assert [len(session.of(ForecastMade, name)) for name in ("bias", "trap_up", "trap_down")] == [minutes] * 3
    assert sorted(one.forecast for one in scored) == sorted(made)
    for one in scored:
        assert one.outcome == outcome(session, made[one.forecast]), made[one.forecast]
        assert one.at <= made[one.forecast].at + HORIZON_NS
    assert [(one.at, one.forecast) for one in scored] == sorted((one.at, one.forecast) for one in scored)
    happened = [one.outcome for one in scored if one.name != "bias"]
    assert 0.1 < sum(happened) / len(happened) < 0.9, "both outcomes are seen"
    assert session.forecasts.unscored == 0
    figures = session.forecasts.as_dict()
    assert figures["bias"]["n"] == minutes
    assert figures["bias"]["independent"] == pytest.approx(minutes / 15)
    assert made[1].barrier == 0.0
    assert made[2].barrier == pytest.approx(BARRIER * implied_move(0.12, HORIZON_NS))
    assert made[2].inputs == EVIDENCE[0].row


def test_without_a_fresh_price_nothing_is_made_or_scored() -> None:
    gap = (OPENS_AT + 3600 * NS, OPENS_AT + 5400 * NS)
    session = Session().walk(CLOSES_AT + NS, stale=gap)
    inside = [one for one in session.events if gap[0] + STALE_NS < one.at < gap[1]]
    assert inside == []
    assert session.forecasts.unscored > 0
    assert len(session.of(ForecastMade)) == len(session.of(ForecastScored)) + session.forecasts.unscored


def test_undefined_inputs_are_no_forecast() -> None:
    session = Session()
    session.view.bias_chance = session.view.trap_up = None
    session.walk(OPENS_AT + 1200 * NS)
    assert session.events == []
    session = Session()
    session.view.expiries[EXPIRY].atm_iv = None
    session.walk(OPENS_AT + 1200 * NS)
    assert {one.name for one in session.of(ForecastMade)} == {"bias"}


def judged(at: int, number: int, outlook: int = 1, refused_by: str = "bias_strength") -> SignalJudged:
    return SignalJudged(
        at, number, "s", UNDERLYING, outlook, "medium", "morning", (("spread", 0.1), ("bias_strength", 0.9)), refused_by
    )


def test_signals_are_scored_whether_passed_or_refused() -> None:
    session = Session()
    session.walk(OPENS_AT + 600 * NS)
    session.bus.publish(judged(session.bus.now, 1))
    session.bus.publish(judged(session.bus.now, 2, -1, ""))
    session.walk(CLOSES_AT + NS)
    first, second = session.of(ForecastScored, "signal")
    assert (first.signal, second.signal, first.subject, second.subject) == (1, -2, "bias_strength", "passed")
    assert first.outcome + second.outcome == 1
    assert first.value == pytest.approx(1 - second.value)


def test_a_restart_goes_on_with_what_was_open() -> None:
    whole = Session(3).walk(CLOSES_AT + 5 * NS)
    cut = OPENS_AT + 7200 * NS
    before = [event for event in whole.events if event.at <= cut]
    done = {one.forecast for one in before if isinstance(one, ForecastScored)}
    left = {one.forecast for one in before if isinstance(one, ForecastMade)} - done
    assert left
    again = Session(3, before=before, begins_at=cut)
    for at in sorted(whole.path):
        if at > cut:
            again.view.at, again.view.expiries[EXPIRY].forward = at - 1, whole.path[at]
            again.bus.advance(at)
    again.bus.advance(CLOSES_AT + 5 * NS)
    assert again.events == [one for one in whole.events if one.at > cut]
    assert isinstance(again.events[-1], TuningLearned)
    assert left <= {one.forecast for one in again.of(ForecastScored)}
    assert again.forecasts.as_dict() == whole.forecasts.as_dict()


def test_the_events_do_not_depend_on_how_often_prices_come_between_looks() -> None:
    assert Session(5).walk(OPENS_AT + 7200 * NS).events == Session(5).walk(OPENS_AT + 7200 * NS).events


# ---------------------------------------------------------------- learning
def test_a_session_teaches_and_the_next_one_applies_it() -> None:
    session = Session()
    for n in range(300):
        session.memory.strengths.add(0.01 * (n % 50))
    for number, minute in enumerate(range(20, 340, 8), 1):  # of two within a horizon one counts
        session.walk(OPENS_AT + minute * EVERY_NS)
        session.bus.publish(judged(session.bus.now, number, refused_by=""))
    session.walk(CLOSES_AT + 5 * NS)
    (learned,) = session.of(TuningLearned)
    state = tuning_of(learned.state, "event")
    assert (learned.version, state.version, state.learned_at) == (1, 1, learned.at)
    assert CLOSES_AT < learned.at <= CLOSES_AT + 3 * NS
    rows = [one for one in session.of(ForecastScored) if one.name.startswith("trap")]
    assert state.trap == refit(
        TrapModel(), [one.inputs for one in rows], [one.outcome for one in rows], EVERY_NS / HORIZON_NS
    )
    assert state.trap.outcomes == len(rows) > 100
    rose = [one.outcome for one in session.of(ForecastScored, "bias")]
    assert state.bias == BiasSkill().after([0.2] * len(rose), rose, EVERY_NS / HORIZON_NS)
    assert sum(state.strengths[UNDERLYING][0]) == 300
    assert 0 < state.filters["bias_strength"].passed.n <= 20 * 0.9
    assert "spread" not in state.filters, "it cannot be moved"
    assert session.learner.tuning == Tuning(), "not yet"
    assert session.memory.model == TrapModel()
    used: list[Tuning] = []
    session.learner.on_used = used.append
    session.bus.advance(OPENS_AT + 24 * 3600 * NS)
    assert session.learner.tuning == state
    assert used == [state]
    assert session.memory.model == state.trap


def test_it_is_not_applied_where_that_is_switched_off() -> None:
    session = Session(tunes=False).walk(CLOSES_AT + 5 * NS)
    assert session.of(TuningLearned)
    session.bus.advance(OPENS_AT + 24 * 3600 * NS)
    assert session.learner.tuning == Tuning()


def test_a_refit_that_fails_is_said_and_leaves_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ArithmeticError("singular")

    monkeypatch.setattr("angelx.services.learner.refit", broken)
    session = Session().walk(CLOSES_AT + 5 * NS)
    (failed,) = session.of(WorkFailed)
    assert (failed.outcome, failed.detail) == ("raised", "ArithmeticError: singular")
    (learned,) = session.of(TuningLearned)
    assert tuning_of(learned.state, "event").trap == TrapModel()


def test_a_session_without_outcomes_teaches_nothing() -> None:
    session = Session()
    session.view.bias_chance = session.view.trap_up = None
    session.walk(CLOSES_AT + 10 * NS)
    assert session.events == []


def test_the_tuning_it_begins_with_is_in_force_at_once() -> None:
    from angelx.signals.tuning import FilterTuning

    tuning = Tuning(version=3, filters={"bias_strength": FilterTuning(0.06)}, trap=TrapModel((-3.0, 1, 1, 1, 1, 1)))
    session = Session(tuning=tuning)
    assert session.filter.tuned == 0.06
    assert session.memory.model.weights[0] == -3.0
    assert date(2026, 1, 5) < EXPIRY
