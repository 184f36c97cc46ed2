"""A live session's outside: a connected broker, the instruments chosen from its master, and the clock."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from angelx.adapters.journal import JournalReader
from angelx.adapters.recorded.captured import CaptureSource, day_folders, instruments_of, parts_of
from angelx.app.session import JOURNAL, left_in
from angelx.bus.clock import PacingClock
from angelx.domain.errors import InputInvalid
from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.instruments import Instrument, InstrumentTable
from angelx.domain.ports import BrokerClient, FeedClient
from angelx.domain.ticks import TickBatch

log = structlog.get_logger()

LIVE: Final = "live:"
"""Sources whose name begins so were a broker's stream; their rows are in the capture that the reference names."""


class Before(msgspec.Struct, frozen=True):
    """What an earlier process of the same session, that is to be continued, left behind."""

    events: tuple[Event, ...] = ()
    """Orders and what became of them, oldest first."""
    instruments: tuple[str, ...] = ()
    """Ids of what it watched, in their places."""

    @classmethod
    def found(cls, state: Path, capture: Path) -> "Before":
        """What is in a state directory; nothing where its session is over."""
        left = left_in(state / JOURNAL)
        if left is None or left.finished:
            return cls()
        reader = JournalReader(state / JOURNAL)
        try:
            kinds = (OrderApproved, OrderAccepted, OrderFilled, OrderEnded)
            events = tuple(record.event for record in reader.records() if isinstance(record.event, kinds))
        finally:
            reader.close()
        folders = day_folders(capture) if capture.is_dir() else []
        return cls(events, tuple(one.id for one in instruments_of(folders[-1])) if folders else ())

    def chosen(self, master: Sequence[Instrument]) -> list[Instrument]:
        """What it watched, as today's master has it; nothing where one of them is gone."""
        by_id = {one.id: one for one in master}
        found = [by_id[name] for name in self.instruments if name in by_id]
        return found if len(found) == len(self.instruments) else []


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """One account at one broker, logged in."""

    name: str
    client: BrokerClient
    feed: FeedClient
    table: InstrumentTable
    """What is watched."""
    clock: PacingClock
    scope: str
    release: Callable[[], Coroutine[Any, Any, None]]
    """Lets connections go at the very end."""
    early: Sequence[Event]
    """What the broker reported before there was anybody to hear it."""
    asked_at: int
    """When `held` was asked for, ns."""
    held: Sequence[tuple[str, int]]
    """Positions before anything is sent, signed units by instrument."""
    keep_time: Callable[[], Coroutine[Any, Any, None]] | None
    """Follows the clock of a venue that may have stood still; `None` where time is the host's."""

    @property
    def places(self) -> Sequence[int]:
        """All of the table, in order of importance."""
        return range(len(self.table))


class LiveSource:
    """A broker's stream as a tick source: its rows come from the live feed, those of before from the capture."""

    kind = "stream"
    digest = ""
    rows = 0
    last_at = 0

    def __init__(self, live: Live, capture: Path) -> None:
        self.name = LIVE + live.name
        self.instruments, self.scope = live.table, live.scope
        self.reference = msgspec.json.encode({"path": str(capture)}).decode()
        self.first_at = live.clock.now()
        self._capture = capture

    def batches(self, first_row: int = 0) -> Iterator[TickBatch]:
        """What an earlier process of the session received of the same instruments."""
        if not any(parts_of(folder) for folder in day_folders(self._capture)):
            return
        try:
            captured = CaptureSource(self._capture)
            if [one.id for one in captured.instruments] == [one.id for one in self.instruments]:
                yield from captured.batches(first_row)
        except InputInvalid as error:
            log.warning("capture_unreadable", why=str(error), action="indicators start cold; move the file away")
