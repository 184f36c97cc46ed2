"""Compiled: the total deviation (volatility x sqrt(time)) that explains an option's time value.

Everything is in normalised form: x = |ln(F/K)|, s = volatility x sqrt(T), and the undiscounted price of the
out-of-the-money option of the strike divided by sqrt(F K), which lies between 0 and `bound` = exp(-x/2):

    b(s) = bound N(h + t) - N(h - t) / bound,    h = -x/s,  t = s/2,    b'(s) = exp(-(h^2 + t^2)/2) / sqrt(2 pi).

With Mills' ratio R(d) = N(-d)/n(d) both ends of the range are free of cancellation and of under- and overflow:
b = b' (R(-h-t) - R(t-h)) below the point of inflection s = sqrt(2 x), bound - b = b' (R(h+t) + R(t-h)) above it.

Sources
-------
Black, *The pricing of commodity contracts* (1976); Jaeckel, *Let's be rational* (2015), for the normalisation, the
inflection as the border between two objectives and the step by Householder's third-order method; Shepherd and
Laframboise, *Chebyshev approximation of (1 + 2x) exp(x^2) erfc(x)* (1981), for the form of the approximation of R.
"""

import math
from typing import Final

import numba as nb

ROOT_TWO_PI: Final = math.sqrt(2.0 * math.pi)
_LARGEST: Final = 16.0
"""Guesses beyond are no guesses: 500 % over ten years."""
_HIGHEST: Final = 20.0
"""No float below `bound` is a price with a deviation beyond."""
_FARTHEST: Final = 40.0
"""Deviations from the money at which no float is small enough for the price; guesses beyond are no guesses."""
_STEPS: Final = 64
_GRID: Final = 2.0**41 + 1.0
"""Cuts a float to 12 bits: a number is at most 2.5e-4 of itself away from the next one that has no more."""
_NEAR: Final = 5e-4
"""A step by less of itself leads to the same such number or to the next one."""


