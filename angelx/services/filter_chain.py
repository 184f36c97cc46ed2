"""Filter chain: lets a signal through when every applicable filter does; the smallest margin is its confidence."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

from angelx.adapters.signals import StrategyTimeout
from angelx.bus.bus import Bus, Handler
from angelx.domain.events import CommandReceived, Event, Signal, SignalJudged, SignalRefused
from angelx.domain.instruments import InstrumentTable, Right
from angelx.market.chain_view import Chains, ChainView
from angelx.market.freshness import Freshness
from angelx.market.state import MarketState
from angelx.services.guard import Guard, Unguarded
from angelx.services.session_phases import Segment, SessionPhases
from angelx.signals.filters.base import NOT_APPLICABLE, Filter, Refusal, Scene, outlook
from angelx.signals.filters.time_of_day import TimeOfDayFilter, window_ends

_Stage = tuple[Scene, Segment]
"""An instrument's scene, and its segment's session."""


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
        self._checks = tuple((one.name, one.__call__ if unguarded else partial(guard.call, one)) for one in filters)
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

    def on_signal(self, signal: Signal) -> None:  # noqa: C901  (a call would cost more than it says)
        """Ask the filters in order; the first refusal is the answer."""
        if not signal.direction:
            self.passed(signal, 1.0)
            return
        scene, segment = self._stages.get(signal.instrument) or self._stage(signal.instrument)
        scene.now = at = signal.at
        scene.phase, scene.snapshot_age_ns = segment.phase, self._freshness.snapshot_age_ns
        if at >= scene.window_ends or scene.closes_at != segment.closes_at:
            self._enter(scene, segment)
        if self._chains is not None:
            scene.chain = self._chains.views.get(scene.instrument.underlying or scene.instrument.id)
        margins: list[tuple[str, float]] = []
        confidence, chain = 1.0, scene.chain
        for name, check in self._checks:
            try:
                answer = check(signal, scene)
            except (Exception, SystemExit, StrategyTimeout) as error:  # noqa: BLE001 - a person's own code
                answer = self._failed(name, f"{type(error).__name__}: {error}")
            if type(answer) is float and 0.0 <= answer <= 1.0:
                if answer < confidence:  # noqa: PLR1730  (0.1 us)
                    confidence = answer
                if chain is not None:
                    margins.append((name, answer))
            elif answer is NOT_APPLICABLE:
                self.not_applicable[name] = self.not_applicable.get(name, 0) + 1
            else:
                self._refuse(signal, scene, margins, name, answer)
                return
        if chain is not None:
            self._judged(signal, scene, chain, margins, "")
        self.passed(signal, confidence)

    def _refuse(
        self, signal: Signal, scene: Scene, margins: list[tuple[str, float]], name: str, answer: object
    ) -> None:
        if type(answer) is not Refusal:
            answer = self._failed(
                name, f"answered {answer!r}, neither a margin in [0, 1] nor a refusal nor NOT_APPLICABLE"
            )
        if scene.chain is not None:
            self._judged(signal, scene, scene.chain, margins, name)
        self._bus.publish(
            SignalRefused(
                signal.at, signal.signal, signal.strategy, signal.instrument, "filter", answer.code, answer.detail
            )
        )

    def _judged(
        self, signal: Signal, scene: Scene, chain: ChainView, margins: list[tuple[str, float]], refused_by: str
    ) -> None:
        """Keep what the filters found: there is a chain to learn from."""
        window = scene.window.name if scene.window is not None else ""
        self._bus.publish(
            SignalJudged(
                signal.at, signal.signal, signal.strategy, chain.underlying, outlook(signal, scene.instrument),
                chain.regime, window, tuple(margins), refused_by,
            )
        )  # fmt: skip

    def _failed(self, name: str, what: str) -> Refusal:
        """A filter that fails lets nothing through, and halts: nobody knows what it would have said."""
        reason = f"filter {name} failed: {what}"
        self._bus.publish(CommandReceived(self._bus.now, "halt", reason, self.name))
        return Refusal("filter_failed", reason)

    def _stage(self, instrument_id: str) -> _Stage:
        """The scene of an instrument, with what does not change of it, looked up once."""
        place, scene = self._instruments.index[instrument_id], Scene()
        scene.place, scene.instrument = place, self._instruments.all[place]
        scene.twin, scene.market = self._twins.get(place, -1), self._market
        scene.chain, scene.chains = None, self._chains
        scene.closes_at = scene.window_ends = 0
        stage = self._stages[instrument_id] = scene, self._phases.by_place[place]
        return stage

    def _enter(self, scene: Scene, segment: Segment) -> None:
        """Another session, or another part of it, begins for an instrument."""
        now, opens_at, closes_at = scene.now, segment.opens_at, segment.closes_at
        scene.opens_at, scene.closes_at = opens_at, closes_at
        scene.window = self._windows.window(now, opens_at, closes_at)
        scene.window_ends = window_ends(now, opens_at, closes_at)


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
