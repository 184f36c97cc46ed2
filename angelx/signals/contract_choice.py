"""The contract to buy among those of one expiry and right: liquid, with the delta wanted; one compiled call."""

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, OI, Table


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
        bid, ask, delta, lot = columns[BID, place], columns[ASK, place], abs(deltas[n]), lots[place]
        if delta < least_delta or not 0 < bid <= ask or ask * lot > most:
            continue
        if ask - bid > max(widest[0] * (bid + ask) / 2, widest[1] * ticks[place]):
            continue
        size = min(columns[BID_SIZE, place], columns[ASK_SIZE, place])
        if size < least_lots * lot or columns[OI, place] < least_oi * lot:
            continue
        away = round(max(wanted[0] - delta, delta - wanted[1], 0.0) * 1e6)
        width = (ask - bid) / (ask + bid)
        if best < 0 or away < best_away or (away == best_away and width < best_width):
            best, best_away, best_width = n, away, width
    return best
