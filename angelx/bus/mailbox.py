"""Bounded mailboxes: how an event leaves the stream for a coroutine that does I/O."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from angelx.domain.errors import AngelxError

Item = TypeVar("Item")


class MailboxFull(AngelxError):
    """A mailbox that must not lose anything is full: its service is too slow or stuck, and trading must halt."""


class Mailbox(Generic[Item]):
    """A queue with one reader, a bound and a declared policy; `put` never suspends.

    Without `key` the policy is *fail*: the item over the bound raises `MailboxFull` into the stream. With `key` it is
    *conflate*: a newer item takes the place of a waiting one of the same key, keeps its turn, and is counted.
    """

    __slots__ = ("_bound", "_items", "_key", "_latest", "_waiter", "conflated", "name")

    def __init__(self, name: str, bound: int, key: Callable[[Item], Hashable] | None = None) -> None:
        if bound < 1:
            raise ValueError(f"mailbox {name}: bound must be positive, was {bound}")
        self.name = name
        self.conflated = 0
        self._bound = bound
        self._key = key
        self._items: deque[Item] = deque()
        self._latest: dict[Hashable, Item] = {}
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: Item) -> None:
        """Leave an item and wake the reader.

        Raises
        ------
        MailboxFull
            The bound is reached.
        """
        if self._key is None:
            if len(self._items) >= self._bound:
                raise MailboxFull(f"mailbox {self.name} is full at {self._bound}")
            self._items.append(item)
        else:
            self._conflate(self._key(item), item)
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _conflate(self, key: Hashable, item: Item) -> None:
        if key in self._latest:
            self.conflated += 1
        elif len(self._latest) >= self._bound:
            raise MailboxFull(f"mailbox {self.name} is full at {self._bound} keys")
        self._latest[key] = item

    @property
    def depth(self) -> int:
        """Items waiting."""
        return len(self._items) + len(self._latest)

    def take_all(self) -> Iterator[Item]:
        """Everything that waits, oldest first, without waiting for more."""
        while self._items:
            yield self._items.popleft()
        while self._latest:
            yield self._latest.pop(next(iter(self._latest)))

    def __aiter__(self) -> "Mailbox[Item]":
        return self

    async def __anext__(self) -> Item:
        while not self._items and not self._latest:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._items:
            return self._items.popleft()
        return self._latest.pop(next(iter(self._latest)))
