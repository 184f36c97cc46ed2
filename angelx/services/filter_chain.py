"""Filter chain: lets a signal through when every applicable filter does; the smallest margin is its confidence."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import CommandReceived, Event, Signal, SignalJudged, SignalRefused
from angelx.domain.instruments import InstrumentTable, Right
from angelx.market.chain_view import Chains, ChainView
from angelx.market.freshness import Freshness
from angelx.market.state import MarketState
from angelx.services.given import is_number, is_text, printable
from angelx.services.guard import RAISED, Guard, Unguarded
from angelx.services.session_phases import Segment, SessionPhases
from angelx.signals.filters.base import NOT_APPLICABLE, Filter, Refusal, Scene
from angelx.signals.filters.time_of_day import TimeOfDayFilter, window_ends

_Stage = tuple[Scene, Segment]
"""What of a scene does not change from signal to signal, and the instrument's segment."""


class FilterChain:
    """Answers every `Signal`: refuses it, or hands it on to `passed`. Exits are not filtered.

    Parameters
    ----------
    passed
        Called with a signal that every filter let through, and its confidence.
    chains
        What is known of option chains; `None` where nothing is.
    """

    name: ClassVar[str] = "filter_chain"
    emits: ClassVar[tuple[type[Event], ...]] = (SignalJudged, SignalRefused, CommandReceived)
    hands_to: ClassVar[tuple[str, str]] = ("passed signal", "risk_engine")

    def __init__(
        self,
        bus: Bus,
        market: MarketState,
        instruments: InstrumentTable,
        phases: SessionPhases,
        filters: Sequence[Filter],
        freshness: Freshness,
        guard: Guard,
        passed: Callable[[Signal, float], None],
        chains: Chains | None = None,
    ) -> None:
        self._bus, self._instruments, self._phases, self.passed = bus, instruments, phases, passed
        unguarded = type(guard) is Unguarded
        self._names = tuple(one.name for one in filters)
        self._checks = tuple(one.__call__ if unguarded else partial(guard.call, one) for one in filters)
        self._freshness = freshness
        self._market, self._chains = market, chains
        self._windows = next((one for one in filters if isinstance(one, TimeOfDayFilter)), TimeOfDayFilter())
        self._twins = _twins(instruments)
        self._stages: dict[str, _Stage] = {}
        self.not_applicable: dict[str, int] = {}
        """How often a filter had nothing to look at, by its name."""

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Signals."""
        yield Signal, self.on_signal

    def on_signal(self, signal: Signal) -> None:
        """Ask the filters in order; the first refusal is the answer."""
        if not signal.direction:
            self.passed(signal, 1.0)
            return
        scene, segment = self._stages.get(signal.instrument) or self._stage(signal.instrument)
        scene.now = at = signal.at
        scene.phase, scene.snapshot_age_ns = segment.phase, self._freshness.snapshot_age_ns
        if at >= scene.window_ends or scene.closes_at != segment.closes_at:
            self._enter(scene, segment)
        names = self._names
        margins: list[float] = []
        for check in self._checks:
            try:
                answer = check(signal, scene)
            except RAISED as error:
                answer = self._failed(names[len(margins)], f"{type(error).__name__}: {error}")
            if type(answer) is float and 0.0 <= answer <= 1.0:
                margins.append(answer)
            elif answer is NOT_APPLICABLE:
                names = self._without(names, len(margins))
            elif (margin := _margin(answer)) is not None:
                margins.append(margin)
            else:
                self._refuse(signal, scene, names, margins, answer)
                return
        self.passed(signal, min(margins) if margins else 1.0)
        if scene.chain is not None:
            self._judged(signal, scene, scene.chain, zip(names, margins, strict=True), "")

    def _without(self, names: tuple[str, ...], number: int) -> tuple[str, ...]:
        """The filters without one that has nothing to look at."""
        name = names[number]
        self.not_applicable[name] = self.not_applicable.get(name, 0) + 1
        return names[:number] + names[number + 1 :]

    def _refuse(
        self, signal: Signal, scene: Scene, names: tuple[str, ...], margins: list[float], answer: object
    ) -> None:
        """Filter number len(margins) of those asked did not let it through."""
        name = names[len(margins)]
        if type(answer) is not Refusal:
            answer = self._failed(
                name, f"answered {answer!r}, neither a margin in [0, 1] nor a refusal nor NOT_APPLICABLE"
            )
        elif not (is_text(answer.code) and answer.code and is_text(answer.detail)):
            answer = self._failed(name, f"answered {answer!r}, whose code and detail must be texts")
        self._bus.publish(
            SignalRefused(
                signal.at, signal.signal, signal.strategy, signal.instrument, "filter", answer.code, answer.detail
            )
        )
        if scene.chain is not None:
            self._judged(signal, scene, scene.chain, zip(names, margins, strict=False), name)

    def _judged(
        self, signal: Signal, scene: Scene, chain: ChainView, margins: Iterable[tuple[str, float]], refused_by: str
    ) -> None:
        """Keep what the filters found, behind their answer: there is a chain to learn from."""
        window, outlook = scene.window.name if scene.window is not None else "", signal.direction * scene.sign
        self._bus.publish(
            SignalJudged(
                signal.at, signal.signal, signal.strategy, chain.underlying, outlook, chain.regime, window,
                tuple(margins), refused_by,
            )
        )  # fmt: skip

    def _failed(self, name: str, what: str) -> Refusal:
        """A filter that fails lets nothing through, and halts: nobody knows what it would have said."""
        reason = printable(f"filter {name} failed: {what}")
        self._bus.publish(CommandReceived(self._bus.now, "halt", reason, self.name))
        return Refusal("filter_failed", reason)

    def _stage(self, instrument_id: str) -> "_Stage":
        """An instrument's own scene, set up once."""
        place = self._instruments.index[instrument_id]
        scene, segment, instrument = Scene(), self._phases.by_place[place], self._instruments.all[place]
        scene.place, scene.instrument, scene.twin = place, instrument, self._twins.get(place, -1)
        scene.sign = -1 if instrument.right is Right.PUT else 1
        scene.market, scene.chains, scene.chain = self._market, self._chains, None
        if self._chains is not None:
            scene.chain = self._chains.views.get(instrument.underlying or instrument.id)
        scene.opens_at = scene.closes_at = scene.window_ends = 0
        self._stages[instrument_id] = scene, segment
        return scene, segment

    def _enter(self, scene: Scene, segment: Segment) -> None:
        """Another session, or another part of it, begins for an instrument."""
        now, opens_at, closes_at = scene.now, segment.opens_at, segment.closes_at
        scene.opens_at, scene.closes_at = opens_at, closes_at
        scene.window = self._windows.window(now, opens_at, closes_at)
        scene.window_ends = window_ends(now, opens_at, closes_at)


def _margin(answer: object) -> float | None:
    """The margin that a person's filter gave as another kind of number: 1, or one of numpy's."""
    return float(answer) if is_number(answer) and 0.0 <= answer <= 1.0 else None


def _twins(table: InstrumentTable) -> dict[int, int]:
    """By place of an option, that of the other right at its strike and expiry."""
    found: dict[object, int] = {}
    twins: dict[int, int] = {}
    for place, option in enumerate(table):
        if option.right is None:
            continue
        other = Right.PUT if option.right is Right.CALL else Right.CALL
        twin = found.get((option.segment, option.underlying, option.expiry, option.strike, other))
        found[option.segment, option.underlying, option.expiry, option.strike, option.right] = place
        if twin is not None:
            twins[place], twins[twin] = twin, place
    return twins
