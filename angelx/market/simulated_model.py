"""What the simulated market is made of: its laws (parameters), its session, and the arrays of its state.

The compiled code (angelx.market.simulated_kernel) gets plain arrays: taking one out of a tuple costs it more than
pricing an option does.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from angelx.domain.scalars import NS
from angelx.market.simulated_chain import CENTRES, CLASSES
from angelx.market.simulated_pricing import Floats, Random, normal

CELLS: Final = (
    "spread", "spread_tail", "lots", "lots_tail", "bid", "ask", "update_rate", "trade_rate", "volume", "requote",
    "hold", "oi", "oi_growth",
)  # fmt: skip
"""Columns of `cells`, fitted by class and moneyness: median log ticks of the spread and its deviation; the same of
displayed lots; shares of quoted sides; quotes and prints a second, log lots a second; share of quotes built anew rather
than moved with the price, and of those that keep their prices; log lots of open interest at the open; its growth over
volume."""
(SPREAD, SPREAD_TAIL, LOTS, LOTS_TAIL, BID_SHARE, ASK_SHARE, UPDATE_RATE, TRADE_RATE, VOLUME_LOTS, REQUOTE, HOLD,
 OI_LOTS, OI_GROWTH) = range(13)  # fmt: skip

# Places in `level`: the index in ticks, its log volatility, the slow log index that implied volatility is anchored to,
# implied volatility's own way, the trend (-1, 0, 1), how busy this step is.
SPOT, HEAT, ANCHOR, MOOD, REGIME, ACTIVITY = range(6)
# Places in `tally`: steps done, rows of the index; in this step options looked at, which is next, moves of the index;
# whether open interest is published in it, which publication that is, ns a row takes to arrive; the last arrival.
STEP, INDEXED, LOOKS, NEXT, MOVES, NEWS, PUBLICATION, DELAY, LAST_AT = range(9)
# Columns of `term`, by expiry: fixed for the session. `YEARS` calendar, `DAYS` trading, both after the session's end.
CLASS, YEARS, DAYS, VOLATILITY, SKEW = range(5)
# Columns of `curve`, by expiry: as it stands.
FORWARD, DISCOUNT, DEVIATION, RULER_LENGTH = range(4)
# Columns of `trait`, by option: what it is (strike in ticks, +1 call or -1 put, how much its strike is preferred) ...
(EXPIRY, STRIKE, CALL, POPULAR, POPULAR_LOTS, POPULAR_SPREAD, POPULAR_TRADE, OWN_WIDTH,
 # ... and what was expected or drawn at its last quote.
 TRADE, LOTS_A_STEP, GROWTH, FRESH_WIDTH, LEAN, BID_LUCK, ASK_LUCK, TRAITS) = range(16)  # fmt: skip
# Columns of `watch`, by option: what is looked at in every step.
UPDATE, DELTA, QUOTED_SPOT, TOLERANCE, WATCHED = range(5)
# Columns of `quote`, by option: the fields of a tick (angelx.domain.ticks), then open interest before it is published,
# and whether it was ever quoted.
TRUE_OI, QUOTED, QUOTE_COLUMNS = 11, 12, 13


class Laws(NamedTuple):
    """Scalar parameters: fitted to a recorded day or, where it says so, assumed (docs/simulated-market.md)."""

    wing: float
    """Slope that both wings of the smile tend to, per standard deviation, of vol / at-the-money vol."""
    bend: float
    """Standard deviations over which the smile turns into its wings."""
    leverage: float
    """Change of log vol per standard deviation of the index's move."""
    mood: float
    """Deviation of log vol of an option with one trading day left, per square root of a minute."""
    return_deviation: float
    """Of the log index, per square root of a minute, trend and jumps apart."""
    heat: float
    """Standing deviation of the log of the index's volatility; the market is busier by its root. Assumed."""
    trend: float
    """Drift of the log index in a trending regime, per minute. Assumed."""
    regime_minutes: float
    """Mean life of a regime (down, none, up; equally likely). Assumed."""
    jumps_a_day: float
    """Assumed."""
    jump: float
    """Deviation of a jump of the log index. Assumed."""
    u_variance: float
    """Depth of the day's U in the index's variance: 1 + u * ((2 t - 1)^2 - 1/3), t the share of the session gone."""
    u_activity: float
    """The same of quotes and trades."""
    carry: float
    """Of forwards over the index, a calendar year."""
    discount_rate: float
    """A calendar year."""
    fresh_width: float
    """Share of the deviation of a log spread that a new quote draws; the rest stays with the contract all day."""
    lean: float
    """Share of the spread, around its middle, that the fair price may stand at. Assumed."""
    patience: float
    """A quote is pulled once the fair price has left it; at the money it may leave it by this times the root of the
    spread in ticks. Assumed."""
    oi_churn: float
    """Share of prints that open or close positions; the others pass them on."""
    oi_build: float
    """Opened over closed at the open, as a share of volume, falling to its negative at the close."""
    oi_tilt: float
    """Put writing over call writing in an up-trend, as a share of volume; mirrored in a down-trend. Assumed."""
    oi_every_s: float
    """Seconds between publications of open interest."""


