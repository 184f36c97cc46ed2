"""What the open interest and the volume of one expiry say: put-call ratios, max pain, walls (SPEC 3.2)."""

from typing import Final

import numba as nb
import numpy as np

from angelx.domain.ticks import Table

CALL_OI: Final = 0
PUT_OI: Final = 1
CALL_VOLUME: Final = 2
PUT_VOLUME: Final = 3
"""Units."""
MAX_PAIN: Final = 4
CALL_WALL: Final = 5
PUT_WALL: Final = 6
"""Strikes, 1/10,000; 0 = none."""
CALL_FLOW: Final = 7
"""Four classes of `oi_flow`, units."""
PUT_FLOW: Final = 11
FIGURES: Final = 15


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
        Of strikes that are equal in this the lowest. The sum is exact: it counts in the largest step that all strikes
        share, and int64 holds 9 * 10^18; all open interest of NIFTY (5 * 10^8 units) over 1,000 steps needs 5 * 10^11.
    """
    if calls.sum() + puts.sum() == 0:
        return 0
    step = np.int64(0)
    for n in range(1, strikes.shape[0]):
        step = np.gcd(step, strikes[n] - strikes[0])
    step = max(step, np.int64(1))
    pain = np.int64(0)  # At the lowest strike only puts pay.
    for n in range(strikes.shape[0]):
        pain += puts[n] * ((strikes[n] - strikes[0]) // step)
    least, best = pain, int(strikes[0])
    below, above = calls[0], puts.sum() - puts[0]  # What pays one more, and one less, a step up.
    for n in range(1, strikes.shape[0]):
        pain += (below - above) * ((strikes[n] - strikes[n - 1]) // step)
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


@nb.njit(cache=True, nogil=True)
def figures(
    strikes: Table, calls: Table, puts: Table, oi: Table, volume: Table, flow: Table, forward: float, out: Table
) -> None:
    """Everything of one expiry at once.

    Parameters
    ----------
    strikes
        Ascending, 1/10,000.
    calls, puts
        By strike the contract's line in `oi`, `volume` and `flow`, -1 where there is none.
    oi, volume
        By contract, units.
    flow
        By contract and class, units.
    forward
        1/10,000, 0 where there is none.
    out
        Written, shape (FIGURES,).
    """
    size = strikes.shape[0]
    sides = np.zeros((2, size), np.int64)
    out[:] = 0
    for side in range(2):
        for n in range(size):
            line = calls[n] if side == 0 else puts[n]
            if line < 0:
                continue
            sides[side, n] = oi[line]
            out[CALL_OI + side] += oi[line]
            out[CALL_VOLUME + side] += volume[line]
            for kind in range(4):
                out[CALL_FLOW + 4 * side + kind] += flow[line, kind]
    out[MAX_PAIN] = max_pain(strikes, sides[0], sides[1])
    out[CALL_WALL] = call_wall(strikes, sides[0], forward)
    out[PUT_WALL] = put_wall(strikes, sides[1], forward)


def ratio(puts: int, calls: int) -> float | None:
    """Puts ÷ calls; `None` where there are no calls."""
    return puts / calls if calls else None
