"""The simulated market's arithmetic against independent oracles."""

import math

import numpy as np
import pytest
import QuantLib
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from angelx.market.simulated import read_fitted
from angelx.market.simulated_index import smile, u_passed, u_shape
from angelx.market.simulated_pricing import black, implied_deviation, next_word, normal, seeded, uniform

deviations = st.floats(0.002, 1.5)
sides = st.sampled_from((1, -1))


def test_the_random_words_are_those_of_the_published_xoshiro() -> None:
    """Goal: a seed means the same market everywhere. Oracle: the test vectors of the Rust crate rand_xoshiro."""
    state = np.array([1, 2, 3, 4], np.uint64)

    assert [int(next_word(state)) for _ in range(6)] == [
        41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205, 9973669472204895162,
    ]  # fmt: skip


def test_a_seed_is_spread_by_the_published_splitmix() -> None:
    assert [int(word) for word in seeded(1234567)] == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
    ]  # fmt: skip


def test_any_integer_seeds() -> None:
    states = {tuple(seeded(seed).tolist()) for seed in (-1, 0, 1, 2**64, 2**63, -(2**63) - 5)}

    assert len(states) == 5  # 0 and 2**64 are the same 64 bits.


@given(seed=st.integers(0, 2**64 - 1))
def test_a_normal_is_the_inverse_distribution_of_its_uniform(seed: int) -> None:
    one, other = seeded(seed), seeded(seed)

    assert normal(one) == pytest.approx(ndtri(uniform(other)), rel=1.2e-9, abs=1e-9)
    assert one.tolist() == other.tolist()


def test_uniforms_exclude_both_ends() -> None:
    low, high = np.zeros(4, np.uint64), np.array([2**64 - 1, 0, 0, 0], np.uint64)

    assert 0.0 < uniform(low) < uniform(high) < 1.0


@given(forward=st.floats(100.0, 1e6), distance=st.floats(-0.5, 0.5), deviation=deviations, call=sides)
def test_prices_and_deltas_are_quantlibs(forward: float, distance: float, deviation: float, call: int) -> None:
    strike = forward * math.exp(distance)
    kind = QuantLib.Option.Call if call > 0 else QuantLib.Option.Put

    price, delta = black(forward, strike, deviation, call)

    oracle = QuantLib.BlackCalculator(QuantLib.PlainVanillaPayoff(kind, strike), forward, deviation)
    assert price == pytest.approx(oracle.value(), rel=1e-9, abs=forward * 1e-12)
    assert delta == pytest.approx(oracle.deltaForward(), abs=1e-9)


@given(distance=st.floats(-3.0, 3.0), deviation=deviations, call=sides)
def test_the_implied_deviation_prices_back(distance: float, deviation: float, call: int) -> None:
    strike = 490_000.0 * math.exp(distance * deviation)
    price, _ = black(490_000.0, strike, deviation, call)

    found = implied_deviation(np.array([price]), 490_000.0, np.array([strike]), np.array([call]))[0]

    assert black(490_000.0, strike, found, call)[0] == pytest.approx(price, abs=1e-4)


def test_no_volatility_explains_a_price_outside_its_bounds() -> None:
    prices = np.array([0.0, 99.0, 1_000.0])

    found = implied_deviation(prices, 1_000.0, np.array([1_000.0, 900.0, 1_000.0]), np.array([1, 1, 1]))

    assert np.isnan(found).all()


@given(depth=st.floats(0.0, 2.5))
def test_the_days_u_averages_one_and_its_integral_runs_from_none_to_all(depth: float) -> None:
    grid = (np.arange(2_000) + 0.5) / 2_000

    assert u_passed(depth, 0.0) == pytest.approx(0.0, abs=1e-12)
    assert u_passed(depth, 1.0) == pytest.approx(1.0)
    assert np.mean([u_shape(depth, share) for share in grid]) == pytest.approx(1.0, abs=1e-6)
    assert u_passed(depth, 0.3) == pytest.approx(np.sum([u_shape(depth, share) for share in grid[:600]]) / 2_000)


def test_the_smile_leaves_no_arbitrage_between_strikes() -> None:
    """Goal: a nearer strike is never the cheaper one, however far out. Method: the normal model in standard deviations,
    where an option costs `vol * (pdf(d) - d * cdf(-d))`, d = distance / vol; it falls with distance, and its fall slows
    down, but at the kink where the wings begin to flatten.
    """
    fitted, _ = read_fitted()
    distance = np.linspace(0.01, 40.0, 8_000)
    for skew in fitted.skew:
        for side in (-1.0, 1.0):
            vol = np.array([smile(side * k, skew, fitted.laws.wing, fitted.laws.bend) for k in distance])
            d = distance / vol
            price = vol * (np.exp(-d * d / 2.0) / math.sqrt(2.0 * math.pi) - d * ndtr(-d))

            assert (vol > 0.5).all()
            assert (np.diff(price) < 0.0).all()
            assert (np.diff(price, 2) < 0.0).sum() <= 2
