"""Figures of forecasts against independent ones: scipy's interval, sums over all of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.signals.calibration import Reliability, wilson


@given(n=st.integers(1, 5000), data=st.data())
def test_wilson_is_scipys(n: int, data: st.DataObject) -> None:
    from scipy.stats import binomtest

    hits = data.draw(st.integers(0, n))
    interval = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits, n) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_wilson_of_nothing_and_of_fractions() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    wide, narrow = wilson(6, 10), wilson(60, 100)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert wilson(60 * 0.1, 100 * 0.1) == pytest.approx(wide)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=200))
def test_brier_and_calibration_error_are_those_of_the_whole_list(seen: list[tuple[float, bool]]) -> None:
    found = Reliability()
    for probability, happened in seen:
        found.add(probability, happened=happened)
    n = len(seen)
    assert found.brier == pytest.approx(sum((p - y) ** 2 for p, y in seen) / n)
    assert found.base_rate == sum(y for _, y in seen) / n
    assert found.accuracy == sum((p > 0.5) if y else (p < 0.5) for p, y in seen) / n
    error = 0.0
    for tenth in range(10):
        inside = [(p, y) for p, y in seen if min(int(p * 10), 9) == tenth]
        if inside:
            gap = sum(p for p, _ in inside) / len(inside) - sum(y for _, y in inside) / len(inside)
            error += len(inside) / n * abs(gap)
    assert found.calibration_error == pytest.approx(error, abs=1e-12)
    shown = found.as_dict(0.1)
    assert shown["n"] == n
    assert shown["accuracy_interval"] == list(wilson(found.hits * 0.1, n * 0.1))


def test_nothing_seen_says_nothing_and_nonsense_is_refused() -> None:
    empty = Reliability()
    assert (empty.accuracy, empty.brier, empty.calibration_error, empty.base_rate) == (None, None, None, None)
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="probability"):
            empty.add(bad, happened=True)


def test_a_perfect_and_a_coin() -> None:
    perfect, coin = Reliability(), Reliability()
    for n in range(100):
        perfect.add(float(n % 2), happened=bool(n % 2))
        coin.add(0.5, happened=bool(n % 2))
    assert (perfect.accuracy, perfect.brier, perfect.calibration_error) == (1.0, 0.0, 0.0)
    assert (coin.accuracy, coin.brier, coin.calibration_error) == (0.0, 0.25, 0.0)
