"""The cache: time to live in stream time, least recently used first, falsy values are hits, batches told apart."""

from typing import Any

import pytest

from angelx.market.analytics_cache import AnalyticsCache


class Stream:
    """A time, and a function that counts its calls."""

    def __init__(self, **options: Any) -> None:
        self.now = self.owner = 0
        self.calls: list[Any] = []
        self.cache: AnalyticsCache[Any] = AnalyticsCache(lambda: self.now, **options)

    def ask(self, key: Any, value: Any = 1.0) -> Any:
        def compute(owner: int) -> Any:
            self.calls.append(key)
            return value

        return self.cache.get(self.owner, key, compute)


@pytest.mark.parametrize("value", [0, 0.0, None, "", (), False])
def test_a_falsy_value_is_a_hit(value: Any) -> None:
    stream = Stream()
    assert stream.ask("a", value) == stream.ask("a", value) == value
    assert stream.calls == ["a"]
    assert stream.cache.hit_rate == 0.5


def test_an_entry_lives_five_seconds_of_the_stream() -> None:
    stream = Stream()
    stream.ask("a")
    stream.now = 4_999_999_999
    stream.ask("a")
    assert stream.calls == ["a"]
    stream.now = 5_000_000_000
    stream.ask("a")
    assert stream.calls == ["a", "a"]


def test_the_least_recently_used_leaves_first() -> None:
    stream = Stream(most=2)
    stream.owner = 7
    for key in "abac":
        stream.ask(key)
    assert len(stream.cache) == 2
    stream.ask("a")
    assert stream.calls == ["a", "b", "c"]
    stream.ask("b")
    assert stream.calls[-1] == "b"


def test_hits_within_and_across_batches_are_told_apart() -> None:
    stream = Stream()
    assert stream.cache.hit_rate is None
    for _ in range(3):
        stream.ask("a")
    stream.cache.new_batch()
    stream.ask("a")
    assert (stream.cache.misses, stream.cache.hits_within, stream.cache.hits_across) == (1, 2, 1)
    assert stream.cache.hit_rate == 0.75


def test_the_same_key_of_another_owner_is_another_entry() -> None:
    stream = Stream()
    stream.ask("a")
    stream.owner = 1
    stream.ask("a")
    assert stream.calls == ["a", "a"]
