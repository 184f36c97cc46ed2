"""Self-tuning: moved by proof only, a step at a time, within bounds; a state that can be read back or is refused."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.domain.errors import InputInvalid
from angelx.domain.events import Event, ForecastScored, OrderApproved, Signal, SignalJudged, SignalRefused
from angelx.signals.bias import BINS, BiasSkill
from angelx.signals.calibration import wilson
from angelx.signals.filters.bias_strength import BiasStrengthFilter
from angelx.signals.filters.standard import SpreadFilter
from angelx.signals.quality import SignalQuality
from angelx.signals.trap import TrapModel
from angelx.signals.tuning import LEAST, MOST, STEP, FilterTuning, Outcome, Tally, Tuning, apply, learned, tuning_of

outcomes = st.lists(
    st.builds(Outcome, st.sampled_from(["bias_strength", "trap"]), st.booleans(), st.booleans()), max_size=300
)


@given(st.lists(outcomes, max_size=12))
@settings(max_examples=60, deadline=None)
def test_no_filter_ever_leaves_its_bounds_nor_moves_more_than_a_step(sessions: list[list[Outcome]]) -> None:
    state = Tuning()
    for number, session in enumerate(sessions, 1):
        after = learned(state, session, TrapModel(), BiasSkill(), {}, number)
        for name, one in after.filters.items():
            before = state.filters.get(name, FilterTuning())
            assert abs(one.shift) <= MOST
            assert abs(one.shift - before.shift) <= STEP + 1e-9
        assert (after.version, after.learned_at) == (state.version + 1, number)
        assert tuning_of(after.to_json(), "x") == after
        state = after


@given(n=st.integers(0, 200), share=st.floats(0, 1), passed=st.booleans())
def test_a_threshold_moves_exactly_where_the_interval_leaves_one_half(n: int, share: float, passed: bool) -> None:
    right = int(n * share)
    session = [Outcome("trap", passed, place < right) for place in range(n)]
    shift = learned(Tuning(), session, TrapModel(), BiasSkill(), {}, 1).filters.get("trap", FilterTuning()).shift
    low, high = wilson(right, n)
    if n >= LEAST and passed and high < 0.5:
        assert shift == STEP
    elif n >= LEAST and not passed and low > 0.5:
        assert shift == -STEP
    else:
        assert shift == 0


def test_what_is_always_wrong_is_tightened_to_the_bound_and_no_further() -> None:
    state = Tuning()
    for day in range(20):
        state = learned(state, [Outcome("trap", passed=True, right=False)] * 50, TrapModel(), BiasSkill(), {}, day)
    assert state.filters["trap"].shift == MOST
    for day in range(40):
        state = learned(state, [Outcome("trap", passed=False, right=True)] * 50, TrapModel(), BiasSkill(), {}, day)
    assert state.filters["trap"].shift == -MOST


def test_outcomes_are_used_once_and_old_ones_fade() -> None:
    state = learned(Tuning(), [Outcome("trap", passed=True, right=False)] * LEAST, TrapModel(), BiasSkill(), {}, 1)
    assert state.filters["trap"] == FilterTuning(STEP, Tally(), Tally())
    assert learned(state, [], TrapModel(), BiasSkill(), {}, 2).filters["trap"].shift == STEP
    few = learned(Tuning(), [Outcome("trap", passed=True, right=False)] * 20, TrapModel(), BiasSkill(), {}, 1)
    assert few.filters["trap"].passed == Tally(18.0, 0.0)


def test_it_is_applied_to_filters_that_can_be_moved() -> None:
    bias, spread = BiasStrengthFilter(), SpreadFilter()
    apply(Tuning(filters={"bias_strength": FilterTuning(0.04), "spread": FilterTuning(0.04)}), [bias, spread])
    assert bias.tuned == 0.04
    assert not hasattr(spread, "tuned")
    apply(Tuning(), [bias])
    assert bias.tuned == 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"form": 2}, {"filters": {"trap": {"shift": 0.11}}}, {"filters": {"trap": {"shift": "x"}}}, {"unknown": 1},
        {"strengths": {"NIFTY": [[1] * (BINS - 1)]}}, {"filters": {"trap": {"passed": {"n": 1, "right": 2}}}},
        {"trap": {"weights": [0, -1, 0, 0, 0, 0]}}, {"trap": {"weights": [0]}},
        {"bias": {"squares": 0}}, {"bias": {"squares": 1, "products": 2}},
    ],
)  # fmt: skip
def test_a_state_that_cannot_be_is_refused_by_name(change: dict[str, object]) -> None:
    data = msgspec.json.decode(Tuning().to_json()) | change
    with pytest.raises(InputInvalid, match=r"tuning\.json: not a tuning state: .*put the file aside"):
        tuning_of(msgspec.json.encode(data), "tuning.json")


@pytest.mark.parametrize("text", ["{", "null", "[]", b"\xff\xfe"])
def test_text_that_is_none_is_refused(text: str | bytes) -> None:
    with pytest.raises(InputInvalid, match="not a tuning state"):
        tuning_of(text, "tuning.json")


def test_the_digest_is_that_of_the_state() -> None:
    one = Tuning(filters={"a": FilterTuning(0.02), "b": FilterTuning()})
    other = Tuning(filters={"b": FilterTuning(), "a": FilterTuning(0.02)})
    assert one.digest == other.digest != Tuning().digest
    assert tuning_of("", "x") == Tuning()


# ---------------------------------------------------------------- quality
@pytest.mark.parametrize("answered_first", [True, False])
def test_signals_are_counted_by_strategy_and_by_regime_and_window(*, answered_first: bool) -> None:
    quality = SignalQuality()
    judged: list[Event] = []
    answers: list[Event] = []
    for number in (1, 2, 3, 4):
        quality.apply(Signal(1, number, "s", "X", 1, 1, 2))
        window, by = "morning" if number < 4 else "closing", "trap" if number < 3 else ""
        judged.append(SignalJudged(1, number, "s", "NIFTY", 1, "high", window, (("trap", 0.5),), by))
    quality.apply(Signal(1, 5, "s", "X", 0, 1, 2))
    answers += [SignalRefused(1, number, "s", "X", "filter", "likely_trap", "") for number in (1, 2)]
    for order in ("o", "p"):
        answers.append(
            OrderApproved(1, order, 3, "s", "X", 1, 75, 0, reduces=False, touch=1, bound_by="", confidence=1.0)
        )
    for event in [*answers, *judged] if answered_first else [*judged, *answers]:
        quality.apply(event)
    for number, outcome in ((1, 1), (3, 1), (-2, 0)):
        quality.apply(ForecastScored(9, 1, "signal", "NIFTY", 0.6, outcome, 1.0, signal=number))
    shown = quality.as_dict()
    strategy = shown["by_strategy"]["s"]
    assert (strategy["generated"], strategy["acted_on"], strategy["share_acted_on"]) == (4, 1, 0.25)
    assert strategy["refused"] == {"likely_trap": 2}
    assert (strategy["efficiency"], strategy["efficiency_interval"]) == (1.0, list(wilson(1, 1)))
    assert (strategy["scored_refused"], strategy["right_refused"]) == (2, 1)
    assert [
        (one["regime"], one["window"], one["generated"], one["admitted"], one["acted_on"], one["refused"])
        for one in shown["by_regime_and_window"]
    ] == [("high", "closing", 1, 1, 0, {}), ("high", "morning", 3, 1, 1, {"likely_trap": 2})]
