"""Strategy host: shows strategies the stream, publishes their signals, and survives their mistakes."""

import inspect
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from angelx.adapters.signals import StrategyTimeout
from angelx.bus.bus import Bus, Handler
from angelx.domain.errors import InputInvalid
from angelx.domain.events import (
    Event,
    InstrumentUsed,
    LevelChanged,
    OrderClosed,
    PhaseChanged,
    PositionChanged,
    Signal,
    SignalRefused,
    StrategyFailed,
)
from angelx.domain.instruments import InstrumentTable
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, BID, INSTRUMENT, Rows, TickBatch
from angelx.market.chain_view import Chains
from angelx.market.scan import next_watched
from angelx.market.state import MarketState
from angelx.services.given import is_number, is_whole, printable
from angelx.services.guard import RAISED, Guard, Unguarded
from angelx.signals.hooks import HOOKS, SCANS, unheard
from angelx.signals.strategy import ScanningStrategy, Strategy

LOOK_AHEAD: Final = 8192
"""Rows a scan looks ahead at most before it answers."""
LONGEST_WHY: Final = 200
"""Characters: reports group by it, and the journal keeps it with every signal."""
LONGEST_ERROR: Final = 2000
SHORTEST_TIMER, LONGEST_TIMER = 0.001, 86_400.0
"""Seconds. A shorter one would be called millions of times between two rows, and never let a stop be heard."""


class SignalDesk:
    """One strategy's desk (`angelx.signals.strategy.Desk`): its positions, what is working, its way to signal."""

    def __init__(self, host: "StrategyHost", strategy: str) -> None:
        self._host, self._strategy = host, strategy
        self.instruments, self.market, self.chains = host.instruments, host.market, host.chains
        self.positions: dict[int, int] = {}
        self.busy: dict[int, int] = {}
        """Signal not yet settled, by place."""

    @property
    def now(self) -> int:
        """Time of the input being processed, ns."""
        return self._host.bus.now

    def position(self, place: int) -> int:
        """Signed units this strategy holds."""
        return self.positions.get(place, 0)

    def working(self, place: int) -> bool:
        """True while a signal or order of this strategy on the instrument is not settled."""
        return place in self.busy

    def long(self, place: int, *, stop_distance: int = 0, why: str = "") -> bool:
        """Signal: be long."""
        return self._signal(place, 1, stop_distance, why)

    def short(self, place: int, *, stop_distance: int = 0, why: str = "") -> bool:
        """Signal: be short."""
        return self._signal(place, -1, stop_distance, why)

    def flat(self, place: int, *, why: str = "") -> bool:
        """Signal: hold nothing."""
        return self._signal(place, 0, 0, why)

    def _signal(self, place: int, direction: int, stop_distance: int, why: str) -> bool:
        host, held = self._host, self.positions.get(place, 0)
        if host.muted or place in self.busy or held * direction > 0 or (direction == 0 and held == 0):
            return False
        if type(place) is not int or not 0 <= place < len(self.instruments.all):
            place = _place(place, len(self.instruments))
        if type(stop_distance) is not int or not 0 <= stop_distance < 2**63:
            stop_distance = _distance(stop_distance)
        if type(why) is not str or len(why) > LONGEST_WHY or not why.isascii():
            _text(why)
        quote, bus = self.market.quotes[place], host.bus
        if place not in host.used:
            host.announce(place)
        host.signals = self.busy[place] = signal = host.signals + 1
        instrument = self.instruments.all[place].id
        bus.publish(
            Signal(bus.now, signal, self._strategy, instrument, direction, quote[BID], quote[ASK], stop_distance, why)
        )
        return True


