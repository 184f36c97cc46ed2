"""Each filter of SPEC 4: its numbers, its boundaries, its reasons."""

from math import nextafter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.domain.instruments import Instrument
from angelx.domain.scalars import NS
from angelx.market.chain_view import Flow
from angelx.market.sessions import Session, Sessions
from angelx.signals.filters.base import NOT_APPLICABLE, Answer, Refusal, Window
from angelx.signals.filters.bias_strength import BiasStrengthFilter
from angelx.signals.filters.oi_confirmation import OiConfirmationFilter
from angelx.signals.filters.standard import SpreadFilter
from angelx.signals.filters.time_of_day import TimeOfDayFilter, window_ends, window_name
from angelx.signals.filters.trap import TrapFilter
from angelx.signals.filters.volatility_regime import RegimeRules, RegimeTracker, VolatilityRegimeFilter, classify
from tests.signals.chain_scene import (
    CALL,
    CLOSES_AT,
    DAILY,
    EQUITY,
    LOT,
    OPENS_AT,
    PUT,
    FixedChains,
    market,
    scene,
    signal,
    view,
)

REGIMES = ("low", "medium", "high", "extreme")
WINDOWS = {"opening": 1.3, "morning": 1.0, "midday": 0.8, "afternoon": 1.1, "closing": 1.5}
MINUTE = 60 * NS


def code(answer: Answer) -> str:
    assert isinstance(answer, Refusal), answer
    return answer.code


# ---------------------------------------------------------------- time of day
@pytest.mark.parametrize(
    ("minute", "name"),
    [(0, "opening"), (74.999, "opening"), (75, "morning"), (164.999, "morning"), (165, "midday"), (284.999, "midday"),
     (285, "afternoon"), (359.999, "afternoon"), (360, "closing"), (374.999, "closing"), (375, None), (-0.001, None)],
)  # fmt: skip
def test_windows_of_the_old_nse_day(minute: float, name: str | None) -> None:
    """09:15 to 15:30: 10:30, 12:00, 14:00, 15:15."""
    assert window_name(OPENS_AT + int(minute * MINUTE), OPENS_AT, CLOSES_AT) == name


@given(length=st.integers(1, 500), at=st.floats(0, 1, exclude_max=True))
def test_a_window_is_the_one_the_calendar_says(length: int, at: float) -> None:
    closes_at = OPENS_AT + length * MINUTE
    now = OPENS_AT + int(at * length * MINUTE)
    name = window_name(now, OPENS_AT, closes_at)
    if closes_at - now <= 15 * MINUTE:
        assert name == "closing"
    else:
        minutes = (now - OPENS_AT) / MINUTE
        order = ["opening", "morning", "midday", "afternoon"]
        assert name == order[sum(minutes >= edge for edge in (75, 165, 285))]


def test_windows_agree_with_the_calendar_of_every_kind_of_day() -> None:
    calendar = Sessions.load()
    for segment, at in (("NFO", 1_767_590_000 * NS), ("US", 1_766_700_000 * NS), ("US", 1_767_105_000 * NS)):
        session = calendar.on(segment, calendar.day_of(segment, at))
        if isinstance(session, Session):
            for window in calendar.windows(segment, session):
                for now in (window.begins_at, window.ends_at - 1):
                    assert window_name(now, session.opens_at, session.closes_at) == window.name


def test_time_of_day_multiplies_and_refuses_outside() -> None:
    check = TimeOfDayFilter()
    for minute, name in ((1, "opening"), (80, "morning"), (200, "midday"), (300, "afternoon"), (370, "closing")):
        assert check.window(OPENS_AT + minute * MINUTE, OPENS_AT, CLOSES_AT) == Window(name, WINDOWS[name])
    assert check.window(CLOSES_AT, OPENS_AT, CLOSES_AT) is None
    assert check(signal(), scene(view())) == 1.0
    assert code(check(signal(), scene(view(), window=None))) == "outside_session"


# ---------------------------------------------------------------- regime
@pytest.mark.parametrize(
    ("value", "level"), [(0.0, 0), (0.2499, 0), (0.25, 1), (0.4999, 1), (0.5, 2), (0.7499, 2), (0.75, 3), (1.0, 3)]
)
def test_regimes_by_rank(value: float, level: int) -> None:
    assert classify(value, (0.25, 0.5, 0.75), (0.03,) * 3, None) == level


@given(value=st.floats(0, 1), now=st.integers(0, 3))
def test_hysteresis_keeps_what_is_near_and_moves_only_towards_the_value(value: float, now: int) -> None:
    limits = (0.25, 0.5, 0.75)
    level, plain = classify(value, limits, (0.03,) * 3, now), classify(value, limits, (0.0,) * 3, None)
    assert min(now, plain) <= level <= max(now, plain)
    if level != now:
        crossed = limits[now] if plain > now else limits[now - 1]
        assert abs(value - crossed) >= 0.03 - 1e-12
    if plain != now and all(abs(value - limit) > 0.03 for limit in limits):
        assert level == plain


