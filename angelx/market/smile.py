"""What the implied volatilities of a chain say together: at the money, skew, term structure, rank, noise (SPEC 3.2)."""

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import pairwise
from typing import Final

import numba as nb

from angelx.market.black76 import DEFINED, DELTA, IV, STRIKE, Floats, Places, Reasons

ATM_IV: Final = 0
"""At the forward, a fraction; 0.0 = undefined, as the next two."""
PUT_WING: Final = 1
"""IV where a put's delta is -0.25."""
CALL_WING: Final = 2
"""IV where a call's delta is 0.25; the skew is the put's wing less this."""
SMILE_WIDTH: Final = 3

WING: Final = 0.25
MONTH: Final = 30 / 365
"""Years: the tenor at which sessions are compared, as the front expiry's own life shortens day by day."""
SESSIONS: Final = 252
"""Closes that are remembered."""
ENOUGH: Final = 60
"""Closes before there is a rank or a percentile (SPEC 4.1)."""
NOISE_SAMPLES: Final = 5
_FULL_NOISE: Final = 0.05
_WIDEST: Final = 0.05
"""Of the forward: strikes farther apart do not tell the volatility between them."""


@nb.njit(cache=True, nogil=True, error_model="numpy")
def read_smile(
    calls: Places, puts: Places, contracts: Floats, forward: float, greeks: Floats, reasons: Reasons, found: Floats
) -> None:
    """Write ATM_IV, PUT_WING and CALL_WING of one expiry into `found`, shape (3,).

    At the money it is linear in the strike between the two strikes around the forward, each the mean of its call and
    put where both have one. In the wings it is linear in delta between the two out-of-the-money options around 0.25.

    Parameters
    ----------
    calls, puts
        By ascending strike the contract's line, -1 where there is none.
    contracts, greeks, reasons
        As `black76.analyse` takes and leaves them.
    forward
        0.0 = none: nothing is found.
    """
    found[ATM_IV] = found[PUT_WING] = found[CALL_WING] = 0.0
    if not forward > 0.0:
        return
    money = _first_above(calls, puts, contracts, forward)
    found[ATM_IV] = _at_the_money(calls, puts, contracts, forward, greeks, reasons, money)
    found[PUT_WING] = _wing(puts, money - 1, -1, greeks, reasons)
    found[CALL_WING] = _wing(calls, money, 1, greeks, reasons)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _first_above(calls: Places, puts: Places, contracts: Floats, forward: float) -> int:
    low, high = 0, calls.shape[0]
    while low < high:
        middle = (low + high) // 2
        if _strike(calls, puts, contracts, middle) <= forward:
            low = middle + 1
        else:
            high = middle
    return low


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _strike(calls: Places, puts: Places, contracts: Floats, n: int) -> float:
    return float(contracts[calls[n] if calls[n] >= 0 else puts[n], STRIKE])


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _at_the_money(
    calls: Places, puts: Places, contracts: Floats, forward: float, greeks: Floats, reasons: Reasons, money: int
) -> float:
    below, above = money - 1, money
    while below >= 0 and _volatility(calls[below], puts[below], greeks, reasons) == 0.0:
        below -= 1
    while above < calls.shape[0] and _volatility(calls[above], puts[above], greeks, reasons) == 0.0:
        above += 1
    if below < 0:
        return 0.0
    low, at_low = _strike(calls, puts, contracts, below), _volatility(calls[below], puts[below], greeks, reasons)
    if low == forward:
        return at_low
    if above == calls.shape[0]:
        return 0.0
    high, at_high = _strike(calls, puts, contracts, above), _volatility(calls[above], puts[above], greeks, reasons)
    if high - low > _WIDEST * forward:
        return 0.0
    return at_low + (at_high - at_low) * (forward - low) / (high - low)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _volatility(call: int, put: int, greeks: Floats, reasons: Reasons) -> float:
    """Of a strike: the mean of its two options, or the one there is; 0.0 without."""
    total, count = 0.0, 0
    if call >= 0 and reasons[call] == DEFINED:
        total, count = total + greeks[call, IV], count + 1
    if put >= 0 and reasons[put] == DEFINED:
        total, count = total + greeks[put, IV], count + 1
    return total / count if count else 0.0


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _wing(lines: Places, start: int, step: int, greeks: Floats, reasons: Reasons) -> float:
    """IV at delta 0.25, walking away from the money; 0.0 where no two neighbours have it between them."""
    delta = volatility = 0.0
    n = start
    while 0 <= n < lines.shape[0]:
        line = lines[n]
        n += step
        if line < 0 or reasons[line] != DEFINED:
            continue
        before, at = delta, volatility
        delta, volatility = abs(greeks[line, DELTA]), greeks[line, IV]
        if delta == WING:
            return float(volatility)
        if delta < WING:
            return float(at + (volatility - at) * (before - WING) / (before - delta)) if before > WING else 0.0
    return 0.0


