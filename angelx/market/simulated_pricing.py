"""Compiled arithmetic of the simulated market: its random numbers, Black-76, and the volatility that prices back.

The random numbers are our own so that a seed means the same rows whatever version of numpy is installed.
"""

import math
from typing import Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Random = NDArray[np.uint64]
"""State of xoshiro256++, shape (4,)."""

_UNIT: Final = 2.0**-52
_ROOT_HALF: Final = math.sqrt(0.5)
_MASK: Final = (1 << 64) - 1


def seeded(seed: int) -> Random:
    """The state that `seed` (any integer) stands for, spread by splitmix64 as the authors of xoshiro ask.

    Source
    ------
    Blackman and Vigna, *Scrambled linear pseudorandom number generators* (2021); https://prng.di.unimi.it.
    """
    state, words = seed & _MASK, []
    for _ in range(4):
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        words.append(z ^ (z >> 31))
    return np.array(words, np.uint64)


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _rotated(word: np.uint64, by: np.uint64) -> np.uint64:
    return (word << by) | (word >> (np.uint64(64) - by))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def next_word(random: Random) -> np.uint64:
    """The next 64 bits of xoshiro256++."""
    word: np.uint64 = _rotated(random[0] + random[3], np.uint64(23)) + random[0]
    shifted = random[1] << np.uint64(17)
    random[2] ^= random[0]
    random[3] ^= random[1]
    random[1] ^= random[2]
    random[0] ^= random[3]
    random[2] ^= shifted
    random[3] = _rotated(random[3], np.uint64(45))
    return word


@nb.njit(cache=True, nogil=True, error_model="numpy")
def uniform(random: Random) -> float:
    """In (0, 1), both ends excluded: its logarithm exists, and `int(n * uniform)` is below n."""
    return (float(next_word(random) >> np.uint64(12)) + 0.5) * _UNIT


@nb.njit(cache=True, nogil=True, error_model="numpy")
def normal(random: Random) -> float:
    """Standard normal: the inverse distribution function of one uniform, relative error below 1.2e-9.

    Source
    ------
    Acklam, *An algorithm for computing the inverse normal cumulative distribution function* (2003).
    """
    p = uniform(random)
    if 0.02425 < p < 0.97575:
        q = p - 0.5
        r = q * q
        above = (((((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r + 138.3577518672690) * r
                  - 30.66479806614716) * r + 2.506628277459239) * q  # fmt: skip
        below = ((((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r + 66.80131188771972) * r
                 - 13.28068155288572) * r + 1.0  # fmt: skip
        return above / below
    q = math.sqrt(-2.0 * math.log(min(p, 1.0 - p)))
    above = ((((-0.007784894002430293 * q - 0.3223964580411365) * q - 2.400758277161838) * q - 2.549732539343734) * q
             + 4.374664141464968) * q + 2.938163982698783  # fmt: skip
    below = (((0.007784695709041462 * q + 0.3224671290700398) * q + 2.445134137142996) * q
             + 3.754408661907416) * q + 1.0  # fmt: skip
    return above / below if p < 0.5 else -above / below


@nb.njit(cache=True, nogil=True, error_model="numpy")
def normal_cdf(z: float) -> float:
    """Of the standard normal, exact in both tails."""
    return 0.5 * math.erfc(-z * _ROOT_HALF)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def black(forward: float, strike: float, deviation: float, call: int) -> tuple[float, float]:
    """Undiscounted Black-76 price and forward delta; `deviation` is volatility x sqrt(time), `call` +1, a put -1.

    Source
    ------
    Black, *The pricing of commodity contracts* (1976).
    """
    d = math.log(forward / strike) / deviation + 0.5 * deviation
    delta = call * normal_cdf(call * d)
    return forward * delta - call * strike * normal_cdf(call * (d - deviation)), delta


@nb.njit(cache=True, nogil=True, error_model="numpy")
def implied_deviation(price: Floats, forward: float, strike: Floats, call: Integers) -> Floats:
    """Volatility x sqrt(time) that prices back, shape of `price` (undiscounted); NaN at or outside the bounds."""
    found = np.full(price.shape[0], np.nan)
    for n in range(price.shape[0]):
        intrinsic = max(call[n] * (forward - strike[n]), 0.0)
        upper = forward if call[n] > 0 else strike[n]
        if not intrinsic < price[n] < upper:
            continue
        low, high = 1e-6, 4.0
        for _ in range(50):
            middle = 0.5 * (low + high)
            if black(forward, strike[n], middle, call[n])[0] < price[n]:
                low = middle
            else:
                high = middle
        found[n] = 0.5 * (low + high)
    return found
