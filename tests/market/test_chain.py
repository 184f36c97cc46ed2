"""Chains: what is computed differentially is what a full recompute says; bad input is named and never used."""

from datetime import date
from math import isfinite
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.scalars import NS
from angelx.domain.ticks import BID, Rows
from angelx.market.american import american_value, workspace
from angelx.market.black76 import REASONS
from angelx.market.chain import ChainSettings, OptionChains
from angelx.market.chain_view import Contract, Flow
from angelx.market.state import MarketState
from tests.market.small_chain import EXPIRIES, LOT, OPENS_AT, PLACES, STRIKES, TABLE, Desk, batch, fair, row, snapshot

EVERYTHING = ChainSettings(budget=10_000, slack=0.0)

quote = st.tuples(
    st.sampled_from([*PLACES, 0]),
    st.integers(0, 400),  # ms since the row before
    st.sampled_from(["fair", "fair", "fair", "wide", "none", "no bid", "no ask", "rich", "worthless"]),
    st.integers(-20, 20),  # ticks that the forward is away
)


def rows_of(told: list[tuple[int, int, str, int]], begins_ms: int = 0) -> list[dict[str, int]]:
    at, rows = begins_ms, []
    for place, pause, kind, away in told:
        at += pause
        if place == 0:
            rows.append(row(0, at, 0, last=0 if kind == "none" else 10_000_000 + away * 500))
            continue
        mid = {"rich": 3_000.0, "worthless": 0.05, "none": 0.0}.get(kind, fair(place, 1_000 + away * 0.05))
        one = row(place, at, mid, half=40 if kind == "wide" else 1)
        one |= {"bid": 0} if kind == "no bid" else {"ask": 0} if kind == "no ask" else {}
        rows.append(one)
    return rows


def numbers(contract: Contract | None) -> list[float]:
    assert contract is not None
    return [contract.iv, contract.delta, contract.gamma, contract.vega, contract.theta, contract.rho]


