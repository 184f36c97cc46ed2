"""What happened in a session: a fold over the journal's recorded events, exact in integers.

Prices and money are integers of 1/10,000, times ns UTC, quantities units. A *round trip* is what one strategy did in
one instrument from flat to flat; a fill that goes through zero ends one and begins the next, its fee shared by units.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from angelx.domain import events as ev
from angelx.domain.scalars import NS
from angelx.health.board import HealthBoard
from angelx.orders.ledger import Ledger
from angelx.research.session_records import Incident, OrderFacts, Refusal, Tally, Trip, local_time
from angelx.research.session_summary import Drawdown, summary_of
from angelx.services.patience import PREFIX
from angelx.signals.calibration import ForecastScores
from angelx.signals.quality import SignalQuality

ZONES: Final = {"INR": "Asia/Kolkata", "USD": "America/New_York"}
"""A book is one account, one currency, one calendar: its currency names the exchange's time zone."""

REST: Final = f"{PREFIX}:"
"""So begins the reason of every signal for the rest of an exit (`angelx.services.patience`)."""

_QUARTER: Final = 900 * NS  # Every zone's offset is a multiple of 15 minutes.


class SessionFacts:
    """Signals, refusals, orders, fills, round trips, positions, equity and incidents of one journal.

    `apply` takes any event and leaves alone what is not recorded; attributes are to be read only.
    """

    def __init__(self) -> None:
        self.started: ev.SessionStarted | None = None
        """The first start; `starts` counts all of them."""
        self.starts = 0
        self.ended: ev.SessionEnded | None = None
        self.sources: list[ev.SourceOpened] = []
        self.first_at = 0
        self.last_at = 0
        self.signals: dict[int, ev.Signal] = {}
        self._asked: dict[tuple[str, str], str] = {}
        """Why an order was last asked for, by strategy and instrument; its rest goes out for the same reason."""
        self.acted: set[int] = set()
        """Signals that led to at least one order."""
        self.refusals: dict[tuple[str, str], Refusal] = {}
        """By (by, code)."""
        self.orders: dict[str, OrderFacts] = {}
        self.fills: list[ev.OrderFilled] = []
        """Every execution once, in order of arrival."""
        self.trips: list[Trip] = []
        """Round trips that are over, in order of closing."""
        self.open_trips: dict[tuple[str, str], Trip] = {}
        self.ledger = Ledger()
        self.marks: list[ev.EquityMarked] = []
        self.realised_curve: list[tuple[int, int]] = []
        """(at, capital + realised) after each fill that locked money in: the curve where nothing was marked."""
        self.timeline: list[Incident] = []
        """Commands, levels, health and phases, in order."""
        self.closed: dict[str, str] = {}
        """Why a segment never opened, by segment."""
        self._opened: set[str] = set()
        self.incidents: list[Incident] = []
        """What went wrong: strategies that failed, orders rejected or absent, fills without an order."""
        self.books_read = 0
        """How often a real broker's books were compared with ours."""
        self.by_strategy: dict[str, Tally] = {}
        self.by_hour: dict[str, Tally] = {}
        """By exchange hour, `09:00`; orders by their decision, money and round trips by their fills."""
        self.by_exit: dict[str, Tally] = {}
        """Round trips by the reason (`Signal.why`) of the order that ended them."""
        self.level = "running"
        self._board = HealthBoard()
        self.cash_differs = 0
        """Marks whose cash was not the ledger's."""
        self.fills_since_mark = 0
        self.forecasts = ForecastScores()
        self.quality = SignalQuality()
        self.tuning_version = 0
        """Of the last tuning learned, 0 = none."""
        self._zone: ZoneInfo | None = None
        self._hours: dict[int, Tally] = {}
        self._answers: dict[type[ev.Event], Callable[[Any], None]] = {
            ev.SessionStarted: self._on_started,
            ev.SourceOpened: self._on_source,
            ev.PhaseChanged: self._on_phase,
            ev.SessionEnded: self._on_session_ended,
            ev.Signal: self._on_signal,
            ev.SignalRefused: self._on_refused,
            ev.OrderApproved: self._on_approved,
            ev.CancelRequested: self._on_cancel,
            ev.OrderAccepted: self._on_accepted,
            ev.OrderFilled: self._on_filled,
            ev.OrderEnded: self._on_ended,
            ev.EquityMarked: self._on_marked,
            ev.CommandReceived: self._on_command,
            ev.LevelChanged: self._on_level,
            ev.HealthChanged: self._on_health,
            ev.StrategyFailed: self._on_failed,
            ev.IncidentReported: self._on_incident,
            ev.SignalJudged: self.quality.on_judged,
            ev.ForecastMade: self.forecasts.on_made,
            ev.ForecastScored: self._on_scored,
            ev.WorkDone: self._on_work_done,
            ev.WorkFailed: self._on_work_failed,
            ev.TuningLearned: self._on_learned,
            ev.BooksRead: self._on_books,
        }

    @classmethod
    def of(cls, events: Iterable[ev.Event]) -> Self:
        """The facts of a whole stream of events."""
        facts = cls()
        apply = facts.apply
        for event in events:
            apply(event)
        return facts

    def apply(self, event: ev.Event) -> None:
        """Fold one event in."""
        answer = self._answers.get(type(event))
        if answer is None:
            return
        if not self.first_at:
            self.first_at = event.at
        self.last_at = max(self.last_at, event.at)
        answer(event)

    def summary(self) -> dict[str, Any]:
        """The session's figures, ready for JSON; keys in `angelx.research.session_summary`."""
        return summary_of(self)

    # ------------------------------------------------------------ what follows from the fold
    @property
    def capital(self) -> int:
        """Money at the first start."""
        return self.ledger.capital

    @property
    def currency(self) -> str:
        """Code of the book's currency; empty before the first start."""
        return self.started.currency if self.started else ""

    @property
    def zone(self) -> ZoneInfo:
        """The exchange's time zone; UTC for an unknown currency."""
        if self._zone is None:
            self._zone = ZoneInfo(ZONES.get(self.currency, "UTC"))
        return self._zone

    @property
    def refused(self) -> int:
        """Signals refused."""
        return sum(refusal.count for refusal in self.refusals.values())

    @property
    def is_flat(self) -> bool:
        """True where nothing is held."""
        return all(not position.quantity for position in self.ledger.positions.values())

    @property
    def unrealised(self) -> int | None:
        """Gain on what is held at the last mark; 0 when flat, `None` where fills came after the last mark."""
        if self.is_flat:
            return 0
        if not self.marks or self.fills_since_mark:
            return None
        return self.marks[-1].positions - self.ledger.cost

    @property
    def pnl(self) -> int:
        """Realised and, where it is known, unrealised profit, fees taken off."""
        return self.ledger.realised + (self.unrealised or 0)

    @property
    def slippage(self) -> int:
        """Money paid beyond the touch at each decision, all orders together: positive is worse."""
        return sum(order.slippage for order in self.orders.values())

    def curve(self) -> tuple[list[int], list[int]]:
        """Times and equity: the marks, or capital + realised where nothing was marked."""
        if self.marks:
            return [mark.at for mark in self.marks], [mark.equity for mark in self.marks]
        return [at for at, _ in self.realised_curve], [money for _, money in self.realised_curve]

    def drawdown(self) -> Drawdown:
        """The deepest fall of `curve()` from its highest point so far, the capital being the first."""
        return Drawdown.of(self.capital, *self.curve())

    # ------------------------------------------------------------ the session
    def _on_started(self, event: ev.SessionStarted) -> None:
        self.starts += 1
        if self.started is None:
            self.started = event
            self.ledger.capital = event.capital
            self.ledger.cash += event.capital
            self._zone = None
            self._hours.clear()
        elif event.resumed:
            self.timeline.append(Incident(event.at, "restart", "rebuilt from the journal", event.run))
        self.ended = None

    def _on_source(self, event: ev.SourceOpened) -> None:
        self.sources.append(event)

    def _on_phase(self, event: ev.PhaseChanged) -> None:
        self.timeline.append(Incident(event.at, "phase", f"{event.segment} {event.phase}", event.session))
        if event.phase == "open":
            self._opened.add(event.segment)
            self.closed.pop(event.segment, None)
        elif event.segment not in self._opened:
            self.closed[event.segment] = event.session

    def _on_session_ended(self, event: ev.SessionEnded) -> None:
        self.ended = event
        self.timeline.append(Incident(event.at, "end", event.reason, f"{event.rows:,} ticks"))

    # ------------------------------------------------------------ decisions
    def _on_signal(self, event: ev.Signal) -> None:
        self.signals[event.signal] = event
        self.quality.on_signal(event)
        self._strategy(event.strategy).signals += 1
        self._hour(event.at).signals += 1

    def _on_refused(self, event: ev.SignalRefused) -> None:
        refusal = self.refusals.get((event.by, event.code))
        if refusal is None:
            refusal = self.refusals[event.by, event.code] = Refusal(event.by, event.code, event.detail)
        refusal.count += 1
        self.quality.on_refused(event)
        self._strategy(event.strategy).refused += 1
        self._hour(event.at).refused += 1

    def _on_approved(self, event: ev.OrderApproved) -> None:
        if event.order in self.orders:
            self.incidents.append(Incident(event.at, "intent twice", event.instrument, f"order {event.order}"))
            return
        self.orders[event.order] = OrderFacts(event)
        self.acted.add(event.signal)
        signal = self.signals.get(event.signal)
        if signal is not None and not signal.why.startswith(REST):
            self._asked[event.strategy, event.instrument] = signal.why
        self.quality.on_approved(event)
        self._strategy(event.strategy).orders += 1
        self._hour(event.at).orders += 1

    def _on_cancel(self, event: ev.CancelRequested) -> None:
        order = self.orders.get(event.order)
        if order is not None:
            order.cancel_why = event.why

    # ------------------------------------------------------------ broker reports
    def _on_accepted(self, event: ev.OrderAccepted) -> None:
        order = self.orders.get(event.order)
        if order is not None and not order.accepted_at:
            order.accepted_at = event.at

    def _on_filled(self, event: ev.OrderFilled) -> None:
        order = self.orders.get(event.order)
        strategy = order.approved.strategy if order is not None else ""
        changed = self.ledger.apply(event, strategy)
        if changed is None:
            return
        self.fills.append(event)
        self.fills_since_mark += 1
        if order is None:
            detail = f"order {event.order}: {event.side * event.quantity:+d}"
            self.incidents.append(Incident(event.at, "fill without an order", event.instrument, detail))
        else:
            order.fill(event)
        if changed.realised:
            self.realised_curve.append((event.at, self.capital + self.ledger.realised))
        for tally in (self._strategy(strategy), self._hour(event.at)):
            tally.fills += 1
            tally.fees += event.fee
            tally.realised += changed.realised
        self._walk(event, strategy, self._why(order))

    def _on_ended(self, event: ev.OrderEnded) -> None:
        order = self.orders.get(event.order)
        if order is not None:
            order.end(event)
        if event.outcome in {"rejected", "absent"}:
            what = order.approved.instrument if order is not None else event.order
            detail = f"{event.code}: {event.detail}" if event.detail else event.code
            self.incidents.append(Incident(event.at, f"order {event.outcome}", what, detail))

    def _walk(self, fill: ev.OrderFilled, strategy: str, why: str) -> None:
        """Carry the fill along its round trip, across zero into the next one where it goes that far."""
        key = (strategy, fill.instrument)
        units, fee = fill.quantity, fill.fee
        trip = self.open_trips.get(key)
        if trip is not None and trip.side != fill.side:
            closing = min(units, trip.held)
            share = fee * closing // units
            trip.fill(fill, closing, share)
            units, fee = units - closing, fee - share
            if not trip.held:
                del self.open_trips[key]
                self._close(trip, fill.at, why)
        if units:
            trip = self.open_trips.get(key)
            if trip is None:
                trip = self.open_trips[key] = Trip(strategy, fill, why)
            trip.fill(fill, units, fee)

    def _close(self, trip: Trip, at: int, why: str) -> None:
        trip.closed_at = at
        trip.exit_why = why
        self.trips.append(trip)
        by_exit = self.by_exit.setdefault(why, Tally())
        by_exit.realised += trip.pnl
        by_exit.fees += trip.fees
        for tally in (by_exit, self._strategy(trip.strategy), self._hour(at)):
            tally.count_trip(trip.pnl)

    # ------------------------------------------------------------ health, money, people
    def _on_marked(self, event: ev.EquityMarked) -> None:
        self.marks.append(event)
        self.fills_since_mark = 0
        if event.cash != self.ledger.cash:
            self.cash_differs += 1

    def _on_command(self, event: ev.CommandReceived) -> None:
        self.timeline.append(Incident(event.at, "command", event.verb, f"{event.who}: {event.reason}"))

    def _on_level(self, event: ev.LevelChanged) -> None:
        self.level = event.level
        self.timeline.append(Incident(event.at, "level", event.level, f"{event.who}: {event.reason}"))

    def _on_health(self, event: ev.HealthChanged) -> None:
        self._board.take(event)
        self.timeline.append(Incident(event.at, "health", event.state, f"{event.service}: {event.reason}"))

    @property
    def health(self) -> str:
        """The worst that any service last said; empty where none said anything."""
        return self._board.state if self._board.is_heard else ""

    def _on_failed(self, event: ev.StrategyFailed) -> None:
        self.incidents.append(Incident(event.at, "strategy failed", event.strategy, event.error))

    def _on_incident(self, event: ev.IncidentReported) -> None:
        self.incidents.append(Incident(event.at, "incident", event.service, event.what))

    def _on_books(self, event: ev.BooksRead) -> None:
        self.books_read += 1

    # ------------------------------------------------------------ what it learns from
    def _on_scored(self, event: ev.ForecastScored) -> None:
        self.forecasts.on_scored(event)
        self.quality.on_scored(event)

    def _on_work_done(self, event: ev.WorkDone) -> None:
        self.timeline.append(Incident(event.at, "work", event.name, f"number {event.work} is done"))

    def _on_work_failed(self, event: ev.WorkFailed) -> None:
        self.incidents.append(Incident(event.at, f"work {event.outcome}", event.name, event.detail))

    def _on_learned(self, event: ev.TuningLearned) -> None:
        self.tuning_version = event.version
        self.timeline.append(Incident(event.at, "tuning", f"version {event.version}", "from the next session on"))

    # ------------------------------------------------------------ helpers
    def _why(self, order: OrderFacts | None) -> str:
        """The reason of an order: its signal's, or what bound it where no signal is known."""
        if order is None:
            return "no order known"
        signal = self.signals.get(order.approved.signal)
        why = signal.why if signal is not None else order.approved.bound_by
        if why.startswith(REST):
            why = self._asked.get((order.approved.strategy, order.approved.instrument), why)
        return why or "no reason given"

    def _strategy(self, name: str) -> Tally:
        tally = self.by_strategy.get(name)
        if tally is None:
            tally = self.by_strategy[name] = Tally()
        return tally

    def _hour(self, at: int) -> Tally:
        quarter = at // _QUARTER
        tally = self._hours.get(quarter)
        if tally is None:
            label = f"{local_time(at, self.zone).hour:02}:00"
            tally = self._hours[quarter] = self.by_hour.setdefault(label, Tally())
        return tally
