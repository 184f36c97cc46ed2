"""Requests to a broker wait here until its rate limits have room: exits first, a reserve for look-ups (SPEC 6.7)."""

import asyncio
from collections.abc import Iterable, Mapping
from enum import IntEnum
from heapq import heappop, heappush
from typing import Final

from angelx.domain.errors import RateLimited
from angelx.domain.scalars import NS
from angelx.orders.windows import Limit, SlidingWindows

MARGIN_NS: Final = 20_000_000
"""Added to every wait: the broker counts when a request arrives, and two do not take equally long to get there."""


class Priority(IntEnum):
    """Who goes first where several wait."""

    EXIT = 0
    """Cancels and orders that reduce."""
    LOOKUP = 1
    """What settles an order in doubt, and the books."""
    ENTRY = 2
    POLL = 3
    """What can wait: quotes, funds, masters."""


class RateBudget:
    """Sliding windows per category of one broker, shared by everybody who talks to it with these credentials.

    Parameters
    ----------
    limits
        Of each category; a category without limits never waits.
    reserve
        Places of each category's windows that entries and polls leave free for exits and look-ups.
    """

    def __init__(self, limits: Mapping[str, Iterable[Limit]], *, reserve: Mapping[str, int] | None = None) -> None:
        reserve = reserve or {}
        self._lanes = {name: _Lane(name, rows, reserve.get(name, 0)) for name, rows in limits.items()}

    async def take(self, category: str, priority: Priority, *, within_s: float | None = None) -> None:
        """Wait for a place, and use it.

        Parameters
        ----------
        within_s
            Longest wait; `None` = as long as it takes.

        Raises
        ------
        RateLimited
            No place came free in time; none was used.
        """
        await self._lanes[category].take(priority, within_s)

    def arrived(self, category: str) -> None:
        """The last request of this category is answered: it cannot have arrived later, and is counted from now on.

        For categories with one place a second: two requests that leave far enough apart may arrive too close together.
        """
        self._lanes[category].arrived()

    def hold(self, category: str, wait_s: float, *, exits_s: float | None = None) -> None:
        """The broker said "too many": nobody of this category goes before `wait_s` seconds are over.

        Parameters
        ----------
        exits_s
            Exits and look-ups wait only this long, where it is given.
        """
        self._lanes[category].hold(wait_s, wait_s if exits_s is None else exits_s)

    def waiting(self) -> dict[str, int]:
        """Requests that wait now, by category."""
        return {name: len(lane.queue) for name, lane in self._lanes.items() if lane.queue}


class _Lane:
    """One category: a queue by priority in front of its windows."""

    def __init__(self, name: str, limits: Iterable[Limit], reserve: int) -> None:
        self._name = name
        self._windows = SlidingWindows(limits)
        self._reserve = reserve
        self._held_until = self._exits_held_until = 0
        self._ticket = 0
        self._timer: asyncio.TimerHandle | None = None
        self.queue: list[tuple[int, int, asyncio.Future[None]]] = []

    async def take(self, priority: Priority, within_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        now = _now(loop)
        ahead = [entry for entry in self.queue if entry[0] <= priority]
        if not ahead and not self._wait_ns(now, priority):
            self._windows.take(now)
            return
        self._ticket += 1
        turn: asyncio.Future[None] = loop.create_future()
        heappush(self.queue, (priority, self._ticket, turn))
        self._arm(loop)
        try:
            async with asyncio.timeout(within_s):
                await turn
        except TimeoutError:
            raise RateLimited(f"{self._name}: no room within {within_s:g} s", self._wait_ns(_now(loop)) / NS) from None
        finally:
            if not turn.done():
                turn.cancel()

    def arrived(self) -> None:
        self._windows.delay(_now(asyncio.get_running_loop()))

    def hold(self, wait_s: float, exits_s: float) -> None:
        loop = asyncio.get_running_loop()
        now = _now(loop)
        self._held_until = max(self._held_until, now + int(wait_s * NS))
        self._exits_held_until = max(self._exits_held_until, now + int(min(exits_s, wait_s) * NS))
        self._arm(loop)

    def _wait_ns(self, now: int, priority: int = Priority.EXIT) -> int:
        can_wait = priority >= Priority.ENTRY
        wait = self._windows.wait_ns(now, self._reserve if can_wait else 0)
        held_until = self._held_until if can_wait else self._exits_held_until
        return max(wait + MARGIN_NS if wait else 0, held_until - now, 0)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look again when the first in the queue may go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self.queue and self.queue[0][2].done():
            heappop(self.queue)
        if self.queue:
            wait = self._wait_ns(_now(loop), self.queue[0][0])
            self._timer = loop.call_later(wait / NS, self._serve, loop)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        now = _now(loop)
        while self.queue:
            priority, _, turn = self.queue[0]
            if turn.done():
                heappop(self.queue)
                continue
            if self._wait_ns(now, priority):
                break
            heappop(self.queue)
            self._windows.take(now)
            turn.set_result(None)
        self._arm(loop)


def _now(loop: asyncio.AbstractEventLoop) -> int:
    return int(loop.time() * NS)
