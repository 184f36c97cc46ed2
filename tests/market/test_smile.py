"""What the chain's volatilities say together, on made smiles and by brute force."""

import math
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.market.black76 import (
    CARRY,
    DEFINED,
    DISCOUNT,
    FORWARD,
    IV,
    MID,
    NO_QUOTE,
    SIDE,
    SPOT,
    STRIKE,
    TICK,
    WIDTH,
    YEARS,
    Floats,
    Reasons,
    analyse,
    value,
)  # fmt: skip
from angelx.market.smile import (
    ATM_IV,
    CALL_WING,
    MONTH,
    PUT_WING,
    SMILE_WIDTH,
    IvHistory,
    IvNoise,
    at_tenor,
    read_smile,
)  # fmt: skip

DAY = date(2025, 1, 1)
STRIKES = 81


class Chain(NamedTuple):
    """81 strikes, 50 apart, around 24,500; 30 days to go."""

    contracts: Floats
    greeks: Floats
    reasons: Reasons
    forward: float

    def read(self) -> Floats:
        calls, found = np.arange(0, 2 * STRIKES, 2), np.full(SMILE_WIDTH, -1.0)
        read_smile(calls, calls + 1, self.contracts, self.forward, self.greeks, self.reasons, found)
        return found


def chain(forward: float = 24_517.0, slope: float = -0.5, level: float = 0.14) -> Chain:
    """IV = level + slope x ln(K/F), linear, so that what lies between strikes is nearly known."""
    strikes = np.repeat(24_500.0 + 50.0 * (np.arange(STRIKES) - STRIKES // 2), 2)
    contracts = np.zeros((2 * STRIKES, WIDTH))
    contracts[:, STRIKE], contracts[:, SIDE], contracts[:, TICK] = strikes, np.tile((1.0, -1.0), STRIKES), 0.05
    contracts[:, MID] = [
        value(line[SIDE], forward, line[STRIKE], 0.995, MONTH, level + slope * math.log(line[STRIKE] / forward))
        for line in contracts
    ]
    expiries = np.zeros((1, WIDTH))
    expiries[0, [FORWARD, DISCOUNT, YEARS, SPOT, CARRY]] = forward, 0.995, MONTH, forward, 0.0
    greeks, reasons = np.zeros_like(contracts), np.zeros(2 * STRIKES, np.int8)
    analyse(np.arange(2 * STRIKES), contracts, expiries, greeks, reasons)
    return Chain(contracts, greeks, reasons, forward)


@given(forward=st.floats(23_500.0, 25_500.0), slope=st.floats(-0.6, 0.3))
def test_the_smile_is_read_where_it_is_known(forward: float, slope: float) -> None:
    found = chain(forward, slope).read()

    assert found[ATM_IV] == pytest.approx(0.14, abs=2e-5)
    for wing, side in ((PUT_WING, -1.0), (CALL_WING, 1.0)):
        strike = strike_at(0.25, side, forward, slope)
        assert found[wing] == pytest.approx(0.14 + slope * math.log(strike / forward), abs=2e-4)


def strike_at(delta: float, side: float, forward: float, slope: float) -> float:
    """By bisection on the made smile."""
    from scipy.special import ndtr

    low, high = (forward, forward * 1.2) if side > 0 else (forward * 0.8, forward)
    for _ in range(60):
        middle = 0.5 * (low + high)
        s = (0.14 + slope * math.log(middle / forward)) * math.sqrt(MONTH)
        there = 0.995 * ndtr(side * (math.log(forward / middle) / s + 0.5 * s))
        low, high = (middle, high) if (there > delta) == (side > 0) else (low, middle)
    return low


def test_a_forward_on_a_strike_takes_that_strike() -> None:
    made = chain(24_500.0)
    made.greeks[STRIKES - 1, IV] = 0.1  # its call
    made.greeks[STRIKES, IV] = 0.2  # its put

    assert made.read()[ATM_IV] == pytest.approx(0.15)


def test_a_strike_with_one_option_or_none_does_not_hide_the_others() -> None:
    made = chain(24_510.0)
    made.reasons[STRIKES - 1] = NO_QUOTE  # call of 24,500
    assert made.read()[ATM_IV] == pytest.approx(0.14, abs=1e-5)

    made.reasons[STRIKES] = NO_QUOTE  # and its put
    assert made.read()[ATM_IV] == pytest.approx(0.14, abs=1e-4)


def test_undefined_where_there_is_nothing_to_read() -> None:
    made = chain()
    made.reasons[:] = NO_QUOTE
    assert made.read().tolist() == [0.0, 0.0, 0.0]

    made = chain()
    assert made._replace(forward=0.0).read().tolist() == [0.0, 0.0, 0.0]
    assert made._replace(forward=1e6).read()[ATM_IV] == 0.0

    made.reasons[60:100] = NO_QUOTE  # Ten strikes around the money and more: too far apart, and no delta above 0.25.
    made.reasons[40:120] = NO_QUOTE
    assert made.read().tolist() == [0.0, 0.0, 0.0]
    assert (made.reasons == DEFINED).sum() == 2 * STRIKES - 80


# -------------------------------------------------------------------------------------------------------------- tenors
def test_total_variance_is_linear_between_expiries() -> None:
    assert at_tenor([0.02, 0.1], [0.10, 0.20], 0.06) == pytest.approx(math.sqrt((0.0002 + 0.004) / 2 / 0.06))
    assert at_tenor([0.02, 0.05, 0.1], [0.10, None, 0.20], 0.06) == at_tenor([0.02, 0.1], [0.10, 0.20], 0.06)
    assert at_tenor([0.02, 0.1], [0.10, 0.20], 0.1) == pytest.approx(0.20)
    assert at_tenor([0.02, 0.1], [0.10, 0.20], 0.01) == 0.10
    assert at_tenor([0.02, 0.1], [0.10, 0.20], 0.5) == 0.20
    assert at_tenor([0.0, 0.1], [0.10, 0.20], 0.05) == 0.20
    assert at_tenor([0.02], [None]) is None
    assert at_tenor([], []) is None


# ---------------------------------------------------------------------------------------------------------------- ranks
@given(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=400), st.floats(0.01, 3.0))
def test_rank_and_percentile_are_those_of_the_last_252_closes(closes: list[float], now: float) -> None:
    history = IvHistory((DAY + timedelta(days=n), close) for n, close in enumerate(closes))
    kept = closes[-252:]

    assert len(history) == len(kept)
    assert [close for _, close in history.closes] == kept
    if len(kept) < 60:
        assert history.rank(now) is None and history.percentile(now) is None
        return
    low, high = min(kept), max(kept)
    assert history.rank(now) == (0.5 if low == high else min(max((now - low) / (high - low), 0.0), 1.0))
    below, equal = sum(close < now for close in kept), sum(close == now for close in kept)
    assert history.percentile(now) == (below + 0.5 * equal) / len(kept)


def test_a_session_closes_once() -> None:
    history = IvHistory([(DAY, 0.1), (DAY, 0.2)])

    assert history.closes == ((DAY, 0.2),)
    with pytest.raises(ValueError, match="comes after"):
        history.close(DAY - timedelta(days=1), 0.1)
    for wrong in (0.0, -0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="positive number"):
            history.close(DAY, wrong)
    assert history.closes == ((DAY, 0.2),)


def test_noise_is_the_mean_change_over_five_vol_points() -> None:
    noise = IvNoise()
    for volatility in (0.10, 0.11, 0.10, 0.12):
        noise.sample(volatility)
        assert noise.noise is None
    noise.sample(0.12)

    assert noise.noise == pytest.approx((0.01 + 0.01 + 0.02) / 4 / 0.05)

    noise.sample(0.92)
    assert noise.noise == 1.0
