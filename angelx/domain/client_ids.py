"""Client order ids: the same decision always has the same id, so it can never become two orders."""

import hashlib
from typing import Final

PREFIX: Final = "ax"
"""Marks our orders at a broker; the rest is 16 base32 characters, 18 in all (Angel One's tag allows 19)."""
_ID_BYTES: Final = 10
_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PAIRS: Final = tuple(first + second for first in _BASE32 for second in _BASE32)
"""Ten bits as two base32 characters (RFC 4648), three times as fast as the standard library's coder."""


class ClientIds:
    """Names orders of one journal.

    Parameters
    ----------
    run
        The journal instance: two journals never name two orders alike.
    """

    def __init__(self, run: str) -> None:
        self._seed = hashlib.blake2b(run.encode(), digest_size=_ID_BYTES)

    def of(self, strategy: str, signal: int, leg: int = 0) -> str:
        """The id of a signal's order; the same arguments give the same id in every process."""
        digest = self._seed.copy()
        digest.update(b"%s\0%d\0%d" % (strategy.encode(), signal, leg))
        bits = int.from_bytes(digest.digest(), "big")
        pairs = _PAIRS
        return (
            PREFIX + pairs[bits >> 70] + pairs[bits >> 60 & 1023] + pairs[bits >> 50 & 1023] + pairs[bits >> 40 & 1023]
            + pairs[bits >> 30 & 1023] + pairs[bits >> 20 & 1023] + pairs[bits >> 10 & 1023] + pairs[bits & 1023]
        )  # fmt: skip
