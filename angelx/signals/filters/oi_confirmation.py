"""Open-interest confirmation (SPEC 4.5): money must flow the signal's way at the strike it trades."""

from typing import Final

from angelx.domain.events import Signal
from angelx.domain.ticks import OI
from angelx.signals.filters.base import NOT_APPLICABLE, Answer, Refusal, Scene, within

DAILY_OI: Final = frozenset({"OPRA"})
"""Segments whose open interest is published once a day: there is no flow within one."""


class OiConfirmationFilter:
    """Signed flow at the strike over the flow window at least so many lots, and at least a part of its open interest.

    The strike is the contract and its twin, the call and the put: calls bought and puts written speak for a rise, puts
    bought and calls written for a fall. Only options are asked about.

    Parameters
    ----------
    lots
        Least flow, 0 to 10 million.
    high, extreme, uncertain
        It is multiplied by this in that regime, and where the trend is uncertain; 1 to 10.
    oi_fraction
        Least flow as a fraction of the strike's open interest, in [0, 1].
    """

    name = "oi_confirmation"
    uses_chains = True

    def __init__(
        self,
        *,
        lots: float = 1000.0,
        high: float = 1.5,
        extreme: float = 2.0,
        uncertain: float = 1.3,
        oi_fraction: float = 0.01,
    ) -> None:
        self._lots = within(self.name, "lots", lots, 0, 1e7)
        self._by_regime = {
            "high": within(self.name, "high", high, 1, 10),
            "extreme": within(self.name, "extreme", extreme, 1, 10),
        }
        self._uncertain = within(self.name, "uncertain", uncertain, 1, 10)
        self._fraction = within(self.name, "oi_fraction", oi_fraction, 0, 1)
        self.tuned = 0.0

    def least(self, regime: str, *, uncertain: bool, open_interest: float) -> float:
        """The least signed flow that passes, lots, at a strike with so much open interest in lots."""
        lots = self._lots * self._by_regime.get(regime, 1.0) * (self._uncertain if uncertain else 1.0)
        return max(lots, self._fraction * open_interest) * (1.0 + self.tuned)

    def __call__(self, signal: Signal, scene: Scene) -> Answer:
        chain, chains, instrument = scene.chain, scene.chains, scene.instrument
        if chain is None or chains is None or instrument.right is None or instrument.segment in DAILY_OI:
            return NOT_APPLICABLE
        if not chain.flow_since:
            return Refusal("oi_unknown", f"no update of open interest of {chain.underlying} yet")
        place, twin, cells = scene.place, scene.twin, scene.market.view
        flow, units = chains.signed_flow(place), cells[OI, place]
        if twin >= 0:
            flow -= chains.signed_flow(twin)
            units += cells[OI, twin]
        wanted = signal.direction  # of the contract: what its buyers do speaks for holding it
        flow *= wanted
        lots = units / instrument.lot_size
        least = self.least(chain.regime, uncertain=chain.trend_is_uncertain, open_interest=lots)
        if flow >= least and flow > 0:
            return 1.0 - least / flow
        numbers = f"flow {flow:+,.0f} lots of {lots:,.0f} open, {wanted * scene.sign:+d}, {chain.regime}"
        if flow < 0:
            return Refusal("oi_against", numbers)
        return Refusal("insufficient_oi", f"{numbers}; needs {least:,.0f}")
