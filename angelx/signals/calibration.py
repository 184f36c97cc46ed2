"""How good forecasts were: accuracy with Wilson intervals, Brier score, calibration error; running, in bounded memory.

Forecasts made every minute of what happens within a quarter of an hour see much the same future: intervals count them
as `weight` of an independent one each (horizon / time between two).
"""

from collections.abc import Mapping
from math import sqrt
from typing import Any, Final

import msgspec

from angelx.domain.events import ForecastMade, ForecastScored

BINS: Final = 10
Z95: Final = 1.959963984540054


def wilson(hits: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Interval of a proportion, 95 % unless `z` says otherwise; (0, 1) where nothing was observed.

    Counts may be fractions, of observations that are not independent.

    Source
    ------
    Wilson, JASA 22 (1927) 209-212.
    """
    if n <= 0:
        return 0.0, 1.0
    rate = hits / n
    centre = rate + z * z / (2 * n)
    half = z * sqrt(max(rate * (1 - rate), 0.0) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


class Reliability(msgspec.Struct):
    """Running score of one kind of probability forecast of something that happens (1) or not (0)."""

    n: int = 0
    happened: int = 0
    hits: int = 0
    """Forecasts on the right side of one half; at exactly one half it is wrong."""
    square: float = 0.0
    """Sum of squared errors."""
    counts: list[int] = msgspec.field(default_factory=lambda: [0] * BINS)
    """By tenth of the probability forecast: how many, the sum of the probabilities, how many happened."""
    forecast: list[float] = msgspec.field(default_factory=lambda: [0.0] * BINS)
    seen: list[int] = msgspec.field(default_factory=lambda: [0] * BINS)

    def add(self, probability: float, *, happened: bool) -> None:
        """Take one forecast and what came of it.

        Raises
        ------
        ValueError
            The probability is outside [0, 1].
        """
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"a probability lies in [0, 1], was {probability}")
        self.n += 1
        self.happened += happened
        self.hits += probability > 0.5 if happened else probability < 0.5
        self.square += (probability - happened) ** 2
        place = min(int(probability * BINS), BINS - 1)
        self.counts[place] += 1
        self.forecast[place] += probability
        self.seen[place] += happened

    @property
    def accuracy(self) -> float | None:
        """Share of forecasts on the right side of one half."""
        return self.hits / self.n if self.n else None

    @property
    def base_rate(self) -> float | None:
        """How often it happened."""
        return self.happened / self.n if self.n else None

    @property
    def brier(self) -> float | None:
        """Mean squared error; 0 is perfect, `base_rate (1 - base_rate)` is what knowing the base rate alone gets.

        Source
        ------
        Brier, Monthly Weather Review 78 (1950) 1-3.
        """
        return self.square / self.n if self.n else None

    @property
    def calibration_error(self) -> float | None:
        """Mean distance of forecast and frequency over tenths of the probability, weighted by how many (ECE).

        Source
        ------
        Naeini, Cooper, Hauskrecht, AAAI 2015: expected calibration error, equal-width bins.
        """
        if not self.n:
            return None
        return sum(abs(p - y) for p, y in zip(self.forecast, self.seen, strict=True)) / self.n

    def as_dict(self, weight: float = 1.0) -> dict[str, Any]:
        """For JSON; `weight` is what a forecast counts as an independent one."""
        interval = wilson(self.hits * weight, self.n * weight) if self.n else None
        return {
            "n": self.n,
            "independent": self.n * weight,
            "base_rate": self.base_rate,
            "accuracy": self.accuracy,
            "accuracy_interval": list(interval) if interval else None,
            "brier": self.brier,
            "calibration_error": self.calibration_error,
            "bins": [
                {"n": n, "forecast": p / n, "happened": y / n}
                for n, p, y in zip(self.counts, self.forecast, self.seen, strict=True)
                if n
            ],
        }


class ForecastScores:
    """Every kind of forecast of a journal, scored: a fold, for the running process and for the report alike."""

    __slots__ = ("by_name", "made")

    def __init__(self) -> None:
        self.made: dict[str, int] = {}
        """Forecasts by name; what is not scored had no price at its horizon, or the session ended before."""
        self.by_name: dict[str, Reliability] = {}

    def on_made(self, event: ForecastMade) -> None:
        """Count a forecast."""
        self.made[event.name] = self.made.get(event.name, 0) + 1

    def on_scored(self, event: ForecastScored) -> None:
        """Score a forecast."""
        found = self.by_name.get(event.name)
        if found is None:
            found = self.by_name[event.name] = Reliability()
        found.add(event.value, happened=bool(event.outcome))

    def as_dict(self, weights: Mapping[str, float]) -> dict[str, Any]:
        """For JSON, by name; `weights` as in `Reliability.as_dict`, 1 where a name is missing."""
        return {
            name: {"made": made, **self.by_name.get(name, Reliability()).as_dict(weights.get(name, 1.0))}
            for name, made in sorted(self.made.items())
        }
