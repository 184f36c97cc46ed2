"""Chain engine: keeps option chains up to date in steps of stream time (`angelx.market.chain`).

A row is seen by the step at the next multiple of `step_ns`. Where no row comes and nothing waits there is a step every
`IDLE` only, in which nothing is read: a source of pages a minute apart costs some steps a page.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, Final

import numpy as np

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import Event, OrderApproved, OrderClosed, PhaseChanged, PositionChanged
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, Rows, TickBatch
from angelx.market.chain import OptionChains
from angelx.market.freshness import Freshness
from angelx.market.sessions import Sessions
from angelx.market.smile import IvHistory

OPEN: Final = "open"
IDLE: Final = 5 * NS
"""Stream time between two steps while nothing happens."""
NIGHT: Final = 6 * 3600 * NS
"""Rows so far apart are of two sessions."""


class ChainEngine:
    """Feeds the chains with rows, and with what is held or works, and calls their steps while a session is open.

    Wired behind the market's keeper and before strategies: a decision sees the rows up to its own, marked.
    """

    name: ClassVar[str] = "chain_engine"
    emits: ClassVar[tuple[type[Event], ...]] = ()

    def __init__(self, bus: Bus, chains: OptionChains, freshness: Freshness, sessions: Sessions) -> None:
        self.chains = chains
        self._bus, self._freshness, self._sessions = bus, freshness, sessions
        self._index = chains.market.table.index
        self._segments = frozenset(one.segment for one in chains.layout.expiries)
        self._segment = min(self._segments, default="")
        self._step_ns = chains.settings.step_ns
        self._idle = max(IDLE // self._step_ns, 1) * self._step_ns
        self._open: set[str] = set()
        self._held: dict[tuple[str, str], bool] = {}
        self._working: dict[str, str] = {}
        self._due = self._early = 0
        """When the next step is due, ns; 0 = none is. A row at or before `_early` asks for one before it."""
        self.on_session_end: Callable[[Mapping[str, IvHistory]], None] = _nobody
        """Called with the volatilities at the closes so far, to keep them, when a session ends."""
        self._warmed = 0
        """The step up to which rows of before a restart were taken, ns."""

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Rows, what is held and works, and phases."""
        yield Rows, self.on_rows
        yield PositionChanged, self.on_position
        yield OrderApproved, self.on_approved
        yield OrderClosed, self.on_closed
        yield PhaseChanged, self.on_phase

    # ------------------------------------------------------------ what comes first
    def on_position(self, event: PositionChanged) -> None:
        """A contract that is held is computed in every step."""
        key, held = (event.strategy, event.instrument), event.quantity != 0
        before = self._held.get(key, False)
        if held != before:
            self._held[key] = held
            self._hold(event.instrument, 1 if held else -1)

    def on_approved(self, event: OrderApproved) -> None:
        """So is one in which an order works."""
        if event.order not in self._working:
            self._working[event.order] = event.instrument
            self._hold(event.instrument, 1)

    def on_closed(self, event: OrderClosed) -> None:
        """The order works no more."""
        if self._working.pop(event.order, None) is not None:
            self._hold(event.instrument, -1)

    def restore(self, held: Iterable[PositionChanged], working: Iterable[OrderApproved]) -> None:
        """What was held and worked before a restart."""
        for position in held:
            self.on_position(position)
        for order in working:
            self.on_approved(order)

    def _hold(self, instrument: str, change: int) -> None:
        place = self._index.get(instrument, -1)
        if place >= 0:
            self.chains.hold(place, change)

    # ------------------------------------------------------------ steps
    def on_phase(self, event: PhaseChanged) -> None:
        """Steps are made while a segment with options is open; a session begins with empty flows."""
        if event.segment not in self._segments:
            return
        was_open = bool(self._open)
        if event.phase != OPEN:
            self._open.discard(event.segment)
            if not self._open and was_open:
                self.chains.end_session(date.fromisoformat(event.session))
                self.on_session_end(self.chains.histories)
            return
        if not self._open and not self._is_of(event.segment, event.session):
            self.chains.new_session()
        self._open.add(event.segment)
        if not self._due:
            self._step_at(self._after(self._bus.now))

    def _is_of(self, segment: str, session: str) -> bool:
        """True where rows of before a restart were of this very session: it goes on."""
        return bool(self._warmed) and self._sessions.day_of(segment, self._warmed).isoformat() == session

    def probe(self, batch: TickBatch, start: int, stop: int) -> int:
        """The first row after a quiet while asks for the step that sees it."""
        return start + 1 if batch.view[AT, start] <= self._early else stop

    def on_rows(self, rows: Rows) -> None:
        """Mark what changed."""
        self.chains.fold(rows)
        if self._bus.row_at <= self._early:
            self._step_at(self._grid(self._bus.row_at))

    def _grid(self, at: Any) -> Any:
        """The step that sees a row: the first at or after it."""
        step = self._step_ns
        return -(-at // step) * step

    def _after(self, now: int) -> int:
        """The step after the one at `now`."""
        every = self._step_ns if self.chains.is_busy else self._idle
        return (now // every + 1) * every

    def _step_at(self, due: int) -> None:
        self._due, self._early = due, due - self._step_ns
        self._bus.at(due, partial(self._step, due), first=True)

    def _step(self, due: int) -> None:
        if due != self._due:  # A row asked for an earlier one.
            return
        self._due = self._early = 0
        if self._open:
            self.chains.step(self._bus.now, self._freshness.max_age_ns)
            self._step_at(self._after(self._bus.now))

    # ------------------------------------------------------------ after a restart
    def warm(self, batch: TickBatch) -> None:
        """Rows of before a restart, with the steps between them; they are folded into the market here."""
        chains = self.chains
        due = self._grid(batch.table[AT])
        starts = [0, *(np.flatnonzero(np.diff(due)) + 1).tolist(), batch.rows]
        for start, stop in pairwise(starts):
            self._catch_up(int(due[start]))
            rows = Rows(batch, start, stop)
            chains.market.fold(rows)
            chains.fold(rows)
            self._warmed = int(due[start])

    def _catch_up(self, to: int) -> None:
        """Make the steps before `to`; across a night, begin anew."""
        if self._warmed and to - self._warmed > NIGHT:
            self.chains.end_session(self._sessions.day_of(self._segment, self._warmed))
            self.chains.new_session()
        elif self._warmed:
            at = self._warmed
            while at < to:
                self.chains.step(at, self._freshness.max_age_ns)
                at = self._after(at)


def _nobody(histories: Mapping[str, IvHistory]) -> None:
    """Nobody keeps them."""