@settings(max_examples=120, deadline=None)
@given(st.lists(quote, max_size=60), st.lists(st.integers(1, 3_000), min_size=1, max_size=6), st.integers(0, 12))
def test_differential_is_full_recompute(told: list[tuple[int, int, str, int]], steps: list[int], budget: int) -> None:
    """Strikes are withdrawn, come back and go stale on the way; contracts are asked for in between."""
    desk = Desk(ChainSettings(budget=budget)).feed(snapshot())
    rows = rows_of(told, 1)
    at = 0
    for number, pause in enumerate(steps):
        at += pause
        now = [one for one in rows if one["at"] <= OPENS_AT + at * 1_000_000]
        rows = rows[len(now) :]
        desk.feed(now).step(at, max_age_s=5)
        desk.chains.contract(1 + number)

    at += 100  # A quote of each expiry changes last, so that its forward is of this very second.
    late = [
        row(place, at, fair(place) + 0.1 + 0.05 * (desk.market.view[BID, place] % 1_000 // 500)) for place in (5, 15)
    ]
    desk.feed([*(one for one in rows if one["at"] <= late[0]["at"]), *late]).step(at, max_age_s=5)
    full = Desk(market=desk.market)
    full.now = desk.now
    full.chains.settle(desk.now, 5 * NS)
    view, other = desk.chains.views["NSE:X"], full.chains.views["NSE:X"]
    carried = set()
    for expiry in EXPIRIES:
        mine, fresh = view.expiries[expiry], other.expiries[expiry]
        if fresh.forward_reason != "defined":  # Who begins here has no basis to carry.
            assert mine.forward_reason in {"carried", "no_forward"}
            carried.add(expiry)
        else:
            assert (mine.years, mine.forward, mine.discount) == (fresh.years, fresh.forward, fresh.discount)
    for place in PLACES:
        if TABLE[place].expiry not in carried:
            contract, expected = desk.chains.contract(place), full.chains.contract(place)
            assert contract is not None
            assert expected is not None
            assert contract.reason == expected.reason
            assert numbers(contract) == pytest.approx(numbers(expected), rel=1e-9, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(quote, max_size=60), st.integers(1, 10_000))
def test_no_nan_ever_leaves(told: list[tuple[int, int, str, int]], last_ms: int) -> None:
    desk = Desk()
    if last_ms % 2:
        desk.feed(snapshot())
    desk.feed(rows_of(told, 1)).step(max(last_ms, (desk.now - OPENS_AT) // 1_000_000), max_age_s=3)

    assert np.isfinite(desk.chains.greeks).all()
    for place in PLACES:
        contract = desk.chains.contract(place)
        assert contract is not None
        assert contract.reason in REASONS
        assert all(isfinite(number) for number in numbers(contract))
        if contract.reason != "defined":
            assert numbers(contract) == [0.0] * 6
    encoded = msgspec.json.encode(desk.chains.views["NSE:X"])  # NaN becomes null there, so look at the numbers
    assert all(isfinite(number) for number in floats(msgspec.to_builtins(desk.chains.views["NSE:X"])))
    assert encoded


def floats(data: Any) -> list[float]:
    """Every float in it, however deep."""
    if isinstance(data, dict):
        return [number for value in data.values() for number in floats(value)]
    return [data] if isinstance(data, float) else []


def test_a_chain_is_read_from_its_first_batch() -> None:
    desk = Desk().feed(snapshot()).step(250)
    view = desk.chains.views["NSE:X"]

    assert view.front == EXPIRIES[0]
    assert view.spot == 1_000.0
    assert view.expiries[EXPIRIES[0]].forward == pytest.approx(1_000.0, abs=0.05)
    assert view.expiries[EXPIRIES[0]].atm_strike == 10_000_000
    assert desk.chains.contract(0) is None
    assert all(contract.reason == "defined" for place in PLACES if (contract := desk.chains.contract(place)))


def test_nothing_changed_nothing_is_computed() -> None:
    desk = Desk(EVERYTHING).feed(snapshot()).step(250)
    computed = desk.chains.work.computed
    assert computed == len(PLACES)
    for place in PLACES:
        desk.chains.contract(place)
    assert desk.chains.work.asked == 0
    desk.feed([row(place, 300, fair(place)) for place in PLACES]).step(500)
    assert desk.chains.work.computed == computed


def test_a_decision_sees_the_present_quote() -> None:
    desk = Desk().feed(snapshot()).step(250)
    place = 5
    before = desk.chains.contract(place)
    desk.feed([row(place, 300, fair(place) + 1.0)])
    after = desk.chains.contract(place)

    assert before is not None
    assert after is not None
    assert after.iv > before.iv
    assert after.at == OPENS_AT + 300 * 1_000_000
    assert desk.chains.work.asked == 1


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"bid": 0, "ask": 0}, "no_quote"),
        ({"bid": 0}, "one_sided"),
        ({"ask": 0}, "one_sided"),
    ],
)
def test_a_quote_that_cannot_be_used_says_why(cells: dict[str, int], reason: str) -> None:
    desk = Desk().feed(snapshot()).step(250)
    desk.feed([row(5, 300, fair(5)) | cells]).step(500)
    contract = desk.chains.contract(5)

    assert contract is not None
    assert contract.reason == reason
    assert desk.chains.bad_input()[reason] == 1


def test_quotes_the_processor_refuses_never_arrive() -> None:
    """Crossed, off the tick, before the clock: the analytics stay those of the last good quote."""
    desk = Desk().feed(snapshot()).step(250)
    before = desk.chains.contract(5)
    good = row(5, 300, fair(5))
    desk.feed([good | {"bid": good["ask"] + 500}, good | {"bid": good["bid"] + 1}, good | {"at": OPENS_AT - 1}])

    assert desk.differential.refused == {"crossed": 1, "off_tick": 1, "clock_backwards": 1}
    assert desk.chains.contract(5) == before


def test_a_strike_that_vanishes_goes_stale_and_may_return() -> None:
    desk = Desk().feed(snapshot()).step(250)
    desk.feed([row(place, 50_000, fair(place)) for place in PLACES if place != 5]).step(61_000)
    gone = desk.chains.contract(5)
    assert gone is not None
    assert gone.reason == "stale"
    assert desk.chains.bad_input() == {"stale": 1, "spot_stale": 1}

    desk.feed([row(5, 62_000, fair(5))]).step(62_250)
    back = desk.chains.contract(5)
    assert back is not None
    assert back.reason == "defined"
    assert desk.chains.bad_input()["returned"] == 1


