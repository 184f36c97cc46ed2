"""Volatility regime (SPEC 4.1): low, medium, high or extreme, by IV rank or by the level of the at-the-money IV.

With 60 closes or more the IV rank decides (below .25 low, .5 medium, .75 high, else extreme); before that the ATM IV
against bands of its market. A boundary is crossed only by the hysteresis beyond it (.03 of rank; of an IV band 3 % of
the band's limit) and only after standing there for 30 s; until five observations it is medium.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from angelx.domain.events import Signal
from angelx.domain.scalars import NS
from angelx.signals.filters.base import NOT_APPLICABLE, Answer, Refusal, Scene, within

REGIMES: Final = ("low", "medium", "high", "extreme")
MEDIUM: Final = REGIMES.index("medium")
BANDS: Final[Mapping[str, tuple[float, float, float]]] = {"NSE": (0.12, 0.18, 0.25), "US": (0.15, 0.22, 0.32)}
"""ATM IV below which it is low, medium, high, as a fraction, by market."""


class RegimeRules(msgspec.Struct, frozen=True, kw_only=True):
    """Where the regimes begin and how readily they change."""

    ranks: tuple[float, float, float] = (0.25, 0.5, 0.75)
    least_closes: int = 60
    """Closes of the ATM IV before its rank counts."""
    hysteresis: float = 0.03
    dwell_ns: int = 30 * NS
    observations: int = 5


def classify(value: float, limits: Sequence[float], slack: Sequence[float], now: int | None) -> int:
    """The regime of a value, 0 to 3; with a present regime `now` a limit counts only by its slack beyond it."""
    level = sum(value >= limit for limit in limits)
    if now is None or level == now:
        return level
    if level > now:
        return max(now, sum(value >= limit + more for limit, more in zip(limits, slack, strict=True)))
    return min(now, sum(value >= limit - more for limit, more in zip(limits, slack, strict=True)))


class RegimeTracker:
    """The regime of one underlying, from one observation after the other.

    Parameters
    ----------
    market
        A key of `BANDS`.
    """

    __slots__ = ("_candidate", "_level", "_limits", "_rules", "_seen", "_since", "_slack")

    def __init__(self, rules: RegimeRules, market: str) -> None:
        if market not in BANDS:
            raise ValueError(f"volatility_regime: no bands for {market!r}; there are {', '.join(sorted(BANDS))}")
        self._rules = rules
        self._limits = {True: rules.ranks, False: BANDS[market]}
        self._slack = {
            True: (rules.hysteresis,) * 3,
            False: tuple(rules.hysteresis * limit for limit in BANDS[market]),
        }
        self._level: int | None = None
        self._seen = 0
        self._candidate, self._since = -1, 0

    @property
    def regime(self) -> str:
        """The present one."""
        return REGIMES[MEDIUM if self._level is None else self._level]

    def observe(self, at: int, atm_iv: float | None, iv_rank: float | None, closes: int) -> str:
        """Take what is known at a time, ns, and answer the regime; without IV nothing changes."""
        ranked = iv_rank is not None and closes >= self._rules.least_closes
        value = iv_rank if ranked else atm_iv
        if value is None:
            return self.regime
        found = classify(value, self._limits[ranked], self._slack[ranked], self._level)
        if self._level is None:
            self._seen += 1
            if self._seen >= self._rules.observations:
                self._level = found
        elif found != self._candidate:
            self._candidate, self._since = found, at
        if self._candidate >= 0 and at - self._since >= self._rules.dwell_ns:
            self._level, self._candidate = self._candidate, -1
        return self.regime


class VolatilityRegimeFilter:
    """No entries in the regimes named; says by which rules regimes are told apart.

    Parameters
    ----------
    barred
        Regimes in which nothing is entered; none where empty.
    low, medium, high
        IV ranks below which it is so, rising, in (0, 1).
    least_closes
        Closes before the rank counts, 2 to 252.
    hysteresis
        Of rank; of an ATM-IV band its fraction of the limit. In [0, 0.2].
    dwell_s
        Seconds a new regime must stand, 0 to 3600.
    observations
        How many until it is more than medium by default, 1 to 1000.
    """

    name = "volatility_regime"
    uses_chains = True

    def __init__(
        self,
        *,
        barred: Sequence[str] = (),
        low: float = 0.25,
        medium: float = 0.5,
        high: float = 0.75,
        least_closes: int = 60,
        hysteresis: float = 0.03,
        dwell_s: float = 30.0,
        observations: int = 5,
    ) -> None:
        unknown = [one for one in barred if one not in REGIMES]
        if isinstance(barred, str) or unknown:
            raise ValueError(f"{self.name} filter: barred must name some of {', '.join(REGIMES)}, was {barred!r}")
        ranks = tuple(within(self.name, key, value, 0, 1) for key, value in
                      (("low", low), ("medium", medium), ("high", high)))  # fmt: skip
        if any(before >= after for before, after in pairwise((0.0, *ranks, 1.0))):
            raise ValueError(
                f"{self.name} filter: low < medium < high must rise in (0, 1), was {low}, {medium}, {high}"
            )
        self._barred = frozenset(barred)
        self.rules = RegimeRules(
            ranks=(ranks[0], ranks[1], ranks[2]),
            least_closes=int(within(self.name, "least_closes", least_closes, 2, 252)),
            hysteresis=within(self.name, "hysteresis", hysteresis, 0, 0.2),
            dwell_ns=int(within(self.name, "dwell_s", dwell_s, 0, 3600) * NS),
            observations=int(within(self.name, "observations", observations, 1, 1000)),
        )

    def __call__(self, signal: Signal, scene: Scene) -> Answer:
        if scene.chain is None:
            return NOT_APPLICABLE
        if scene.chain.regime in self._barred:
            return Refusal("regime_barred", f"{scene.chain.regime} is barred")
        return 1.0
