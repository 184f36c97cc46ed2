"""The forward and discount of put-call parity: on made pairs, on spoilt ones, and on a recorded day."""

import math
import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.market import forward as f
from angelx.market.black76 import (
    CARRY,
    CLAMPED,
    DEFINED,
    DISCOUNT,
    FORWARD,
    IV,
    MID,
    PAIRS,
    RESIDUAL,
    SIDE,
    SPOT,
    SPREAD,
    STRIKE,
    TICK,
    WIDTH,
    YEARS,
    Floats,
    Places,
    analyse,
    value,
)  # fmt: skip
from angelx.market.expiry_time import YEAR_S

if TYPE_CHECKING:
    import pandas as pd

DATA = Path(os.environ.get("ANGELX_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")).resolve()


class Expiry(NamedTuple):
    """A strike a line for the call and the next for the put."""

    calls: Places
    puts: Places
    contracts: Floats
    terms: Floats

    def fitted(self, curve: float = 0.06, band: float = f.RATE_BAND) -> int:
        work = f.workspace(len(self.calls))
        return f.fit(self.calls, self.puts, self.contracts, self.terms, curve, band, f.WINDOW, work)


def expiry(
    forward: float = 24_500.0, rate: float = 0.06, years: float = 0.05, *, strikes: int = 41, step: float = 50.0,
    spot: float = 0.0,
) -> Expiry:  # fmt: skip
    """Pairs priced at 15 % volatility, with spreads that grow from the money."""
    strike = round(forward / step) * step + step * (np.arange(strikes) - strikes // 2)
    contracts = np.zeros((2 * strikes, WIDTH))
    contracts[:, STRIKE], contracts[:, SIDE] = np.repeat(strike, 2), np.tile((1.0, -1.0), strikes)
    contracts[:, TICK], contracts[:, SPREAD] = 0.05, 0.5 + 0.002 * np.abs(contracts[:, STRIKE] - forward)
    discount = math.exp(-rate * years)
    contracts[:, MID] = [
        value(line[SIDE], forward, line[STRIKE], discount, years, 0.15) for line in contracts
    ]  # fmt: skip
    terms = np.zeros(WIDTH)
    terms[YEARS], terms[SPOT] = years, spot
    calls = np.arange(0, 2 * strikes, 2)
    return Expiry(calls, calls + 1, contracts, terms)


@given(
    forward=st.floats(100.0, 90_000.0), rate=st.floats(0.041, 0.079), years=st.floats(0.001, 3.0),
    strikes=st.integers(3, 80),
)  # fmt: skip
def test_exact_pairs_give_the_exact_line(forward: float, rate: float, years: float, strikes: int) -> None:
    chain = expiry(forward, rate, years, strikes=strikes, step=forward / 490)

    assert chain.fitted() == f.FITTED

    assert chain.terms[FORWARD] == pytest.approx(forward, rel=1e-11)
    assert chain.terms[DISCOUNT] == pytest.approx(math.exp(-rate * years), abs=1e-9)
    assert chain.terms[CARRY] == pytest.approx(rate, abs=1e-5)
    assert chain.terms[CLAMPED] == 0.0
    assert chain.terms[RESIDUAL] < 1e-8 * forward


@given(seed=st.integers(0, 2**32), share=st.floats(0.0, 0.35))
def test_wrong_quotes_have_no_say(seed: int, share: float) -> None:
    """A third of the pairs are off by anything up to the size of the forward, with spreads that deny it."""
    chain, r = expiry(), np.random.default_rng(seed)
    noise = r.uniform(-0.25, 0.25, len(chain.contracts))
    chain.contracts[:, MID] += noise
    wrong = r.choice(len(chain.calls), int(share * 29), replace=False)
    lines = np.where(r.random(len(wrong)) < 0.5, chain.calls[wrong], chain.puts[wrong])
    chain.contracts[lines, MID] = np.maximum(chain.contracts[lines, MID] + r.choice((-1, 1)) * 10 ** r.uniform(1, 4), 0)

    assert chain.fitted() == f.FITTED
    assert chain.terms[FORWARD] == pytest.approx(24_500.0, abs=0.5)


def test_one_pair_takes_the_discount_from_the_curve() -> None:
    chain = expiry(rate=0.09)
    chain.contracts[:, MID][np.arange(82) // 2 != 20] = 0.0

    assert chain.fitted(curve=0.06) == f.FITTED
    assert chain.terms[DISCOUNT] == math.exp(-0.06 * 0.05)
    assert chain.terms[PAIRS] == 1
    assert chain.terms[FORWARD] == pytest.approx(24_500.0, abs=0.5)
    assert chain.terms[CLAMPED] == 0.0


@pytest.mark.parametrize(("rate", "kept"), [(0.097, 0.08), (-0.01, 0.04)])
def test_a_rate_beyond_the_band_is_put_to_its_border(rate: float, kept: float) -> None:
    chain = expiry(rate=rate)

    assert chain.fitted(curve=0.06) == f.FITTED
    assert chain.terms[CLAMPED] == 1.0
    assert chain.terms[DISCOUNT] == pytest.approx(math.exp(-kept * 0.05), rel=1e-12)
    assert chain.terms[FORWARD] == pytest.approx(24_500.0, abs=0.2)

    assert chain.fitted(curve=0.06, band=math.inf) == f.FITTED
    assert chain.terms[CLAMPED] == 0.0
    assert chain.terms[DISCOUNT] == pytest.approx(math.exp(-rate * 0.05), rel=1e-9)


def test_without_a_pair_the_carry_goes_on_from_the_present_spot() -> None:
    chain = expiry(spot=24_400.0)
    assert chain.fitted() == f.FITTED
    carry = chain.terms[CARRY]
    assert carry == pytest.approx(math.log(24_500 / 24_400) / 0.05, rel=1e-9)
    discount = chain.terms[DISCOUNT]

    chain.contracts[chain.calls, MID] = 0.0
    chain.terms[SPOT] = 24_300.0

    assert chain.fitted() == f.CARRIED
    assert chain.terms[FORWARD] == pytest.approx(24_300.0 * math.exp(carry * 0.05))
    assert (chain.terms[DISCOUNT], chain.terms[CARRY], chain.terms[PAIRS]) == (discount, carry, 0.0)

    chain.terms[SPOT] = 0.0
    assert chain.fitted() == f.NO_PAIR
    assert chain.terms[FORWARD] == 0.0


def test_without_anything_there_is_no_forward() -> None:
    chain = expiry(spot=24_400.0)
    chain.contracts[:, MID] = 0.0
    assert chain.fitted() == f.NO_PAIR

    chain = expiry()
    chain.terms[YEARS] = 0.0
    assert chain.fitted() == f.EXPIRED
    assert chain.terms[FORWARD] == 0.0


def test_the_carry_of_the_last_minutes_is_bounded() -> None:
    chain = expiry(years=1e-5, spot=24_400.0)

    assert chain.fitted() == f.FITTED
    assert chain.terms[CARRY] == 0.5


@given(st.lists(st.one_of(st.floats(), st.floats(0.0, 1e5)), min_size=10, max_size=10), st.floats())
def test_nonsense_never_becomes_a_number_that_is_none(mids: list[float], spot: float) -> None:
    chain = expiry(strikes=5, spot=spot)
    chain.contracts[:, MID] = mids

    answer = chain.fitted()

    assert np.isfinite(chain.terms[[FORWARD, DISCOUNT, CARRY, PAIRS, RESIDUAL, CLAMPED]]).all()
    assert (chain.terms[FORWARD] > 0.0) == (answer in {f.FITTED, f.CARRIED})


# ------------------------------------------------------------------------------------------------- the recorded day
@pytest.mark.shared
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded data at {DATA} (ANGELX_DATA)")
def test_parity_of_the_recorded_day() -> None:
    """Issue 3: median residual <= 0.5 rupee at the nearest expiry; the forward is that of an independent fit."""
    import pandas as pd

    quotes = pd.read_parquet(
        DATA / "nifty-options/chain_quotes_20250829_NIFTY.parquet",
        filters=[("expiry", "in", [date(2025, 9, 2), date(2025, 9, 9)])],
    )
    oracle = pd.read_parquet(DATA / "reference/parity_forward_derived_20250829_NIFTY.parquet")
    theirs = oracle.set_index(["ts", "expiry"])["forward"].to_dict()
    found = []
    quotes["years"] = (pd.to_datetime(quotes.expiry).dt.tz_localize("UTC") - quotes.ts).dt.total_seconds() / YEAR_S
    quotes["years"] += 10 * 3_600 / YEAR_S  # 15:30 in India
    for (at, day, years), rows in quotes.groupby(["ts", "expiry", "years"]):
        chain = recorded(rows, float(str(years)))
        assert chain.fitted(curve=0.065) == f.FITTED
        terms = chain.terms
        rate = -math.log(terms[DISCOUNT]) / terms[YEARS]
        found.append((day, terms[RESIDUAL], terms[FORWARD] - theirs[at, day], rate, terms[CLAMPED]))
    frame = pd.DataFrame(found, columns=["expiry", "residual", "difference", "rate", "clamped"])
    near = frame[frame.expiry == date(2025, 9, 2)]

    assert near.residual.median() <= 0.5
    assert near.difference.abs().median() < 0.2
    assert near.difference.abs().max() < 2.5  # Theirs is a plain least squares: the snapshots of the worst rmse.
    assert frame.rate.between(0.0449, 0.0851).all()
    assert frame[frame.expiry == date(2025, 9, 9)].clamped.mean() > 0.5  # Parity implies 9.6 % on that day.


@pytest.mark.shared
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded data at {DATA} (ANGELX_DATA)")
def test_volatilities_of_the_recorded_day_are_the_exchanges_within_a_point() -> None:
    """NSE prices from the spot with a rate of its own: never truth to better than a point."""
    import pandas as pd

    near = date(2025, 9, 2)
    quotes = pd.read_parquet(
        DATA / "nifty-options/chain_quotes_20250829_NIFTY.parquet", filters=[("expiry", "==", near)]
    )
    rows = quotes[quotes.ts == quotes.ts[quotes.ts >= "2025-08-29 05:30"].min()]
    years = (pd.Timestamp("2025-09-02 10:00", tz="UTC") - rows.ts.iloc[0]).total_seconds() / YEAR_S
    chain = recorded(rows, years)
    assert chain.fitted(curve=0.065) == f.FITTED
    greeks, reasons = np.zeros_like(chain.contracts), np.zeros(len(chain.contracts), np.int8)
    analyse(np.arange(len(greeks)), chain.contracts, chain.terms.reshape(1, -1), greeks, reasons)
    lines = 2 * np.searchsorted(np.unique(rows.strike), rows.strike) + (rows.right == "PE").to_numpy()
    money = (abs(rows.strike / chain.terms[FORWARD] - 1.0) < 0.02).to_numpy() & (reasons[lines] == DEFINED)
    points = 100.0 * greeks[lines, IV][money] - rows.iv_pct.to_numpy()[money]

    assert money.sum() > 30
    assert abs(np.nanmedian(points)) < 1.0
    assert np.isfinite(greeks).all()


def recorded(rows: "pd.DataFrame", years: float) -> Expiry:
    strikes = np.unique(rows.strike.to_numpy())
    chain = expiry(strikes=len(strikes), years=years)
    chain.contracts[:, STRIKE], chain.contracts[:, MID] = np.repeat(strikes, 2), 0.0
    sided = rows[(rows.bid > 0) & (rows.ask >= rows.bid)]
    lines = 2 * np.searchsorted(strikes, sided.strike) + (sided.right == "PE").to_numpy()
    chain.contracts[lines, MID] = (sided.bid + sided.ask) / 2
    chain.contracts[lines, SPREAD] = sided.ask - sided.bid
    return chain
