"""Risk engine: sizes and gates every passed signal, and keeps the book it decides on."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

from angelx.bus.bus import Bus, Handler
from angelx.domain.client_ids import ClientIds
from angelx.domain.events import (
    CommandReceived,
    EquityMarked,
    Event,
    HealthChanged,
    LevelChanged,
    OrderApproved,
    PhaseChanged,
    Signal,
    SignalRefused,
)
from angelx.domain.instruments import InstrumentTable
from angelx.domain.scalars import NS
from angelx.health.board import HealthBoard
from angelx.market.freshness import Freshness
from angelx.market.state import MarketState
from angelx.risk.book import Book
from angelx.risk.engine import decide
from angelx.risk.gate import HALTING, Stand, Terms
from angelx.services.session_phases import OPEN, SessionPhases

CONFIRM: Final = NS
"""Two marks this far apart must lie beyond a limit before it halts."""


class RiskEngine:
    """Answers every signal that passed the filters with exactly one `OrderApproved` or `SignalRefused`."""

    name: ClassVar[str] = "risk_engine"
    emits: ClassVar[tuple[type[Event], ...]] = (OrderApproved, SignalRefused, CommandReceived)

    def __init__(
        self,
        bus: Bus,
        market: MarketState,
        instruments: InstrumentTable,
        phases: SessionPhases,
        book: Book,
        ids: ClientIds,
        freshness: Freshness,
        mark: Callable[[], None],
    ) -> None:
        self._bus, self._market, self._instruments, self._phases = bus, market, instruments, phases
        self.book, self._ids, self._freshness = book, ids, freshness
        self._stands: dict[str, Stand] = {}
        """By instrument."""
        self._level = ""
        self.health = HealthBoard()
        self._halting = False
        self._mark, self._breached_at = mark, 0
        """When a mark lay beyond a limit, ns; 0 = the last one did not."""

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """What moves limits; signals are handed over by the filter chain, and the router keeps the book's orders."""
        yield EquityMarked, self.on_marked
        yield PhaseChanged, self.on_phase
        yield LevelChanged, self.on_level
        yield HealthChanged, self.on_health

    def answer(self, signal: Signal, confidence: float) -> None:
        """Decide, and halt where the refusal says that nothing more should be tried."""
        book, stand = self.book, self._stands.get(signal.instrument) or self._stand(signal.instrument)
        answer = decide(signal, confidence, book, stand, self._ids)
        self._bus.emit(answer)
        if type(answer) is OrderApproved:
            book.reserve(answer)
        elif type(answer) is SignalRefused and answer.code in HALTING:
            self._halt(f"{answer.code}: {answer.detail}")

    def _stand(self, instrument_id: str) -> Stand:
        """What is asked of an instrument before each order, looked up once."""
        place = self._instruments.index[instrument_id]
        stand = self._stands[instrument_id] = Stand(
            Terms(self._instruments[place], self.book.limits), self.book.ledger.line(instrument_id),
            self._market.of(place), self._phases.by_place[place], self._freshness,
        )  # fmt: skip
        return stand

    def on_marked(self, event: EquityMarked) -> None:
        """Take the mark; a loss beyond the day's or the drawdown's limit halts, once a second mark says so too.

        From the first on entries are refused. A quote that is wrong for a moment must not end the day (SPEC 5.1).
        """
        book, at = self.book, event.at
        book.mark(event)
        if book.equity > max(book.loss_floor, book.drawdown_floor):
            self._breached_at = 0
        elif not self._breached_at:
            self._breached_at = at
            self._bus.at(at + CONFIRM, self._mark)
        elif at - self._breached_at >= CONFIRM:
            what, floor = (
                ("daily_loss", book.loss_floor) if book.equity <= book.loss_floor else ("drawdown", book.drawdown_floor)
            )
            self._halt(f"{what}: equity {book.equity} <= {floor}")

    def _halt(self, reason: str) -> None:
        if not self._halting:
            self._halting = True
            self._bus.publish(CommandReceived(self._bus.now, "halt", reason, self.name))

    def on_phase(self, event: PhaseChanged) -> None:
        """The first segment that opens begins the day."""
        if event.phase == OPEN:
            self.book.new_day(event.session)

    def on_level(self, event: LevelChanged) -> None:
        """Any level but running bars entries."""
        running = event.level == "running"
        self._level = "" if running else f"kill switch at {event.level}: {event.reason}"
        self._halting = not running
        self._bar()

    def on_health(self, event: HealthChanged) -> None:
        """Entries are barred while any service sees a state that bars them."""
        self.health.take(event)
        self._bar()

    def _bar(self) -> None:
        self.book.barred = self._level or self.health.bars_entries
