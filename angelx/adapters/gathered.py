"""Questions that come one by one and are asked together (SPEC 2.3)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from angelx.domain.errors import BrokerError

K = TypeVar("K")
V = TypeVar("V")


class Gathered(Generic[K, V]):
    """What is asked for within `wait_s` of the first question goes out as one; sooner once `most` have come.

    Parameters
    ----------
    fetch
        Answers many keys; one that it leaves out has no answer. It may raise `BrokerError`, which all get.
    most
        Keys that one question may hold, two at least.
    wait_s
        How long the first waits for others.
    """

    def __init__(self, fetch: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], *, most: int, wait_s: float) -> None:
        self._fetch, self._most, self._wait_s = fetch, most, wait_s
        self._open: _Question[K, V] | None = None

    async def get(self, key: K) -> V | None:
        """The answer, `None` where there is none. Who comes first asks for all: where he is cancelled, so are they."""
        question = self._open
        if question is None:
            question = self._open = _Question(key)
            await self._ask(question)
        else:
            question.keys[key] = None
            if len(question.keys) >= self._most:
                self._close(question)
        return (await asyncio.shield(question.answer)).get(key)

    async def _ask(self, question: "_Question[K, V]") -> None:
        answer = question.answer
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s):
                    await question.is_full.wait()
            self._close(question)
            answer.set_result(await self._fetch(tuple(question.keys)))
        except BrokerError as error:
            answer.set_exception(error)
        finally:
            self._close(question)
            answer.cancel()  # Does nothing where there is one.

    def _close(self, question: "_Question[K, V]") -> None:
        """Nobody joins it any more."""
        question.is_full.set()
        if self._open is question:
            self._open = None


class _Question(Generic[K, V]):
    """What goes out together, and what will come back."""

    def __init__(self, first: K) -> None:
        self.keys = {first: None}
        self.is_full = asyncio.Event()
        self.answer: asyncio.Future[Mapping[K, V]] = asyncio.get_running_loop().create_future()
