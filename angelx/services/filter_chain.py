"""Filter chain: lets a signal through when every filter does; the smallest margin is its confidence."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from angelx.adapters.signals import StrategyTimeout
from angelx.bus.bus import Bus, Handler
from angelx.domain.events import CommandReceived, Event, Signal, SignalPassed, SignalRefused
from angelx.domain.instruments import InstrumentTable
from angelx.market.freshness import Freshness
from angelx.market.state import MarketState
from angelx.services.guard import Guard, Unguarded
from angelx.services.session_phases import SessionPhases
from angelx.signals.filters.base import Filter, Refusal, Scene


class FilterChain:
    """Answers every `Signal` with exactly one `SignalPassed` or `SignalRefused`. Exits are not filtered."""

    name: ClassVar[str] = "filter_chain"
    emits: ClassVar[tuple[type[Event], ...]] = (SignalPassed, SignalRefused, CommandReceived)

    def __init__(
        self,
        bus: Bus,
        market: MarketState,
        instruments: InstrumentTable,
        phases: SessionPhases,
        filters: Sequence[Filter],
        freshness: Freshness,
        guard: Guard,
    ) -> None:
        self._bus, self._instruments, self._phases, self._filters = bus, instruments, phases, tuple(filters)
        self._freshness = freshness
        self._guard = guard
        self._unguarded = type(guard) is Unguarded
        self._scene = Scene()
        self._scene.chain = None
        self._scene.market = market

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Signals."""
        yield Signal, self.on_signal

    def on_signal(self, signal: Signal) -> None:
        """Ask the filters in order; the first refusal is the answer."""
        confidence = 1.0
        if signal.direction:
            scene = self._set(signal)
            for check in self._filters:
                try:
                    answer = check(signal, scene) if self._unguarded else self._guard.call(check, signal, scene)
                except (Exception, SystemExit, StrategyTimeout) as error:  # noqa: BLE001 - a person's own code
                    answer = self._failed(check, f"{type(error).__name__}: {error}")
                if type(answer) is not float:
                    if type(answer) is not Refusal:
                        answer = self._failed(check, f"answered {answer!r}, neither a margin nor a refusal")
                    self._bus.publish(
                        SignalRefused(
                            signal.at, signal.signal, signal.strategy, signal.instrument, "filter", answer.code,
                            answer.detail,
                        )
                    )  # fmt: skip
                    return
                confidence = min(confidence, answer)
        self._bus.publish(SignalPassed(signal.at, signal, confidence))

    def _failed(self, check: Filter, what: str) -> Refusal:
        """A filter that fails lets nothing through, and halts: nobody knows what it would have said."""
        reason = f"filter {check.name} failed: {what}"
        self._bus.publish(CommandReceived(self._bus.now, "halt", reason, self.name))
        return Refusal("filter_failed", reason)

    def _set(self, signal: Signal) -> Scene:
        scene = self._scene
        place = self._instruments.index[signal.instrument]
        segment = self._phases.by_place[place]
        scene.now, scene.place, scene.instrument = signal.at, place, self._instruments.all[place]
        scene.phase, scene.opens_at, scene.closes_at = segment.phase, segment.opens_at, segment.closes_at
        scene.snapshot_age_ns = self._freshness.snapshot_age_ns
        return scene
