"""Trap (SPEC 4.4): no entry where price is likely to go the other way first."""

from typing import Final

from angelx.domain.events import Signal
from angelx.signals.filters.base import NOT_APPLICABLE, Answer, Refusal, Scene, within

EDGES: Final = frozenset({"opening", "closing"})


class TrapFilter:
    """Refuses where the trap probability is above 1 - threshold.

    Parameters
    ----------
    base, cap
        The threshold, and the highest it gets, in (0, 1).
    high, extreme
        Added in that regime, in [0, 1].
    edges
        Added in the opening and the closing window, in [0, 1].
    """

    name = "trap"
    uses_chains = True

    def __init__(
        self,
        *,
        base: float = 0.65,
        high: float = 0.10,
        extreme: float = 0.20,
        edges: float = 0.15,
        cap: float = 0.95,
    ) -> None:
        self._base = within(self.name, "base", base, 0.01, 0.99)
        self._by_regime = {
            "high": within(self.name, "high", high, 0, 1),
            "extreme": within(self.name, "extreme", extreme, 0, 1),
        }
        self._edges = within(self.name, "edges", edges, 0, 1)
        self._cap = within(self.name, "cap", cap, self._base, 0.99)
        self.tuned = 0.0

    def limit(self, regime: str, window: str) -> float:
        """The highest trap probability that passes."""
        threshold = self._base + self._by_regime.get(regime, 0.0) + self.tuned
        if window in EDGES:
            threshold += self._edges
        return 1.0 - min(threshold, self._cap)

    def __call__(self, signal: Signal, scene: Scene) -> Answer:
        chain = scene.chain
        if chain is None:
            return NOT_APPLICABLE
        up = signal.direction * scene.sign > 0
        probability = chain.trap_up if up else chain.trap_down
        if probability is None:
            return Refusal("trap_unknown", f"no trap probability of {chain.underlying} yet")
        if scene.window is None:
            return Refusal("outside_session", "no window, no threshold")
        limit = self.limit(chain.regime, scene.window.name)
        if probability > limit:
            return Refusal(
                "likely_trap",
                f"probability {probability:.3f} > {limit:.3f} ({'up' if up else 'down'}, {chain.regime}, "
                f"{scene.window.name})",
            )
        return 1.0 - probability / limit
