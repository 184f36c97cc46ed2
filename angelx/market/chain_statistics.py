"""What the open interest and the volume of one expiry say: put-call ratios, max pain, walls (SPEC 3.2)."""

from typing import NamedTuple

import numba as nb
import numpy as np

from angelx.domain.ticks import Table


class Statistics(NamedTuple):
    """Of one expiry; strikes in 1/10,000, 0 = none."""

    pcr_oi: float | None
    """Open interest of puts ÷ of calls; `None` where calls have none."""
    pcr_volume: float | None
    max_pain: int
    call_wall: int
    put_wall: int


@nb.njit(cache=True, nogil=True)
def max_pain(strikes: Table, calls: Table, puts: Table) -> int:
    """The strike at which, if it settled there, the holders of all options would be paid least; 0 without any.

    Parameters
    ----------
    strikes
        Ascending, 1/10,000, shape (n,).
    calls, puts
        Open interest of each strike, units.

    Returns
    -------
    int
        Of strikes that are equal in this the lowest. The sum is exact: int64 holds 9 * 10^18, and the whole open
        interest of NIFTY (5 * 10^8 units) over 50,000 points (5 * 10^8) needs 2.5 * 10^17.
    """
    if calls.sum() + puts.sum() == 0:
        return 0
    pain = np.int64(0)  # At the lowest strike only puts pay.
    for n in range(strikes.shape[0]):
        pain += puts[n] * (strikes[n] - strikes[0])
    least, best = pain, int(strikes[0])
    below, above = calls[0], puts.sum() - puts[0]  # What pays one more, and one less, a step up.
    for n in range(1, strikes.shape[0]):
        pain += (below - above) * (strikes[n] - strikes[n - 1])
        if pain < least:
            least, best = pain, int(strikes[n])
        below += calls[n]
        above -= puts[n]
    return best


@nb.njit(cache=True, nogil=True)
def call_wall(strikes: Table, calls: Table, forward: float) -> int:
    """The strike at or above the forward (1/10,000; 0 = any strike) whose calls have most open interest; 0 without."""
    most, wall = 0, 0
    for n in range(strikes.shape[0]):
        if strikes[n] >= forward and calls[n] > most:  # Of equals the nearer one.
            most, wall = calls[n], strikes[n]
    return wall


@nb.njit(cache=True, nogil=True)
def put_wall(strikes: Table, puts: Table, forward: float) -> int:
    """The strike at or below the forward (1/10,000; 0 = any strike) whose puts have most open interest; 0 without."""
    most, wall = 0, 0
    for n in range(strikes.shape[0]):
        reached = strikes[n] <= forward or forward == 0
        if reached and puts[n] >= most and puts[n] > 0:  # Of equals the nearer one.
            most, wall = puts[n], strikes[n]
    return wall


def ratio(puts: int, calls: int) -> float | None:
    """Puts ÷ calls; `None` where there are no calls."""
    return puts / calls if calls else None


def statistics(
    strikes: Table, call_oi: Table, put_oi: Table, call_volume: int, put_volume: int, forward: float
) -> Statistics:
    """Everything at once; `forward` in 1/10,000, 0 where there is none."""
    return Statistics(
        ratio(int(put_oi.sum()), int(call_oi.sum())),
        ratio(put_volume, call_volume),
        int(max_pain(strikes, call_oi, put_oi)),
        int(call_wall(strikes, call_oi, forward)),
        int(put_wall(strikes, put_oi, forward)),
    )