class Fitted(NamedTuple):
    """All parameters."""

    laws: Laws
    cells: NDArray[np.float64]
    """Shape (classes, moneyness centres, len(CELLS))."""
    volatility: Floats
    """Implied, at the money, a trading year; by class."""
    skew: Floats
    """Slope at the money of vol / at-the-money vol per standard deviation; by class."""
    prominent: Floats
    """How many times more than a plain strike one of each roundness trades, shape (3,)."""
    prominent_lots: float
    """Power of that factor which displayed lots grow with."""
    prominent_spread: float
    """The same of spreads; negative."""


class Session(NamedTuple):
    """Times in ns; `stride` is coprime to the number of options and scatters the order in which they are looked at."""

    opens_at: int
    closes_at: int
    step: int
    lot_size: int
    stride: int


class State(NamedTuple):
    """What `fill` goes on from; its rows are decided by this alone."""

    cells: NDArray[np.float64]
    """As fitted, but with chances and lots a step instead of rates a second."""
    term: NDArray[np.float64]
    random: Random
    level: Floats
    tally: NDArray[np.int64]
    curve: NDArray[np.float64]
    quote: NDArray[np.int64]
    trait: NDArray[np.float64]
    watch: NDArray[np.float64]


Contract = tuple[int, int, int, int]
"""Place of its expiry, strike in ticks, +1 call or -1 put, roundness of the strike."""


def opened(
    fitted: Fitted, session: Session, terms: Floats, contracts: Sequence[Contract], random: Random, spot_ticks: float
) -> State:
    """The state before the first step: nothing quoted, nothing traded. `terms`: shape (e, 3), class, years, days."""
    laws, seconds, cells = fitted.laws, session.step / NS, fitted.cells.copy()
    cells[:, :, [UPDATE_RATE, TRADE_RATE]] = -np.expm1(-seconds * cells[:, :, [UPDATE_RATE, TRADE_RATE]])
    cells[:, :, VOLUME_LOTS] += math.log(seconds)
    classes = terms[:, 0].astype(np.int64)
    term = np.column_stack([terms, fitted.volatility[classes], fitted.skew[classes]])
    columns = np.array(contracts, np.int64).T
    quote, trait = np.zeros((len(contracts), QUOTE_COLUMNS), np.int64), np.zeros((len(contracts), TRAITS))
    trait[:, [EXPIRY, STRIKE, CALL]] = columns[:3].T
    popular = fitted.prominent[columns[3]]
    powers = (1.0, fitted.prominent_lots, fitted.prominent_spread, 0.5)
    trait[:, [POPULAR, POPULAR_LOTS, POPULAR_SPREAD, POPULAR_TRADE]] = np.stack([popular**p for p in powers], axis=1)
    own_width = math.sqrt(1.0 - laws.fresh_width**2)
    trait[:, OWN_WIDTH] = [own_width * normal(random) for _ in contracts]
    level = np.array([spot_ticks, laws.heat * normal(random), math.log(spot_ticks), 0.0, 0.0, 1.0])
    tally, curve, watch = np.zeros(9, np.int64), np.zeros((len(terms), 4)), np.zeros((len(contracts), WATCHED))
    watch[:, UPDATE] = math.inf  # Everything is quoted in the first step.
    return State(cells, term, random, level, tally, curve, quote, trait, watch)


def fitted_from(parsed: dict[str, Any]) -> Fitted:
    """Parameters from the JSON that `tools/fit_simulated.py` writes.

    Raises
    ------
    ValueError
        The tables have the wrong shape.
    """
    cells = np.stack([np.array(parsed["cells"][name], np.float64) for name in CELLS], axis=2)
    if cells.shape != (len(CLASSES), len(CENTRES), len(CELLS)):
        raise ValueError(f"fitted cells have shape {cells.shape}, not {(len(CLASSES), len(CENTRES), len(CELLS))}")
    numbers = parsed["laws"]
    return Fitted(
        Laws(**{name: float(numbers[name]) for name in Laws._fields}), cells,
        np.array(numbers["volatility"]), np.array(numbers["skew"]), np.array(numbers["prominent"]),
        float(numbers["prominent_lots"]), float(numbers["prominent_spread"]),
    )  # fmt: skip
