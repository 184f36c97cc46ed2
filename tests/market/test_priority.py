"""Priority: the right contracts first, nothing dropped, nothing later than the limit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.domain.scalars import NS
from angelx.market.priority import DRIFTED, LIMIT, SETTLED, URGENT, Turns, choose

STEP = NS // 4


def chosen_of(
    waiting: list[int], held: list[int], distance: list[int], rank: list[int], turn: int, turns: int, budget: int
) -> tuple[list[int], int]:
    n = len(waiting)
    chosen, shelf = np.zeros(n, np.int64), np.zeros(n, np.int64)
    count, deferred = choose(
        np.array(waiting, np.int8), np.array(held, np.int32), np.array(distance, np.int64), np.array(rank, np.int64),
        turn, turns, budget, chosen, shelf,
    )  # fmt: skip
    return chosen[:count].tolist(), deferred


contract = st.tuples(
    st.sampled_from([SETTLED, DRIFTED, URGENT]), st.integers(0, 1), st.integers(0, 80), st.integers(0, 4)
)


@given(st.lists(contract, max_size=60), st.integers(0, 7), st.integers(0, 40))
def test_held_first_then_the_hand_then_by_distance(
    chain: list[tuple[int, int, int, int]], turn: int, budget: int
) -> None:
    waiting, held, distance, rank = ([one[k] for one in chain] for k in range(4))
    answer, deferred = chosen_of(waiting, held, distance, rank, turn, 8, budget)

    must = {n for n, one in enumerate(chain) if one[0] != SETTLED and (one[1] or n % 8 == turn)}
    rest = [n for n, one in enumerate(chain) if one[0] == URGENT and n not in must]
    rest.sort(key=lambda n: (min(distance[n], 64), rank[n], n))
    room = max(budget - len(must), 0)

    assert len(set(answer)) == len(answer)
    assert set(answer) == must | set(rest[:room])
    assert deferred == len(rest[room:])


@given(st.lists(contract, min_size=1, max_size=60), st.integers(0, 40))
def test_nothing_waits_longer_than_the_limit(chain: list[tuple[int, int, int, int]], budget: int) -> None:
    """Everything changes all the time, the budget may be nothing: each is computed within two seconds."""
    turns = Turns(STEP)
    _, held, distance, rank = ([one[k] for one in chain] for k in range(4))
    last = [0] * len(chain)
    for step in range(1, 40):
        answer, deferred = chosen_of(
            [URGENT] * len(chain), held, distance, rank, turns.at(step * STEP), turns.turns, budget
        )
        for n in answer:
            last[n] = step
        assert len(answer) + deferred == len(chain), "deferred is not dropped"
        assert all((step - then) * STEP < LIMIT for then in last if step * STEP >= LIMIT)


def test_the_hand_stands_where_the_time_says() -> None:
    turns = Turns(STEP)
    assert turns.turns == 8
    assert [turns.at(n * STEP) for n in range(10)] == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]


@pytest.mark.parametrize("step", [0, -1, LIMIT + 1])
def test_a_step_fits_into_the_limit(step: int) -> None:
    with pytest.raises(ValueError, match="step"):
        Turns(step)
