"""Forecasts: each minute of a session says what it thinks will happen, and at the horizon writes down what did.

For every underlying with a chain: `bias` (the price will be higher in a quarter of an hour), `trap_up` and `trap_down`
(an upward, a downward signal would be a trap, SPEC 3.4); for every entry signal the filters judged: `signal` (the price
will be further its way). Prices are the forward of the front expiry, looked at every five seconds of session time, so
that what is made and scored follows from the stream alone. What had no fresh price at its horizon is not scored.
"""

from collections.abc import Callable, Iterable
from datetime import date
from itertools import takewhile
from math import exp, inf
from operator import attrgetter
from typing import Any, ClassVar, Final

import msgspec

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import Event, ForecastMade, ForecastScored, PhaseChanged, SignalJudged
from angelx.domain.instruments import InstrumentTable
from angelx.domain.scalars import NS
from angelx.market.chain_view import Chains, ChainView
from angelx.services.session_phases import OPEN, SessionPhases
from angelx.signals.bias import implied_move
from angelx.signals.calibration import ForecastScores
from angelx.signals.trap import BARRIER, HORIZON_NS, Evidence

CHECK_NS: Final = 5 * NS
EVERY_NS: Final = 60 * NS
STALE_NS: Final = 180 * NS
"""A view older than this is no price: nothing is forecast and nothing is scored on it."""
WEIGHTS: Final = dict.fromkeys(("bias", "trap_up", "trap_down"), EVERY_NS / HORIZON_NS)
"""Forecasts a minute apart share most of a quarter of an hour: what one counts as an independent one."""


_number: Final = attrgetter("made.forecast")


class _Pending(msgspec.Struct, frozen=True):
    """A forecast whose horizon has not come."""

    made: ForecastMade
    due: int
    side: int
    """-1: it happens where the lower barrier is touched first; +1: the upper; without barrier: above the price."""
    lower: float
    upper: float
    """Barriers, currency units; none at -inf and inf."""