class _Seat:
    """One strategy as the host knows it."""

    __slots__ = (
        "alive",
        "answer",
        "closed",
        "decide",
        "desk",
        "every",
        "hears_positions",
        "prepared",
        "scan",
        "scanned",
        "scanning",
        "strategy",
        "watched",
    )

    def __init__(self, strategy: Strategy, desk: SignalDesk, guard: Guard) -> None:
        self.strategy, self.desk = strategy, desk
        self.alive = True
        self.hears_positions = type(strategy).on_position is not Strategy.on_position
        self.scanning = strategy if isinstance(strategy, ScanningStrategy) else None
        if self.scanning is not None:
            self.scan, self.decide = _guarded(guard, self.scanning.scan), _guarded(guard, self.scanning.decide)
        else:
            self.decide = _guarded(guard, strategy.on_tick)
        self.closed = _guarded(guard, strategy.on_closed)
        self.every = 0
        self.watched = np.zeros(0, np.bool_)
        self.prepared: TickBatch | None = None
        self.scanned = -1
        """Rows of `prepared` before this one are looked at; -1 = look again."""
        self.answer = -1
        """The row among them at which it is called, -1 where there is none."""


class StrategyHost:
    """Calls strategies at the rows and times they ask for; a strategy that fails is not called again."""

    name: ClassVar[str] = "strategy_host"
    emits: ClassVar[tuple[type[Event], ...]] = (Signal, StrategyFailed, InstrumentUsed)

    def __init__(
        self,
        bus: Bus,
        market: MarketState,
        instruments: InstrumentTable,
        strategies: Sequence[Strategy],
        guard: Guard,
        chains: Chains | None = None,
    ) -> None:
        self.bus, self.market, self.instruments, self.chains = bus, market, instruments, chains
        self.signals = 0
        self.used: set[int] = set()
        self._held: tuple[PositionChanged, ...] = ()
        self._guard = guard
        self._open: set[str] = set()
        self.muted = False
        """From FLATTEN on only safe exit signals."""
        self._seats = tuple(_Seat(strategy, SignalDesk(self, strategy.name), guard) for strategy in strategies)
        self._by_name = {seat.strategy.name: seat for seat in self._seats}
        if len(self._by_name) != len(self._seats):
            raise ValueError("two strategies share a name")

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Rows, and what became of its signals."""
        yield Rows, self.on_rows
        yield PositionChanged, self.on_position
        yield OrderClosed, self.on_closed
        yield SignalRefused, self.on_refused
        yield PhaseChanged, self.on_phase
        yield LevelChanged, self.on_level

    # ------------------------------------------------------------ life
    def start(self) -> None:
        """Show every strategy its desk.

        Raises
        ------
        InputInvalid
            A strategy cannot start: nothing is traded.
        """
        for seat in self._seats:
            seat.strategy.desk = seat.desk
            seat.watched = np.zeros(len(self.instruments), np.bool_)
            try:
                _no_coroutines(seat.strategy)
                self._guard.call(seat.strategy.start)
                self._guard.call(_watch, seat.strategy, seat.watched)
                seat.every = _timer(seat.strategy)
                if (what := unheard(seat.strategy)) is not None:
                    raise TypeError(what)
            except RAISED as error:
                name = seat.strategy.name
                raise InputInvalid(f"strategy {name} cannot start: {_said(error)}") from error

    def restore(
        self, signals: int, held: Sequence[PositionChanged], used: Iterable[str], failed: Iterable[str]
    ) -> None:
        """Go on from a journal: last signal number, positions held, instruments announced, strategies that failed."""
        self.signals = signals
        self._held = tuple(held)
        for strategy in failed:
            if strategy in self._by_name:
                self._by_name[strategy].alive = False
        index = self.instruments.index
        self.used = {index[instrument] for instrument in used if instrument in index}
        for position in held:
            seat = self._by_name.get(position.strategy)
            if seat is not None and position.instrument in index:
                seat.desk.positions[index[position.instrument]] = position.quantity

    def tell_held(self) -> None:
        """Tell strategies what they hold from before a restart: they watch its stop again."""
        for position in self._held:
            seat = self._by_name.get(position.strategy)
            if seat is not None and seat.alive and position.instrument in self.instruments.index:
                self._call(seat, seat.strategy.on_position, position)
        self._held = ()

    def hold(self, strategy: str, instrument: str, signal: int) -> None:
        """A signal of somebody else's is out, or a restored order works: the strategy may not signal before its end."""
        seat = self._by_name.get(strategy)
        if seat is not None and instrument in self.instruments.index:
            seat.desk.busy[self.instruments.index[instrument]] = signal
            seat.scanned = -1

    def warm(self, batch: TickBatch) -> None:
        """Rows of before a restart: indicators may fold them, nobody decides."""
        for seat in self._seats:
            if seat.scanning is not None and seat.alive:
                self._call(seat, seat.scanning.prepare, batch)
                seat.prepared = batch

    def announce(self, place: int) -> None:
        """Publish an instrument's definition once."""
        self.used.add(place)
        instrument = self.instruments[place]
        self.bus.publish(InstrumentUsed(self.bus.now, instrument.id, msgspec.json.encode(instrument).decode()))

    # ------------------------------------------------------------ rows
    def probe(self, batch: TickBatch, start: int, stop: int) -> int:
        """The row after the next one at which any strategy wants to be called."""
        for seat in self._seats:
            if not seat.alive:
                continue
            if seat.prepared is not batch:
                seat.prepared, seat.scanned = batch, -1
                if seat.scanning is not None:
                    self._call(seat, seat.scanning.prepare, batch)
            if start >= seat.scanned:
                self._look(seat, batch, start, stop)
            if seat.scanned < stop:  # noqa: PLR1730  (0.1 us)
                stop = seat.scanned
        return stop

    def _look(self, seat: _Seat, batch: TickBatch, start: int, stop: int) -> None:
        """Find the next row in [start, stop) that concerns the strategy and remember how far was looked."""
        if stop - start > LOOK_AHEAD:
            stop = start + LOOK_AHEAD
        row = stop
        if seat.scanning is None:
            row = next_watched(batch.table, seat.watched, start, stop)
        else:
            try:
                found = seat.scan(start, stop)
                row = stop if found is None else found
            except RAISED as error:
                self._fail(seat, error)
        seat.answer, seat.scanned = (row, row + 1) if row < stop else (-1, stop)

    def on_rows(self, rows: Rows) -> None:
        """Call the strategies that asked for the last row."""
        row = rows.stop - 1
        for seat in self._seats:
            if seat.answer == row and seat.prepared is rows.batch and seat.alive:
                seat.answer = -1
                try:
                    seat.decide(row if seat.scanning is not None else rows.batch.view[INSTRUMENT, row])
                except RAISED as error:
                    self._fail(seat, error)

    def _call(self, seat: _Seat, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call a strategy's code: what it raises ends the strategy, not the house."""
        try:
            return self._guard.call(method, *arguments)
        except RAISED as error:
            self._fail(seat, error)
            return None

    def _fail(self, seat: _Seat, error: BaseException) -> None:
        seat.alive = False
        self.bus.publish(StrategyFailed(self.bus.now, seat.strategy.name, _said(error)))

    # ------------------------------------------------------------ what became of signals
    def on_position(self, event: PositionChanged) -> None:
        """Move the strategy's position and tell it; what is gone from the table it does not see."""
        seat, place = self._by_name.get(event.strategy), self.instruments.index.get(event.instrument)
        if seat is not None and place is not None:
            seat.desk.positions[place] = event.quantity
            seat.scanned = -1
            if seat.alive and seat.hears_positions:
                self._call(seat, seat.strategy.on_position, event)

    def on_closed(self, event: OrderClosed) -> None:
        """Settle the signal and tell the strategy."""
        seat = self._settled(event)
        if seat is not None:
            try:
                seat.closed(event)
            except RAISED as error:
                self._fail(seat, error)

    def on_refused(self, event: SignalRefused) -> None:
        """Settle the signal and tell the strategy."""
        seat = self._settled(event)
        if seat is not None:
            self._call(seat, seat.strategy.on_refused, event)

    def _settled(self, event: OrderClosed | SignalRefused) -> _Seat | None:
        """The strategy may signal there again; it, where it is alive."""
        seat, place = self._by_name.get(event.strategy), self.instruments.index.get(event.instrument)
        if seat is None or place is None:
            return None
        busy = seat.desk.busy
        if busy.get(place) == event.signal:
            del busy[place]
        seat.scanned = -1
        return seat if seat.alive else None

    # ------------------------------------------------------------ timers
    def on_phase(self, event: PhaseChanged) -> None:
        """Timers run while any segment is open."""
        was_open = bool(self._open)
        if event.phase == "open":
            self._open.add(event.segment)
        elif event.phase == "closed":
            self._open.discard(event.segment)
        if self._open and not was_open:
            for seat in self._seats:
                if seat.every:
                    self._next_timer(seat)

    def on_level(self, event: LevelChanged) -> None:
        """At FLATTEN and SILENT strategies are not heard."""
        self.muted = event.level in ("flatten", "silent")

    def _next_timer(self, seat: _Seat) -> None:
        due = (self.bus.now // seat.every + 1) * seat.every
        self.bus.at(due, partial(self._on_timer, seat))

    def _on_timer(self, seat: _Seat) -> None:
        if self._open and seat.alive:
            self._call(seat, seat.strategy.on_timer)
            seat.scanned = -1
            self._next_timer(seat)

    # ------------------------------------------------------------ for safe exit
    def next_signal(self) -> int:
        """Number of the next signal, whoever publishes it."""
        self.signals += 1
        return self.signals

    def intraday(self, strategy: str) -> bool:
        """True where the strategy's positions may not be carried over a session's end."""
        seat = self._by_name.get(strategy)
        return seat is None or seat.strategy.intraday


def _guarded(guard: Guard, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, bounded in time."""
    return method if type(guard) is Unguarded else partial(guard.call, method)


def _watch(strategy: Strategy, watched: NDArray[np.bool_]) -> None:
    """Mark the places it asks for: it may never come to their end."""
    for place in strategy.watches():
        watched[_place(place, len(watched))] = True


def _place(place: Any, places: int) -> int:
    """A place of the instrument table; one below 0 would be another instrument's, counted from the end."""
    if is_whole(place) and 0 <= place < places:
        return int(place)
    raise ValueError(f"{place!r} is no place; allowed: a whole number from 0 to {places - 1} (instruments.index[id])")


def _distance(distance: Any) -> int:
    """A stop distance as a number that the journal can keep."""
    if is_whole(distance) and 0 <= distance < 2**63:
        return int(distance)
    raise ValueError(f"stop_distance: {distance!r} is not allowed; allowed: a whole number of 1/10,000 from 0 on")


def _text(why: Any) -> None:
    """Raise where the journal could not keep it."""
    if not isinstance(why, str):
        raise TypeError(f"why: {why!r} is not allowed; allowed: a text")
    if len(why) > LONGEST_WHY:
        raise ValueError(f"why: {why[:20]!r}… has {len(why):,} characters; allowed: at most {LONGEST_WHY}")
    why.encode()


def _timer(strategy: Strategy) -> int:
    """Time between two calls of `on_timer`, ns; 0 = none."""
    every: Any = strategy.every_s
    if is_number(every) and (every == 0 or SHORTEST_TIMER <= every <= LONGEST_TIMER):
        return int(every * NS)
    allowed = f"0 (never), or {SHORTEST_TIMER} to {LONGEST_TIMER:.0f} seconds"
    raise ValueError(f"every_s: {every!r} is not allowed; allowed: {allowed}")


def _no_coroutines(strategy: Strategy) -> None:
    """Raise where a method is `async` or yields: called, it would do nothing, and nobody would notice."""
    for name in (*HOOKS, *SCANS):
        method = getattr(strategy, name, None) if name != "watches" else None  # That one may yield its places.
        if inspect.iscoroutinefunction(method):
            raise TypeError(f"{name} is async; strategies are called, not awaited: write `def {name}`")
        if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
            raise TypeError(f"{name} has a yield, so that calling it runs nothing of it")


def _said(error: BaseException) -> str:
    """What a strategy raised, and where."""
    trace = traceback.extract_tb(error.__traceback__)
    # Where a timeout struck depends on the host's speed; it must not, in what is recorded.
    where = "" if isinstance(error, StrategyTimeout) else f" ({Path(trace[-1].filename).name}:{trace[-1].lineno})"
    return printable(f"{type(error).__name__}: {str(error)[:LONGEST_ERROR]}{where}")