@nb.njit(cache=True, nogil=True, error_model="numpy")
def mills(d: float) -> float:
    """N(-d)/n(d) of the standard normal for d >= 0, within 4e-16 relative.

    (1 + 0.8 d) R(d) as a polynomial of (d - 5.25)/(d + 5.25): its expansion in Chebyshev polynomials, from 80 nodes in
    60-digit arithmetic, cut after the 23rd.
    """
    t = (d - 5.25) / (d + 5.25)
    u = t * t
    v = u * u  # Four short chains of multiplications take half the time of one long one.
    zero = ((((2.160022806563259e-08 * v + 1.089318927175564e-06) * v + 2.7825384540873372e-05)
            * v - 0.005437570339327071) * v - 0.022646039858726746) * v + 0.957879922001445  # fmt: skip
    one = ((((-8.587679138546332e-10 * v + 2.5304431708482697e-08) * v + 1.5027534686267425e-05)
           * v + 0.0009933189262516465) * v + 0.03602489395602363) * v - 0.2495248102833941  # fmt: skip
    two = ((((-1.7996009510229974e-09 * v - 1.6284260938170355e-07) * v - 6.745848912636579e-06)
           * v + 0.0001855680929084576) * v - 0.02810763238914444) * v + 0.12476079533802176  # fmt: skip
    three = ((((6.514099138609095e-11 * v + 4.276883466384887e-09) * v - 9.339034051925253e-07)
             * v - 0.00017375626389512665) * v + 0.015005813391779138) * v - 0.028996650803484604  # fmt: skip
    return (zero + u * two + t * (one + u * three)) * (1.0 / (1.0 + 0.8 * d))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def normalised(x: float, s: float, bound: float) -> float:
    """b(s): the price of the out-of-the-money option over sqrt(F K); `bound` = exp(-x/2), x >= 0, s > 0."""
    h, t = x / s, 0.5 * s
    near, far = mills(abs(h - t)), mills(h + t)
    density = math.exp(-0.5 * (h * h + t * t)) / ROOT_TWO_PI
    return density * (near - far) if h > t else bound - density * (near + far)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def first_guess(price: float, x: float, bound: float) -> float:
    """A deviation to start from, without any knowledge: exact at the inflection, right in order elsewhere."""
    inflection = math.sqrt(2.0 * x)
    half = 0.5 * bound  # b at the inflection is (bound - 2 R(inflection) bound / sqrt(2 pi)) / 2.
    there = half - bound * mills(inflection) / ROOT_TWO_PI
    if price >= there:
        return inflection + (price - there) * ROOT_TWO_PI / bound  # b is concave: never beyond the answer.
    ratio = there / price
    return inflection / math.sqrt(1.0 + 1.0 / (1.0 / (ratio * ratio - 1.0) + 0.25 * x / math.log(ratio)))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def deviation(price: float, x: float, bound: float, guess: float) -> tuple[float, float, float]:
    """The s > 0 with b(s) = `price`, for 0 < price < bound; `guess` > 0 is where to start, 0 = anywhere.

    ln b below the inflection (as its reciprocal, which is nearly a parabola) and ln(bound - b) above it are solved by
    Householder's third-order method, kept inside the bracket that the signs have shown. Two steps from a guess that is
    1 % off, one to four from none.

    Every step begins at a number of 12 bits and the last one at that next to the answer. From there the method, of
    fourth order, is 1e-14 away, and the answer has the same bits wherever the search began.

    Returns
    -------
    tuple
        s, and Mills' ratio of |h - t| and of h + t there.
    """
    low, high, target = 0.999 * max(x / _FARTHEST, price * ROOT_TWO_PI), _HIGHEST, 0.0  # b(s) <= s / sqrt(2 pi).
    s = _coarse(guess if low < guess < _LARGEST else first_guess(price, x, bound))
    for _ in range(_STEPS):
        inverse = 1.0 / s
        h, t = x * inverse, 0.5 * s
        near, far = mills(abs(h - t)), mills(h + t)
        bend = h * h * inverse - 0.5 * t  # b''/b'
        curl = bend * bend - 3.0 * (h * inverse) ** 2 - 0.25  # b'''/b'
        half = 0.5 * (h * h + t * t)
        if h > t:
            if target == 0.0:
                target = math.log(price)
            slope = 1.0 / (near - far)  # (ln b)'
            over = math.log((near - far) / (ROOT_TWO_PI * price)) - half  # ln b - target
            ease = slope / (target + over)
            second = bend - slope
            third = curl - 3.0 * bend * slope + 2.0 * slope * slope + 6.0 * ease * (ease - second)
            second -= 2.0 * ease
            newton = -over * (near - far) * (target + over) / target
        else:
            slope = -1.0 / (near + far)  # ln(bound - b)'
            over = math.log((near + far) / (ROOT_TWO_PI * (bound - price))) - half
            second = bend - slope
            third = curl - 3.0 * bend * slope + 2.0 * slope * slope
            newton = over * (near + far)
        if newton > 0.0:
            low, other = s, high
        else:
            high, other = s, low
        found = s + newton * (1.0 + 0.5 * newton * second) / (1.0 + newton * (second + newton * third / 6.0))
        following = _coarse(found)
        if abs(newton) < _NEAR * s and following in (s, other):  # The other where the answer is half-way between two.
            to, half = x / found, 0.5 * found
            return found, _moved(near, abs(h - t), abs(to - half)), _moved(far, h + t, to + half)
        s = following if low < following < high else _coarse(0.5 * (low + high))
    h, t = x / s, 0.5 * s
    return s, mills(abs(h - t)), mills(h + t)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _coarse(s: float) -> float:
    """The nearest number of 12 bits (Veltkamp's splitting)."""
    wide = s * _GRID
    return wide - (wide - s)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _moved(ratio: float, d: float, to: float) -> float:
    """Mills' ratio at `to`, from that at `d` close by: R' = d R - 1."""
    by = to - d
    first = d * ratio - 1.0
    second = ratio + d * first
    return ratio + by * (first + by * (0.5 * second + by * (2.0 * first + d * second) / 6.0))