@pytest.mark.parametrize(("market_name", "bands"), [("NSE", (0.12, 0.18, 0.25)), ("US", (0.15, 0.22, 0.32))])
def test_bands_of_iv_hold_until_sixty_closes_are_there(market_name: str, bands: tuple[float, ...]) -> None:
    for level, iv in enumerate((bands[0] - 0.001, *bands)):
        by_band, by_rank = (RegimeTracker(RegimeRules(), market_name) for _ in range(2))
        for at in range(5):
            by_band.observe(at, iv, 0.6, 59)
            by_rank.observe(at, iv, 0.6, 60)
        assert by_band.regime == REGIMES[level]
        assert by_rank.regime == "high"


def test_medium_until_five_observations_then_thirty_seconds_of_standing() -> None:
    tracker = RegimeTracker(RegimeRules(), "NSE")
    for at in range(4):
        assert tracker.observe(at * NS, 0.30, None, 0) == "medium"
    assert tracker.observe(4 * NS, 0.30, None, 0) == "extreme"
    assert tracker.observe(5 * NS, 0.10, None, 0) == "extreme"
    assert tracker.observe(35 * NS - 1, 0.10, None, 0) == "extreme"
    assert tracker.observe(35 * NS, 0.10, None, 0) == "low"


def test_a_regime_that_comes_and_goes_starts_its_dwell_again() -> None:
    tracker = RegimeTracker(RegimeRules(), "NSE")
    for at in range(5):
        tracker.observe(at * NS, 0.15, None, 0)
    for at in range(10, 200, 20):
        assert tracker.observe(at * NS, 0.20, None, 0) == "medium"
        assert tracker.observe((at + 10) * NS, 0.15, None, 0) == "medium"


def test_a_missing_iv_changes_nothing() -> None:
    tracker = RegimeTracker(RegimeRules(observations=1, dwell_ns=0), "NSE")
    assert tracker.observe(0, 0.30, None, 0) == "extreme"
    assert tracker.observe(60 * NS, None, None, 0) == "extreme"


def test_a_barred_regime_is_refused_and_no_chain_is_not_applicable() -> None:
    check = VolatilityRegimeFilter(barred=["extreme"])
    assert code(check(signal(), scene(view(regime="extreme")))) == "regime_barred"
    assert check(signal(), scene(view(regime="high"))) == 1.0
    assert check(signal(EQUITY), scene(None, EQUITY)) is NOT_APPLICABLE


# ---------------------------------------------------------------- bias
@pytest.mark.parametrize(
    ("regime", "window", "noise", "expected"),
    [
        ("low", "morning", None, 0.5), ("medium", "morning", 0.0, 0.6), ("high", "morning", 0.0, 0.7),
        ("extreme", "morning", 0.0, 0.8), ("medium", "opening", 0.0, 0.78), ("medium", "midday", 0.0, 0.48),
        ("medium", "afternoon", 0.0, 0.66), ("medium", "closing", 0.0, 0.9), ("extreme", "closing", 0.9, 0.9),
        ("low", "midday", 0.0, 0.4), ("medium", "morning", 0.7, 0.6), ("medium", "morning", 0.7001, 0.75),
        ("low", "midday", 0.8, 0.55),
    ],
)  # fmt: skip
def test_the_bias_threshold(regime: str, window: str, noise: float | None, expected: float) -> None:
    assert BiasStrengthFilter().threshold(regime, WINDOWS[window], noise) == pytest.approx(expected, abs=1e-12)


def test_bias_passes_exactly_at_the_threshold() -> None:
    check = BiasStrengthFilter()
    for regime in REGIMES:
        for name, multiplier in WINDOWS.items():
            least = check.threshold(regime, multiplier, 0.1)
            here = {"bias": 0.3, "regime": regime, "iv_noise": 0.1}
            window = Window(name, multiplier)
            assert check(signal(), scene(view(**here, bias_strength=least), window=window)) == 0.0
            below = view(**here, bias_strength=nextafter(least, 0))
            assert code(check(signal(), scene(below, window=window))) == "bias_too_weak"
            assert check(signal(), scene(view(**here, bias_strength=1.0), window=window)) == 1.0


