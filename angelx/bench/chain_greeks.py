"""Implied volatility and five Greeks of 400 contracts against the bare arithmetic over raw arrays."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

import numba as nb
import numpy as np

from angelx.bench.rows import Row, paired, seconds
from angelx.market import american, forward, smile
from angelx.market.black76 import (
    CARRY,
    DEFINED,
    DISCOUNT,
    FORWARD,
    IV,
    MID,
    SIDE,
    SPOT,
    STALE,
    STRIKE,
    TICK,
    WIDTH,
    YEARS,
    Floats,
    analyse,
    greeks_at,
    undefine,
    value,
)  # fmt: skip
from angelx.market.implied import deviation

CONTRACTS: Final = 400
CALLS: Final = 4
"""Chains in one measurement: short, so that few measurements are interrupted by others on the machine."""
ROUNDS: Final = 301
FORWARD_NOW, SPOT_NOW, RATE, YEARS_LEFT, TICK_SIZE = 24_500.0, 24_470.0, 0.065, 30 / 365, 0.05


class Book:
    """Two sets of mids of one expiry, a tick or so apart, so that every chain is a new one; and where results go."""

    def __init__(self) -> None:
        strikes = FORWARD_NOW + 20.0 * (np.arange(CONTRACTS // 2) - CONTRACTS // 4)
        contracts = np.zeros((CONTRACTS, WIDTH))
        contracts[:, STRIKE], contracts[:, SIDE] = np.repeat(strikes, 2), np.tile((1.0, -1.0), CONTRACTS // 2)
        contracts[:, TICK] = TICK_SIZE
        away = np.log(contracts[:, STRIKE] / FORWARD_NOW)
        discount = math.exp(-RATE * YEARS_LEFT)
        fair = [
            value(line[SIDE], FORWARD_NOW, line[STRIKE], discount, YEARS_LEFT, volatility)
            for line, volatility in zip(contracts, 0.12 + 0.6 * np.abs(away) ** 1.5, strict=True)
        ]
        half = 0.5 * TICK_SIZE
        moved = np.random.default_rng(7).integers(-2, 3, CONTRACTS) * half
        self.chains: list[Floats] = []
        for shift in (np.zeros(CONTRACTS), moved):
            contracts[:, MID] = np.round(np.array(fair) / half) * half + half + shift
            self.chains.append(contracts.copy())
        self.expiries: Floats = np.zeros((1, WIDTH))
        self.expiries[0, [FORWARD, DISCOUNT, YEARS, SPOT, CARRY]] = FORWARD_NOW, discount, YEARS_LEFT, SPOT_NOW, RATE
        self.places = np.arange(CONTRACTS)
        self.greeks: Floats = np.zeros((CONTRACTS, WIDTH))
        self.reasons = np.zeros(CONTRACTS, np.int8)
        self.raw = [
            (np.ascontiguousarray(c[:, STRIKE]), np.ascontiguousarray(c[:, SIDE]), np.ascontiguousarray(c[:, MID]))
            for c in self.chains
        ]
        self.columns: Floats = np.zeros((6, CONTRACTS))
        self.discount = discount

    def product(self, *, warm: bool) -> None:
        """The chain engine's call."""
        for turn in range(CALLS):
            if not warm:
                self.greeks[:, IV] = 0.0
            analyse(self.places, self.chains[turn & 1], self.expiries, self.greeks, self.reasons)

    def bare(self, *, warm: bool) -> None:
        """The same arithmetic, nothing else."""
        for turn in range(CALLS):
            if not warm:
                self.columns[IV] = 0.0
            strikes, sides, mids = self.raw[turn & 1]
            _bare(strikes, sides, mids, FORWARD_NOW, self.discount, YEARS_LEFT, SPOT_NOW, RATE, self.columns)

    def check(self) -> None:
        """Both compute the same numbers, of every contract."""
        self.product(warm=True)
        self.bare(warm=True)
        assert (self.reasons == DEFINED).all()
        np.testing.assert_allclose(self.greeks[:, :6].T, self.columns, rtol=1e-9, atol=1e-9)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _bare(
    strikes: Floats, sides: Floats, mids: Floats, forward: float, discount: float, years: float, spot: float,
    carry: float, columns: Floats,
) -> None:  # fmt: skip
    root, rate, ratio = math.sqrt(years), -math.log(discount) / years, forward / spot
    for n in range(strikes.shape[0]):
        strike, side = strikes[n], sides[n]
        scale, x = math.sqrt(forward * strike), abs(math.log(forward / strike))
        bound = min(forward, strike) / scale
        price = (mids[n] / discount - max(side * (forward - strike), 0.0)) / scale
        s, near, far = deviation(price, x, bound, columns[0, n] * root)
        columns[0, n], columns[1, n], columns[2, n], columns[3, n], columns[4, n], columns[5, n] = greeks_at(
            s, near, far, x, bound, side, forward, strike, scale, mids[n], discount, years, root, rate, carry, ratio
        )


def rows() -> Sequence[Row]:
    """Rows of the case `greeks-400`: `us_per_chain` from the last volatilities, `us_per_chain_cold` from none."""
    book = Book()
    book.check()
    found = []
    for metric, warm in (("us_per_chain", True), ("us_per_chain_cold", False)):
        taken, bare = paired(
            partial(seconds, partial(book.product, warm=warm)), partial(seconds, partial(book.bare, warm=warm)), ROUNDS
        )
        found.append(
            Row(
                bench="chain", case="greeks-400", metric=metric, value=taken / CALLS * 1e6, unit="us",
                baseline="the bare compiled arithmetic over raw arrays", baseline_value=bare / CALLS * 1e6, n=ROUNDS,
            )
        )  # fmt: skip
    return found


def warm_up() -> None:
    """Compile every kernel of option analytics into numba's cache by using each once."""
    book = Book()
    book.check()
    strikes = np.arange(0, CONTRACTS, 2)
    contracts, terms = book.chains[0], book.expiries[0].copy()
    forward.fit(strikes, strikes + 1, contracts, terms, RATE, forward.RATE_BAND, forward.WINDOW, forward.workspace(400))
    smile.read_smile(
        strikes, strikes + 1, contracts, terms[FORWARD], book.greeks, book.reasons, np.zeros(smile.SMILE_WIDTH)
    )
    dividends, work = np.array([[0.01, 1.0]]), american.workspace()
    american.terms_of(terms, RATE, RATE, dividends)
    american.american_value(1.0, SPOT_NOW, SPOT_NOW, YEARS_LEFT, RATE, RATE, 0.2, dividends, work)
    book.expiries[0] = terms
    american.analyse_american(book.places[:1], contracts, book.expiries, dividends, book.greeks, book.reasons, work)
    undefine(book.places, STALE, book.greeks, book.reasons)
