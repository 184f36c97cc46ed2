"""Sliding windows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.orders.windows import Limit, SlidingWindows

limits_of = st.lists(st.builds(Limit, st.integers(1, 6), st.integers(1, 50)), min_size=1, max_size=3)
steps = st.lists(st.integers(0, 30), max_size=60)


@given(limits=limits_of, gaps=steps)
def test_no_interval_ever_holds_more_than_its_limit_and_the_wait_is_exact(limits: list[Limit], gaps: list[int]) -> None:
    windows, now, taken = SlidingWindows(limits), 0, list[int]()
    for gap in gaps:
        now += gap
        wait = windows.wait_ns(now)
        fits = all(sum(now - limit.within < at <= now for at in taken) < limit.most for limit in limits)
        assert (wait == 0) == fits
        if wait:
            early = now + wait - 1
            assert any(sum(early - limit.within < at <= early for at in taken) >= limit.most for limit in limits)
            now += wait
            assert windows.wait_ns(now) == 0
        windows.take(now)
        taken.append(now)


def test_a_reserve_is_left_free_but_never_the_whole_window() -> None:
    windows = SlidingWindows([Limit(3, 10)])
    windows.take(0)
    windows.take(0)
    assert windows.wait_ns(0, spare=1) == 10
    assert windows.wait_ns(0) == 0
    assert SlidingWindows([Limit(1, 10)]).wait_ns(0, spare=5) == 0


def test_a_limit_that_allows_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        SlidingWindows([Limit(0, 10)])