def test_a_strike_that_appears_in_mid_day_is_counted_and_used() -> None:
    late = [one for one in snapshot() if one["place"] != 5]
    desk = Desk().feed(late).step(250)
    desk.feed([one | {"at": OPENS_AT + 400_000 * 1_000_000} for one in snapshot()]).step(400_250)

    assert desk.chains.bad_input()["appeared"] == 1
    contract = desk.chains.contract(5)
    assert contract is not None
    assert contract.reason == "defined"


def test_an_expiry_that_passed_leaves_the_front() -> None:
    desk = Desk().feed(snapshot()).step(250)
    at_ms = 30 * 3_600 * 1_000
    desk.feed([one | {"at": OPENS_AT + at_ms * 1_000_000} for one in snapshot()]).step(at_ms)
    view = desk.chains.views["NSE:X"]

    assert view.front == EXPIRIES[1]
    assert view.expiries[EXPIRIES[0]].years == 0.0
    assert view.expiries[EXPIRIES[0]].forward is None
    assert view.expiries[EXPIRIES[0]].forward_reason == "expired"
    contract = desk.chains.contract(1)
    assert contract is not None
    assert contract.reason == "expired"
    assert desk.chains.bad_input()["expired"] == 2 * len(STRIKES)


def test_without_a_spot_the_forward_is_that_of_parity() -> None:
    desk = Desk().feed([one for one in snapshot() if one["place"]]).step(250)
    view = desk.chains.views["NSE:X"]

    assert view.spot is None
    assert view.expiries[EXPIRIES[0]].forward_reason == "defined"
    assert desk.chains.bad_input() == {"spot_missing": 1}
    contract = desk.chains.contract(5)
    assert contract is not None
    assert contract.reason == "defined"


def test_without_a_fresh_pair_the_last_basis_is_carried_on_the_spot() -> None:
    desk = Desk().feed(snapshot()).step(250)
    gone = [row(place, 1_000, 0.0) for place in PLACES if TABLE[place].right == "put"]
    desk.feed([row(0, 1_000, 0, last=10_100_000), *gone]).step(1_250)
    expiry = desk.chains.views["NSE:X"].expiries[EXPIRIES[0]]

    assert expiry.forward_reason == "carried"
    assert expiry.forward == pytest.approx(1_010.0, abs=0.1)


def test_in_an_auction_there_is_no_spot() -> None:
    desk = Desk(spot_is_open=lambda underlying: False).feed(snapshot()).step(250)
    assert desk.chains.views["NSE:X"].spot is None


def test_nothing_waits_longer_than_two_seconds_whatever_the_budget() -> None:
    desk = Desk(ChainSettings(budget=0)).feed(snapshot()).step(0)
    rng = np.random.default_rng(3)
    for number in range(1, 60):
        forward = 1_000 + float(rng.normal())
        rows = [row(place, 250 * number - 100, fair(place, forward)) for place in PLACES if rng.random() < 0.5]
        desk.feed(rows or [row(1, 250 * number - 100, fair(1))]).step(250 * number)
    waited = desk.chains.waited()

    assert 0 < waited.worst_ns <= 2 * NS
    assert waited.over_budget > 0


def test_what_is_held_is_computed_in_every_step() -> None:
    desk = Desk(ChainSettings(budget=0)).feed(snapshot()).step(0)
    desk.chains.hold(5, 1)
    for number in range(1, 9):
        desk.feed([row(5, 250 * number - 100, fair(5) + number / 10)]).step(250 * number)
        line = int(desk.chains.layout.lines[5])
        before = desk.chains.greeks[line].tolist()
        desk.chains.contract(5)
        assert desk.chains.greeks[line].tolist() == before
    assert desk.chains.work.asked == 0


