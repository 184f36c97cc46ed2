"""Hand-made views and scenes: what filters and strategies look at."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from angelx.domain.events import Signal
from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, BID, EXCHANGE_AT, INSTRUMENT, OI, Rows, batch_of
from angelx.market.chain_view import ChainView, Contract, ExpiryView, Flow
from angelx.market.state import MarketState
from angelx.signals.filters.base import Scene, Window

UNDERLYING = "NSE:NIFTY"
EXPIRY = date(2026, 1, 6)
OPENS_AT = 1_767_584_700 * NS
CLOSES_AT = OPENS_AT + 375 * 60 * NS
LOT = 75


def option(right: Right, strike: int, segment: str = "NFO") -> Instrument:
    return Instrument(
        id=f"{segment}:{strike}:{right}", symbol=f"{strike}{right}", segment=segment, kind=Kind.OPTION, currency="INR",
        tick_size=500, lot_size=LOT, freeze_quantity=20 * LOT, underlying=UNDERLYING, expiry=EXPIRY,
        strike=strike * 10_000, right=right,
    )  # fmt: skip


INDEX = Instrument(
    id=UNDERLYING, symbol="NIFTY", segment="NSE", kind=Kind.INDEX, currency="INR", tick_size=5, tradable=False
)
CALL, PUT = option(Right.CALL, 24_000), option(Right.PUT, 24_000)
EQUITY = Instrument(id="NSE:X", symbol="X", segment="NSE", kind=Kind.EQUITY, currency="INR", tick_size=5)
DAILY = option(Right.CALL, 24_000, "OPRA")
TABLE = InstrumentTable([INDEX, CALL, PUT, EQUITY, DAILY])


class FixedChains:
    """Chains whose flows and contracts are what a test says."""

    def __init__(self, view: ChainView | None = None) -> None:
        self.views: Mapping[str, ChainView] = {view.underlying: view} if view is not None else {}
        self.flows: dict[int, Flow] = {}
        self.contracts: dict[int, Contract] = {}

    def contract(self, place: int) -> Contract | None:
        return self.contracts.get(place)

    def deltas(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        contracts = [self.contracts.get(place) for place in places.tolist()]
        return np.array([one.delta if one is not None and one.reason == "defined" else 0.0 for one in contracts])

    def strike_flow(self, place: int) -> Flow:
        return self.flows.get(place, Flow())

    def signed_flow(self, place: int) -> float:
        return self.strike_flow(place).signed


def view(**fields: Any) -> ChainView:
    """A view with a front expiry, all defined, and what a test says."""
    expiry = ExpiryView(
        EXPIRY, years=5 / 365, forward=24_010.0, discount=0.999, forward_reason="defined", atm_strike=24_000_0000,
        atm_iv=0.12, skew=0.02,
    )  # fmt: skip
    made = ChainView(UNDERLYING, at=OPENS_AT + 3600 * NS, spot=24_000.0, expiries={EXPIRY: expiry}, front=EXPIRY)
    made.flow_since = OPENS_AT
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def market(units: dict[int, int] | None = None, **fields: int) -> MarketState:
    """A market in which both options are quoted."""
    state = MarketState(TABLE)
    places = np.arange(len(TABLE))
    open_interest = np.array([(units or {}).get(place, 0) for place in range(len(TABLE))])
    batch = batch_of({INSTRUMENT: places, BID: np.full(len(TABLE), 100_0000), ASK: np.full(len(TABLE), 100_0500),
                      OI: open_interest, EXCHANGE_AT: np.full(len(TABLE), OPENS_AT + 3600 * NS)})  # fmt: skip
    state.fold(Rows(batch, 0, batch.rows))
    return state


def scene(chain: ChainView | None, instrument: Instrument = CALL, **fields: Any) -> Scene:
    """An hour into the session, in the morning window."""
    made = Scene()
    made.chain = chain
    made.chains = FixedChains(chain)
    made.market = market()
    made.instrument, made.place = instrument, TABLE.index[instrument.id]
    made.sign = -1 if instrument.right is Right.PUT else 1
    made.twin = {1: 2, 2: 1}.get(made.place, -1)
    made.now, made.opens_at, made.closes_at = OPENS_AT + 3600 * NS, OPENS_AT, CLOSES_AT
    made.phase, made.snapshot_age_ns = "open", 0
    made.window = Window("morning", 1.0)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def signal(instrument: Instrument = CALL, direction: int = 1) -> Signal:
    return Signal(OPENS_AT + 3600 * NS, 1, "s", instrument.id, direction, 100_0000, 100_0500)
