"""Filter chain: lets a signal through when every applicable filter does; the smallest margin is its confidence."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from angelx.adapters.signals import StrategyTimeout
from angelx.bus.bus import Bus, Handler
from angelx.domain.events import CommandReceived, Event, Signal, SignalJudged, SignalPassed, SignalRefused
from angelx.domain.instruments import InstrumentTable, Right
from angelx.market.chain_view import Chains
from angelx.market.freshness import Freshness
from angelx.market.state import MarketState
from angelx.services.guard import Guard, Unguarded
from angelx.services.session_phases import SessionPhases
from angelx.signals.filters.base import NOT_APPLICABLE, Answer, Filter, Refusal, Scene, outlook
from angelx.signals.filters.time_of_day import TimeOfDayFilter


class FilterChain:
    """Answers every `Signal` with exactly one `SignalPassed` or `SignalRefused`. Exits are not filtered.

    Parameters
    ----------
    chains
        What is known of option chains; `None` where nothing is.
    """

    name: ClassVar[str] = "filter_chain"
    emits: ClassVar[tuple[type[Event], ...]] = (SignalJudged, SignalPassed, SignalRefused, CommandReceived)

    def __init__(
        self,
        bus: Bus,
        market: MarketState,
        instruments: InstrumentTable,
        phases: SessionPhases,
        filters: Sequence[Filter],
        freshness: Freshness,
        guard: Guard,
        chains: Chains | None = None,
    ) -> None:
        self._bus, self._instruments, self._phases, self._filters = bus, instruments, phases, tuple(filters)
        self._freshness = freshness
        self._guard = guard
        self._unguarded = type(guard) is Unguarded
        self._scene = Scene()
        self._scene.chain, self._scene.chains = None, chains
        self._scene.market = market
        self._chains = chains
        self._windows = next((one for one in filters if isinstance(one, TimeOfDayFilter)), TimeOfDayFilter())
        self._twins = _twins(instruments)
        self.not_applicable: dict[str, int] = {}
        """How often a filter had nothing to look at, by its name."""

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Signals."""
        yield Signal, self.on_signal

    def on_signal(self, signal: Signal) -> None:
        """Ask the filters in order; the first refusal is the answer."""
        if not signal.direction:
            self._bus.publish(SignalPassed(signal.at, signal, 1.0))
            return
        scene = self._set(signal)
        margins: list[tuple[str, float]] = []
        against = self._ask(signal, scene, margins)
        if against is not None:
            self._refuse(*against, signal, scene, margins)
            return
        self._judged(signal, scene, margins, "")
        confidence = min([margin for _, margin in margins], default=1.0)
        self._bus.publish(SignalPassed(signal.at, signal, confidence, tuple(margins)))

    def _ask(self, signal: Signal, scene: Scene, margins: list[tuple[str, float]]) -> tuple[Filter, Refusal] | None:
        """The first filter that does not let it through, and why; `margins` get those of the filters before."""
        unguarded, call = self._unguarded, self._guard.call
        for check in self._filters:
            try:
                answer: Answer = check(signal, scene) if unguarded else call(check, signal, scene)
            except (Exception, SystemExit, StrategyTimeout) as error:  # noqa: BLE001 - a person's own code
                return check, self._failed(check, f"{type(error).__name__}: {error}")
            if type(answer) is float and 0.0 <= answer <= 1.0:
                margins.append((check.name, answer))
            elif answer is NOT_APPLICABLE:
                self.not_applicable[check.name] = self.not_applicable.get(check.name, 0) + 1
            elif type(answer) is Refusal:
                return check, answer
            else:
                what = f"answered {answer!r}, neither a margin in [0, 1] nor a refusal nor NOT_APPLICABLE"
                return check, self._failed(check, what)
        return None

    def _refuse(
        self, check: Filter, refusal: Refusal, signal: Signal, scene: Scene, margins: list[tuple[str, float]]
    ) -> None:
        self._judged(signal, scene, margins, check.name)
        self._bus.publish(
            SignalRefused(
                signal.at, signal.signal, signal.strategy, signal.instrument, "filter", refusal.code, refusal.detail
            )
        )

    def _judged(self, signal: Signal, scene: Scene, margins: list[tuple[str, float]], refused_by: str) -> None:
        """Keep what the filters found where there is a chain to learn from."""
        if scene.chain is not None:
            window = scene.window.name if scene.window is not None else ""
            self._bus.publish(
                SignalJudged(
                    signal.at, signal.signal, signal.strategy, scene.chain.underlying,
                    outlook(signal, scene.instrument), scene.chain.regime, window, tuple(margins), refused_by,
                )
            )  # fmt: skip

    def _failed(self, check: Filter, what: str) -> Refusal:
        """A filter that fails lets nothing through, and halts: nobody knows what it would have said."""
        reason = f"filter {check.name} failed: {what}"
        self._bus.publish(CommandReceived(self._bus.now, "halt", reason, self.name))
        return Refusal("filter_failed", reason)

    def _set(self, signal: Signal) -> Scene:
        scene = self._scene
        place = self._instruments.index[signal.instrument]
        segment = self._phases.by_place[place]
        scene.now, scene.place = signal.at, place
        scene.instrument = instrument = self._instruments.all[place]
        scene.phase, scene.opens_at, scene.closes_at = segment.phase, segment.opens_at, segment.closes_at
        scene.snapshot_age_ns = self._freshness.snapshot_age_ns
        scene.window = self._windows.window(scene.now, scene.opens_at, scene.closes_at)
        scene.twin = self._twins.get(place, -1)
        if self._chains is not None:
            scene.chain = self._chains.views.get(instrument.underlying or instrument.id)
        return scene


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
