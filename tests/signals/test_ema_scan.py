"""EMA cross against a plain loop, however the rows are cut."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.signals.ema_cross import EmaCross
from tests.flow.small_house import TABLE, cut, market


class Desk:
    """Takes every signal and holds nothing."""

    instruments = TABLE
    market: Any = SimpleNamespace()

    def __init__(self) -> None:
        self.said: list[tuple[int, int]] = []

    def long(self, place: int, **_: Any) -> bool:
        self.said.append((place, 1))
        return False

    def flat(self, place: int, **_: Any) -> bool:
        self.said.append((place, -1))
        return False


@settings(max_examples=40)
@given(st.integers(0, 99), st.lists(st.integers(1, 80), min_size=1, max_size=4), st.integers(1, 5), st.integers(1, 9))
def test_it_says_what_a_plain_loop_says(seed: int, sizes: list[int], fast: int, more: int) -> None:
    batch, slow = market(seed, 200), fast + more
    strategy, desk = EmaCross(fast=fast, slow=slow, instruments=[i.id for i in TABLE]), Desk()
    strategy.desk = desk  # type: ignore[assignment]
    strategy.start()
    start = turn = 0
    while start < batch.rows:
        stop = min(start + sizes[turn % len(sizes)], batch.rows)
        part = cut(batch, start, stop)
        strategy.prepare(part)
        row = strategy.scan(0, part.rows)
        while row < part.rows:
            strategy.decide(row)
            row = strategy.scan(row + 1, part.rows)
        start, turn = stop, turn + 1

    expected: list[tuple[int, int]] = []
    averages: dict[int, list[float]] = {}
    stands = dict.fromkeys(range(len(TABLE)), -1)
    for row in range(batch.rows):
        place, bid, ask = (int(batch.table[field, row]) for field in (0, 3, 4))
        mid = (bid + ask) / 2
        seen = averages.setdefault(place, [mid, mid, 0])
        seen[0] += 2 / (fast + 1) * (mid - seen[0])
        seen[1] += 2 / (slow + 1) * (mid - seen[1])
        seen[2] += 1
        lean = int(np.sign(seen[0] - seen[1])) if seen[2] >= slow else 0
        if lean and lean != stands[place]:
            stands[place] = lean
            expected.append((place, lean))
    assert desk.said == expected
