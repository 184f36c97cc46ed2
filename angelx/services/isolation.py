"""Isolation: slow work beside the stream; its result, exception or timeout comes back as an event (SPEC 2.4).

Answers are looked for every second of session time, so nothing waits for them on the loop. At full speed session time
runs ahead of the host's: there the first look waits until the work is done, so that the answer always comes at the same
place of the stream. In the re-run of a journal nothing is run: the answers are those recorded, at their time.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar, Final, Protocol

import msgspec

from angelx.adapters.worker_pool import Answer
from angelx.bus.bus import Bus, Handler
from angelx.domain.events import Event, WorkDone, WorkFailed
from angelx.domain.scalars import NS

LOOK_NS: Final = NS


class Pool(Protocol):
    """Where work is done."""

    def start(self, number: int, function: Callable[..., Any], args: tuple[Any, ...], timeout_s: float) -> None:
        """Begin; returns at once."""
        ...

    def answer(self, number: int, now: int, *, wait: bool) -> Answer | None:
        """What became of it, once; `None` where that is not known yet."""
        ...


class Isolation:
    """Gives work away and publishes what became of it.

    Parameters
    ----------
    waits
        True at full speed: the first look waits for the answer.
    """

    name: ClassVar[str] = "isolation"
    emits: ClassVar[tuple[type[Event], ...]] = (WorkDone, WorkFailed)

    def __init__(self, bus: Bus, pool: Pool, *, waits: bool) -> None:
        self._bus, self._pool, self._waits = bus, pool, waits
        self._works = 0
        self.running: dict[int, str] = {}
        """Work by number and name."""

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Nothing: it is asked by `submit`."""
        return ()

    def restore(self, event: Event) -> None:
        """Go on counting; what ran when an earlier process ended is lost, and its asker asks again."""
        if isinstance(event, WorkDone | WorkFailed):
            self._works = max(self._works, event.work)

    def submit(self, name: str, function: Callable[..., Any], *args: Any, timeout_s: float = 60.0) -> int:
        """Run a function of a module elsewhere; its number comes back in `WorkDone` or `WorkFailed`.

        Parameters
        ----------
        function, args
            What pickle can carry; the result is what msgspec can write as JSON.
        """
        self._works += 1
        self.running[self._works] = name
        self._pool.start(self._works, function, args, timeout_s)
        self._look_later(self._works)
        return self._works

    def _look_later(self, work: int) -> None:
        self._bus.at(self._bus.now + LOOK_NS, partial(self._look, work))

    def _look(self, work: int) -> None:
        answer = self._pool.answer(work, self._bus.now, wait=self._waits)
        if answer is None:
            self._look_later(work)
            return
        name = self.running.pop(work)
        if answer.outcome == "done":
            self._bus.publish(WorkDone(self._bus.now, work, name, answer.text))
        else:
            self._bus.publish(WorkFailed(self._bus.now, work, name, answer.outcome, answer.text))


class InlinePool:
    """Does the work at once, here: for tests and benchmarks."""

    def __init__(self) -> None:
        self._answers: dict[int, Answer] = {}

    def start(self, number: int, function: Callable[..., Any], args: tuple[Any, ...], timeout_s: float) -> None:
        """Do it."""
        try:
            self._answers[number] = Answer("done", msgspec.json.encode(function(*args)).decode())
        except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
            self._answers[number] = Answer("raised", f"{type(error).__name__}: {error}")

    def answer(self, number: int, now: int, *, wait: bool) -> Answer | None:
        """What became of it."""
        return self._answers.pop(number, None)


class RecordedPool:
    """Answers what a journal says was answered, at that time: for its re-run."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._answers = {event.work: event for event in events if isinstance(event, WorkDone | WorkFailed)}

    def start(self, number: int, function: Callable[..., Any], args: tuple[Any, ...], timeout_s: float) -> None:
        """Nothing is run."""

    def answer(self, number: int, now: int, *, wait: bool) -> Answer | None:
        """What was recorded, once its time has come."""
        event = self._answers.get(number)
        if event is None or now < event.at:
            return None
        if isinstance(event, WorkDone):
            return Answer("done", event.result)
        return Answer(event.outcome, event.detail)
