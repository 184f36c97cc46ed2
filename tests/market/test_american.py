"""American options against QuantLib's finite differences under the same escrowed dividends, and against themselves."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import QuantLib
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.market import american as a
from angelx.market import black76 as b
from angelx.market.black76 import Floats

TODAY = QuantLib.Date(1, 9, 2025)
DAYS_COUNTED = QuantLib.Actual365Fixed()
NONE = np.zeros((0, 2))
WORK = a.workspace()


def dividends_of(days: Sequence[tuple[int, float]]) -> Floats:
    return np.array([(day / 365, amount) for day, amount in days], np.float64).reshape(-1, 2)


def oracle(
    side: float, strike: float, days: int, rate: float, borrow: float, volatility: float,
    dividends: Sequence[tuple[int, float]],
) -> tuple[float, float, float, float]:  # fmt: skip
    """Price, delta, gamma and theta a day at a spot of 100, by a fine grid."""
    QuantLib.Settings.instance().evaluationDate = TODAY

    def flat(level: float) -> object:
        return QuantLib.YieldTermStructureHandle(QuantLib.FlatForward(TODAY, level, DAYS_COUNTED))

    surface = QuantLib.BlackConstantVol(TODAY, QuantLib.NullCalendar(), volatility, DAYS_COUNTED)
    process = QuantLib.BlackScholesMertonProcess(
        QuantLib.QuoteHandle(QuantLib.SimpleQuote(100.0)), flat(borrow), flat(rate),
        QuantLib.BlackVolTermStructureHandle(surface),
    )  # fmt: skip
    option = QuantLib.VanillaOption(
        QuantLib.PlainVanillaPayoff(QuantLib.Option.Call if side > 0 else QuantLib.Option.Put, strike),
        QuantLib.AmericanExercise(TODAY, TODAY + days),
    )
    cash = QuantLib.DividendVector([TODAY + day for day, _ in dividends], [amount for _, amount in dividends])
    engine = QuantLib.FdBlackScholesVanillaEngine
    option.setPricingEngine(
        engine(process, cash, 200, 600, 0, QuantLib.FdmSchemeDesc.Douglas(), False, -1.0, engine.Escrowed)
    )
    return option.NPV(), option.delta(), option.gamma(), option.theta() / 365


def analysed(
    mids: Floats, sides: Floats, strikes: Floats, *, days: float = 182.5, rate: float = 0.04, carry: float = 0.04,
    spot: float = 100.0, dividends: Floats = NONE, guess: Floats | float = 0.0,
) -> tuple[Floats, list[str]]:  # fmt: skip
    contracts, expiries = np.zeros((len(mids), b.WIDTH)), np.zeros((1, b.WIDTH))
    contracts[:, b.STRIKE], contracts[:, b.SIDE], contracts[:, b.MID], contracts[:, b.TICK] = strikes, sides, mids, 0.01
    expiries[0, b.YEARS], expiries[0, b.SPOT] = days / 365, spot
    a.terms_of(expiries[0], rate, carry, dividends)
    greeks, reasons = np.zeros((len(mids), b.WIDTH)), np.zeros(len(mids), np.int8)
    greeks[:, b.IV] = guess
    a.analyse_american(np.arange(len(mids)), contracts, expiries, dividends, greeks, reasons, WORK)
    return greeks, [b.REASONS[reason] for reason in reasons]


def value(side: float, strike: float, days: float, rate: float, carry: float, volatility: float, cash: Floats) -> float:
    return a.american_value(side, 100.0, strike, days / 365, rate, carry, volatility, cash, WORK)[0]


# ---------------------------------------------------------------------------------------------------- against QuantLib
def test_prices_and_greeks_are_those_of_finite_differences() -> None:
    """60 options with up to three dividends; the error that docs/option-analytics.md names."""
    r = np.random.default_rng(11)
    errors = []
    for _ in range(60):
        days = int(math.exp(r.uniform(math.log(5), math.log(700))))
        volatility = math.exp(r.uniform(math.log(0.1), math.log(0.9)))
        strike = 100.0 * math.exp(np.clip(r.uniform(-2, 2) * volatility * math.sqrt(days / 365), -0.7, 0.7))
        side, rate, borrow = float(r.choice((1.0, -1.0))), r.uniform(0.0, 0.06), r.uniform(0.0, 0.02)
        ex = sorted(int(day) for day in r.integers(1, days, int(r.integers(0, 4 if days > 40 else 2))))
        cash = [(day, float(r.uniform(0.2, 1.0))) for day in ex]
        their = oracle(side, strike, days, rate, borrow, volatility, cash)
        price, delta, gamma = a.american_value(
            side, 100.0, strike, days / 365, rate, rate - borrow, volatility, dividends_of(cash), WORK
        )
        errors.append((price - their[0], delta - their[1], gamma - their[2]))
        if days > 60 and price > max(side * (100.0 - strike), 0.0) + 0.05:  # Before, their theta is coarse.
            greeks, reasons = analysed(
                np.array([price]), np.array([side]), np.array([strike]), days=days, rate=rate, carry=rate - borrow,
                dividends=dividends_of(cash),
            )  # fmt: skip
            assert reasons == ["defined"]
            assert greeks[0, b.THETA] == pytest.approx(their[3], abs=5e-4)
    found = np.abs(np.array(errors))

    assert np.sqrt((found[:, 0] ** 2).mean()) < 0.003
    assert (found.max(axis=0) < (0.015, 0.002, 0.002)).all(), found.max(axis=0)


def test_dividends_make_a_call_worth_exercising_the_moment_before() -> None:
    """A deep call one day before a large dividend: the holder takes the spot and leaves the dividend to nobody."""
    cash = dividends_of([(1, 5.0)])

    price = value(1.0, 60.0, 30, 0.04, 0.04, 0.2, cash)

    assert price == pytest.approx(100.0 - 60.0 * math.exp(-0.04 / 365), abs=1e-3)
    assert value(1.0, 60.0, 30, 0.04, 0.04, 0.2, NONE) == pytest.approx(
        b.value(1.0, 100.0 * math.exp(0.04 * 30 / 365), 60.0, math.exp(-0.04 * 30 / 365), 30 / 365, 0.2), abs=1e-3
    )


# -------------------------------------------------------------------------------------------------- against themselves
@settings(max_examples=40)
@given(
    side=st.sampled_from((1.0, -1.0)), strike=st.floats(70.0, 140.0), days=st.integers(3, 700),
    volatility=st.floats(0.08, 1.5), rate=st.floats(0.0, 0.06), cash=st.floats(0.0, 2.0),
)  # fmt: skip
def test_the_volatility_prices_back(
    side: float, strike: float, days: int, volatility: float, rate: float, cash: float
) -> None:
    dividends = dividends_of([(days // 2, cash)])
    mid = value(side, strike, days, rate, rate, volatility, dividends)
    one = np.ones(1)

    greeks, reasons = analysed(
        mid * one, side * one, strike * one, days=days, rate=rate, carry=rate, dividends=dividends
    )

    if reasons == ["defined"]:
        back = value(side, strike, days, rate, rate, greeks[0, b.IV], dividends)
        assert back == pytest.approx(mid, abs=1e-4)
        if greeks[0, b.VEGA] > 1e-3:
            assert greeks[0, b.IV] == pytest.approx(volatility, abs=1e-4 / greeks[0, b.VEGA] / 100 + 1e-9)
        warm, _ = analysed(
            mid * one, side * one, strike * one, days=days, rate=rate, carry=rate, dividends=dividends,
            guess=volatility * 1.1,
        )  # fmt: skip
        assert value(side, strike, days, rate, rate, warm[0, b.IV], dividends) == pytest.approx(mid, abs=1e-4)
    else:
        assert mid <= value(side, strike, days, rate, rate, 0.002, dividends) + 2e-3
        assert not greeks.any()


@given(side=st.sampled_from((1.0, -1.0)), strike=st.floats(70.0, 140.0), days=st.integers(3, 700))
def test_the_price_rises_with_volatility_and_is_never_below_the_european_one(
    side: float, strike: float, days: int
) -> None:
    cash = dividends_of([(2, 0.5)])
    prices = [value(side, strike, days, 0.04, 0.04, volatility, cash) for volatility in (0.1, 0.2, 0.4, 0.8)]
    forward = (100.0 - 0.5 * math.exp(-0.04 * 2 / 365)) * math.exp(0.04 * days / 365)
    european = [
        b.value(side, forward, strike, math.exp(-0.04 * days / 365), days / 365, volatility)
        for volatility in (0.1, 0.2, 0.4, 0.8)
    ]

    assert all(low <= high + 2e-3 for low, high in pairwise(prices))
    assert all(ours >= theirs - 5e-3 for ours, theirs in zip(prices, european, strict=True))


def test_greeks_are_slopes_of_the_price() -> None:
    strikes, sides, cash = np.array([90.0, 100.0, 110.0] * 2), np.repeat((1.0, -1.0), 3), dividends_of([(60, 0.6)])
    mids = np.array(
        [value(side, strike, 182.5, 0.04, 0.04, 0.3, cash) for side, strike in zip(sides, strikes, strict=True)]
    )

    greeks, reasons = analysed(mids, sides, strikes, dividends=cash)

    assert reasons == ["defined"] * 6
    for found, side, strike in zip(greeks, sides, strikes, strict=True):

        def at(spot: float = 100.0, rate: float = 0.04, volatility: float = 0.3) -> float:
            return a.american_value(side, spot, strike, 0.5, rate, rate, volatility, cash, WORK)[0]  # noqa: B023

        assert found[b.IV] == pytest.approx(0.3, abs=1e-5)
        assert found[b.DELTA] == pytest.approx((at(spot=101.0) - at(spot=99.0)) / 2, abs=2e-3)
        assert found[b.VEGA] == pytest.approx((at(volatility=0.31) - at(volatility=0.29)) / 2, abs=2e-3)
        assert found[b.RHO] == pytest.approx((at(rate=0.05) - at(rate=0.03)) / 0.02, abs=0.2)


@pytest.mark.parametrize(
    ("reason", "mid", "side", "strike", "spot"),
    [
        ("no_quote", 0.0, 1.0, 100.0, 100.0),
        ("no_quote", math.nan, 1.0, 100.0, 100.0),
        ("no_forward", 5.0, 1.0, 100.0, 0.0),
        ("below_intrinsic", 9.9, -1.0, 110.0, 100.0),
        ("below_intrinsic", 20.1, 1.0, 80.0, 100.0),  # Above the exercise value, below what holding costs.
        ("no_time_value", 30.0, -1.0, 130.0, 100.0),
        ("above_bound", 100.0, 1.0, 100.0, 100.0),
        ("above_bound", 110.0, -1.0, 110.0, 100.0),
        ("defined", 5.0, 1.0, 100.0, 100.0),
    ],
)
def test_an_undefined_value_says_why(reason: str, mid: float, side: float, strike: float, spot: float) -> None:
    greeks, found = analysed(np.array([mid]), np.array([side]), np.array([strike]), spot=spot)

    assert found == [reason]
    assert greeks.any() == (reason == "defined")


numbers = st.one_of(st.floats(), st.floats(0.0, 300.0), st.floats(0.0, 1.0))


@settings(max_examples=60)
@given(mid=numbers, strike=numbers, spot=numbers, days=numbers, rate=numbers, guess=numbers, cash=numbers)
def test_no_nan_ever_leaves(
    mid: float, strike: float, spot: float, days: float, rate: float, guess: float, cash: float
) -> None:
    greeks, _ = analysed(
        np.array([mid]), np.array([-1.0]), np.array([strike]), days=days, rate=rate, carry=rate, spot=spot,
        dividends=dividends_of([(10, cash)]), guess=guess,
    )  # fmt: skip

    assert np.isfinite(greeks).all()
