"""What is due at the exchange: things under way on a line with latency, and the edges of sessions."""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

Act = Callable[..., None]
NEVER: Final = 2**62


class Agenda:
    """Acts by time, then by the order in which they were put down."""

    def __init__(self) -> None:
        self._acts: list[tuple[int, int, Act, tuple[Any, ...]]] = []
        self._number = 0
        self.now = 0
        """Exchange time, ns; never goes back."""
        self.next_at = NEVER
        """When the next act is due, ns."""

    def at(self, when: int, act: Act, *args: Any) -> None:
        """Put an act down."""
        self._number += 1
        heappush(self._acts, (when, self._number, act, args))
        self.next_at = self._acts[0][0]

    def act(self) -> None:
        """Do what is due next, at its time; there must be something."""
        when, _, act, args = heappop(self._acts)
        self.next_at = self._acts[0][0] if self._acts else NEVER
        self.now = max(self.now, when)
        act(*args)


class Line:
    """One way between the broker and the exchange: what is sent arrives late, never before what was sent earlier."""

    __slots__ = ("_agenda", "_jitter_ns", "_latency_ns", "_random", "_until")

    def __init__(self, agenda: Agenda, latency_ns: int, jitter_ns: int, random: Random) -> None:
        self._agenda, self._latency_ns, self._jitter_ns, self._random = agenda, latency_ns, jitter_ns, random
        self._until = 0

    def send(self, now: int, act: Act, *args: Any) -> None:
        """Do it when it arrives: at once where the line has no latency."""
        if not self._latency_ns and not self._jitter_ns:
            act(*args)
            return
        delay = self._latency_ns + (self._random.randrange(self._jitter_ns + 1) if self._jitter_ns else 0)
        self._until = max(self._until, now + delay)
        self._agenda.at(self._until, act, *args)
