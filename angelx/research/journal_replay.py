"""Re-runs what a journal recorded, from its source and its inputs, and compares every decision (SPEC 12.3)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from angelx.adapters.journal import JournalReader, MemoryJournal
from angelx.adapters.signals import DeadlineGuard
from angelx.app.config import config_of
from angelx.app.house import House
from angelx.app.live import LIVE
from angelx.app.plugins import plugin_digests
from angelx.app.session import parts_of, tick_sizes
from angelx.app.sources import open_reference
from angelx.bus.bus import Bus
from angelx.bus.records import Record
from angelx.domain.errors import InputInvalid, JournalBroken
from angelx.domain.events import (
    BooksRead,
    CommandReceived,
    Event,
    HealthChanged,
    IncidentReported,
    LevelChanged,
    OrderAccepted,
    OrderApproved,
    OrderEnded,
    OrderFilled,
    SessionEnded,
    SessionStarted,
    SourceOpened,
)
from angelx.domain.ticks import TickBatch
from angelx.market.differential import Differential
from angelx.market.iv_closes import iv_closes_of
from angelx.market.sessions import Sessions
from angelx.orders.states import State
from angelx.services.broker_link import BARRED_BY_LINK, BREAKER, RecordedLink
from angelx.services.data_feed import DataFeed
from angelx.services.isolation import RecordedPool
from angelx.services.kill_switch import LEVELS, NOT_ON_DISK, NOT_RESUMED, KillSwitch, MemoryLatch
from angelx.services.live_feed import FEED
from angelx.signals.tuning import tuning_of

LISTENERS: Final = frozenset({"admin", "capture"})
"""Coroutine services: what the supervisor says of them is an input."""
PEOPLE: Final = frozenset({"operator", "signal", "file"})
"""Whose commands are inputs; those of services are decisions and must come out again."""


class Divergence(msgspec.Struct, frozen=True):
    """The first record that came out differently; `None` where there is none on that side."""

    record: int
    recorded: str | None
    rerun: str | None


class Rerun(msgspec.Struct, frozen=True):
    """What a re-run came to."""

    identical: bool
    records: int
    """Records compared."""
    rows: int
    processes: int
    """Processes that wrote the journal: each start or restart is one."""
    divergence: Divergence | None = None
    why: str = ""
    """A cause that is known before the first record is compared: a changed file, another source."""


def rerun(path: Path) -> Rerun:
    """Re-run a journal.

    Raises
    ------
    JournalBroken
        It cannot be read.
    InputInvalid
        Its source cannot be opened again.
    """
    reader = JournalReader(path)
    try:
        records = list(reader.records())
    finally:
        reader.close()
    if not records:
        raise JournalBroken(f"{path}: holds no record")
    starts = [place for place, record in enumerate(records) if isinstance(record.event, SessionStarted)]
    if starts[:1] != [0]:
        raise JournalBroken(f"{path}: does not begin with the start of a session")
    for begin, end in zip(starts, [*starts[1:], len(records)], strict=True):
        process = _Process(records[:begin], records[begin:end])
        if process.why:
            return Rerun(False, begin, records[end - 1].row, len(starts), None, process.why)
        found = process.play()
        divergence = _first_difference(records[begin:end], found)
        if divergence is not None:
            return Rerun(False, divergence.record, records[end - 1].row, len(starts), divergence)
    return Rerun(True, len(records), records[-1].row, len(starts))


class _Process:
    """One process of a journal, played again in memory."""

    def __init__(self, before: Sequence[Record], records: Sequence[Record]) -> None:
        self._before, self._records = before, records
        started, source = records[0].event, next((r.event for r in records if isinstance(r.event, SourceOpened)), None)
        assert isinstance(started, SessionStarted)
        if source is None:
            raise InputInvalid("the process ended before it opened its source")
        self._started, self._opened = started, source
        config = config_of(started.config)
        self._sessions = Sessions.load(trade_special_sessions=config.market.trade_special_sessions)
        self._is_live = source.source.startswith(LIVE)
        self._source = open_reference(source.source, source.reference)
        self.why = ""
        if self._source.digest != source.digest and not self._is_live:  # live, the capture was yet to be written
            self.why = f"the source {source.reference} has other rows than when it was recorded"
        elif plugin_digests(config) != msgspec.json.decode(started.plugins):
            self.why = "a strategy or filter file changed since it was recorded"
        self._bus = Bus()
        self._journal = MemoryJournal(self._bus)
        parts = parts_of(
            config, self._source, self._sessions, started.run,
            tuning=tuning_of(started.tuning, "the journal"),
            iv_closes=iv_closes_of(started.iv_closes, "the journal"),
            pool=RecordedPool(record.event for record in records),
        )  # fmt: skip
        guard = DeadlineGuard(config.watchdog.strategy_budget_ms / 1000)
        self._guard = guard
        link = RecordedLink(self._bus) if self._is_live else None
        bars = _RecordedBars(records)
        self._house = House(self._bus, parts, self._journal, _latch_at_start(records), guard, bars, link)

    def play(self) -> Sequence[tuple[int, int, Event]]:
        """Everything it publishes again, up to the last record."""
        self._guard.start()
        try:
            self._play()
        finally:
            self._guard.stop()
        return self._journal.records[: len(self._records)]

    def _play(self) -> None:
        bus, house = self._bus, self._house
        house.host.start()
        if self._before:
            house.restore(self._before)
            if self._is_live:  # ticks had come after the last thing that was recorded
                bus.skip(self._records[0].row - bus.row)
        said = _said_by_broker if self._is_live else _by_nobody
        inputs = [r for r in self._records[1:] if _is_input(r.event) or said(r.event)]
        last = self._records[-1]
        feeder = _Feeder(bus, self._batches())
        bus.advance(self._records[0].event.at)
        unclean = bool(self._before) and not isinstance(self._before[-1].event, SessionEnded)
        bus.publish(self._started)
        bus.publish(self._opened)
        house.start(unclean=unclean)
        for record in inputs:
            feeder.until_row(record.row)
            bus.advance(record.event.at)
            bus.publish(record.event)
        if not isinstance(last.event, SessionEnded):
            feeder.until_row(last.row)
            bus.advance(last.event.at)

    def _batches(self) -> Iterator[TickBatch]:
        differential = Differential(len(self._source.instruments), tick_sizes(self._source))
        feed = DataFeed(self._bus, self._source, differential, clock=None, most_rows=1, ends_at=int)
        feed.on_gap = self._house.phases.skip_until
        return feed.accepted(self._bus.row, self._house.warm)


class _Feeder:
    """Gives rows to the bus up to an exact count."""

    def __init__(self, bus: Bus, batches: Iterator[TickBatch]) -> None:
        self._bus, self._batches = bus, batches
        self._batch = next(batches, TickBatch.empty())  # As in the process: rows of before are warmed up at once.
        self._start = 0

    def until_row(self, row: int) -> None:
        """Until so many rows were received.

        Raises
        ------
        JournalBroken
            The source has fewer.
        """
        while self._bus.row < row:
            if self._start == self._batch.rows:
                following = next(self._batches, None)
                if following is None:
                    raise JournalBroken(f"row {row} was recorded, the source ends at row {self._bus.row}")
                self._batch, self._start = following, 0
            stop = min(self._batch.rows, self._start + row - self._bus.row)
            self._bus.feed(self._batch, self._start, stop)
            self._start = stop


class _RecordedBars:
    """Bars the sends that the kill switch barred then: it may have been raised in the middle of a cascade."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._barred = {
            record.event.order: record.event.detail
            for record in records
            if isinstance(record.event, OrderEnded)
            and record.event.outcome == "barred"
            and record.event.code not in BARRED_BY_LINK
        }

    def bars(self, order: OrderApproved) -> str:
        """What was said then; empty where it was sent."""
        return self._barred.get(order.order, "")


