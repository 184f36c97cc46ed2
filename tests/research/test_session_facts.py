"""The fold over a journal: a session worked out by hand, and what must hold of every session."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from angelx.domain import events as ev
from angelx.domain.scalars import NS
from angelx.research.session_facts import SessionFacts
from angelx.research.session_summary import Drawdown, checks_of
from angelx.signals.calibration import wilson
from tests.research.made_up import CAPITAL, OPEN, approved, filled, session, started

HOUR = 3_600 * NS


def by_hand() -> list[ev.Event]:
    """Long 150 at 100.05 average, sold 150 at 101 (+122.50 after 20 of fees), then 75 short, still open."""
    return [
        started(),
        ev.Signal(OPEN, 1, "bias", "NFO:X", 1, 99_9500, 100_0000, 0, "bias up"),
        approved("a", 1, quantity=150, limit=100_2000, touch=100_0000),
        ev.OrderAccepted(OPEN + 1, "a", "b1"),
        filled("a", 75, 100_0000, OPEN + 2 * NS, fee=5_0000),
        filled("a", 75, 100_1000, OPEN + 3 * NS, fee=5_0000),
        ev.EquityMarked(OPEN + 4 * NS, CAPITAL - 200_0000, CAPITAL - 15017_5000, 14817_5000, 24_400_0000),
        ev.Signal(OPEN + HOUR, 2, "bias", "NFO:X", -1, 101_0000, 101_0500, 0, "stop hit"),
        approved("b", 2, OPEN + HOUR, side=-1, quantity=225, limit=100_8000, touch=101_0000),
        filled("b", 225, 101_0000, OPEN + HOUR + NS, side=-1, fee=15_0000),
        ev.Signal(OPEN + HOUR, 3, "ema", "NFO:Y", 1, 10_0000, 10_0500, 0, "crossed"),
        ev.SignalRefused(OPEN + HOUR, 3, "ema", "NFO:Y", "gate", "spread", "5 ticks > 2"),
        ev.SignalRefused(OPEN + HOUR, 4, "ema", "NFO:Y", "gate", "spread", "6 ticks > 2"),
    ]


def test_a_session_worked_out_by_hand() -> None:
    facts = SessionFacts.of(by_hand())
    (trip,) = facts.trips
    assert (trip.pnl, trip.fees, trip.entered) == (122_5000, 20_0000, 150)
    assert (trip.average_entry, trip.average_exit) == (Fraction(100_0500), Fraction(101_0000))
    assert (trip.entry_why, trip.exit_why, trip.closed_at) == ("bias up", "stop hit", OPEN + HOUR + NS)
    assert facts.ledger.positions["bias", "NFO:X"].quantity == -75
    assert facts.ledger.realised == 142_5000 - 25_0000
    assert facts.refusals["gate", "spread"].count == 2
    assert facts.refusals["gate", "spread"].example == "5 ticks > 2"
    order = facts.orders["a"]
    assert (order.average, order.slippage, order.state) == (Fraction(100_0500), 7_5000, "filled")
    assert order.slippage_bps == pytest.approx(5.0)
    assert facts.by_hour.keys() == {"09:00", "10:00"}
    assert facts.by_hour["10:00"].wins == 1
    assert facts.by_exit["stop hit"].realised == 122_5000


def test_the_summary_is_json_with_money_as_text_and_integer() -> None:
    summary = json.loads(json.dumps(SessionFacts.of(by_hand()).summary()))
    assert (summary["pnl"], summary["pnl_e4"]) == ("117.50", 117_5000)
    assert summary["unrealised"] is None  # A fill came after the only mark.
    assert (summary["fees"], summary["trades"], summary["win_rate"]) == ("25.00", 1, 1.0)
    assert (summary["signals"], summary["refused"], summary["refused_by_code"]) == (3, 2, {"spread": 2})
    assert (summary["max_drawdown"], summary["max_drawdown_fraction"]) == ("200.00", 0.0002)
    assert summary["positions"] == {"bias NFO:X": -75}


def test_open_positions_count_at_the_last_mark() -> None:
    mark = ev.EquityMarked(OPEN + 2 * HOUR, CAPITAL + 117_5000 - 37_5000, CAPITAL + 7692_5000, -7612_5000, 0)
    facts = SessionFacts.of([*by_hand(), mark])
    assert facts.unrealised == -37_5000
    assert facts.pnl == 80_0000 == mark.equity - CAPITAL
    assert facts.cash_differs == 0


def test_a_mark_with_other_cash_than_the_ledger_fails_a_check() -> None:
    facts = SessionFacts.of([*by_hand(), ev.EquityMarked(OPEN + 2 * HOUR, CAPITAL, CAPITAL + 7692_5001, 0, 0)])
    assert [check.name for check in checks_of(facts) if not check.ok] == [
        "The cash of every mark is the ledger's",
        "The session ended in order",
    ]


@pytest.mark.parametrize("seed", range(4))
def test_every_division_of_a_session_adds_up(seed: int) -> None:
    facts = SessionFacts.of(session(120, seed))
    ledger = facts.ledger
    for division in (facts.by_strategy, facts.by_hour):
        assert sum(tally.realised for tally in division.values()) == ledger.realised
        assert sum(tally.fees for tally in division.values()) == ledger.fees
        assert sum(tally.orders for tally in division.values()) == len(facts.orders)
        assert sum(tally.signals for tally in division.values()) == len(facts.signals)
        assert sum(tally.trips for tally in division.values()) == len(facts.trips)
    assert sum(tally.realised for tally in facts.by_exit.values()) == sum(trip.pnl for trip in facts.trips)
    assert len(facts.signals) == facts.refused + len(facts.acted)
    assert facts.pnl == facts.marks[-1].equity - CAPITAL
    assert all(check.ok for check in checks_of(facts)), checks_of(facts)


moves = st.lists(
    st.tuples(st.sampled_from((1, -1)), st.integers(1, 9), st.integers(1, 10**6), st.integers(0, 500)), max_size=40
)


@given(moves)
def test_round_trips_and_what_is_open_hold_all_the_cash(fills: list[tuple[int, int, int, int]]) -> None:
    events: list[ev.Event] = [started(), approved("a", 1, quantity=10**6)]
    events += [
        filled("a", quantity, price, OPEN + place, side=side, fee=fee, execution=str(place))
        for place, (side, quantity, price, fee) in enumerate(fills)
    ]
    facts = SessionFacts.of(events)
    trips = [*facts.trips, *facts.open_trips.values()]
    assert sum(trip.cash for trip in trips) == facts.ledger.cash - CAPITAL
    assert sum(trip.fees for trip in trips) == sum(fee for *_, fee in fills)
    assert all(trip.held == 0 and trip.entered > 0 for trip in facts.trips)
    held = [trip.side * trip.held for trip in facts.open_trips.values()]
    assert held == ([facts.ledger.net("NFO:X")] if facts.ledger.net("NFO:X") else [])
    if not held:
        assert sum(trip.pnl for trip in facts.trips) == facts.ledger.realised == facts.pnl


@given(st.integers(1, 10**9), st.lists(st.integers(-(10**9), 10**9), max_size=60))
def test_a_drawdown_is_the_deepest_fall_from_the_highest_point_before(start: int, values: list[int]) -> None:
    got = Drawdown.of(start, range(1, len(values) + 1), values)
    curve = [start, *values]
    falls = [(max(curve[: end + 1]) - low, max(curve[: end + 1])) for end, low in enumerate(curve)]
    assert got.amount == max(fall for fall, _ in falls)
    assert got.fraction == pytest.approx(max(fall / peak for fall, peak in falls))
    if got.amount:
        assert curve[got.peak_at] - curve[got.trough_at] == got.amount
        assert got.peak_at < got.trough_at


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_scipys_wilson(case: tuple[int, int]) -> None:
    interval = binomtest(*case).proportion_ci(method="wilson")
    assert wilson(*case) == pytest.approx((interval.low, interval.high), abs=1e-6)


def test_reports_that_come_late_or_twice_do_no_harm() -> None:
    twice = filled("a", 75, 100_0000, OPEN + 5, execution="e1")
    facts = SessionFacts.of(
        [
            started(),
            approved("a", 1, quantity=75),
            ev.OrderEnded(OPEN + 4, "a", "cancelled", "", ""),
            twice,  # A fill after the cancellation is real.
            twice,
            ev.OrderAccepted(OPEN + 6, "a", "b1"),
        ]
    )
    assert facts.orders["a"].state == "filled"
    assert (len(facts.fills), facts.ledger.repeated, facts.ledger.net("NFO:X")) == (1, 1, 75)


def test_a_fill_without_an_order_moves_the_position_and_is_an_incident() -> None:
    facts = SessionFacts.of([started(), filled("stray", 75, 100_0000)])
    assert facts.ledger.net("NFO:X") == 75
    assert [incident.kind for incident in facts.incidents] == ["fill without an order"]
    assert not checks_of(facts)[0].ok


def test_rejections_failures_and_levels_are_told() -> None:
    facts = SessionFacts.of(session(160))
    kinds = {incident.kind for incident in facts.incidents}
    assert kinds == {"order rejected", "strategy failed"}
    assert {line.kind for line in facts.timeline} == {"phase", "health", "command", "level", "end"}
    assert (facts.level, facts.health) == ("running", "healthy")


def test_why_an_order_ended_is_kept() -> None:
    events = [
        *by_hand(),
        approved("c", 5), ev.CancelRequested(OPEN + NS, "c", "rest:entry after 10 s"),
        ev.OrderEnded(OPEN + 2 * NS, "c", "cancelled", "requested", "0 of 75 filled"),
        approved("d", 6), ev.OrderEnded(OPEN + NS, "d", "rejected", "off_tick", "limit 1001, tick 500"),
    ]  # fmt: skip
    orders = SessionFacts.of(events).orders
    whys = {name: (order.code, order.why) for name, order in orders.items() if name in "acd"}
    assert whys == {
        "a": ("", ""), "c": ("requested", "rest:entry after 10 s"), "d": ("off_tick", "limit 1001, tick 500"),
    }  # fmt: skip


def test_without_marks_the_curve_is_what_was_realised() -> None:
    facts = SessionFacts.of([event for event in by_hand() if not isinstance(event, ev.EquityMarked)])
    assert facts.curve()[1][-1] == CAPITAL + facts.ledger.realised


def test_hours_are_the_exchanges() -> None:
    at = 1_381_152_600 * NS  # 2013-10-07 09:30 in New York
    facts = SessionFacts.of([started(at, currency="USD"), approved("a", 1, at)])
    assert facts.by_hour.keys() == {"09:00"}


def test_a_restart_goes_on_where_the_journal_stood() -> None:
    events = by_hand()
    again = ev.SessionStarted(OPEN + HOUR, "k3f7", "paper", "{}", "", "0.1.0", 7, CAPITAL, "INR", resumed=True)
    facts = SessionFacts.of([*events[:7], again, *events[7:]])
    assert facts.starts == 2
    assert facts.summary() == SessionFacts.of(events).summary()


def test_every_recorded_event_is_understood() -> None:
    understood = SessionFacts()._answers.keys()
    assert set(ev.RECORDED) - understood == {ev.InstrumentUsed}  # A definition, not a fact of the session.


def test_no_events_are_an_empty_session() -> None:
    summary = SessionFacts.of([]).summary()
    assert (summary["pnl"], summary["trades"], summary["win_rate"]) == ("0.00", 0, None)


@pytest.mark.parametrize(
    ("side", "price", "slippage"), [(1, 101_0000, 75_0000), (-1, 99_0000, 75_0000), (-1, 102_0000, -150_0000)]
)
def test_slippage_is_positive_where_it_costs(side: int, price: int, slippage: int) -> None:
    facts = SessionFacts.of([started(), approved("a", side=side, touch=100_0000), filled("a", 75, price, side=side)])
    assert facts.slippage == slippage
    assert facts.orders["a"].slippage_bps == pytest.approx(10_000 * slippage / (75 * 100_0000))
