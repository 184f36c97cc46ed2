"""A cache whose entries age in stream time and leave in order of disuse; it counts what it is worth (SPEC 2.5)."""

from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from cachetools import LRUCache

from angelx.domain.scalars import NS

TTL: Final = 5 * NS
MOST: Final = 8192

V = TypeVar("V")


class AnalyticsCache(Generic[V]):
    """Values by a key that holds *every* input they were computed from, so an entry is never wrong, only unused.

    Parameters
    ----------
    now
        Stream time, ns: entries age with the session, so a replay hits and misses as the session did.
    ttl_ns
        How long an entry lives.
    most
        Entries kept; the least recently used leave first.
    """

    def __init__(self, now: Callable[[], int], ttl_ns: int = TTL, most: int = MOST) -> None:
        self._now, self._ttl = now, ttl_ns
        # Entries carry their own end: cachetools' TTLCache orders them by time too, which costs three times as much.
        self._entries: LRUCache[Hashable, tuple[V, int, int]] = LRUCache(most)
        self._batch = 0
        self.hits_within = 0
        """Hits on entries that were made in the same batch."""
        self.hits_across = 0
        """Hits on entries of earlier batches."""
        self.misses = 0

    def new_batch(self) -> None:
        """What is put from here on belongs to another batch."""
        self._batch += 1

    def get(self, owner: int, key: Hashable, compute: Callable[[int], V]) -> V:
        """The value of a key, `compute(owner)` where it is not there; `None`, 0 and empty are values like any other.

        `owner` is what the key is of (a contract, say): part of every key.
        """
        now, place = self._now(), (owner, key)
        found = self._entries.get(place)
        if found is not None and now < found[2]:
            if found[1] == self._batch:
                self.hits_within += 1
            else:
                self.hits_across += 1
            return found[0]
        self.misses += 1
        value = compute(owner)
        self._entries[place] = (value, self._batch, now + self._ttl)
        return value

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def asked(self) -> int:
        """How often something was asked for."""
        return self.hits_within + self.hits_across + self.misses

    @property
    def hit_rate(self) -> float | None:
        """Hits ÷ questions; `None` before the first."""
        return (self.hits_within + self.hits_across) / self.asked if self.asked else None
