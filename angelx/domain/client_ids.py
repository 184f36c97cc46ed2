"""Client order ids: the same decision always has the same id, so it can never become two orders."""

import hashlib
from typing import Final

PREFIX: Final = "ax"
"""Marks our orders at a broker; the rest is 16 base32 characters, 18 in all (Angel One's tag allows 19)."""
LEGS: Final = 8
"""Orders that one signal may have; 2**27 signals of a journal have ids."""
_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PAIRS: Final = tuple(first + second for first in _BASE32 for second in _BASE32)
"""Ten bits as two base32 characters (RFC 4648)."""


class ClientIds:
    """Names orders of one journal: 50 bits of a hash of journal and strategy, and 30 that number signal and leg.

    The second half is a hash without collisions. A cryptographic one, called once an order and so never in the caches,
    took 3 us and more of each.

    Parameters
    ----------
    run
        The journal instance: two journals never name two orders alike.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._stems: dict[str, str] = {}

    def of(self, strategy: str, signal: int, leg: int = 0) -> str:
        """The id of a signal's order; the same arguments give the same id in every process.

        Raises
        ------
        ValueError
            There is no such leg, or no id left.
        """
        number = signal * LEGS + leg
        if not 0 <= leg < LEGS or number >> 30:
            raise ValueError(f"signal {signal}, leg {leg}: no id is left for it")
        stem = self._stems.get(strategy) or self._stem(strategy)
        return stem + _PAIRS[number >> 20] + _PAIRS[number >> 10 & 1023] + _PAIRS[number & 1023]

    def _stem(self, strategy: str) -> str:
        digest = hashlib.blake2b(f"{self._run}\0{strategy}".encode(), digest_size=16).digest()
        bits = int.from_bytes(digest, "big")
        stem = self._stems[strategy] = PREFIX + "".join(_PAIRS[bits >> shift & 1023] for shift in (40, 30, 20, 10, 0))
        return stem