def at_tenor(years: Sequence[float], volatilities: Sequence[float | None], tenor: float = MONTH) -> float | None:
    """ATM volatility of a life of `tenor` years: total variance linear in time between the expiries around it, the
    nearest expiry's volatility before the first and after the last.

    Parameters
    ----------
    years
        Of the expiries, ascending; those at 0 have passed.
    volatilities
        Their ATM volatilities; `None` = undefined.

    Returns
    -------
    float | None
        `None` where no expiry has one.
    """
    known = [(t, v) for t, v in zip(years, volatilities, strict=True) if v is not None and t > 0.0]
    if not known:
        return None
    place = bisect_left(known, (tenor,))
    if place == 0 or place == len(known):
        return known[min(place, len(known) - 1)][1]
    (before, low), (after, high) = known[place - 1], known[place]
    variance = low * low * before
    variance += (high * high * after - variance) * (tenor - before) / (after - before)
    return math.sqrt(variance / tenor)


class IvHistory:
    """One volatility a session, of the last 252: where today's lies among them.

    Parameters
    ----------
    closes
        Session and volatility at its close, ascending.
    """

    def __init__(self, closes: Iterable[tuple[date, float]] = ()) -> None:
        self._closes: deque[tuple[date, float]] = deque()
        self._sorted: list[float] = []
        for day, volatility in closes:
            self.close(day, volatility)

    def __len__(self) -> int:
        return len(self._closes)

    @property
    def closes(self) -> tuple[tuple[date, float], ...]:
        """What is remembered, oldest first."""
        return tuple(self._closes)

    def close(self, day: date, volatility: float) -> None:
        """Remember a session's close; the same session again replaces it.

        Raises
        ------
        ValueError
            The volatility is not a positive number, or the session is before the last one.
        """
        if not 0.0 < volatility < math.inf:
            raise ValueError(f"volatility at the close of {day} must be a positive number, is {volatility}")
        if self._closes and day < self._closes[-1][0]:
            raise ValueError(f"close of {day} comes after that of {self._closes[-1][0]}")
        if self._closes and day == self._closes[-1][0]:
            self._forget(self._closes.pop()[1])
        if len(self._closes) == SESSIONS:
            self._forget(self._closes.popleft()[1])
        self._closes.append((day, volatility))
        insort(self._sorted, volatility)

    def rank(self, volatility: float) -> float | None:
        """Where between the lowest (0) and the highest close (1) it lies, within [0, 1]; `None` before 60 closes."""
        if len(self._sorted) < ENOUGH:
            return None
        low, high = self._sorted[0], self._sorted[-1]
        return min(max((volatility - low) / (high - low), 0.0), 1.0) if high > low else 0.5

    def percentile(self, volatility: float) -> float | None:
        """Share of closes below it, those equal to it by half; `None` before 60 closes."""
        if len(self._sorted) < ENOUGH:
            return None
        below = bisect_left(self._sorted, volatility)
        return (below + 0.5 * (bisect_right(self._sorted, volatility) - below)) / len(self._sorted)

    def _forget(self, volatility: float) -> None:
        del self._sorted[bisect_left(self._sorted, volatility)]


class IvNoise:
    """How restless the ATM volatility is: min(1, mean |change| of five one-minute samples / 5 vol points)."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=NOISE_SAMPLES)

    def sample(self, volatility: float) -> None:
        """Take the volatility of another minute."""
        self._samples.append(volatility)

    @property
    def noise(self) -> float | None:
        """`None` before there are five samples."""
        if len(self._samples) < NOISE_SAMPLES:
            return None
        changes = [abs(after - before) for before, after in pairwise(self._samples)]
        return min(1.0, sum(changes) / len(changes) / _FULL_NOISE)
