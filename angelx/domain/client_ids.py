"""Client order ids: the same decision always has the same id, so it can never become two orders."""

from hashlib import blake2b
from typing import Final

PREFIX: Final = "ax"
"""Marks our orders at a broker; the rest is 16 base32 characters, 18 in all (Angel One's tag allows 19)."""
_CHARACTERS: Final = 16
_BASE32: Final = bytes(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[byte % 32] for byte in range(256))
"""The base32 character (RFC 4648) of a byte's last five bits: sixteen bytes of a hash give eighty bits of it."""


class ClientIds:
    """Names orders of one journal.

    Parameters
    ----------
    run
        The journal instance: two journals never name two orders alike.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._begun: dict[str, bytes] = {}
        """What is hashed of each strategy's decisions before their numbers."""

    def of(self, strategy: str, signal: int, leg: int = 0) -> str:
        """The id of a signal's order; the same arguments give the same id in every process."""
        # BLAKE2b is in Python itself: SHA-256 through OpenSSL is 240 cache lines of an order's 2,900, and a decision
        # after a pause has to fetch each of them.
        words = self._begun.get(strategy) or self._begin(strategy)
        digest = blake2b(words + signal.to_bytes(8) + leg.to_bytes(8), digest_size=_CHARACTERS).digest()
        return PREFIX + digest.translate(_BASE32).decode()

    def _begin(self, strategy: str) -> bytes:
        begun = self._begun[strategy] = f"{self._run}\0{strategy}\0".encode()
        return begun
