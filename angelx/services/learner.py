"""Learner: at a session's end turns what came of signals and forecasts into the tuning of the next (SPEC 4.6, 3.4)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import (
    Event,
    ForecastScored,
    IncidentReported,
    PhaseChanged,
    SignalJudged,
    TuningLearned,
    WorkDone,
    WorkFailed,
)
from angelx.domain.scalars import NS
from angelx.services.forecasts import EVERY_NS
from angelx.services.isolation import Isolation
from angelx.services.session_phases import OPEN, SessionPhases
from angelx.signals.bias import StrengthHistory
from angelx.signals.filters.base import Filter, Tunable
from angelx.signals.filters.volatility_regime import RegimeRules, RegimeTracker, VolatilityRegimeFilter
from angelx.signals.judge import ChainMemory
from angelx.signals.trap import EVIDENCE, HORIZON_NS, TrapModel, refit
from angelx.signals.tuning import Outcome, Tuning, apply, learned

REFIT: Final = "trap_refit"
WEIGHT: Final = EVERY_NS / HORIZON_NS
"""What a forecast a minute counts as an independent one."""
AFTER_NS: Final = NS
"""It looks back so long after the close."""


class Learner:
    """Publishes `TuningLearned` once per session; applies it when the next one opens.

    Parameters
    ----------
    memories
        What is known of each underlying's chain, by its id, for `judge`; they get the rules of the filter of volatility
        regimes, where there is one.
    tuning
        What applies now; the filters and memories are set to it at once.
    applies
        False: what is learned is published and kept, but not used by this process.
    """

    name: ClassVar[str] = "learner"
    emits: ClassVar[tuple[type[Event], ...]] = (TuningLearned, IncidentReported)

    def __init__(
        self,
        bus: Bus,
        isolation: Isolation,
        phases: SessionPhases,
        filters: Sequence[Filter],
        memories: Mapping[str, ChainMemory],
        tuning: Tuning,
        *,
        applies: bool = True,
    ) -> None:
        self._bus, self._isolation, self._phases = bus, isolation, phases
        self._filters, self._memories = tuple(filters), memories
        self._tunable = frozenset(one.name for one in filters if isinstance(one, Tunable))
        self.tuning = tuning
        """What applies in this session."""
        self._next = tuning
        self._applies = applies
        self._open = False
        self._work = 0
        self._margins: dict[int, tuple[str, bool]] = {}
        self._counted: dict[tuple[str, bool, str, int], int] = {}
        self._outcomes: list[Outcome] = []
        self._rows: list[tuple[float, ...]] = []
        self._happened: list[int] = []
        self._scores: list[float] = []
        self._rose: list[int] = []
        self.on_learned: Callable[[Tuning], None] = _nobody
        """Called with what a session taught, to keep it."""
        self.on_used: Callable[[Tuning], None] = _nobody
        """Called with what applies from now on."""
        self._use(tuning)
        rules = next((one.rules for one in self._filters if isinstance(one, VolatilityRegimeFilter)), RegimeRules())
        for name, memory in memories.items():
            memory.regime = RegimeTracker(rules, memory.market)
            memory.strengths = StrengthHistory(tuning.strengths.get(name, ()))

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Signals as judged, forecasts as scored, phases, and its own work."""
        yield SignalJudged, self.on_judged
        yield ForecastScored, self.on_scored
        yield PhaseChanged, self.on_phase
        yield WorkDone, self.on_done
        yield WorkFailed, self.on_failed

    def restore(self, event: Event) -> None:
        """Take an event of a journal: the session goes on teaching, and what was learned since applies."""
        if isinstance(event, SignalJudged):
            self.on_judged(event)
        elif isinstance(event, ForecastScored):
            self.on_scored(event)
        elif isinstance(event, TuningLearned):
            self._next = msgspec.json.decode(event.state, type=Tuning)
            self._forget()
        elif isinstance(event, PhaseChanged) and event.phase == OPEN:
            self._begin()

    def keep(self) -> None:
        """Have what a journal said was learned kept, where the process ended before it was."""
        if self._next.version > self.tuning.version:
            self.on_learned(self._next)

    # ------------------------------------------------------------ what happens
    def on_judged(self, event: SignalJudged) -> None:
        """Remember which filter the outcome will count for: of those that can be moved, one."""
        if event.refused_by in self._tunable:
            self._margins[event.signal] = (event.refused_by, False)
        elif not event.refused_by:
            margins = [(margin, name) for name, margin in event.margins if name in self._tunable]
            if margins:
                self._margins[event.signal] = (min(margins)[1], True)

    def on_scored(self, event: ForecastScored) -> None:
        """Collect an outcome: of a signal for its filter, of a trap for the refit."""
        if event.name in ("trap_up", "trap_down") and len(event.inputs) == len(EVIDENCE):
            self._rows.append(event.inputs)
            self._happened.append(event.outcome)
        elif event.name == "bias" and event.inputs:
            self._scores.append(event.inputs[0])
            self._rose.append(event.outcome)
        elif event.name == "signal":
            found = self._margins.pop(abs(event.signal), None)
            if found is not None and self._is_new(event, *found):
                self._outcomes.append(Outcome(*found, bool(event.outcome)))

    def _is_new(self, event: ForecastScored, check: str, passed: bool) -> bool:
        """Signals of one kind within a horizon see the same move: the first counts."""
        key = (check, passed, event.underlying, 1 if event.signal > 0 else -1)
        last = self._counted.get(key)
        if last is not None and event.at - last < HORIZON_NS:
            return False
        self._counted[key] = event.at
        return True

    # ------------------------------------------------------------ the end of a session
    def on_phase(self, event: PhaseChanged) -> None:
        """When the last segment has closed, learn; when the first opens, apply."""
        is_open = any(segment.phase == OPEN for segment in self._phases.segments.values())
        if is_open and not self._open:
            self._begin()
        elif not is_open and self._open:
            self._bus.at(self._bus.now + AFTER_NS, self._study)  # What is scored at the very close counts.
        self._open = is_open

    def _study(self) -> None:
        for memory in self._memories.values():
            memory.strengths.end_session()
        if self._outcomes or self._rows or self._scores:
            self._work = self._isolation.submit(
                REFIT, refit, self._next.trap, list(self._rows), list(self._happened), WEIGHT
            )

    def _begin(self) -> None:
        if self._applies and self._next is not self.tuning:
            self._use(self._next)

    def on_done(self, event: WorkDone) -> None:
        """The refit is there: everything is learned."""
        if event.work == self._work and event.name == REFIT:
            self._learn(msgspec.json.decode(event.result, type=TrapModel))

    def on_failed(self, event: WorkFailed) -> None:
        """Without the refit the trap model stays; the filters are tuned all the same."""
        if event.work == self._work and event.name == REFIT:
            self._bus.publish(
                IncidentReported(self._bus.now, self.name, f"trap refit: {event.outcome}: {event.detail}")
            )
            self._learn(self._next.trap)

    def _learn(self, trap: TrapModel) -> None:
        strengths = {name: memory.strengths.sessions for name, memory in sorted(self._memories.items())}
        known = {name: past for name, past in strengths.items() if past}
        bias = self._next.bias.after(self._scores, self._rose, WEIGHT)
        self._next = learned(self._next, self._outcomes, trap, bias, known, self._bus.now)
        self._forget()
        self._bus.publish(TuningLearned(self._bus.now, self._next.version, self._next.to_json()))
        self.on_learned(self._next)

    def _forget(self) -> None:
        self._outcomes, self._rows, self._happened = [], [], []
        self._scores, self._rose = [], []
        self._margins, self._counted = {}, {}
        self._work = 0

    def _use(self, tuning: Tuning) -> None:
        self.tuning = tuning
        apply(tuning, self._filters)
        for memory in self._memories.values():
            memory.model, memory.skill = tuning.trap, tuning.bias
        self.on_used(tuning)


def _nobody(tuning: Tuning) -> None:
    """Nobody keeps it."""
