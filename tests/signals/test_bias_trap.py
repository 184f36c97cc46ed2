"""Bias and trap: symmetric, bounded, monotone; strength a percentile; the refit a posterior mode."""

from math import exp, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.domain.scalars import NS, SCALE
from angelx.market.chain_view import ChainView, ExpiryView, Flow
from angelx.signals.bias import (
    BINS,
    PRIOR_SIGMA,
    PRIOR_SKILL,
    PRIOR_SQUARES,
    SESSIONS,
    BiasSkill,
    StrengthHistory,
    combined,
    flow_score,
)
from angelx.signals.judge import GAP_NS, ChainMemory, judge, trend_is_uncertain
from angelx.signals.trap import EVIDENCE, PRIOR, SPREAD_OF_PRIOR, Evidence, TrapModel, refit
from tests.signals.chain_scene import EXPIRY, OPENS_AT, UNDERLYING

lots = st.floats(0, 1e6)
flows = st.builds(Flow, lots, lots, lots, lots)
unit = st.floats(0, 1)


class Step:
    """What a chain does in one sample, in words that have a mirror image."""

    def __init__(
        self, move: float, basis: float, skew: float, calls: Flow, puts: Flow, rest: tuple[float, ...]
    ) -> None:
        self.move, self.basis, self.skew, self.calls, self.puts, self.rest = move, basis, skew, calls, puts, rest

    def mirrored(self) -> "Step":
        return Step(-self.move, -self.basis, -self.skew, self.puts, self.calls, self.rest)


small = st.integers(-2_000, 2_000).map(lambda millionths: millionths / 1e6)
steps = st.builds(Step, small, small, st.floats(-0.05, 0.05), flows, flows, st.tuples(lots, lots, unit))


def walked(path: list[Step], every_s: float = 30.0, *, mirror: bool = False) -> list[ChainView]:
    """The views of a path as judged, one after the other."""
    memory = ChainMemory()
    level = 0.0
    found = []
    volume = 0.0
    for n, step in enumerate(path):
        one = step.mirrored() if mirror else step
        level += one.move
        volume += one.rest[0]
        forward = 24_000.0 * exp(level)
        walls = [int(24_000 * SCALE * exp(0.01)), int(24_000 * SCALE * exp(-0.01))]
        view = ChainView(UNDERLYING, at=OPENS_AT + int(n * every_s * NS), spot=forward * exp(-one.basis), front=EXPIRY)
        view.expiries = {EXPIRY: ExpiryView(EXPIRY, years=0.01, forward=forward, atm_iv=0.15, skew=one.skew)}
        view.call_flow, view.put_flow, view.flow_since = one.calls, one.puts, OPENS_AT
        view.call_wall, view.put_wall = walls
        view.volume, view.open_interest, view.spread = volume, one.rest[1], one.rest[2]
        judge(view, memory)
        found.append(view)
    return found


