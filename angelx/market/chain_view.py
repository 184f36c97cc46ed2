"""What is known of option chains, for strategies and filters to read: kept up to date by the chain engine.

Numbers are floats in currency units, fractions and years; `None` (or a reason other than `DEFINED`) where a value is
undefined, never NaN. One `ChainView` is of one underlying.
"""

from collections.abc import Mapping
from datetime import date
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray


class Contract(msgspec.Struct, frozen=True, gc=False):
    """One option's analytics as last computed."""

    at: int
    """Time of the quote they are of, ns."""
    iv: float
    """Annual volatility as a fraction; all numbers here are 0.0 where `reason` is not `defined`."""
    delta: float
    """Of one unit, per unit of spot, F/S carried."""
    gamma: float
    vega: float
    """Per vol point (0.01)."""
    theta: float
    """Per calendar day."""
    rho: float
    """Per unit of rate (1.0), at fixed spot."""
    reason: str
    """`defined`, or why it is undefined: `no_quote`, `one_sided`, `crossed`, `stale`, `expired`, `no_forward`,
    `below_intrinsic`, `above_bound`, `no_time_value`."""


class ExpiryView(msgspec.Struct):
    """One expiry of one underlying; updated in place."""

    expiry: date
    years: float = 0.0
    """To the settlement, to the second; 0 = expired."""
    forward: float | None = None
    discount: float | None = None
    forward_reason: str = "no_forward"
    """`defined`, `carried` (no fresh pair: the last basis on the present spot) or why there is none."""
    atm_strike: int = 0
    """1/10,000; 0 = none."""
    atm_iv: float | None = None
    skew: float | None = None
    """IV of the 25-delta put less that of the 25-delta call."""


class Flow(msgspec.Struct):
    """Open-interest flow over the last window, in lots, by class; calls and puts apart (SPEC 3.2)."""

    long_build_up: float = 0.0
    short_build_up: float = 0.0
    long_unwinding: float = 0.0
    short_covering: float = 0.0

    @property
    def signed(self) -> float:
        """For the contract's own premium: what its buyers did less what its sellers did."""
        return self.long_build_up + self.short_covering - self.short_build_up - self.long_unwinding


class ChainView(msgspec.Struct):
    """One underlying's chain; updated in place, `front` first."""

    underlying: str
    at: int = 0
    """Time of the last update, ns; 0 = none yet."""
    spot: float | None = None
    """Last value of the underlying itself; `None` where it is missing or undefined (the forward carries on)."""
    expiries: dict[date, ExpiryView] = {}
    """Nearest first."""
    front: date | None = None
    """Nearest expiry that has not passed."""
    iv_rank: float | None = None
    iv_percentile: float | None = None
    sessions: int = 0
    """Closes of the ATM IV known, up to 252."""
    iv_noise: float | None = None
    """min(1, mean |change of ATM IV| of five one-minute samples / 5 vol points) (SPEC 4.1)."""
    pcr_oi: float | None = None
    pcr_volume: float | None = None
    max_pain: int = 0
    """Strike, 1/10,000; 0 = none."""
    call_wall: int = 0
    put_wall: int = 0
    call_flow: Flow = msgspec.field(default_factory=Flow)
    put_flow: Flow = msgspec.field(default_factory=Flow)
    flow_since: int = 0
    """Exchange time at which the window of the flows begins, ns; 0 = no exchange update seen."""
    bias: float | None = None
    """Signed score in [-1, 1] (SPEC 3.3)."""
    bias_strength: float | None = None
    """Percentile of |bias| in [0, 1]."""
    trap_up: float | None = None
    """Probability that an upward signal is a trap (SPEC 3.4)."""
    trap_down: float | None = None
    trend_is_uncertain: bool = True
    """True until the move of the last quarter of an hour is more than chance (`angelx.signals.judge`)."""
    regime: str = "medium"
    """Volatility regime (SPEC 4.1): `low`, `medium`, `high`, `extreme`."""
    volume: float | None = None
    """Lots traded in the session by the options of the front expiry; `None` where the source does not say."""
    open_interest: float | None = None
    """Lots, of the same."""
    bias_chance: float | None = None
    """Probability that the front forward will be higher in a quarter of an hour, as far as bias has told (SPEC 3.3)."""
    spread: float | None = None
    """Median width of the two-sided quotes around the money of the front expiry, as a fraction of their mids."""


class Chains(Protocol):
    """Every chain of a run, and every contract's analytics."""

    views: Mapping[str, ChainView]
    """By underlying id."""

    def contract(self, place: int) -> Contract | None:
        """Analytics of the option at a place; `None` where it was never computed or is no option."""
        ...

    def deltas(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Deltas of the options at these places as last computed, two seconds old at most; 0.0 where undefined."""
        ...

    def strike_flow(self, place: int) -> Flow:
        """The flow of one contract over the window, in lots."""
        ...

    def signed_flow(self, place: int) -> float:
        """`strike_flow(place).signed`, lots."""
        ...
