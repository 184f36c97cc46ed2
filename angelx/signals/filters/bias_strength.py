"""Bias strength (SPEC 4.3): the chain must lean the signal's way, more than usual."""

from angelx.domain.events import Signal
from angelx.signals.filters.base import NOT_APPLICABLE, Answer, Refusal, Scene, within


class BiasStrengthFilter:
    """Strength (percentile of |bias|) at least `base`, moved by regime, multiplied by window, raised by noise, clamped.

    Parameters
    ----------
    base, least, most
        The threshold, and what it is clamped to, in [0, 1).
    low, medium, high, extreme
        Added in that regime, in [-1, 1].
    noise_above, noise_adds
        Above this noise (`ChainView.iv_noise`) so much is added.
    """

    name = "bias_strength"
    uses_chains = True

    def __init__(
        self,
        *,
        base: float = 0.60,
        low: float = -0.10,
        medium: float = 0.0,
        high: float = 0.10,
        extreme: float = 0.20,
        noise_above: float = 0.7,
        noise_adds: float = 0.15,
        least: float = 0.4,
        most: float = 0.9,
    ) -> None:
        self._base = within(self.name, "base", base, 0, 1)
        self._by_regime = {
            "low": within(self.name, "low", low, -1, 1),
            "medium": within(self.name, "medium", medium, -1, 1),
            "high": within(self.name, "high", high, -1, 1),
            "extreme": within(self.name, "extreme", extreme, -1, 1),
        }
        self._noise_above = within(self.name, "noise_above", noise_above, 0, 1)
        self._noise_adds = within(self.name, "noise_adds", noise_adds, 0, 1)
        self._least = within(self.name, "least", least, 0, 0.99)
        self._most = within(self.name, "most", most, self._least, 0.99)
        self.tuned = 0.0

    def threshold(self, regime: str, multiplier: float, noise: float | None) -> float:
        """The least strength that passes."""
        wanted = (self._base + self._by_regime[regime]) * multiplier
        if noise is not None and noise > self._noise_above:
            wanted += self._noise_adds
        return min(max(wanted + self.tuned, self._least), self._most)

    def __call__(self, signal: Signal, scene: Scene) -> Answer:
        chain = scene.chain
        if chain is None:
            return NOT_APPLICABLE
        bias, strength = chain.bias, chain.bias_strength
        if bias is None or strength is None:
            return Refusal("bias_unknown", f"no bias of {chain.underlying} yet")
        if scene.window is None:
            return Refusal("outside_session", "no window, no threshold")
        wanted = signal.direction * scene.sign
        if bias * wanted <= 0:
            return Refusal("bias_against", f"bias {bias:+.3f}, signal {wanted:+d}")
        least = self.threshold(chain.regime, scene.window.multiplier, chain.iv_noise)
        if strength < least:
            return Refusal(
                "bias_too_weak",
                f"strength {strength:.3f} < {least:.3f} (bias {bias:+.3f}, {chain.regime}, {scene.window.name})",
            )
        return (strength - least) / (1.0 - least)