class Forecasts:
    """Makes forecasts and scores them; keeps running figures in `scores`.

    Parameters
    ----------
    chains
        `None`: nothing is forecast.
    evidence
        What the trap probabilities of an underlying rest on, upward and downward; trap forecasts carry it.
    """

    name: ClassVar[str] = "forecasts"
    emits: ClassVar[tuple[type[Event], ...]] = (ForecastMade, ForecastScored)

    def __init__(
        self,
        bus: Bus,
        chains: Chains | None,
        phases: SessionPhases,
        table: InstrumentTable,
        evidence: Callable[[str], tuple[Evidence, Evidence]] | None = None,
    ) -> None:
        self._bus, self._chains, self._phases = bus, chains, phases
        self._evidence = evidence
        self._segments: dict[str, str] = {}
        for option in table:
            if option.right is not None:
                self._segments.setdefault(option.underlying, option.segment)
        self._barred: dict[int, _Pending] = {}
        """By number, those whose barrier may be touched at any time."""
        self._waiting: dict[int, _Pending] = {}
        """The others: nothing happens to them before they are due. All horizons are alike: the first is due first."""
        self._forecasts = 0
        self._running = False
        self.scores = ForecastScores()
        self.unscored = 0
        """Forecasts at whose horizon there was no fresh price."""

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Phases, signals, and its own forecasts."""
        yield PhaseChanged, self.on_phase
        yield SignalJudged, self.on_judged
        yield ForecastMade, self.on_made
        yield ForecastScored, self.scores.on_scored

    def restore(self, event: Event) -> None:
        """Take an event of a journal: forecasts still open are scored, figures go on."""
        if isinstance(event, ForecastMade):
            self._forecasts = event.forecast
            self.on_made(event)
        elif isinstance(event, ForecastScored):
            self.scores.on_scored(event)
            self._forget(event.forecast)

    # ------------------------------------------------------------ time
    def on_phase(self, event: PhaseChanged) -> None:
        """Look at prices while a segment is open; what has not come to its horizon by the end is not scored."""
        if event.phase == OPEN and not self._running and self._chains is not None:
            self._running = True
            self._next()

    def _next(self) -> None:
        self._bus.at((self._bus.now // CHECK_NS + 1) * CHECK_NS, self._look)

    def _look(self) -> None:
        now = self._bus.now
        due = takewhile(lambda pending: pending.due <= now, self._waiting.values())
        for pending in sorted([*self._barred.values(), *due], key=_number):
            self._check(pending, now)
        if not any(segment.phase == OPEN for segment in self._phases.segments.values()):
            self.unscored += len(self._barred) + len(self._waiting)
            self._barred.clear()
            self._waiting.clear()
            self._running = False
            return
        if now % EVERY_NS == 0:
            self._forecast(now)
        self._next()

    # ------------------------------------------------------------ making
    def _forecast(self, now: int) -> None:
        assert self._chains is not None
        for underlying, view in self._chains.views.items():
            segment = self._phases.segments.get(self._segments.get(underlying, ""))
            price = self._price(view, view.front)
            if price is None or segment is None or view.front is None or segment.phase != OPEN:
                continue
            if now + HORIZON_NS > segment.closes_at:
                continue
            if view.bias is not None and view.bias_chance is not None:
                self._make("bias", view, view.bias_chance, price, 0.0, (view.bias,))
            iv = view.expiries[view.front].atm_iv
            if iv is None or iv <= 0 or view.trap_up is None or view.trap_down is None:
                continue
            barrier = BARRIER * implied_move(iv, HORIZON_NS)
            up, down = self._evidence(underlying) if self._evidence is not None else (None, None)
            self._make("trap_up", view, view.trap_up, price, barrier, up.row if up else ())
            self._make("trap_down", view, view.trap_down, price, barrier, down.row if down else ())

    def on_judged(self, event: SignalJudged) -> None:
        """A signal will be right or wrong too, whether it was passed or refused."""
        view = self._chains.views.get(event.underlying) if self._chains is not None else None
        if view is None or view.bias_chance is None:
            return
        price = self._price(view, view.front)
        segment = self._phases.segments.get(self._segments.get(event.underlying, ""))
        if price is None or segment is None or event.at + HORIZON_NS > segment.closes_at:
            return
        chance = view.bias_chance if event.outlook > 0 else 1.0 - view.bias_chance
        subject = event.refused_by or "passed"
        self._make("signal", view, chance, price, signal=event.signal * event.outlook, subject=subject)

    def _make(
        self, name: str, view: ChainView, value: float, price: float, barrier: float = 0.0,
        inputs: tuple[float, ...] = (), *, signal: int = 0, subject: str = "",
    ) -> None:  # fmt: skip
        self._forecasts += 1
        made = ForecastMade(
            self._bus.now, self._forecasts, name, view.underlying, value, HORIZON_NS, price, barrier, inputs, subject,
            signal, view.front,
        )  # fmt: skip
        self._bus.publish(made)

    def on_made(self, made: ForecastMade) -> None:
        """Wait for its horizon: after whom it was made for has been told, who is in a hurry."""
        self.scores.on_made(made)
        down = made.name == "trap_up" or made.signal < 0
        if self._chains is None or made.underlying not in self._chains.views:
            return
        due, side = made.at + made.horizon_ns, -1 if down else 1
        if made.barrier:
            lower, upper = made.price * exp(-made.barrier), made.price * exp(made.barrier)
            self._barred[made.forecast] = _Pending(made, due, side, lower, upper)
        else:
            self._waiting[made.forecast] = _Pending(made, due, side, -inf, inf)

    def _forget(self, forecast: int) -> None:
        self._barred.pop(forecast, None)
        self._waiting.pop(forecast, None)

    # ------------------------------------------------------------ scoring
    def _check(self, pending: _Pending, now: int) -> None:
        assert self._chains is not None
        made = pending.made
        price = self._price(self._chains.views[made.underlying], made.expiry)
        if price is not None and not pending.lower < price < pending.upper:
            self._score(pending, price, happened=(pending.side > 0) == (price >= pending.upper))
        elif now < pending.due:
            return
        elif price is None:
            self._forget(made.forecast)
            self.unscored += 1
        else:
            self._score(pending, price, happened=not made.barrier and (price - made.price) * pending.side > 0)

    def _score(self, pending: _Pending, price: float, *, happened: bool) -> None:
        made = pending.made
        self._forget(made.forecast)
        self._bus.publish(
            ForecastScored(
                self._bus.now, made.forecast, made.name, made.underlying, made.value, int(happened), price,
                made.inputs, made.subject, made.signal,
            )
        )  # fmt: skip

    def _price(self, view: ChainView, expiry: date | None) -> float | None:
        if expiry is None or self._bus.now - view.at > STALE_NS:
            return None
        found = view.expiries.get(expiry)
        return found.forward if found is not None else None

    # ------------------------------------------------------------ what it shows
    def as_dict(self) -> dict[str, Any]:
        """Running figures for JSON."""
        return {"unscored": self.unscored, **self.scores.as_dict(WEIGHTS)}
