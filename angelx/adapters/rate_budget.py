"""Requests to a broker wait here until its rate limits have room: exits first, a reserve for look-ups (SPEC 6.7)."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Final

from angelx.bus.clock import PacingClock
from angelx.domain.errors import RateLimited
from angelx.domain.scalars import NS
from angelx.orders.windows import Limit, SlidingWindows

MARGIN_S: Final = 0.02
"""Added to every wait: the broker counts when a request arrives, and two do not take equally long to get there.
Real seconds, whatever the clock: they pass on the way."""


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
    poll_reserve
        Places beside those that entries leave free for polls, so that a burst of entries cannot blind us.
    clock
        The broker's time, in which windows, holds and longest waits are counted: a venue's may be faster than the
        host's. `None` = the loop's seconds.
    """

    def __init__(
        self,
        limits: Mapping[str, Iterable[Limit]],
        *,
        reserve: Mapping[str, int] | None = None,
        poll_reserve: Mapping[str, int] | None = None,
        clock: PacingClock | None = None,
    ) -> None:
        kept, polls, time = reserve or {}, poll_reserve or {}, clock or _LoopClock()
        self._lanes = {
            name: _Lane(name, rows, kept.get(name, 0), polls.get(name, 0), time) for name, rows in limits.items()
        }

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
        return {name: lane.waiting for name, lane in self._lanes.items() if lane.waiting}


class _Lane:
    """One category: a queue for each priority in front of its windows."""

    def __init__(self, name: str, limits: Iterable[Limit], reserve: int, poll_reserve: int, clock: PacingClock) -> None:
        self._name, self._clock = name, clock
        self._windows = SlidingWindows(limits)
        self._spare = {
            Priority.EXIT: 0, Priority.LOOKUP: 0, Priority.ENTRY: reserve + poll_reserve, Priority.POLL: reserve,
        }  # fmt: skip
        self._held_until = self._exits_held_until = 0
        self._timer: asyncio.TimerHandle | None = None
        self._queues: dict[Priority, deque[asyncio.Future[None]]] = {priority: deque() for priority in Priority}

    @property
    def waiting(self) -> int:
        """Requests in the queues that somebody still waits for."""
        return sum(not turn.done() for queue in self._queues.values() for turn in queue)

    async def take(self, priority: Priority, within_s: float | None) -> None:
        loop, now = asyncio.get_running_loop(), self._clock.now()
        if not any(self._queues.values()) and not self._wait_s(now, priority):
            self._windows.take(now)
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._queues[priority].append(turn)
        self._serve()
        try:
            async with asyncio.timeout(None if within_s is None else self._real_s(now, within_s)):
                await turn
        except TimeoutError:
            if turn.done() and not turn.cancelled():  # Its turn came in the same moment.
                return
            wait_s = self._wait_s(self._clock.now(), priority)
            raise RateLimited(f"{self._name}: no room within {within_s:g} s", wait_s) from None
        finally:
            if not turn.done():
                turn.cancel()

    def arrived(self) -> None:
        self._windows.delay(self._clock.now())

    def hold(self, wait_s: float, exits_s: float) -> None:
        now = self._clock.now()
        self._held_until = max(self._held_until, now + int(wait_s * NS))
        self._exits_held_until = max(self._exits_held_until, now + int(min(exits_s, wait_s) * NS))
        self._serve()

    def _real_s(self, now: int, seconds: float) -> float:
        return self._clock.seconds_until(now + int(seconds * NS))

    def _wait_s(self, now: int, priority: Priority) -> float:
        """Real seconds until one more may go; 0 = now."""
        wait = self._windows.wait_ns(now, self._spare[priority])
        held_until = self._held_until if priority >= Priority.ENTRY else self._exits_held_until
        for_room = self._clock.seconds_until(now + wait) + MARGIN_S if wait else 0.0
        return max(for_room, self._clock.seconds_until(held_until) if held_until > now else 0.0)

    def _serve(self) -> None:
        """Let go who may, the first priority first; then look again when the next one may.

        Entries that have to leave a reserve do not stand in the way of polls that may use it.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now, next_s = self._clock.now(), None
        for priority, queue in self._queues.items():
            wait_s = 0.0
            while queue and (queue[0].done() or not (wait_s := self._wait_s(now, priority))):
                turn = queue.popleft()
                if not turn.done():
                    self._windows.take(now)
                    turn.set_result(None)
            if queue:
                next_s = wait_s if next_s is None else min(next_s, wait_s)
        if next_s is not None:
            self._timer = asyncio.get_running_loop().call_later(next_s, self._serve)


class _LoopClock:
    """The seconds of the running loop."""

    def now(self) -> int:
        return int(asyncio.get_running_loop().time() * NS)

    def seconds_until(self, at: int) -> float:
        return (at - self.now()) / NS