def test_flows_of_the_front_are_in_lots() -> None:
    desk = Desk().feed(snapshot(oi=100 * LOT, volume=10 * LOT)).step(250)
    call, put = 5, 6
    desk.feed(
        [
            row(call, 60_000, fair(call) + 1, oi=104 * LOT, volume=20 * LOT),
            row(put, 60_000, fair(put) - 1, oi=106 * LOT, volume=20 * LOT),
        ]
    ).step(60_250)
    view = desk.chains.views["NSE:X"]

    assert view.call_flow == Flow(long_build_up=4.0)
    assert view.put_flow == Flow(short_build_up=6.0)
    assert desk.chains.strike_flow(call) == Flow(long_build_up=4.0)
    assert desk.chains.strike_flow(0) == Flow()
    assert (desk.chains.signed_flow(call), desk.chains.signed_flow(0)) == (4.0, 0.0)
    assert view.flow_since == OPENS_AT + 60_000 * 1_000_000 - 300 * NS
    assert view.open_interest == 10 * 100 + 10
    assert view.pcr_oi == pytest.approx(506 / 504)


def test_any_expiry_has_figures_of_its_own_and_asking_changes_none() -> None:
    far = len(STRIKES) * 2
    desk = Desk().feed(snapshot(oi=100 * LOT, volume=10 * LOT)).step(250)
    desk.feed([row(5 + far, 60_000, fair(5 + far) + 1, oi=104 * LOT, volume=20 * LOT)]).step(60_250)
    view = desk.chains.views["NSE:X"]
    before = msgspec.to_builtins(view, str_keys=True)
    front, back = (desk.chains.view_of(one) for one in desk.chains.layout.by_underlying["NSE:X"])

    assert (front.pcr_oi, front.call_flow, front.open_interest) == (1.0, Flow(), 1_000)
    assert back.pcr_oi == pytest.approx(500 / 504)
    assert back.call_flow == Flow(long_build_up=4.0)
    assert (back.open_interest, back.volume, back.call_wall) == (1_004, 110, 1_000 * 10_000)
    assert {name: getattr(view, name) for name in front.__struct_fields__} == msgspec.structs.asdict(front)
    assert msgspec.to_builtins(view, str_keys=True) == before


def test_an_option_on_a_stock_is_answered_by_the_tree() -> None:
    """A put deep in the money, worth what the tree says at 30 %: Black's formula has another volatility, or none."""
    stock = Instrument(id="US:X", symbol="X", segment="US", kind=Kind.EQUITY, currency="USD", tick_size=100)
    expiry = date(2026, 4, 17)
    options = [
        Instrument(
            id=f"OPRA:X:{strike}:{right}", symbol="x", segment="OPRA", kind=Kind.OPTION, currency="USD", tick_size=100,
            lot_size=100, underlying="US:X", expiry=expiry, strike=strike * 10_000, right=right,
        )
        for strike in (95, 100, 105, 120) for right in (Right.CALL, Right.PUT)
    ]  # fmt: skip
    market = MarketState(InstrumentTable([stock, *options]))
    years, now = 0.25, OPENS_AT
    settings = ChainSettings(rate=0.08, summary_ns=1)
    chains = OptionChains(market, lambda one: now + round(years * 365 * 86_400) * NS, lambda: now, settings)
    work, none = workspace(), np.zeros((0, 2))
    rows = [row(0, 0, 0, last=1_000_000)]
    for place, option in enumerate(options, 1):
        side = 1.0 if option.right is Right.CALL else -1.0
        price = american_value(side, 100.0, option.strike / 10_000, years, 0.08, 0.08, 0.3, none, work)[0]
        rows.append({"place": place, "at": now, "bid": round(price * 10_000), "ask": round(price * 10_000)})
    run = Rows(batch(rows), 0, len(rows))
    market.fold(run)
    chains.fold(run)
    chains.step(now, 60 * NS)

    put = chains.contract(6)  # strike 105
    assert put is not None
    assert put.reason == "defined"
    european = chains.greeks[int(chains.layout.lines[6]), 0]
    assert abs(put.iv - 0.3) < 0.005 < abs(european - 0.3)


def test_a_quote_grows_stale_between_two_steps_too() -> None:
    desk = Desk().feed(snapshot()).step(250)
    before = desk.chains.contract(5)
    desk.now = OPENS_AT + 61 * NS
    after = desk.chains.contract(5)

    assert before is not None
    assert after is not None
    assert (before.reason, after.reason) == ("defined", "stale")
