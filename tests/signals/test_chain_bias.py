"""The shipped option strategy: what it buys, when it lets go, and that it rests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.domain.events import OrderClosed, PositionChanged, SignalRefused
from angelx.domain.instruments import InstrumentTable, Right
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, OI
from angelx.market.chain_view import Chains, Contract
from angelx.market.state import MarketState
from angelx.signals.chain_bias import ChainBias
from tests.signals.chain_scene import EXPIRY, INDEX, LOT, OPENS_AT, FixedChains, option, view

STRIKES = (23_800, 23_900, 24_000, 24_100, 24_200)
TABLE = InstrumentTable([INDEX, *[option(right, strike) for strike in STRIKES for right in (Right.CALL, Right.PUT)]])
CALLS = {strike: TABLE.index[f"NFO:{strike}:call"] for strike in STRIKES}
PUTS = {strike: TABLE.index[f"NFO:{strike}:put"] for strike in STRIKES}
DELTAS = {23_800: 0.70, 23_900: 0.60, 24_000: 0.50, 24_100: 0.40, 24_200: 0.20}


@dataclass
class FakeDesk:
    """A desk on which every signal is filled at once at the touch, unless a test says otherwise."""

    chains: Chains | None
    instruments: InstrumentTable = TABLE
    market: MarketState = field(default_factory=lambda: MarketState(TABLE))
    now: int = OPENS_AT + 3600 * NS
    held: dict[int, int] = field(default_factory=dict)
    said: list[tuple[int, int, int, str]] = field(default_factory=list)

    def position(self, place: int) -> int:
        return self.held.get(place, 0)

    def working(self, place: int) -> bool:
        return False

    def long(self, place: int, *, stop_distance: int = 0, why: str = "") -> bool:
        self.said.append((place, 1, stop_distance, why))
        return True

    def short(self, place: int, *, stop_distance: int = 0, why: str = "") -> bool:
        raise AssertionError("it never sells short")

    def flat(self, place: int, *, why: str = "") -> bool:
        if not self.held.get(place):
            return False
        self.said.append((place, 0, 0, why))
        return True


class Play:
    """A strategy at a fake desk."""

    def __init__(self, bias: float = 0.5, strength: float = 0.9, **params: Any) -> None:
        self.view = view(bias=bias, bias_strength=strength)
        self.chains = FixedChains(self.view)
        self.desk = FakeDesk(self.chains)
        for strike in STRIKES:
            self.quote(CALLS[strike], int(DELTAS[strike] * 100 * 10_000))
            self.quote(PUTS[strike], int((1 - DELTAS[strike]) * 100 * 10_000))
            self.greeks(CALLS[strike], DELTAS[strike])
            self.greeks(PUTS[strike], DELTAS[strike] - 1)
        self.strategy = ChainBias(**params)
        self.strategy.name, self.strategy.desk = "chain_bias", self.desk
        self.strategy.start()

    def quote(self, place: int, bid: int, ask: int = 0, *, size: int = 10 * LOT, oi: int = 10_000 * LOT) -> None:
        cells = self.desk.market._cells[place]
        cells[BID], cells[ASK], cells[BID_SIZE], cells[ASK_SIZE], cells[OI] = bid, ask or bid + 1000, size, size, oi

    def greeks(self, place: int, delta: float, iv: float = 0.12, reason: str = "defined") -> None:
        self.chains.contracts[place] = Contract(self.desk.now, iv, delta, 0.0, 0.0, 0.0, 0.0, reason)

    def wait(self, seconds: float) -> list[tuple[int, int, int, str]]:
        """Let time pass, second by second; what it signalled."""
        before = len(self.desk.said)
        for _ in range(int(seconds)):
            self.desk.now += NS
            self.view.at = self.desk.now
            self.strategy.on_timer()
        return self.desk.said[before:]

    def fill(self, place: int, price: int, units: int = LOT) -> None:
        self.desk.held[place] = units
        name = TABLE[place].id
        self.strategy.on_position(PositionChanged(self.desk.now, name, "chain_bias", units, units * price, 0))

    def holding(self, place: int, price: int = 50_0000) -> "Play":
        """Hold it, and nothing else to do."""
        self.quote(place, price - 1000, price)
        self.fill(place, price)
        self.desk.said.clear()
        return self


def bought(play: Play) -> int | None:
    said = play.wait(5)
    assert len(said) <= 1
    return said[0][0] if said else None


# ---------------------------------------------------------------- in
@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"strength": 0.4}, "the bias was weaker than 0.5"),
        ({"max_outlay": 1.0}, "no contract had a lot for 1 or less"),
        ({"max_spread_pct": 0.0, "max_spread_ticks": 1}, "no contract had a spread that is narrow enough"),
        ({"least_lots": 11}, "no contract had 11 lots at the touch"),
        ({"least_oi": 20_000}, "no contract had open interest of 20000 lots"),
        ({"least_life_h": 1e6}, "no expiry had 1e+06 h to live"),
    ],
)
def test_it_counts_why_it_did_not_enter(params: dict[str, Any], why: str) -> None:
    play = Play(**params)
    assert play.wait(10) == []
    assert play.strategy.passed_over == {why: 2}


def test_it_says_what_its_chain_lacked() -> None:
    play = Play()
    play.view.bias = None
    play.wait(5)
    play.view.expiries[EXPIRY].forward = None
    play.wait(5)
    play.chains.views = {}
    play.wait(5)
    counted = {
        "the bias was not known yet": 1,
        "its chain was not quoted enough for a forward": 1,
        "the chain engine had not seen its chain": 1,
    }
    assert play.strategy.passed_over == counted
    assert play.strategy.about == ""


def test_it_says_which_of_several_underlyings_it_trades() -> None:
    others = [msgspec.structs.replace(option(Right.CALL, 100), id=f"NFO:{n}", underlying=f"NSE:{n}") for n in range(7)]
    strategy = ChainBias()
    strategy.name, strategy.desk = "chain_bias", FakeDesk(FixedChains(view()), InstrumentTable([*TABLE, *others]))
    strategy.start()
    names = ", ".join(f"NSE:{n}" for n in range(5))
    assert strategy.about == f"trades {INDEX.id} alone, not {names} and 2 more; its key `underlying` chooses"


def test_it_buys_the_call_whose_delta_fits_and_says_where_the_stop_is() -> None:
    play = Play()
    assert play.wait(5) == [(CALLS[24_000], 1, int((50_0000 + 1000) * 0.30), "bias_up")]


def test_a_falling_bias_buys_a_put() -> None:
    play = Play(bias=-0.5)
    place, direction, _, why = play.wait(5)[0]
    assert (place, direction, why) == (PUTS[24_000], 1, "bias_down")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"strength": 0.49}, None), ({"strength": 0.5}, 24_000), ({"bias": 0.0}, None),
        ({"max_outlay": 45.0 * LOT}, 24_100),
        ({"max_outlay": 25.0 * LOT}, 24_200), ({"max_outlay": 25.0 * LOT, "delta_least": 0.25}, None),
        ({"delta_low": 0.58, "delta_high": 0.62, "max_outlay": 99.0 * LOT}, 23_900),
    ],
)  # fmt: skip
def test_delta_premium_and_strength_decide(change: dict[str, Any], expected: int | None) -> None:
    assert bought(Play(**change)) == (CALLS[expected] if expected else None)


def test_what_cannot_be_traded_is_left_and_the_next_best_taken() -> None:
    spoiled: tuple[Callable[[Play], None], ...] = (
        lambda play: play.quote(CALLS[24_000], 50_0000, 51_5000),
        lambda play: play.quote(CALLS[24_000], 0, 50_0000),
        lambda play: play.quote(CALLS[24_000], 50_0000, size=LOT - 1),
        lambda play: play.quote(CALLS[24_000], 50_0000, oi=499 * LOT),
        lambda play: play.greeks(CALLS[24_000], 0.5, reason="stale"),
    )
    for spoil in spoiled:
        play = Play()
        spoil(play)
        assert bought(play) == CALLS[24_100]


def test_of_equal_deltas_the_narrower_spread() -> None:
    play = Play()
    play.quote(CALLS[24_100], 40_0000, 40_0500)
    assert bought(play) == CALLS[24_100]


def test_it_decides_every_five_seconds_on_a_view_that_is_fresh() -> None:
    play = Play()
    assert play.wait(4) == []
    assert len(play.wait(1)) == 1
    play = Play()
    play.view.at = play.desk.now - 10 * NS
    for _ in range(30):
        play.desk.now += NS
        play.strategy.on_timer()
    assert play.desk.said == []


def test_near_its_end_an_expiry_is_not_bought() -> None:
    play = Play()
    play.view.expiries[EXPIRY].years = 2.9 / 24 / 365
    assert bought(play) is None


# ---------------------------------------------------------------- rest
def test_after_a_refusal_it_rests_and_after_an_exit_longer() -> None:
    play = Play(retry_s=60, pause_s=600)
    place = bought(play)
    assert place is not None
    play.strategy.on_refused(
        SignalRefused(play.desk.now, 1, "chain_bias", TABLE[place].id, "filter", "likely_trap", "")
    )
    assert len(play.wait(59)) == 0
    assert len(play.wait(6)) == 1
    play.strategy.on_refused(SignalRefused(play.desk.now, 2, "chain_bias", TABLE[place].id, "gate", "daily_trades", ""))
    assert play.wait(595) == []
    assert len(play.wait(10)) == 1
    play.strategy.on_closed(
        OrderClosed(play.desk.now, "o", 2, "chain_bias", TABLE[place].id, 1, "cancelled", filled=0, unfilled=LOT)
    )
    assert len(play.wait(59)) == 0
    play.fill(place, 50_0000)
    play.fill(place, 50_0000, 0)
    assert play.wait(595) == []
    assert len(play.wait(10)) == 1


def test_while_it_holds_it_buys_nothing() -> None:
    play = Play().holding(CALLS[24_000])
    assert play.wait(300) == []


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1)), min_size=1, max_size=200), st.sampled_from([30, 60, 120]))
@settings(max_examples=40, deadline=None)
def test_a_restless_bias_never_makes_it_churn(biases: list[tuple[float, float]], retry: int) -> None:
    """Whatever the bias does, refused signals are at least `retry_s` apart."""
    play = Play(retry_s=retry)
    times = []
    for bias, strength in biases:
        play.view.bias, play.view.bias_strength = bias, strength
        if play.wait(5):
            times.append(play.desk.now)
            play.strategy.on_refused(SignalRefused(play.desk.now, 1, "s", TABLE[1].id, "filter", "x", ""))
    assert all(after - before >= retry * NS for before, after in pairwise(times))


# ---------------------------------------------------------------- out
def reasons(play: Play, seconds: int = 1) -> list[str]:
    return [why for _, direction, _, why in play.wait(seconds) if direction == 0]


@pytest.mark.parametrize(
    ("bid", "why"), [(35_0000, ["stop"]), (35_0500, []), (72_5000, ["target"]), (72_4500, []), (0, [])]
)
def test_stop_and_target(bid: int, why: list[str]) -> None:
    play = Play().holding(CALLS[24_000])
    play.quote(CALLS[24_000], bid, 99_0000)
    assert reasons(play) == why


def test_the_trailing_stop_begins_above_and_follows_the_highest_bid() -> None:
    play = Play().holding(CALLS[24_000])
    for bid in (59_9500, 51_0000):
        play.quote(CALLS[24_000], bid)
        assert reasons(play) == []
    for bid in (60_0000, 70_0000, 59_5500):
        play.quote(CALLS[24_000], bid)
        assert reasons(play) == []
    play.quote(CALLS[24_000], 59_5000)
    assert reasons(play) == ["trailing"]


def test_time_delta_volatility_and_a_bias_that_turned() -> None:
    assert reasons(Play(hold_s=30).holding(CALLS[24_000]), 30) == ["time"]

    play = Play().holding(CALLS[24_000])
    play.greeks(CALLS[24_000], 0.079)
    assert reasons(play) == ["delta_lost"]

    play = Play().holding(CALLS[24_000])
    play.greeks(CALLS[24_000], 0.5, iv=0.0901)
    assert reasons(play) == []
    play.greeks(CALLS[24_000], 0.5, iv=0.0899)
    assert reasons(play) == ["iv_lost"]
    play = Play().holding(CALLS[24_000])
    play.greeks(CALLS[24_000], 0.5, iv=0.05)
    play.quote(CALLS[24_000], 50_0000)
    assert reasons(play) == [], "it pays all the same"

    play = Play().holding(CALLS[24_000])
    play.view.bias, play.view.bias_strength = -0.4, 0.69
    assert reasons(play) == []
    play.view.bias_strength = 0.7
    assert reasons(play) == ["bias_turned"]

    play = Play().holding(PUTS[24_000])
    assert reasons(play) == ["bias_turned"], "a bias up is against a put"


def test_on_the_day_of_expiry_it_is_out_before_the_end() -> None:
    play = Play().holding(CALLS[24_000])
    play.view.expiries[EXPIRY].years = 45.1 / 60 / 24 / 365
    assert reasons(play) == []
    play.view.expiries[EXPIRY].years = 44.9 / 60 / 24 / 365
    assert reasons(play) == ["expiry"]


def test_an_exit_that_does_not_go_is_asked_for_every_five_seconds() -> None:
    play = Play().holding(CALLS[24_000])
    play.quote(CALLS[24_000], 20_0000)
    assert reasons(play, 21) == ["stop"] * 5


def test_what_a_restart_found_held_is_looked_after() -> None:
    play = Play()
    play.chains.contracts.clear()
    play.holding(CALLS[24_000])
    play.quote(CALLS[24_000], 30_0000)
    assert reasons(play) == ["stop"]


# ---------------------------------------------------------------- input
def test_it_needs_chains_and_options() -> None:
    strategy = ChainBias()
    strategy.desk = FakeDesk(None)
    with pytest.raises(ValueError, match="needs the chain engine"):
        strategy.start()
    strategy = ChainBias(underlying="NSE:OTHER")
    strategy.desk = FakeDesk(FixedChains())
    with pytest.raises(ValueError, match="no options on NSE:OTHER"):
        strategy.start()


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"strength": 1.0}, r"strength must be in \(0, 1\), was 1.0"), ({"delta_low": 0.6}, "delta_low must be"),
        ({"delta_least": 0.5}, "delta_least must be"), ({"stop": 0}, "stop must be"), ({"hold_s": 0}, "hold_s must be"),
        ({"least_life_h": 0.5}, "least_life_h must be longer"), ({"pause_s": -1}, "pause_s must be at least 0, was -1"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_named(params: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ChainBias(**params)
