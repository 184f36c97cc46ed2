"""Signal quality (SPEC 4.6): entry signals generated, acted on, refused by which reason, and how many were right.

A fold over a journal's events. A signal is *right* when the underlying had gone its way at the horizon of its forecast;
*efficiency* is the share of right ones among those acted on, with its Wilson interval.
"""

from collections.abc import Iterator
from typing import Any, Final

from angelx.domain.events import Event, ForecastScored, OrderApproved, Signal, SignalJudged, SignalRefused
from angelx.signals.calibration import wilson

LEAST_SHARE: Final = 0.05
MOST_SHARE: Final = 0.60
"""Filters that let a smaller or larger share of signals pass have wrong numbers."""

Key = tuple[str, str]
"""(`strategy`, name), or (regime, window)."""


class Counts:
    """Of one strategy, or of one regime in one window."""

    __slots__ = ("acted", "admitted", "generated", "refused", "right", "right_refused", "scored", "scored_refused")

    def __init__(self) -> None:
        self.generated = self.acted = 0
        self.admitted = 0
        """Passed every filter, where there was a chain."""
        self.refused: dict[str, int] = {}
        """By reason code."""
        self.scored = self.right = 0
        """Signals acted on whose outcome is known, and those that were right."""
        self.scored_refused = self.right_refused = 0
        """The same of refused ones: what the refusals cost."""

    def refuse(self, code: str) -> None:
        """Count a refusal."""
        self.refused[code] = self.refused.get(code, 0) + 1

    @property
    def is_sound(self) -> bool:
        """False where the filters let nearly nothing or nearly everything pass, beyond doubt (95 %)."""
        low, high = wilson(self.admitted, self.generated)
        return low <= MOST_SHARE and high >= LEAST_SHARE

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        interval = wilson(self.right, self.scored) if self.scored else None
        return {
            "generated": self.generated,
            "admitted": self.admitted,
            "acted_on": self.acted,
            "share_acted_on": self.acted / self.generated if self.generated else None,
            "refused": dict(sorted(self.refused.items(), key=lambda one: (-one[1], one[0]))),
            "sound": self.is_sound,
            "scored": self.scored,
            "right": self.right,
            "efficiency": self.right / self.scored if self.scored else None,
            "efficiency_interval": list(interval) if interval else None,
            "scored_refused": self.scored_refused,
            "right_refused": self.right_refused,
        }


class SignalQuality:
    """Counts by strategy, and by volatility regime and window where there was a chain."""

    def __init__(self) -> None:
        self.by_strategy: dict[str, Counts] = {}
        self.by_cell: dict[Key, Counts] = {}
        self._groups: dict[int, list[Counts]] = {}
        """Of each entry signal."""
        self._acted: set[int] = set()
        self._refused: dict[int, str] = {}
        """By what code, where it was."""

    def on_signal(self, event: Signal) -> None:
        """Count an entry signal; exits are not counted."""
        if event.direction:
            counts = self.by_strategy.setdefault(event.strategy, Counts())
            counts.generated += 1
            self._groups[event.signal] = [counts]

    def on_judged(self, event: SignalJudged) -> None:
        """Its regime and window are known, of a signal that may have been answered before."""
        signal = event.signal
        groups = self._groups.get(signal)
        if groups is not None:
            counts = self.by_cell.setdefault((event.regime, event.window), Counts())
            counts.generated += 1
            counts.acted += signal in self._acted
            if signal in self._refused:
                counts.refuse(self._refused[signal])
            groups.append(counts)
            for one in groups if not event.refused_by else ():
                one.admitted += 1

    def on_refused(self, event: SignalRefused) -> None:
        """It was refused, by a filter, by sizing or by the gate."""
        self._refused[event.signal] = event.code
        for counts in self._groups.get(event.signal, ()):
            counts.refuse(event.code)

    def on_approved(self, event: OrderApproved) -> None:
        """It became an order; its first counts."""
        if event.signal not in self._acted:
            self._acted.add(event.signal)
            for counts in self._groups.get(event.signal, ()):
                counts.acted += 1

    def on_scored(self, event: ForecastScored) -> None:
        """Its outcome is known."""
        signal = abs(event.signal)
        for counts in self._groups.get(signal, ()) if event.name == "signal" else ():
            if signal in self._acted:
                counts.scored += 1
                counts.right += event.outcome
            else:
                counts.scored_refused += 1
                counts.right_refused += event.outcome

    def apply(self, event: Event) -> None:
        """Any event; others are left alone."""
        if isinstance(event, Signal):
            self.on_signal(event)
        elif isinstance(event, SignalJudged):
            self.on_judged(event)
        elif isinstance(event, SignalRefused):
            self.on_refused(event)
        elif isinstance(event, OrderApproved):
            self.on_approved(event)
        elif isinstance(event, ForecastScored):
            self.on_scored(event)

    def cells(self) -> Iterator[tuple[str, str, Counts]]:
        """(regime, window, counts), in order."""
        for (regime, window), counts in sorted(self.by_cell.items()):
            yield regime, window, counts

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "by_strategy": {name: counts.as_dict() for name, counts in sorted(self.by_strategy.items())},
            "by_regime_and_window": [
                {"regime": regime, "window": window, **counts.as_dict()} for regime, window, counts in self.cells()
            ],
        }