@pytest.mark.parametrize(
    ("instrument", "direction", "bias", "passes"),
    [(CALL, 1, 0.2, True), (CALL, 1, -0.2, False), (PUT, 1, -0.2, True), (PUT, 1, 0.2, False), (CALL, -1, -0.2, True),
     (PUT, -1, 0.2, True), (EQUITY, 1, 0.2, True), (EQUITY, -1, 0.2, False), (CALL, 1, 0.0, False)],
)  # fmt: skip
def test_bias_must_lean_its_way(instrument: Instrument, direction: int, bias: float, *, passes: bool) -> None:
    answer = BiasStrengthFilter()(signal(instrument, direction), scene(view(bias=bias, bias_strength=0.95), instrument))
    if passes:
        assert isinstance(answer, float)
    else:
        assert code(answer) == "bias_against"


def test_an_unknown_bias_is_refused() -> None:
    assert code(BiasStrengthFilter()(signal(), scene(view(bias=None)))) == "bias_unknown"
    assert code(BiasStrengthFilter()(signal(), scene(view(bias=0.5, bias_strength=None)))) == "bias_unknown"


# ---------------------------------------------------------------- trap
@pytest.mark.parametrize(
    ("regime", "window", "limit"),
    [("medium", "morning", 0.35), ("low", "midday", 0.35), ("high", "afternoon", 0.25), ("extreme", "morning", 0.15),
     ("medium", "opening", 0.20), ("high", "closing", 0.10), ("extreme", "closing", 0.05),
     ("extreme", "opening", 0.05)],
)  # fmt: skip
def test_the_trap_limit_and_its_boundary(regime: str, window: str, limit: float) -> None:
    check = TrapFilter()
    exactly = check.limit(regime, window)
    assert exactly == pytest.approx(limit, abs=1e-12)
    here = {"regime": regime, "trap_down": 0.0}
    place = Window(window, 1.0)
    assert check(signal(), scene(view(**here, trap_up=exactly), window=place)) == 0.0
    above = view(**here, trap_up=nextafter(exactly, 1))
    assert code(check(signal(), scene(above, window=place))) == "likely_trap"
    assert check(signal(), scene(view(**here, trap_up=0.0), window=place)) == 1.0


def test_a_put_bought_asks_for_the_trap_of_a_fall() -> None:
    chain = view(trap_up=0.9, trap_down=0.01)
    assert isinstance(TrapFilter()(signal(PUT), scene(chain, PUT)), float)
    assert code(TrapFilter()(signal(CALL), scene(chain, CALL))) == "likely_trap"
    assert code(TrapFilter()(signal(CALL), scene(view(trap_up=None)))) == "trap_unknown"


# ---------------------------------------------------------------- open interest
def oi(own: Flow, twin: Flow, instrument: Instrument = CALL, lots: int = 0, **fields: Any) -> Answer:
    chain = view(**{"regime": "medium", "trend_is_uncertain": False, **fields})
    here = scene(chain, instrument)
    here.market = market({1: lots * LOT, 2: 0})
    assert isinstance(here.chains, FixedChains)
    here.chains.flows = {here.place: own, here.twin: twin}
    return OiConfirmationFilter()(signal(instrument), here)


@pytest.mark.parametrize(
    ("regime", "uncertain", "open_lots", "least"),
    [("low", False, 0, 1000), ("medium", False, 0, 1000), ("high", False, 0, 1500), ("extreme", False, 0, 2000),
     ("medium", True, 0, 1300), ("extreme", True, 0, 2600), ("medium", False, 100_000, 1000),
     ("medium", False, 250_000, 2500), ("extreme", True, 250_000, 2600)],
)  # fmt: skip
def test_the_flow_needed_and_its_boundary(regime: str, uncertain: bool, open_lots: int, least: float) -> None:
    here: dict[str, Any] = {"lots": open_lots, "regime": regime, "trend_is_uncertain": uncertain}
    assert oi(Flow(long_build_up=least), Flow(), **here) == pytest.approx(0.0, abs=1e-12)
    assert code(oi(Flow(long_build_up=least - 0.01), Flow(), **here)) == "insufficient_oi"
    assert oi(Flow(long_build_up=2 * least), Flow(), **here) == pytest.approx(0.5)
    assert code(oi(Flow(short_build_up=1), Flow(), **here)) == "oi_against"


def test_puts_written_confirm_a_call_and_calls_written_refute_it() -> None:
    assert isinstance(oi(Flow(), Flow(short_build_up=1500)), float)
    assert code(oi(Flow(), Flow(long_build_up=1500))) == "oi_against"
    assert code(oi(Flow(short_build_up=1500), Flow())) == "oi_against"
    assert isinstance(oi(Flow(), Flow(short_build_up=1500), PUT), float), "calls written confirm a put"


