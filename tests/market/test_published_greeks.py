"""Volatilities and Greeks that others published, within the tolerances the data's own notes suggest.

Their rates, dividends and day counts are partly unstated, so the gates are theirs (LEAN's for its file), not ours.
"""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from angelx.market import black76 as b
from angelx.market.black76 import Floats
from angelx.market.expiry_time import YEAR_S

if TYPE_CHECKING:
    import pandas as pd

DATA = Path(os.environ.get("ANGELX_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")).resolve() / "reference"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no published Greeks at {DATA} (ANGELX_DATA)"),
]
Column = Any
"""Of a frame, or one number for all."""


def solved(
    mids: Column, calls: Column, strikes: Column, years: Column, spots: Column, rates: Column, yields: Column = 0.0
) -> Floats:
    """IV and Greeks of prices, an expiry for each; an undefined line is NaN."""
    n = len(mids)
    contracts, expiries = np.zeros((n, b.WIDTH)), np.zeros((n, b.WIDTH))
    contracts[:, b.STRIKE], contracts[:, b.SIDE], contracts[:, b.MID] = strikes, np.where(calls, 1.0, -1.0), mids
    contracts[:, b.EXPIRY] = np.arange(n)
    expiries[:, b.YEARS], expiries[:, b.SPOT], expiries[:, b.CARRY] = years, spots, rates - np.asarray(yields)
    expiries[:, b.DISCOUNT] = np.exp(-rates * expiries[:, b.YEARS])
    expiries[:, b.FORWARD] = expiries[:, b.SPOT] * np.exp(expiries[:, b.CARRY] * expiries[:, b.YEARS])
    greeks, reasons = np.zeros((n, b.WIDTH)), np.zeros(n, np.int8)
    b.analyse(np.arange(n), contracts, expiries, greeks, reasons)
    greeks[reasons != b.DEFINED] = np.nan
    return greeks


def repriced(
    volatilities: Column, calls: Column, strikes: Column, years: Column, spots: Column, rates: Column,
    yields: Column = 0.0,
) -> Floats:  # fmt: skip
    """The same at volatilities that are given."""
    rates, yields = rates + np.zeros(len(calls)), yields + np.zeros(len(calls))
    mids = np.array([
        b.value(1.0 if call else -1.0, spot * math.exp((r - q) * t), strike, math.exp(-r * t), t, volatility)
        for volatility, call, strike, t, spot, r, q in zip(
            volatilities, calls, strikes, years, spots, rates, yields, strict=True
        )
    ])  # fmt: skip
    return solved(mids, calls, strikes, years, spots, rates, yields)


def off(found: Floats, column: int, published: Column) -> Floats:
    errors: Floats = np.abs(found[:, column] - np.asarray(published))
    return errors[np.isfinite(errors)]


def test_third_party_greeks() -> None:
    """Gates of the notes: delta 0.03, vega 0.2, IV 0.08. Times are in whole days, so the far strikes tell nothing."""
    import pandas as pd

    wide = pd.read_csv(DATA / "third_party_1_greeks.csv", header=[0, 1], index_col=[0, 1, 2, 3])
    rows = pd.concat([
        pd.DataFrame({
            "call": right == "1", "strike": wide.index.get_level_values(2).astype(float),
            "spot": last(wide, "model_undPrice"),
            "years": last(wide, "TTM"), "rate": last(wide, "interest_rate"), "yield": last(wide, "dividend_yield"),
            **{name: wide["model_" + name, right].astype(float).to_numpy()
               for name in ("price", "impliedVol", "delta", "vega")},
        })
        for right in ("-1", "1")
    ])  # fmt: skip
    terms = (rows.call, rows.strike, rows.years, rows.spot, rows.rate, rows["yield"])
    greeks = repriced(rows.impliedVol, *terms)
    assert off(greeks, b.DELTA, rows.delta).max() < 0.03
    assert off(greeks, b.VEGA, rows.vega).max() < 0.2
    near = rows.delta.abs().between(0.02, 0.98).to_numpy()
    assert near.sum() >= 25
    assert off(solved(rows.price, *terms)[near], b.IV, rows.impliedVol[near]).max() < 0.08


def last(wide: "pd.DataFrame", name: str) -> Column:
    place = next(place for place, label in enumerate(wide.columns) if label[0] == name)
    return wide.iloc[:, place].astype(float).to_numpy()


def test_interactive_brokers_greeks() -> None:
    import pandas as pd

    rows = pd.read_parquet(DATA / "ib_live_greeks.parquet")
    years = (pd.Timestamp("2023-08-11 20:00", tz="UTC") - rows.ts).dt.total_seconds() / YEAR_S

    greeks = repriced(rows.iv, rows.right == "C", rows.strike, years, rows.und_price, 0.053, 0.015)

    assert np.isfinite(greeks).all()
    assert np.median(off(greeks, b.DELTA, rows.delta)) < 0.002
    assert off(greeks, b.DELTA, rows.delta).max() < 0.04
    assert np.median(off(greeks, b.GAMMA, rows.gamma)) < 1e-4
    assert np.median(off(greeks, b.VEGA, rows.vega)) < 0.01


def test_end_of_day_greeks_of_lean() -> None:
    """Notes: median delta error 0.004 to 0.012 under European Black-Scholes."""
    import pandas as pd

    every = pd.read_parquet(DATA / "lean_universe_greeks_eod.parquet")
    for underlying, rate in (("GOOG", 0.01), ("SPX", 0.01), ("SPY", 0.01)):
        rows = every[(every.underlying == underlying) & (every.implied_volatility > 0)]
        years = (pd.to_datetime(rows.expiry) - pd.to_datetime(rows.as_of)).dt.days / 365
        rows, years = rows[years > 0], years[years > 0]

        greeks = repriced(
            rows.implied_volatility, rows.right == "C", rows.strike, years, rows.underlying_close, rate
        )  # fmt: skip

        assert np.median(off(greeks, b.DELTA, rows.delta)) < 0.012


def test_greeks_of_a_nifty_collector() -> None:
    """Notes: r = 6.5 %, T = max(days, 0.5)/365; its delta within 2e-4 for half of the rows, p95 0.003."""
    import pandas as pd

    rows = pd.read_parquet(DATA / "nifty_collector_greeks.parquet")
    today = rows.ts.dt.tz_convert("Asia/Kolkata").dt.tz_localize(None).dt.normalize()
    years = np.maximum((pd.to_datetime(rows.expiry) - today).dt.days, 0.5) / 365

    greeks = repriced(rows.iv_pct / 100, rows.right == "CE", rows.strike, years, rows.spot, 0.065)

    delta, vega = off(greeks, b.DELTA, rows.delta), off(greeks, b.VEGA, rows.vega)
    assert len(delta) > 65_000
    assert np.median(delta) < 3e-4
    assert np.quantile(delta, 0.95) < 0.0035
    assert np.median(vega) < 0.02
    assert np.median(off(greeks, b.THETA, rows.theta)) < 0.01
