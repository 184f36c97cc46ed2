"""Self-tuning of filters (SPEC 4.6): what outcomes say moves each threshold a step, with proof, within bounds.

An outcome is a signal and whether the underlying had gone its way at the horizon. It counts for one filter that can be
moved: the one that refused it, or, where all let it pass, that with the smallest margin. At a session's end, for each:

- the signals it only just passed go right, with 95 % confidence (Wilson), less often than `TARGET`: a step stricter;
- else, the signals it refused go right, with the same confidence, more often than that: a step looser.

At least `LEAST` outcomes are needed; those that decided are used up, the others fade by a tenth per session. A filter
is never moved by more than `MOST` either way. What is learned today applies from the next session on.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from angelx.domain.errors import InputInvalid
from angelx.signals.bias import BINS, SESSIONS, BiasSkill
from angelx.signals.calibration import wilson
from angelx.signals.filters.base import Filter, Tunable
from angelx.signals.trap import TrapModel

STEP: Final = 0.02
MOST: Final = 0.10
LEAST: Final = 30
TARGET: Final = 0.5
KEPT: Final = 0.9
FORM: Final = 1
"""Of the file; another one is not read."""


class Tally(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Outcomes that count for a filter; fractions where they have faded."""

    n: float = 0.0
    right: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.n <= 1e9:
            raise ValueError(f"0 <= right <= n must hold, was {self.right} of {self.n}")

    def faded(self) -> "Tally":
        """As the next session sees it."""
        return Tally(self.n * KEPT, self.right * KEPT)

    def plus(self, *, right: bool) -> "Tally":
        """With one more."""
        return Tally(self.n + 1, self.right + right)


class FilterTuning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of one filter."""

    shift: float = 0.0
    """Added to its threshold; positive is stricter."""
    passed: Tally = Tally()
    """Signals it let pass by the smallest margin of all."""
    refused: Tally = Tally()

    def __post_init__(self) -> None:
        if not -MOST <= self.shift <= MOST:
            raise ValueError(f"shift must be within {MOST} of 0, was {self.shift}")

    def moved(self) -> "FilterTuning":
        """At a session's end: a step stricter, a step looser, or the same; bounded."""
        _, passed_at_best = wilson(self.passed.right, self.passed.n)
        refused_at_worst, _ = wilson(self.refused.right, self.refused.n)
        if self.passed.n >= LEAST and passed_at_best < TARGET:
            return FilterTuning(_bounded(self.shift + STEP), Tally(), self.refused.faded())
        if self.refused.n >= LEAST and refused_at_worst > TARGET:
            return FilterTuning(_bounded(self.shift - STEP), self.passed.faded(), Tally())
        return FilterTuning(self.shift, self.passed.faded(), self.refused.faded())


class Tuning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything learned before a session; version 0 is the priors."""

    form: int = FORM
    version: int = 0
    """Grows by one with every session that taught something."""
    learned_at: int = 0
    """End of that session, ns."""
    filters: dict[str, FilterTuning] = {}
    trap: TrapModel = TrapModel()
    bias: BiasSkill = BiasSkill()
    strengths: dict[str, list[list[int]]] = {}
    """|bias| of past sessions by underlying (`angelx.signals.bias.StrengthHistory`)."""

    def __post_init__(self) -> None:
        if self.form != FORM:
            raise ValueError(f"form must be {FORM}, was {self.form}")
        for underlying, sessions in self.strengths.items():
            bad = [one for one in sessions if len(one) != BINS or min(one) < 0 or not sum(one)]
            if bad or len(sessions) > SESSIONS:
                raise ValueError(f"strengths[{underlying!r}] must be at most {SESSIONS} lists of {BINS} counts")

    def to_json(self) -> str:
        """As text, the same for the same state."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @property
    def digest(self) -> str:
        """sha256 of the text."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


class Outcome(msgspec.Struct, frozen=True):
    """What came of a signal, for the filter it counts for."""

    filter: str
    passed: bool
    right: bool


def tuning_of(data: bytes | str, where: str) -> Tuning:
    """A state from its text; empty text is the priors.

    Raises
    ------
    InputInvalid
        It is no such state; names `where`, what is wrong and what to do.
    """
    if not data:
        return Tuning()
    try:
        return msgspec.json.decode(data, type=Tuning)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputInvalid(f"{where}: not a tuning state: {error}; put the file aside to begin again") from error


def learned(
    before: Tuning,
    outcomes: Sequence[Outcome],
    trap: TrapModel,
    bias: BiasSkill,
    strengths: Mapping[str, list[list[int]]],
    at: int,
) -> Tuning:
    """The state after a session."""
    filters = dict(before.filters)
    for outcome in outcomes:
        now = filters.get(outcome.filter, FilterTuning())
        if outcome.passed:
            now = msgspec.structs.replace(now, passed=now.passed.plus(right=outcome.right))
        else:
            now = msgspec.structs.replace(now, refused=now.refused.plus(right=outcome.right))
        filters[outcome.filter] = now
    filters = {name: one.moved() for name, one in sorted(filters.items())}
    return Tuning(FORM, before.version + 1, at, filters, trap, bias, {**before.strengths, **strengths})


def apply(tuning: Tuning, filters: Iterable[Filter]) -> None:
    """Move the thresholds of the filters that can be moved."""
    for one in filters:
        if isinstance(one, Tunable):
            one.tuned = tuning.filters.get(one.name, FilterTuning()).shift


def _bounded(shift: float) -> float:
    return min(max(round(shift, 6), -MOST), MOST)