# ---------------------------------------------------------------- bias
@given(st.lists(steps, min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_the_mirror_image_of_a_chain_has_the_opposite_bias(path: list[Step]) -> None:
    for one, other in zip(walked(path), walked(path, mirror=True), strict=True):
        assert (one.bias is None) == (other.bias is None)
        if one.bias is not None and other.bias is not None:
            assert one.bias == pytest.approx(-other.bias, abs=1e-6)
            assert one.bias_strength == pytest.approx(other.bias_strength, abs=1e-5)
            assert -1.0 <= one.bias <= 1.0
        assert one.trend_is_uncertain == other.trend_is_uncertain
        assert one.trap_up == pytest.approx(other.trap_down, abs=1e-3)


@given(st.lists(steps, min_size=2, max_size=30))
@settings(max_examples=30, deadline=None)
def test_the_same_views_are_judged_the_same(path: list[Step]) -> None:
    assert walked(path) == walked(path)


def test_heavy_call_writing_is_bearish_and_put_writing_bullish() -> None:
    assert flow_score(Flow(short_build_up=5000), Flow(long_build_up=100)) == pytest.approx(-1.0)
    assert flow_score(Flow(), Flow(short_build_up=5000)) == 1.0
    assert flow_score(Flow(long_build_up=10), Flow(short_build_up=30, long_build_up=20)) == pytest.approx(20 / 60)
    assert flow_score(Flow(), Flow()) is None


@given(
    flow=st.none() | st.floats(-1, 1), momentum=st.none() | st.floats(-1, 1), basis=st.none() | st.floats(-1, 1),
    skew=st.none() | st.floats(-1, 1),
)  # fmt: skip
def test_the_score_is_a_mean_of_what_is_known(
    flow: float | None, momentum: float | None, basis: float | None, skew: float | None
) -> None:
    score = combined(flow, momentum, basis, skew)
    known = [one for one in (flow, momentum, basis, skew) if one is not None]
    if flow is None and momentum is None:
        assert score is None
    else:
        assert score is not None
        assert min(known) - 1e-12 <= score <= max(known) + 1e-12


def test_rising_price_bought_calls_written_puts_and_cheaper_puts_lean_up() -> None:
    calm = Step(0.0, 0.0, 0.02, Flow(), Flow(), (10, 1000, 0.01))
    up = Step(0.0005, 0.0005, 0.01, Flow(long_build_up=500), Flow(short_build_up=500), (10, 1000, 0.01))
    last = walked([calm] * 30 + [up] * 15)[-1]
    assert last.bias is not None
    assert last.bias > 0.9
    assert not last.trend_is_uncertain


def test_nothing_is_said_before_it_can_be_known() -> None:
    step = Step(0.0, 0.0, 0.02, Flow(), Flow(), (10, 1000, 0.01))
    first = walked([step])[0]
    assert (first.bias, first.bias_strength, first.trend_is_uncertain, first.regime) == (None, None, True, "medium")
    assert first.trap_up is not None


def test_a_gap_a_new_front_and_a_clock_that_steps_back() -> None:
    memory = ChainMemory()

    def shown(at: int, forward: float, front: Any = EXPIRY) -> ChainView:
        view = ChainView(UNDERLYING, at=at, front=front)
        view.expiries = {front: ExpiryView(front, years=0.01, forward=forward, atm_iv=0.15)}
        judge(view, memory)
        return view

    last = [shown(OPENS_AT + n * 30 * NS, 24_000.0 + n) for n in range(40)][-1]
    assert last.bias is not None
    assert shown(OPENS_AT, 1.0).bias is None, "an older view is not judged"
    after = shown(OPENS_AT + 39 * 30 * NS + GAP_NS + 1, 25_000.0)
    assert after.bias is None, "what was seen before a gap does not compare"
    assert len(memory.samples) == 1
    assert sum(map(sum, memory.strengths.sessions)) > 0, "the session's strengths are kept"
    shown(after.at + 30 * NS, 25_000.0)
    assert shown(after.at + 60 * NS, 25_000.0, EXPIRY.replace(day=13)).bias is None
    assert len(memory.samples) == 1


def test_memory_is_bounded() -> None:
    memory = ChainMemory()
    for n in range(5000):
        view = ChainView(UNDERLYING, at=OPENS_AT + n * NS, front=EXPIRY)
        view.expiries = {EXPIRY: ExpiryView(EXPIRY, years=0.01, forward=24_000.0, atm_iv=0.15)}
        judge(view, memory)
    assert len(memory.samples) <= 62


# ---------------------------------------------------------------- strength
@given(st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=50), max_size=25), st.floats(-1, 1), st.floats(-1, 1))
def test_strength_is_a_percentile_of_the_size(days: list[list[float]], one: float, other: float) -> None:
    history = StrengthHistory()
    for day in days:
        for score in day:
            history.add(score)
        history.end_session()
    assert len(history.sessions) <= SESSIONS
    assert 0.0 <= history.strength(one) <= 1.0
    assert history.strength(one) == history.strength(-one)
    assert history.strength(1.0) == pytest.approx(1.0)
    if abs(one) <= abs(other):
        assert history.strength(one) <= history.strength(other) + 1e-12
    again = StrengthHistory(history.sessions)
    assert again.strength(one) == history.strength(one)


