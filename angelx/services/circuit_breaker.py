"""Circuit breaker: after failures in a row nothing new is begun at a broker until it answered a probe (SPEC 7.2)."""

from random import Random
from typing import Final

FAILURES: Final = 3
"""In a row; what a broker refuses is an answer and no failure."""
OPEN_S: Final = 30.0
"""Until the first probe; twice as long after each that fails."""
OPEN_MOST_S: Final = 300.0
JITTER: Final = 0.25
"""A wait is up to this share longer, so that many do not come back at once."""


class CircuitBreaker:
    """Closed, it counts failures; open, it waits; half open, the next answer or failure decides.

    It only says so: whoever asks leaves entries out while it is not closed, never cancels, exits or look-ups.

    Parameters
    ----------
    random
        Of the waits.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = self._opened = 0
        self._probes = False
        self.why = ""
        """Why it is not closed; empty where it is."""

    def failed(self, why: str) -> float:
        """A request had no answer. Seconds to wait where that opens it, until `probe` is to be called; else 0."""
        self._failures += 1
        if not self._probes and (self.why or self._failures < FAILURES):
            return 0.0
        self.why = f"{self._failures} requests in a row without an answer, the last: {why}"
        wait_s = min(OPEN_S * 2.0**self._opened, OPEN_MOST_S) * (1.0 + JITTER * self._random.random())
        self._opened, self._probes = self._opened + 1, False
        return wait_s

    def probe(self) -> None:
        """The wait is over: what is asked now decides."""
        self._probes = True

    def answered(self) -> bool:
        """A request had an answer, be it no. True where that closes it."""
        self._failures = 0
        if not self._probes:
            return False
        self._opened, self._probes, self.why = 0, False, ""
        return True
