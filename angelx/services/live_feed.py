"""Live feed: drives the stream from a broker's market data and reports, on the host's clock."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import ClassVar, Final

import numpy as np
import structlog

from angelx.bus.bus import Bus
from angelx.bus.clock import PacingClock
from angelx.domain.events import CommandReceived, Event, HealthChanged, SessionEnded
from angelx.domain.ports import FeedClient, TickSource
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, Table, TickBatch
from angelx.market.conflation import conflated
from angelx.market.differential import AHEAD_OF_CLOCK, Differential
from angelx.services.broker_link import BrokerLink
from angelx.services.data_feed import BREATHE_S, DataFeed

log = structlog.get_logger()

FEED: Final = "market_feed"
SETTLE_S: Final = 5.0
"""After a stop what is on its way to or from the broker has so many seconds of the host to arrive."""
LEAVES_S: Final = 0.005
"""What was approved has so long to leave before the rest of its turn is made durable, which keeps the loop."""
TELL_S: Final = 60.0
"""What goes on is told so often."""
MOST_ROWS: Final = 4096
"""If more rows than this came in one turn, they are conflated."""


class LiveFeed(DataFeed):
    """Reports first, then rows, then timers, then commands of the same moment.

    Parameters
    ----------
    feed
        Its callbacks are set here.
    link
        Reports come from its inbox.
    ends_at
        Answers the time after which there is nothing left to trade, ns; 0 = not known yet.
    """

    emits: ClassVar[tuple[type[Event], ...]] = (CommandReceived, SessionEnded, HealthChanged)

    def __init__(
        self,
        bus: Bus,
        source: TickSource,
        differential: Differential,
        *,
        feed: FeedClient,
        link: BrokerLink,
        clock: PacingClock,
        ends_at: Callable[[int], int],
    ) -> None:
        super().__init__(bus, source, differential, clock=clock, most_rows=2**31, ends_at=ends_at)
        self._time, self._link = clock, link
        self._instruments = len(source.instruments)
        conflated(TickBatch.empty(), self._instruments)  # Compiled, or loaded, before it is needed.
        self._tables: deque[Table] = deque()
        self._health: deque[HealthChanged] = deque()
        self._leaves_at = 0.0
        self.conflated = 0
        """Rows that were left out when too many waited."""
        self._ahead_told, self._tells_at = 0, 0.0
        feed.on_rows = self._arrived
        feed.on_state = self._state
        link.on_arrival = self._woken.set

    def figures(self) -> dict[str, int]:
        """`waiting`: batches that came and are not in the stream yet; `conflated`: rows left out when too many waited;
        `ahead_of_clock`: rows refused because the exchange stamped them in this host's future.
        """
        return {"waiting": len(self._tables), "conflated": self.conflated, AHEAD_OF_CLOCK: self._ahead()}

    def _ahead(self) -> int:
        return self._differential.refused.get(AHEAD_OF_CLOCK, 0)

    def _look_at_clock(self) -> None:
        """Nothing of what came was taken: say so where the reason is this host's clock."""
        now, ahead = asyncio.get_running_loop().time(), self._ahead()
        if ahead > self._ahead_told and now >= self._tells_at:
            self._ahead_told, self._tells_at = ahead, now + TELL_S
            log.warning(
                "ticks_ahead_of_clock", rows=ahead, action="no quote is taken: set this host's clock and start again"
            )

    def _arrived(self, batch: TickBatch) -> None:
        self._tables.append(batch.table)
        self._woken.set()

    def _state(self, is_up: bool, why: str) -> None:
        self._health.append(HealthChanged(0, "healthy" if is_up else "recovering", why or "data flows", FEED))
        self._woken.set()

    async def run(self, batches: Iterable[TickBatch]) -> None:
        """Drive the stream until the last session is over or somebody ends it, and publish `SessionEnded`."""
        for batch in batches:  # what an earlier process left half done; live there is none
            self._bus.feed(batch, 0, batch.rows)
        bus, clock = self._bus, self._time
        while not self.stopping or self._settles():
            await self._wait(clock.now() + int(BREATHE_S * NS), clock)
            self._breathe_paced()
            now = max(clock.now(), bus.now)
            self._bring_reports(now)
            self._bring_rows()
            bus.advance(now)
            self._take_commands()
            end = self._ends_at(now)
            if end and now > end:
                break
        bus.publish(SessionEnded(bus.now, bus.row, self.stopping or "source ended"))

    def _settles(self) -> bool:
        """Whether to stay a little, told to stop, for answers, ends and fills of orders that work."""
        if self.at_once or not self._link.at_work():
            return False
        now = asyncio.get_running_loop().time()
        self._leaves_at = self._leaves_at or now + SETTLE_S
        if now < self._leaves_at:
            return True
        log.warning("left_at_work", orders=self._link.at_work(), action="the next start looks them up")
        return False

    async def _wait(self, at: int, clock: PacingClock) -> None:
        if not self._is_busy():
            due = self._bus.next_due
            await self._doze(LEAVES_S if due is None else min(LEAVES_S, clock.seconds_until(due)))
        if self._is_busy():
            await asyncio.sleep(0)
        else:
            await super()._wait(at, clock)

    def _is_busy(self) -> bool:
        """Whether something has come since the last turn."""
        return bool(self._tables or self._health or self._link.waits)

    def _bring_reports(self, now: int) -> None:
        bus = self._bus
        if self._health or self._link.waits:
            bus.advance(now)
        while self._health:
            change = self._health.popleft()
            bus.publish(HealthChanged(bus.now, change.state, change.reason, change.service))
        for event in self._link.take(bus.now):
            bus.publish(event)

    def _bring_rows(self) -> None:
        """Everything that came since the last turn, as one batch."""
        if not self._tables:
            return
        bus, tables = self._bus, self._tables
        table = tables[0] if len(tables) == 1 else np.concatenate(tables, axis=1)
        tables.clear()
        np.maximum(table[AT], bus.now, out=table[AT])
        np.maximum.accumulate(table[AT], out=table[AT])
        batch = self._differential.process(TickBatch(np.ascontiguousarray(table)))
        if batch.rows > MOST_ROWS:
            before = batch.rows
            batch = conflated(batch, self._instruments)
            self.conflated += before - batch.rows
        if batch.rows:
            if self.received is not None:
                self.received(batch, bus.row)
            bus.feed(batch, 0, batch.rows)
        else:
            self._look_at_clock()