def test_strength_over_twenty_sessions_is_that_of_a_sorted_list() -> None:
    rng = np.random.default_rng(3)
    history = StrengthHistory()
    scores = rng.beta(2, 5, (SESSIONS, 360))
    for day in scores:
        for score in day:
            history.add(float(score))
        history.end_session()
    for size in (0.05, 0.2, 0.4, 0.7):
        assert history.strength(size) == pytest.approx(float((scores <= size).mean()), abs=1 / BINS)


def test_the_prior_until_sessions_are_there() -> None:
    """A half normal: two thirds lie within a sigma; with half the sessions known it counts half."""
    history = StrengthHistory()
    assert history.strength(PRIOR_SIGMA) == pytest.approx(0.683 / 0.9957, abs=0.001)
    for _ in range(SESSIONS // 2):
        history.add(0.9)
        history.end_session()
    assert history.strength(PRIOR_SIGMA) == pytest.approx(0.683 / 0.9957 / 2, abs=0.001)


@given(st.lists(st.tuples(st.floats(-1, 1), st.booleans()), max_size=400))
def test_the_chance_of_a_rise_is_the_slope_of_what_came_true(seen: list[tuple[float, bool]]) -> None:
    skill = BiasSkill().after([score for score, _ in seen], [int(up) for _, up in seen], 1.0)
    x, y = [score for score, _ in seen], [1 if up else -1 for _, up in seen]
    slope = (PRIOR_SQUARES * PRIOR_SKILL + float(np.dot(x, y))) / (PRIOR_SQUARES + float(np.dot(x, x)))
    assert skill.skill == pytest.approx(max(slope, 0.0), abs=1e-9)
    for score in (-1.0, -0.3, 0.0, 0.5, 1.0):
        assert skill.chance(score) == pytest.approx(1 - skill.chance(-score))
        assert 0.0 <= skill.chance(score) <= 1.0
    assert BiasSkill().chance(0.5) == pytest.approx(0.525)


@pytest.mark.parametrize("bad", [[1] * (BINS - 1), [0] * BINS, [-1] + [1] * (BINS - 1)])
def test_a_history_that_is_none_is_refused(bad: list[int]) -> None:
    with pytest.raises(ValueError, match="counts"):
        StrengthHistory([bad])


# ---------------------------------------------------------------- trend
def test_a_straight_line_is_a_trend_and_a_saw_is_none() -> None:
    assert not trend_is_uncertain([100.0 + n for n in range(20)])
    assert not trend_is_uncertain([100.0 - n for n in range(20)])
    assert trend_is_uncertain([100.0 + n % 2 for n in range(20)])
    assert trend_is_uncertain([100.0] * 20)
    for one_step in (24_000.0 * exp(0.0016177832215287118), 24_000.0 * exp(-0.0016177832215287118)):
        assert not trend_is_uncertain([24_000.0] * 10 + [one_step])
    assert trend_is_uncertain([100.0, 101.0, 102.0])


# ---------------------------------------------------------------- trap
evidences = st.builds(Evidence, unit, unit, unit, unit, unit)


@given(evidences, st.sampled_from(EVIDENCE), unit, st.tuples(st.floats(-8, 2), *[st.floats(0, 5)] * 5))
def test_more_evidence_never_makes_a_trap_less_likely(
    evidence: Evidence, name: str, more: float, weights: tuple[float, ...]
) -> None:
    model = TrapModel(weights)
    raised = Evidence(**{one: getattr(evidence, one) for one in EVIDENCE} | {name: max(more, getattr(evidence, name))})
    assert 0.0 < model.probability(evidence) <= model.probability(raised) < 1.0


def test_the_prior_without_evidence_and_with_all() -> None:
    """Usual evidence comes to 2 (1 - Phi(2)); all of it together to more than the strictest base asks."""
    usual = Evidence(burst=0.15, unwinding=0.05, wall=0.3, widening=0.1, expiry=0.3)
    assert TrapModel().probability(usual) == pytest.approx(0.0455, abs=0.005)
    assert TrapModel().probability(Evidence(1, 1, 1, 1, 1)) > 0.65


def made_up(n: int, weights: tuple[float, ...], seed: int = 1) -> tuple[list[list[float]], list[int]]:
    rng = np.random.default_rng(seed)
    rows = rng.random((n, len(EVIDENCE)))
    chances = 1 / (1 + np.exp(-(weights[0] + rows @ np.array(weights[1:]))))
    return rows.tolist(), (rng.random(n) < chances).astype(int).tolist()


def test_the_refit_is_the_mode_another_solver_finds() -> None:
    from scipy.optimize import minimize

    rows, happened = made_up(400, (-2.0, 0.5, 2.0, 1.0, 0.3, 0.9))
    found = refit(TrapModel(), rows, happened, 1 / 15)
    x = np.column_stack([np.ones(len(rows)), rows])
    y, centre, trust = np.array(happened), np.array(PRIOR), 1 / np.array(SPREAD_OF_PRIOR) ** 2

    def loss(at: Any) -> float:
        odds = x @ at
        return float((np.logaddexp(0, odds) - y * odds).sum() / 15 + 0.5 * (trust * (at - centre) ** 2).sum())

    other = minimize(loss, centre, method="BFGS", options={"gtol": 1e-9})
    assert found.weights == pytest.approx(other.x.tolist(), abs=1e-4)
    assert found.outcomes == 400


def test_many_outcomes_win_over_the_prior_and_none_leave_it() -> None:
    truth = (-2.0, 0.5, 2.0, 1.0, 0.3, 0.9)
    found = refit(TrapModel(), *made_up(20_000, truth))
    assert found.weights == pytest.approx(truth, abs=0.25)
    assert refit(TrapModel(), [], []) == TrapModel()


def test_weights_never_turn_negative_and_what_was_learned_fades() -> None:
    rows, _ = made_up(500, (0.0, 0, 0, 0, 0, 0))
    happened = [int(row[0] < 0.5) for row in rows]
    found = refit(TrapModel(), rows, happened)
    assert min(found.weights[1:]) == 0.0 == found.weights[1]
    sure = np.array(found.precision).diagonal()
    again = refit(found, rows[:1], happened[:1], 0.001)
    assert (np.array(again.precision).diagonal()[1:] <= sure[1:] + 1e-9).all()


def test_it_is_deterministic_and_refuses_nonsense() -> None:
    rows, happened = made_up(300, (-1.0, 1, 1, 1, 1, 1))
    assert refit(TrapModel(), rows, happened) == refit(TrapModel(), rows, happened)
    with pytest.raises(ValueError, match="finite"):
        refit(TrapModel(), [[float("nan")] * 5], [1])
    with pytest.raises(ValueError, match="0 or 1"):
        refit(TrapModel(), [[0.0] * 5], [2])
    with pytest.raises(ValueError, match="not negative"):
        TrapModel((0.0, -1.0, 0, 0, 0, 0))


def test_evidence_names_what_happened() -> None:
    """A burst of volume at which no open interest came, quotes three times as wide, a wall just ahead."""
    quiet = Step(0.0, 0.0, 0.02, Flow(), Flow(), (100, 50_000, 0.01))
    loud = Step(0.0004, 0.0, 0.02, Flow(), Flow(), (2000, 49_000, 0.03))
    memory = ChainMemory()
    level, volume = log(1.0), 0.0
    view = ChainView(UNDERLYING)
    for n, step in enumerate([quiet] * 25 + [loud] * 8):
        level, volume = level + step.move, volume + step.rest[0]
        view = ChainView(UNDERLYING, at=OPENS_AT + n * 30 * NS, front=EXPIRY, call_wall=int(24_100 * SCALE))
        forward = 24_000.0 * exp(level)
        view.expiries = {EXPIRY: ExpiryView(EXPIRY, years=0.5 / 365, forward=forward, atm_iv=0.12)}
        view.volume, view.open_interest, view.spread = volume, step.rest[1], step.rest[2]
        judge(view, memory)
    up, down = memory.evidence
    assert up.burst == down.burst > 0.5
    assert up.unwinding > 0.5 > down.unwinding == 0.0
    assert up.wall > 0.5 > down.wall == 0.0
    assert up.widening == 1.0
    assert up.expiry > 0.7
    assert view.trap_up is not None
    assert view.trap_down is not None
    assert view.trap_up > 0.4 > view.trap_down
