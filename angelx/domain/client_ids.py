"""Client order ids: the same decision always has the same id, so it can never become two orders."""

import hashlib
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

    def of(self, strategy: str, signal: int, leg: int = 0) -> str:
        """The id of a signal's order; the same arguments give the same id in every process."""
        digest = hashlib.sha256(f"{self._run}\0{strategy}\0{signal}\0{leg}".encode()).digest()
        return PREFIX + digest[:_CHARACTERS].translate(_BASE32).decode()
