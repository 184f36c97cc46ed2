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
_LOG_ROOT_TWO_PI: Final = 0.5 * math.log(2.0 * math.pi)
_LARGEST: Final = 16.0
"""Guesses beyond are no guesses: 500 % over ten years."""
_FARTHEST: Final = 40.0
"""Deviations from the money at which no float is small enough for the price."""
_STEPS: Final = 64
_CLOSE: Final = 1e-5
"""Relative step after which the next would be below the precision of a float: the method is of fourth order."""


@nb.njit(cache=True, nogil=True, error_model="numpy")
def mills(d: float) -> float:
    """N(-d)/n(d) of the standard normal for d >= 0, within 4e-16 relative.

    (1 + 0.8 d) R(d) as a polynomial of (d - 5.25)/(d + 5.25): its expansion in Chebyshev polynomials, from 80 nodes in
    60-digit arithmetic, cut after the 23rd.
    """
    t = (d - 5.25) / (d + 5.25)
    u = t * t
    even = ((((((((((-1.7996009510229974e-09 * u + 2.160022806563259e-08) * u - 1.6284260938170355e-07) * u
            + 1.089318927175564e-06) * u - 6.745848912636579e-06) * u + 2.7825384540873372e-05) * u
            + 0.0001855680929084576) * u - 0.005437570339327071) * u - 0.02810763238914444) * u
            - 0.022646039858726746) * u + 0.12476079533802176) * u + 0.957879922001445  # fmt: skip
    odd = ((((((((((6.514099138609095e-11 * u - 8.587679138546332e-10) * u + 4.276883466384887e-09) * u
           + 2.5304431708482697e-08) * u - 9.339034051925253e-07) * u + 1.5027534686267425e-05) * u
           - 0.00017375626389512665) * u + 0.0009933189262516465) * u + 0.015005813391779138) * u
           + 0.03602489395602363) * u - 0.028996650803484604) * u - 0.2495248102833941  # fmt: skip
    return (even + t * odd) / (1.0 + 0.8 * d)


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
def deviation(price: float, x: float, bound: float, guess: float) -> float:
    """The s > 0 with b(s) = `price`, for 0 < price < bound; `guess` > 0 is where to start, 0 = anywhere.

    ln b below the inflection (as its reciprocal, which is nearly a parabola) and ln(bound - b) above it are solved by
    Householder's third-order method, kept inside the bracket that the signs have shown. Two steps from a guess that is
    1 % off, three to six from none.
    """
    s = guess if 0.0 < guess < _LARGEST else first_guess(price, x, bound)
    low, high = x / _FARTHEST, math.inf
    for _ in range(_STEPS):
        h, t = x / s, 0.5 * s
        near, far = mills(abs(h - t)), mills(h + t)
        bend = h * h / s - 0.25 * s  # b''/b'
        curl = bend * bend - 3.0 * h * h / (s * s) - 0.25  # b'''/b'
        if h > t:
            slope = 1.0 / (near - far)  # (ln b)'
            log = -0.5 * (h * h + t * t) + math.log(near - far) - _LOG_ROOT_TWO_PI
            target = math.log(price)
            ease = slope / log
            second = bend - slope
            third = curl - 3.0 * bend * slope + 2.0 * slope * slope + 6.0 * ease * (ease - second)
            second -= 2.0 * ease
            newton = (target - log) / slope * (log / target)
        else:
            slope = -1.0 / (near + far)  # ln(bound - b)'
            log = -0.5 * (h * h + t * t) + math.log(near + far) - _LOG_ROOT_TWO_PI
            second = bend - slope
            third = curl - 3.0 * bend * slope + 2.0 * slope * slope
            newton = (math.log(bound - price) - log) / slope
        if newton > 0.0:
            low = s
        else:
            high = s
        step = newton * (1.0 + 0.5 * newton * second) / (1.0 + newton * (second + newton * third / 6.0))
        found = s + step
        if not low <= found <= high:
            found = 0.5 * (low + high) if high < math.inf else 2.0 * s
        if abs(found - s) <= _CLOSE * s:
            return found
        s = found
    return s
