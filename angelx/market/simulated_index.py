"""How the simulated index moves, and what its options are worth: regimes, volatility, forwards, the smile."""

import math
from typing import Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.market import simulated_model as m
from angelx.market.simulated_chain import RULER, YEAR_DAYS
from angelx.market.simulated_model import Laws, Session
from angelx.market.simulated_pricing import Floats, Random, normal, uniform

Matrix = NDArray[np.float64]

SMILE_END: Final = 4.25
"""Standard deviations from the money at which the smile's wings begin to flatten."""
TILT: Final = 2.0
"""Standard deviations over which the skew acts."""
MOVES_A_STEP: Final = 4
_HEAT_MINUTES, _ANCHOR_MINUTES = 45.0, 60.0
"""How long volatility remembers its excess, and a move its effect on volatility. Assumed."""
_SECOND: Final = 1_000_000_000
_YEAR: Final = 365.0 * 86400.0 * _SECOND


@nb.njit(cache=True, nogil=True, error_model="numpy")
def u_shape(depth: float, gone: float) -> float:
    """The day's U: 1 on average, 1 + 2/3 depth at open and close, 1 - 1/3 depth at half-time."""
    return 1.0 + depth * ((2.0 * gone - 1.0) ** 2 - 1.0 / 3.0)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def u_passed(depth: float, gone: float) -> float:
    """Integral of `u_shape` from 0 to `gone`: the share of the day's variance that has passed."""
    return gone + depth * (((2.0 * gone - 1.0) ** 3 + 1.0) / 6.0 - gone / 3.0)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def move(session: Session, laws: Laws, term: Matrix, random: Random, level: Floats, curve: Matrix, gone: float) -> None:
    """Let a part of a step pass for the index, its volatility and its regime, and set the curve of every expiry."""
    minutes = session.step / (MOVES_A_STEP * 60.0 * _SECOND)
    keep = math.exp(-minutes / _HEAT_MINUTES)
    level[m.HEAT] = keep * level[m.HEAT] + math.sqrt(1.0 - keep * keep) * laws.heat * normal(random)
    if uniform(random) < minutes / laws.regime_minutes:
        level[m.REGIME] = math.floor(3.0 * uniform(random)) - 1.0
    variance = laws.return_deviation**2 * math.exp(2.0 * (level[m.HEAT] - laws.heat**2))
    variance *= u_shape(laws.u_variance, gone) * minutes
    change = laws.trend * level[m.REGIME] * minutes + math.sqrt(variance) * normal(random)
    if uniform(random) < laws.jumps_a_day / 375.0 * minutes:
        change += laws.jump * normal(random)
    level[m.SPOT] *= math.exp(change)
    keep = math.exp(-minutes / _ANCHOR_MINUTES)
    away = math.log(level[m.SPOT])
    level[m.ANCHOR] = keep * level[m.ANCHOR] + (1.0 - keep) * away
    level[m.MOOD] = keep * level[m.MOOD] + laws.mood * math.sqrt(minutes) * normal(random)
    _set_curve(session, laws, term, level, curve, gone, away - level[m.ANCHOR])


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _set_curve(
    session: Session, laws: Laws, term: Matrix, level: Floats, curve: Matrix, gone: float, away: float
) -> None:
    """Forward, discount and at-the-money deviation; variance passes in trading time, faster at open and close."""
    days_left = max(1.0 - u_passed(laws.u_variance, gone), 1e-3)
    years_left = (1.0 - gone) * (session.closes_at - session.opens_at) / _YEAR
    for e in range(term.shape[0]):
        days, years = term[e, m.DAYS] + days_left, term[e, m.YEARS] + years_left
        root = math.sqrt(days / YEAR_DAYS)
        base = term[e, m.VOLATILITY] * root
        shift = laws.leverage * min(max(away / base, -2.0), 2.0) + level[m.MOOD] / math.sqrt(max(days, 1.0))
        curve[e, m.FORWARD] = level[m.SPOT] * math.exp(laws.carry * years)
        curve[e, m.DISCOUNT] = math.exp(-laws.discount_rate * years)
        curve[e, m.DEVIATION] = base * math.exp(min(max(shift, -0.5), 0.5))
        curve[e, m.RULER_LENGTH] = RULER * root


@nb.njit(cache=True, nogil=True, error_model="numpy")
def smile(k: float, skew: float, wing: float, bend: float) -> float:
    """Volatility over at-the-money volatility, k standard deviations from the forward.

    A hyperbola, tilted near the money; from `SMILE_END` on it grows with the root of k only, because a volatility that
    stays linear prices far strikes above nearer ones (Lee, *The moment formula for implied volatility*, 2004).
    """
    near = min(max(k, -SMILE_END), SMILE_END)
    value = 1.0 + skew * near / math.sqrt(1.0 + (near / TILT) ** 2) + wing * (math.sqrt(near**2 + bend**2) - bend)
    return value * math.sqrt(max(abs(k) / SMILE_END, 1.0))
