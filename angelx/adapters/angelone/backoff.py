"""How long to wait before the next try: exponential, jittered, seeded."""

from random import Random


class Backoff:
    """Waits that double from `first_s` to `most_s`; each is drawn from its upper half.

    Parameters
    ----------
    random
        Of the jitter: two clients that lost the same server do not come back together.
    """

    def __init__(self, random: Random, *, first_s: float = 0.5, most_s: float = 30.0) -> None:
        self._random = random
        self._first_s, self._most_s = first_s, most_s
        self._next_s = first_s

    def wait_s(self) -> float:
        """The next wait, seconds."""
        wait, self._next_s = self._next_s, min(2 * self._next_s, self._most_s)
        return self._random.uniform(wait / 2, wait)

    def reset(self) -> None:
        """It went well: begin anew."""
        self._next_s = self._first_s
