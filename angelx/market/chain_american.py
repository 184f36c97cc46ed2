"""What a decision is told of an option on a stock: priced by the tree of `angelx.market.american`.

Steps work stock options out by Black-76 on the parity forward, as they do all others: their smile is read out of the
money, where the right to exercise early is worth little, and a tree costs some hundred times as much. Who asks for a
contract gets the tree's answer. Cash dividends are not in the sources: what the parity forward says of carry stands for
them, as a yield.
"""

import math

import numpy as np

from angelx.market.american import analyse_american, workspace
from angelx.market.black76 import CARRY, DISCOUNT, EXPIRY, FORWARD, SPOT, TIME_VALUE, WIDTH, YEARS, Floats, Reasons


class AmericanAnswer:
    """One contract at a time, in lines of its own.

    Parameters
    ----------
    rate
        Continuous rate of the currency, a year.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._place = np.zeros(1, np.int64)
        self._contract: Floats = np.zeros((1, WIDTH))
        self._terms: Floats = np.zeros((1, WIDTH))
        self._dividends: Floats = np.zeros((0, 2))
        self._work = workspace()
        self._greeks: Floats = np.zeros((1, WIDTH))
        self._reasons: Reasons = np.zeros(1, np.int8)

    def ask(
        self, contract: Floats, terms: Floats, greeks: Floats
    ) -> tuple[int, tuple[float, float, float, float, float, float]]:
        """Reason, and IV and Greeks in the order of `black76`, of a contract.

        Parameters
        ----------
        contract, terms
            Its line, and its expiry's.
        greeks
            Its European analytics: where the search for the volatility starts.
        """
        line = self._terms[0]
        self._contract[0], line[:], self._greeks[0] = contract, terms, greeks
        self._contract[0, EXPIRY] = 0.0
        years, forward = line[YEARS], line[FORWARD]
        line[DISCOUNT] = math.exp(-self._rate * years)
        if line[SPOT] <= 0.0:  # Without a spot the forward is carried back at the rate.
            line[SPOT], line[CARRY] = forward * line[DISCOUNT], self._rate
        elif years > 0.0 and forward > 0.0:
            line[CARRY] = math.log(forward / line[SPOT]) / years
        analyse_american(
            self._place, self._contract, self._terms, self._dividends, self._greeks, self._reasons, self._work
        )
        iv, delta, gamma, vega, theta, rho = self._greeks[0, :TIME_VALUE].tolist()
        return int(self._reasons[0]), (iv, delta, gamma, vega, theta, rho)
