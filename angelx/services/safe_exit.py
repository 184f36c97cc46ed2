"""Safe exit: closes positions before a session's end, at FLATTEN, and where the strategy that owned them failed.

It cancels what works, waits for the ends, and sends exits whose limits step further beyond the touch every two seconds
(SPEC 7.5), and every four once they step no further: fewer than 20 cancels a minute in an instrument (SPEC 5.4).
Positions that nobody bids for stay and are reported once.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar, Final

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import (
    CancelRequested,
    Event,
    IncidentReported,
    LevelChanged,
    OrderClosed,
    PhaseChanged,
    PositionChanged,
    Signal,
    StrategyFailed,
)
from angelx.domain.instruments import InstrumentTable
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, BID
from angelx.market.state import MarketState
from angelx.orders.ledger import Ledger
from angelx.services.order_router import OrderRouter
from angelx.services.session_phases import SessionPhases
from angelx.services.strategy_host import StrategyHost

STEP: Final = 2 * NS
LAST_STEP: Final = 4 * NS
"""Once the limit steps no further; only the touch moves it."""
MOST_URGENT: Final = 3
GONE_ON: Final = frozenset({"filled", "cancelled"})
"""Ends after which the next exit goes at once; a refused one waits for its step, else it would be refused for ever."""
PREFIX: Final = "safe_exit"
"""Every signal of safe exit says so in its `why`: at FLATTEN only these are sent."""

Key = tuple[str, str]


class SafeExit:
    """Owns the exit of every position that its strategy may not or cannot close any more."""

    name: ClassVar[str] = "safe_exit"
    emits: ClassVar[tuple[type[Event], ...]] = (Signal, CancelRequested, IncidentReported)

    def __init__(
        self,
        bus: Bus,
        market: MarketState,
        instruments: InstrumentTable,
        phases: SessionPhases,
        host: StrategyHost,
        router: OrderRouter,
        ledger: Ledger,
        flat_before_close_ns: int,
    ) -> None:
        self._bus, self._market, self._instruments = bus, market, instruments
        self._phases, self._host, self._before = phases, host, flat_before_close_ns
        self._router, self._ledger = router, ledger
        self._closing: dict[Key, tuple[str, int]] = {}
        """Why, and how many steps so far, by (strategy, instrument)."""
        self._everything = ""
        """Why all is to be closed; empty where it is not."""
        self._silent = False
        self._ending: set[str] = set()
        """Segments in their last minutes: intraday positions are closed."""
        self._failed: set[str] = set()
        self._awake = False
        """True from the first reason to close on: until then no fill and no end concerns it."""
        self._stuck: set[Key] = set()

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """The reasons to close."""
        yield PhaseChanged, self.on_phase
        yield LevelChanged, self.on_level
        yield StrategyFailed, self.on_failed

    def later(self) -> Iterable[tuple[type[Any], Handler]]:
        """What changes: from the first reason to close on."""
        yield OrderClosed, self.on_closed
        yield PositionChanged, self.on_position

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            for kind, handler in self.later():
                self._bus.subscribe(kind, handler)

    # ------------------------------------------------------------ what changes
    def on_closed(self, event: OrderClosed) -> None:
        """Nothing of it works any more: the next exit may go."""
        key = event.strategy, event.instrument
        if key in self._closing and event.outcome in GONE_ON:
            self._bus.at(self._bus.now + 1, partial(self._step, key, again=False))

    def on_position(self, event: PositionChanged) -> None:
        """A position that appears while there is reason to close it is closed."""
        if self._everything or self._ending or self._failed:
            self._consider((event.strategy, event.instrument))

    def restore(self, failed: Iterable[str]) -> None:
        """Go on from a journal: strategies that failed in this session still cannot close their positions."""
        self._failed = set(failed)
        if self._failed:
            self._wake()

    # ------------------------------------------------------------ reasons to close
    def on_phase(self, event: PhaseChanged) -> None:
        """Intraday positions are closed before the session ends."""
        self._ending.discard(event.segment)
        if event.phase == "open":
            due = self._phases.segments[event.segment].closes_at - self._before
            self._bus.at(max(due, self._bus.now + 1), partial(self._end, event.segment, event.session))
            if self._failed:
                self._consider_all()

    def _end(self, segment: str, session: str) -> None:
        known = self._phases.segments[segment]
        if known.phase == "open" and known.session is not None and known.session.day.isoformat() == session:
            self._ending.add(segment)
            self._consider_all()

    def on_level(self, event: LevelChanged) -> None:
        """HALT takes back entries that still work; FLATTEN closes everything; a resume ends both."""
        if event.level == "halt":
            for name, order in self._router.live.items():
                if not order.approved.reduces:
                    self._bus.publish(CancelRequested(event.at, name, f"{PREFIX}:halt"))
        self._everything = "flatten" if event.level == "flatten" else ""
        self._silent = event.level == "silent"
        self._consider_all()

    def on_failed(self, event: StrategyFailed) -> None:
        """Nobody else owns the exits of a strategy that failed."""
        self._failed.add(event.strategy)
        self._consider_all()

    @property
    def is_silent(self) -> bool:
        """At SILENT nothing is asked for: nothing would be sent."""
        return self._silent

    def owns(self, strategy: str, instrument: str) -> bool:
        """True where nobody else may take back or send an exit of this position."""
        return self._silent or bool(self._reason(strategy, instrument))

    def _reason(self, strategy: str, instrument: str) -> str:
        if self._silent:
            return ""
        if self._everything:
            return f"{PREFIX}:{self._everything}"
        if strategy in self._failed:
            return f"{PREFIX}:strategy_failed"
        place = self._instruments.index.get(instrument)
        if place is not None and self._instruments[place].segment in self._ending and self._host.intraday(strategy):
            return f"{PREFIX}:square_off"
        return ""

    # ------------------------------------------------------------ closing
    def _consider_all(self) -> None:
        self._wake()
        for name, order in self._router.live.items():
            reason = self._reason(order.approved.strategy, order.approved.instrument)
            if reason:
                self._bus.publish(CancelRequested(self._bus.now, name, reason))
        for key in self._ledger.positions:
            self._consider(key)

    def _held(self, key: Key) -> int:
        position = self._ledger.positions.get(key)
        return position.quantity if position is not None else 0

    def _consider(self, key: Key) -> None:
        reason = self._reason(*key)
        if reason and key not in self._closing and self._held(key):
            self._closing[key] = (reason, 0)
            self._bus.at(self._bus.now + 1, partial(self._step, key))

    def _step(self, key: Key, *, again: bool = True) -> None:
        """Cancel what works on the instrument, or send the next exit; come again in two seconds."""
        if key not in self._closing:
            return
        reason = self._reason(*key)
        if not reason or not self._held(key):
            del self._closing[key]
            return
        _, steps = self._closing[key]
        instrument = key[1]
        working = [name for name, order in self._router.live.items() if order.approved.instrument == instrument]
        if working:
            for name in working:
                self._bus.publish(CancelRequested(self._bus.now, name, reason))
        elif (place := self._instruments.index.get(instrument)) is None:
            self._leave(key, "it is not among today's instruments")
        elif (line := self._ledger.line(instrument)).gap and line.net * line.at_broker <= 0:
            self._leave(key, "the broker does not hold it")
        elif self._phases.by_place[place].phase == "open":
            self._exit(key, place, reason, min(steps, MOST_URGENT))
            self._closing[key] = (reason, steps + 1)
        if again:
            is_last = self._closing[key][1] > MOST_URGENT
            self._bus.at(self._bus.now + (LAST_STEP if is_last else STEP), partial(self._step, key))

    def _leave(self, key: Key, why: str) -> None:
        """A position that cannot be closed stays, and is told once."""
        if key not in self._stuck:
            self._stuck.add(key)
            self._bus.publish(IncidentReported(self._bus.now, self.name, f"FLAT EXCEPT {key[1]}: {why}"))

    def _exit(self, key: Key, place: int, reason: str, urgency: int) -> None:
        strategy, instrument = key
        view, bus = self._market.view, self._bus
        if not view[BID if self._held(key) > 0 else ASK, place]:
            self._leave(key, "nobody to trade with")
            return
        number = self._host.next_signal()
        self._host.hold(strategy, instrument, number)
        bus.publish(
            Signal(
                bus.now, number, strategy, instrument, 0, view[BID, place], view[ASK, place], 0, reason, urgency
            )
        )  # fmt: skip