class _RecordedLatch(MemoryLatch):
    """Fails to reach the disk where it did then."""

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__()
        events = [record.event for record in records]
        told = [event for event in events if isinstance(event, IncidentReported) and event.service == KillSwitch.name]
        self._failed, self._stayed = (
            {event.at: event.what.removeprefix(begins) for event in told if event.what.startswith(begins)}
            for begins in (NOT_ON_DISK, NOT_RESUMED)
        )

    def raise_to(self, level: int, reason: str, who: str, at: int) -> OSError | None:
        """Never lowers; answers what it answered then."""
        super().raise_to(level, reason, who, at)
        return OSError(self._failed[at]) if at in self._failed else None

    def lower(self, reason: str, who: str, at: int) -> None:
        """Back to running, unless that could not be kept then."""
        if at in self._stayed:
            raise OSError(self._stayed[at])
        super().lower(reason, who, at)


def _latch_at_start(records: Sequence[Record]) -> MemoryLatch:
    """The kill switch as the process found it."""
    latch = _RecordedLatch(records)
    for record in records:
        event = record.event
        if isinstance(event, LevelChanged) and event.who == "latch":
            latch.raise_to(LEVELS.index(event.level), event.reason, event.who, event.at)
            break
    return latch


def _is_input(event: Event) -> bool:
    if isinstance(event, CommandReceived):
        return event.who in PEOPLE
    if isinstance(event, IncidentReported):
        return event.service in LISTENERS
    return isinstance(event, SessionEnded)


def _said_by_broker(event: Event) -> bool:
    """Live, what came from outside beside ticks: reports, books, and whether either can be relied on."""
    if isinstance(event, OrderEnded):
        return event.outcome != State.ABSENT and (event.outcome != State.BARRED or event.code in BARRED_BY_LINK)
    if isinstance(event, HealthChanged | IncidentReported):
        return event.service in (RecordedLink.name, BREAKER, FEED)
    return isinstance(event, OrderAccepted | OrderFilled | BooksRead)


def _by_nobody(event: Event) -> bool:
    """On paper the broker is part of the house: everything it says must come out again."""
    return False


def _first_difference(recorded: Sequence[Record], found: Sequence[tuple[int, int, Event]]) -> Divergence | None:
    for place, record in enumerate(recorded):
        if place >= len(found):
            return Divergence(record.number, _text(record.seq, record.row, record.event), None)
        if (record.seq, record.row, record.event) != found[place]:
            return Divergence(record.number, _text(record.seq, record.row, record.event), _text(*found[place]))
    return None


def _text(seq: int, row: int, event: Event) -> str:
    return f"seq {seq}, row {row}: {event}"
