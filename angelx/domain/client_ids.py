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
NONE: Final = (-1, "")


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
        self._blocks: dict[str, tuple[int, str]] = {}
        """The last 1,024 numbers of each strategy that were used: which, and how their ids begin."""

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
        block, stem = self._blocks.get(strategy, NONE)
        if block != number >> 10:
            stem = self._begin(strategy, number >> 10)
        return stem + _PAIRS[number & 1023]

    def _begin(self, strategy: str, block: int) -> str:
        digest = hashlib.blake2b(f"{self._run}\0{strategy}".encode(), digest_size=16).digest()
        bits = int.from_bytes(digest, "big") << 20 | block
        stem = PREFIX + "".join(_PAIRS[bits >> shift & 1023] for shift in range(60, -10, -10))
        self._blocks[strategy] = block, stem
        return stem