@given(st.tuples(*[st.floats(0, 1e5)] * 4), st.tuples(*[st.floats(0, 1e5)] * 4))
def test_flow_for_the_call_is_flow_against_the_put(own: Any, twin: Any) -> None:
    """What confirms one side of a strike never confirms the other."""
    call, put = oi(Flow(*own), Flow(*twin)), oi(Flow(*twin), Flow(*own), PUT)
    assert not (isinstance(call, float) and isinstance(put, float))
    if isinstance(call, float):
        assert code(put) == "oi_against"
    assert Flow(*own).signed == own[0] + own[3] - own[1] - own[2]


def test_where_open_interest_is_daily_or_absent_nothing_is_asked() -> None:
    check = OiConfirmationFilter()
    assert check(signal(DAILY), scene(view(), DAILY)) is NOT_APPLICABLE
    assert check(signal(EQUITY), scene(view(), EQUITY)) is NOT_APPLICABLE
    assert check(signal(), scene(None)) is NOT_APPLICABLE
    assert code(check(signal(), scene(view(flow_since=0)))) == "oi_unknown"


# ---------------------------------------------------------------- all
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: BiasStrengthFilter(base=1.5), "bias_strength filter: base must be between 0 and 1, was 1.5"),
        (lambda: BiasStrengthFilter(least=0.95), "most must be between 0.95 and 0.99, was 0.9"),
        (lambda: TrapFilter(cap=0.5), "trap filter: cap must be between 0.65 and 0.99, was 0.5"),
        (lambda: TrapFilter(base=float("nan")), "trap filter: base must be between"),
        (lambda: OiConfirmationFilter(lots=-1), "oi_confirmation filter: lots must be between 0 and 1e\\+07, was -1"),
        (lambda: TimeOfDayFilter(opening=0), "time_of_day filter: opening must be between 0.1 and 10, was 0"),
        (lambda: VolatilityRegimeFilter(barred=["wild"]), "barred must name some of low, medium, high, extreme"),
        (lambda: VolatilityRegimeFilter(barred="low"), "barred must name some of"),
        (lambda: VolatilityRegimeFilter(low=0.6), "low < medium < high must rise"),
        (lambda: VolatilityRegimeFilter(dwell_s=True), "dwell_s must be between 0 and 3600, was True"),
        (lambda: SpreadFilter(max_pct=-1), "spread filter: max_pct must be between 0 and 100, was -1"),
    ],
)
def test_a_bad_parameter_is_named(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize("tuned", [-0.1, 0.0, 0.1])
def test_tuning_moves_a_threshold_towards_strict(tuned: float) -> None:
    bias, trap, flow = BiasStrengthFilter(), TrapFilter(), OiConfirmationFilter()
    plain = (
        bias.threshold("medium", 1, 0),
        trap.limit("medium", "morning"),
        flow.least("medium", uncertain=False, open_interest=0),
    )
    bias.tuned = trap.tuned = flow.tuned = tuned
    moved = (
        bias.threshold("medium", 1, 0),
        trap.limit("medium", "morning"),
        flow.least("medium", uncertain=False, open_interest=0),
    )
    assert moved == pytest.approx((plain[0] + tuned, plain[1] - tuned, plain[2] * (1 + tuned)))


@given(
    bias=st.floats(-1, 1), strength=st.floats(0, 1), up=st.floats(0, 1), down=st.floats(0, 1),
    regime=st.sampled_from(REGIMES), window=st.sampled_from(sorted(WINDOWS)), flow=st.floats(0, 1e6),
    noise=st.none() | st.floats(0, 1), instrument=st.sampled_from([CALL, PUT]),
)  # fmt: skip
def test_every_margin_lies_between_0_and_1(
    bias: float, strength: float, up: float, down: float, regime: str, window: str, flow: float, noise: float | None,
    instrument: Instrument,
) -> None:  # fmt: skip
    chain = view(bias=bias, bias_strength=strength, trap_up=up, trap_down=down, regime=regime, iv_noise=noise)
    here = scene(chain, instrument, window=Window(window, WINDOWS[window]))
    assert isinstance(here.chains, FixedChains)
    here.chains.flows = {here.place: Flow(long_build_up=flow)}
    for check in (BiasStrengthFilter(), TrapFilter(), OiConfirmationFilter(), VolatilityRegimeFilter()):
        answer = check(signal(instrument), here)
        assert isinstance(answer, Refusal) or (isinstance(answer, float) and 0.0 <= answer <= 1.0)


@given(st.integers(-10 * MINUTE, 400 * MINUTE), st.integers(0, 400 * MINUTE))
def test_a_window_lasts_until_it_is_said_to_end(since_open: int, later: int) -> None:
    now = OPENS_AT + since_open
    then = min(now + later, window_ends(now, OPENS_AT, CLOSES_AT) - 1)
    assert window_name(then, OPENS_AT, CLOSES_AT) == window_name(now, OPENS_AT, CLOSES_AT)
