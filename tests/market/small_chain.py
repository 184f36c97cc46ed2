"""A small option chain: two expiries of five strikes around an index at 1,000, and rows for it."""

from collections.abc import Sequence
from datetime import date
from math import exp
from typing import Any

import numpy as np
from msgspec.structs import replace

from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, AT, BID, EXCHANGE_AT, INSTRUMENT, LAST, OI, VOLUME, Rows, TickBatch, batch_of
from angelx.market.chain import ChainSettings, OptionChains
from angelx.market.differential import Differential
from angelx.market.state import MarketState

OPENS_AT = 1_767_584_700 * NS
TICK = 500
LOT = 75
STRIKES = (980, 990, 1_000, 1_010, 1_020)
EXPIRIES = (date(2026, 1, 6), date(2026, 1, 13))
SETTLES = {EXPIRIES[0]: OPENS_AT + 30 * 3_600 * NS, EXPIRIES[1]: OPENS_AT + 198 * 3_600 * NS}


def option(expiry: date, strike: int, right: Right) -> Instrument:
    return Instrument(
        id=f"NFO:X:{expiry}:{strike}:{right}", symbol="x", segment="NFO", kind=Kind.OPTION, currency="INR",
        tick_size=TICK, lot_size=LOT, underlying="NSE:X", expiry=expiry, strike=strike * 10_000, right=right,
    )  # fmt: skip


INDEX = Instrument(
    id="NSE:X", symbol="X", segment="NSE", kind=Kind.INDEX, currency="INR", tick_size=TICK, tradable=False
)
TABLE = InstrumentTable(
    [INDEX, *(option(e, k, right) for e in EXPIRIES for k in STRIKES for right in (Right.CALL, Right.PUT))]
)
PLACES = range(1, len(TABLE))


def fair(place: int, forward: float = 1_000.0, width: float = 12.0) -> float:
    """A price that obeys parity: a logistic smoothing of the payoff, `width` wide, discounted a little."""
    instrument = TABLE[place]
    years = (SETTLES[instrument.expiry or EXPIRIES[0]] - OPENS_AT) / (365 * 86_400 * NS)
    away = forward - instrument.strike / 10_000
    call = width * float(np.log1p(exp(away / width)))
    return exp(-0.065 * years) * (call if instrument.right is Right.CALL else call - away)


def row(place: int, at_ms: int, mid: float, half: int = 1, **cells: int) -> dict[str, int]:
    """A row with a quote of `half` ticks on each side of the mid, on the grid; 0 = none."""
    tick = round(mid * 10_000 / TICK)
    bid, ask = (max(tick - half, 1) * TICK, (tick + half) * TICK) if mid > 0 else (0, 0)
    return {"place": place, "at": OPENS_AT + at_ms * 1_000_000, "bid": bid, "ask": ask, **cells}


def batch(rows: Sequence[dict[str, int]]) -> TickBatch:
    def column(name: str) -> Any:
        return np.array([one.get(name, 0) for one in rows], np.int64)

    return batch_of(
        {
            INSTRUMENT: column("place"), AT: column("at"), EXCHANGE_AT: column("at"), BID: column("bid"),
            ASK: column("ask"), LAST: column("last"), VOLUME: column("volume"), OI: column("oi"),
        }
    )  # fmt: skip


def snapshot(at_ms: int = 0, forward: float = 1_000.0, **cells: int) -> list[dict[str, int]]:
    """A quote of every option, and the index."""
    quotes = [row(place, at_ms, fair(place, forward), **cells) for place in PLACES]
    return [row(0, at_ms, 0, last=round(forward * 10_000)), *quotes]


class Desk:
    """Chains on a market of their own, and a time."""

    def __init__(
        self, settings: ChainSettings | None = None, market: MarketState | None = None, **options: Any
    ) -> None:
        self.now = OPENS_AT
        self.market = market or MarketState(TABLE)
        self.differential = Differential(len(TABLE), [TICK] * len(TABLE))
        settings = replace(settings or ChainSettings(), summary_ns=1)  # a summary after every step
        self.chains = OptionChains(self.market, lambda one: SETTLES[one.expiry], lambda: self.now, settings, **options)

    def feed(self, rows: Sequence[dict[str, int]]) -> "Desk":
        marked = self.differential.process(batch(rows))
        if marked.rows:
            run = Rows(marked, 0, marked.rows)
            self.market.fold(run)
            self.chains.fold(run)
            self.now = max(self.now, int(marked.table[AT, -1]))
        return self

    def step(self, at_ms: int, max_age_s: int = 60) -> "Desk":
        self.now = OPENS_AT + at_ms * 1_000_000
        self.chains.step(self.now, max_age_s * NS)
        return self
