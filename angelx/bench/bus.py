"""The bus against a bare loop over the same handlers, and a mailbox against a bare asyncio queue."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from angelx.bench.rows import Row, paired, seconds
from angelx.bus.bus import Bus
from angelx.bus.mailbox import Mailbox
from angelx.domain.events import Event

EVENTS: Final = 100_000
ITEMS: Final = 50_000
BURST: Final = 64
ROUNDS: Final = 9
NS: Final = 1e9


class Numbered(Event, frozen=True):
    """The event that is published: a time and a number."""

    number: int


class _Counter:
    """A handler that does next to nothing, and something."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0

    def on_event(self, event: Numbered) -> None:
        self.total += event.number


def run() -> Sequence[Row]:
    """Rows `inline-1`, `inline-4`, `inline-16` and `mailbox-1`."""
    rows = []
    for subscribers in (1, 4, 16):
        value, bare = paired(partial(_published, subscribers), partial(_bare, subscribers), ROUNDS)
        rows.append(_row(f"inline-{subscribers}", value, "bare loop over the same handlers", bare))
    value, bare = paired(lambda: asyncio.run(_mailbox()), lambda: asyncio.run(_queue()), ROUNDS)
    rows.append(_row("mailbox-1", value, "bare asyncio.Queue", bare))
    return rows


def _row(case: str, value: float, baseline: str, bare: float) -> Row:
    return Row(
        bench="bus", case=case, metric="ns_per_event", value=value, unit="ns", baseline=baseline, baseline_value=bare,
        n=ROUNDS,
    )  # fmt: skip


def _handlers(count: int) -> list[Callable[[Any], None]]:
    return [_Counter().on_event for _ in range(count)]


def _published(subscribers: int) -> float:
    bus = Bus()
    for handler in _handlers(subscribers):
        bus.subscribe(Numbered, handler)
    publish = bus.publish

    def work() -> None:
        for number in range(EVENTS):
            publish(Numbered(0, number))

    return seconds(work) * NS / EVENTS


def _bare(subscribers: int) -> float:
    handlers = _handlers(subscribers)

    def work() -> None:
        for number in range(EVENTS):
            event = Numbered(0, number)
            for handler in handlers:
                handler(event)

    return seconds(work) * NS / EVENTS


async def _mailbox() -> float:
    """From publishing on the bus to the reader's hands, in bursts."""
    bus, box = Bus(), Mailbox[Numbered]("bench", 2 * BURST)
    bus.subscribe(Numbered, box.put)
    loop = asyncio.get_running_loop()

    async def read() -> None:
        taken = 0
        async for _ in box:
            taken += 1
            if taken == ITEMS:
                return

    reader = loop.create_task(read())
    began = loop.time()
    for number in range(ITEMS):
        bus.publish(Numbered(0, number))
        if number % BURST == BURST - 1:
            await asyncio.sleep(0)
    await reader
    return (loop.time() - began) * NS / ITEMS


async def _queue() -> float:
    queue: asyncio.Queue[Numbered] = asyncio.Queue(2 * BURST)
    loop = asyncio.get_running_loop()

    async def read() -> None:
        for _ in range(ITEMS):
            await queue.get()

    reader = loop.create_task(read())
    began = loop.time()
    for number in range(ITEMS):
        queue.put_nowait(Numbered(0, number))
        if number % BURST == BURST - 1:
            await asyncio.sleep(0)
    await reader
    return (loop.time() - began) * NS / ITEMS
