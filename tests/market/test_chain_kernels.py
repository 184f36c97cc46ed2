"""Medians and the money of the compiled steps against plain words."""

import math
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from angelx.domain.scalars import SCALE
from angelx.market.black76 import MID, SPREAD, WIDTH
from angelx.market.chain_kernels import _nearest, _width_near
from angelx.market.forward import _median, _weighted_median

numbers = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=30)


@given(numbers, st.randoms(use_true_random=False))
def test_median_is_the_lower_middle_wherever_the_order_began(values: list[float], random: Random) -> None:
    order = np.array(random.sample(range(len(values)), len(values)), np.int64)
    assert _median(np.array(values), order) == sorted(values)[(len(values) - 1) // 2]
    assert [values[n] for n in order] == sorted(values)


@given(st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 5)), min_size=1, max_size=30))
def test_half_of_the_weight_is_at_or_below_the_weighted_median(pairs: list[tuple[int, int]]) -> None:
    values, weights = (np.array(column, np.float64) for column in zip(*pairs, strict=True))
    total = sum(weight for _, weight in pairs)
    fits = [v for v, _ in pairs if 2 * sum(weight for other, weight in pairs if other <= v) >= total]
    assert _weighted_median(values, weights, np.arange(len(pairs))) == min(fits)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=40, unique=True), st.floats(1, 1e6))
def test_the_money_is_the_nearest_strike_of_two_the_lower(strikes: list[int], level: float) -> None:
    ordered = sorted(strikes)
    best = min(range(len(ordered)), key=lambda n: (abs(ordered[n] - level), n))
    assert _nearest(np.array(ordered, np.int64) * SCALE, level * SCALE) == best


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 50), st.integers(1, 9)), max_size=24), st.integers(0, 12))
def test_width_is_the_median_of_usable_quotes_around_the_money(quotes: list[tuple[int, int, int]], money: int) -> None:
    contracts = np.zeros((len(quotes), WIDTH))
    contracts[:, MID], contracts[:, SPREAD] = [one[1] for one in quotes], [one[2] for one in quotes]
    steps = np.array([one[0] for one in quotes], np.int64)
    near = [spread / mid for step, mid, spread in quotes if abs(step - money) <= 5 and mid > 0]
    found = _width_near(0, len(quotes), money, 5, steps, contracts)
    assert math.isclose(found, float(np.median(near)) if near else -1.0, rel_tol=1e-15)
