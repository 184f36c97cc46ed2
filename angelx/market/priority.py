"""Which contracts are computed in a step, and which wait: priority in a budget that is counted, not timed (SPEC 2.2).

A contract *waits* when an input of its analytics differs from the one they were computed with. A step takes

1. every contract held or worked in;
2. what the slow hand points at: it goes round the whole chain once in `limit` (2 s), so nothing waits longer;
3. by distance from the money in the chain's own strike steps, nearer expiries first, what is *urgent*, as far as the
   budget goes: the quote changed, or the forward moved by more than a share of what the quote's own spread leaves open.

What does not fit is deferred, never dropped: it is urgent again in the next step, and the hand comes by in any case.
The budget is a number of contracts: what a machine needs for one is measured by `angelx bench chain`, and a replay
chooses the same contracts on any machine.
"""

from typing import Any, Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.scalars import NS
from angelx.domain.ticks import Table

LIMIT: Final = 2 * NS
"""Longest that an analytic may lag behind its inputs."""
NEAR: Final = 64
"""Strike steps from the money beyond which all are alike."""

_LAST: Final = 1 << 62

# What `waiting` says of a contract.
SETTLED: Final = 0
DRIFTED: Final = 1
"""An input moved, by less than the quote leaves open."""
URGENT: Final = 2


@nb.njit(cache=True, nogil=True)
def choose(
    waiting: NDArray[np.int8], held: NDArray[np.int32], distance: Table, order: Table, turn: int, turns: int,
    budget: int, chosen: Table, shelf: Table,
) -> tuple[int, int]:  # fmt: skip
    """The contracts of this step.

    Parameters
    ----------
    waiting
        By contract `SETTLED`, `DRIFTED` or `URGENT`.
    held
        By contract, not 0 where something is held or works.
    distance
        By contract, strike steps from the money.
    order
        By contract the rank of its expiry, nearest 0.
    turn, turns
        The hand stands at contracts `n` with `n % turns == turn`.
    budget
        How many contracts a step should compute.
    chosen
        Filled with contract numbers; shape (contracts,).
    shelf
        Scratch, shape (contracts,).

    Returns
    -------
    tuple[int, int]
        How many were chosen, and how many of the urgent ones were deferred.
    """
    contracts = waiting.shape[0]
    count = urgent = 0
    shelves = np.zeros(NEAR + 2, np.int64)
    for n in range(contracts):
        if waiting[n] == SETTLED:
            continue
        if held[n] != 0 or n % turns == turn:
            chosen[count] = n
            count += 1
        elif waiting[n] == URGENT:
            urgent += 1
            shelves[min(distance[n], NEAR) + 1] += 1
    room = budget - count
    if room <= 0:
        return count, urgent
    if urgent == 0:
        return count, 0
    for near in range(NEAR + 1):
        shelves[near + 1] += shelves[near]
    last = 0
    while last < NEAR and shelves[last + 1] <= room:  # Shelves before `last` fit whole.
        last += 1
    return _take(waiting, held, distance, order, turn, turns, room, last, chosen, shelf, count, urgent)


@nb.njit(cache=True, nogil=True)
def _take(
    waiting: NDArray[np.int8], held: NDArray[np.int32], distance: Table, order: Table, turn: int, turns: int,
    room: int, last: int, chosen: Table, shelf: Table, count: int, urgent: int,
) -> tuple[int, int]:  # fmt: skip
    """Whole shelves before `last`, and of that one the nearest expiries until the budget is used up."""
    split = 0
    for n in range(waiting.shape[0]):
        if waiting[n] != URGENT or held[n] != 0 or n % turns == turn:
            continue
        near = min(distance[n], NEAR)
        if near < last:
            chosen[count] = n
            count += 1
            room -= 1
            urgent -= 1
        elif near == last:
            shelf[split] = n
            split += 1
    rank = 0
    while room > 0 and split > 0:
        following = _LAST
        for place in range(split):
            n = shelf[place]
            if order[n] == rank and room > 0:
                chosen[count] = n
                count += 1
                room -= 1
                urgent -= 1
            elif order[n] > rank:
                following = min(following, int(order[n]))
        if following == _LAST:
            break
        rank = following
    return count, urgent


class Turns:
    """Where the slow hand stands.

    Parameters
    ----------
    step_ns
        Time between two steps.
    limit_ns
        How long the hand takes round.
    """

    def __init__(self, step_ns: int, limit_ns: int = LIMIT) -> None:
        if not 0 < step_ns <= limit_ns:
            raise ValueError(f"a step lies between 0 and the limit of {limit_ns} ns, was {step_ns}")
        self._step = step_ns
        self.turns = limit_ns // step_ns

    def at(self, now: int) -> int:
        """The turn of the step at `now`, ns: a function of the time alone."""
        return now // self._step % self.turns


class Deferral:
    """How long contracts waited before they were computed, in steps of stream time."""

    def __init__(self) -> None:
        self.worst_ns = 0
        self.served = 0
        self.waited_ns = 0
        self.deferred = 0
        """Urgent contracts that a step left to a later one, summed over steps."""
        self.over_budget = 0
        """Steps in which what had to be done was more than the budget."""

    def as_dict(self) -> dict[str, Any]:
        """Figures for a report."""
        return {
            "worst_ms": self.worst_ns / 1e6,
            "mean_ms": self.waited_ns / self.served / 1e6 if self.served else 0.0,
            "served": self.served,
            "deferred": self.deferred,
            "steps_over_budget": self.over_budget,
        }
