"""The histogram against sorted values: percentiles to 1 %, exact counts and maximum."""

import json
from math import ceil

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from angelx.health.latency import LARGEST, LatencyHistogram

durations = st.lists(
    st.one_of(st.integers(0, 2_000), st.integers(0, 10**10), st.integers(0, LARGEST)), min_size=1, max_size=200
)


def histogram_of(values: list[int]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(durations, st.sampled_from((1, 25, 50, 75, 90, 95, 99, 99.9, 100)))
def test_a_percentile_is_the_nearest_rank_to_one_percent(values: list[int], percent: float) -> None:
    got = histogram_of(values).percentile(percent)
    want = sorted(values)[max(ceil(len(values) * percent / 100), 1) - 1]
    assert abs(got - want) <= want / 128
    if percent == 100:
        assert got == max(values)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300))
def test_a_percentile_lies_between_numpys_neighbours(values: list[int]) -> None:
    histogram, array = histogram_of(values), np.array(values)
    for percent in (50, 95, 99):
        lower = min(np.percentile(array, percent, method=m) for m in ("inverted_cdf", "lower"))
        upper = max(np.percentile(array, percent, method=m) for m in ("inverted_cdf", "higher"))
        assert lower * 0.99 - 1 <= histogram.percentile(percent) <= upper * 1.01 + 1


@given(st.lists(st.integers(-(10**6), LARGEST), max_size=200))
def test_many_at_once_count_like_one_by_one(values: list[int]) -> None:
    one_by_one, at_once = histogram_of(values), LatencyHistogram()
    at_once.add_many(np.array(values, np.int64))
    assert (at_once.counts, at_once.max, at_once.negative) == (
        one_by_one.counts,
        one_by_one.max,
        one_by_one.negative,
    )


@given(durations, durations)
def test_merging_counts_both(left: list[int], right: list[int]) -> None:
    merged = histogram_of(left)
    merged.merge(histogram_of(right))
    both = histogram_of(left + right)
    assert (merged.counts, merged.max) == (both.counts, both.max)


@given(st.integers(0, LARGEST))
def test_every_value_lies_in_its_bucket(value: int) -> None:
    ((low, beyond, count),) = histogram_of([value]).buckets()
    assert low <= value < beyond
    assert count == 1
    assert beyond - low <= max(1, low // 64)


@given(durations)
def test_the_dictionary_is_json_and_adds_up(values: list[int]) -> None:
    figures = json.loads(json.dumps(histogram_of(values).as_dict()))
    assert figures["count"] == len(values) == sum(count for _, _, count in figures["buckets"])
    assert figures["p50_ns"] <= figures["p95_ns"] <= figures["p99_ns"] <= figures["max_ns"] == max(values)
    mean = sum(values) / len(values)
    assert abs(figures["mean_ns"] - mean) <= mean / 100 + 1


def test_a_negative_duration_counts_as_zero_and_is_told() -> None:
    histogram = histogram_of([-5, 10])
    assert (histogram.count, histogram.negative, histogram.percentile(50), histogram.max) == (2, 1, 0, 10)


def test_nothing_counted_is_all_zero() -> None:
    figures = LatencyHistogram().as_dict()
    assert (figures["count"], figures["p50_ns"], figures["max_ns"], figures["buckets"]) == (0, 0, 0, [])
