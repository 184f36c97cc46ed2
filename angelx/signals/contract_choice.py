"""The contract to buy among those of one expiry and right: liquid, with the delta wanted; one compiled call."""

from typing import Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, OI, Table

CHECKS: Final = 6
"""What a contract passes, in order: a quote on both sides, delta, the cost of a lot, spread, size, open interest."""


@nb.njit(cache=True, nogil=True)
def _passed(
    place: int, columns: Table, lots: Table, ticks: Table, delta: float,
    least_delta: float, most: int, widest: tuple[float, float], least_lots: float, least_oi: float,
) -> int:  # fmt: skip
    """How many checks a contract passes before the first it does not."""
    bid, ask, lot = columns[BID, place], columns[ASK, place], lots[place]
    if not 0 < bid <= ask:
        return 0
    if abs(delta) < least_delta:
        return 1
    if ask * lot > most:
        return 2
    if ask - bid > max(widest[0] * (bid + ask) / 2, widest[1] * ticks[place]):
        return 3
    if min(columns[BID_SIZE, place], columns[ASK_SIZE, place]) < least_lots * lot:
        return 4
    return 5 if columns[OI, place] < least_oi * lot else CHECKS


@nb.njit(cache=True, nogil=True)
def furthest(
    places: Table, columns: Table, lots: Table, ticks: Table, deltas: NDArray[np.float64],
    least_delta: float, most: int, widest: tuple[float, float], least_lots: float, least_oi: float,
) -> int:  # fmt: skip
    """The most checks that any of the places passes; parameters as of `nearest`."""
    far = 0
    for n in range(places.shape[0]):
        far = max(
            far, _passed(places[n], columns, lots, ticks, deltas[n], least_delta, most, widest, least_lots, least_oi)
        )
    return far


@nb.njit(cache=True, nogil=True)
def nearest(
    places: Table, columns: Table, lots: Table, ticks: Table, deltas: NDArray[np.float64], wanted: tuple[float, float],
    least_delta: float, most: int, widest: tuple[float, float], least_lots: float, least_oi: float,
) -> int:  # fmt: skip
    """Which of the places has |delta| nearest to the band, of equals the narrowest quote, then the first; -1 = none.

    Parameters
    ----------
    columns
        The market's last state by field and place.
    lots, ticks
        Lot and tick size by place.
    deltas
        Of the options at `places`; 0.0 is never chosen.
    wanted
        The band of |delta|.
    least_delta
        Smallest |delta|, above 0.
    most
        Largest cost of one lot at the ask, 1/10,000.
    widest
        A quote may be as wide as this share of its mid, or so many ticks.
    least_lots, least_oi
        Smallest size at either side, and open interest, lots.
    """
    best, best_away, best_width = -1, 0.0, 0.0
    for n in range(places.shape[0]):
        place = places[n]
        if _passed(place, columns, lots, ticks, deltas[n], least_delta, most, widest, least_lots, least_oi) < CHECKS:
            continue
        bid, ask, delta = columns[BID, place], columns[ASK, place], abs(deltas[n])
        away = round(max(wanted[0] - delta, delta - wanted[1], 0.0) * 1e6)
        width = (ask - bid) / (ask + bid)
        if best < 0 or away < best_away or (away == best_away and width < best_width):
            best, best_away, best_width = n, away, width
    return best
