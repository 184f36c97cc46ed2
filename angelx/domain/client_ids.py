"""Client order ids: the same decision always has the same id, so it can never become two orders."""

import hashlib
from base64 import b32encode
from typing import Final

PREFIX: Final = "ax"
"""Marks our orders at a broker; the rest is 16 base32 characters, 18 in all (Angel One's tag allows 19)."""
_ID_BYTES: Final = 10


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
        return PREFIX + b32encode(digest.digest()).decode()
