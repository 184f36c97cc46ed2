"""A simulated American day: a few shares, and options on the first of them, as a stream of quotes and trades.

A plain model, meant to give a venue something to trade, not fitted to any recording: each share is a geometric Brownian
motion with a U-shaped pace, options are Black-76 on their share with a flat volatility, spreads are a few cents and
displayed sizes are drawn. The Indian market of `simulated.py` is the one that is fitted.
"""

import hashlib
import math
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

import msgspec
import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.scalars import NS
from angelx.domain.ticks import (
    ASK,
    ASK_SIZE,
    AT,
    BID,
    BID_SIZE,
    EXCHANGE_AT,
    FIELDS,
    INSTRUMENT,
    LAST,
    OI,
    VOLUME,
    Table,
    TickBatch,
)
from angelx.market.simulated_pricing import Random, black, normal, seeded, uniform

VERSION: Final = 1
BATCH_ROWS: Final = 8_000
CENT: Final = 100
LARGEST: Final = 1_000_000
"""Units in one order, of a share."""
LARGEST_OPTION: Final = 100_000
LONGEST_DELAY: Final = 20_000_000
"""From the exchange to here, ns."""

SHARES: Final = (
    ("SPY", 580_0000, 0.14), ("AAPL", 230_0000, 0.26), ("MSFT", 425_0000, 0.24), ("NVDA", 140_0000, 0.50),
    ("AMZN", 190_0000, 0.30), ("IBM", 235_0000, 0.22), ("F", 11_0000, 0.35), ("KO", 64_0000, 0.15),
)  # fmt: skip
"""Symbol, first price, annual volatility."""
YEAR_S: Final = 252 * 23_400.0


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """All that makes the rows."""

    seed: int
    session: date
    opens_at: int
    closes_at: int
    shares: int = 8
    expiries: int = 2
    strikes: int = 10
    """Of each expiry, on the first share only."""
    rows_per_s: float = 200.0
    """Over all instruments, on average."""


class SimulatedUs:
    """A `TickSource`: the same parameters give the same rows.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """

    name: str = "simulated-us"
    kind: str = "stream"
    scope: str = "simulated"
    rows: int = 0

    def __init__(self, parameters: Parameters) -> None:
        p = self.parameters = parameters
        if not (1 <= p.shares <= len(SHARES) and p.expiries >= 0 and p.strikes >= 0 and p.rows_per_s > 0):
            raise ValueError(f"needs 1 to {len(SHARES)} shares, expiries and strikes not negative, was {p}")
        if not 0 < p.opens_at < p.closes_at:
            raise ValueError(f"needs 0 < opens_at < closes_at, was {p.opens_at} / {p.closes_at}")
        self.instruments = InstrumentTable(list(_listed(p)))
        self.reference = msgspec.json.encode(p).decode()
        self.digest = hashlib.sha256(f"{VERSION}\n{self.reference}".encode()).hexdigest()
        self.first_at = p.opens_at
        self.last_at = p.closes_at + LONGEST_DELAY

    def batches(self, first_row: int = 0) -> Iterator[TickBatch]:
        """The rows from `first_row` on."""
        p, row = self.parameters, 0
        terms, random = self._terms(), seeded(p.seed)
        prices = np.array([price for _, price, _ in SHARES[: p.shares]], np.float64)
        volatility = np.array([share[2] for share in SHARES[: p.shares]])
        kept: Table = np.zeros((len(self.instruments), FIELDS), np.int64)
        clock = np.array([float(p.opens_at), 0.0])
        last_at = np.full(p.shares, float(p.opens_at))
        while True:
            table = np.empty((FIELDS, BATCH_ROWS), np.int64)
            rows = _fill(table, terms, prices, volatility, kept, clock, last_at, random, p.closes_at, p.rows_per_s)
            skipped = min(max(first_row - row, 0), rows)
            row += rows
            if skipped < rows:
                yield TickBatch(np.ascontiguousarray(table[:, skipped:rows]))
            if rows < BATCH_ROWS:
                return

    def _terms(self) -> NDArray[np.float64]:
        """By place: share, strike (0 = the share itself), years to expiry at the open, +1 call or -1 put."""
        p = self.parameters
        terms = [(float(place), 0.0, 0.0, 0.0) for place in range(p.shares)]
        for instrument in self.instruments.all[p.shares :]:
            assert instrument.expiry is not None
            years = ((instrument.expiry - p.session).days + 1) / 365.0
            terms.append((0.0, float(instrument.strike), years, 1.0 if instrument.right is Right.CALL else -1.0))
        return np.array(terms)


def _listed(p: Parameters) -> Iterator[Instrument]:
    for symbol, _, _ in SHARES[: p.shares]:
        yield Instrument(
            id=f"US:{symbol}", symbol=symbol, segment="US", kind=Kind.EQUITY, currency="USD", tick_size=CENT,
            freeze_quantity=LARGEST,
        )  # fmt: skip
    root, spot, _ = SHARES[0]
    friday = p.session + timedelta((4 - p.session.weekday()) % 7)
    step = 5
    middle = round(spot / 10_000 / step) * step
    for week in range(p.expiries):
        expiry = friday + timedelta(7 * week)
        for number in range(p.strikes):
            strike = middle + (number - p.strikes // 2) * step
            for right, letter in ((Right.CALL, "C"), (Right.PUT, "P")):
                yield Instrument(
                    id=f"OPRA:{root}:{expiry}:{strike}:{letter}", symbol=f"{root} {expiry} {strike} {letter}",
                    segment="OPRA", kind=Kind.OPTION, currency="USD", tick_size=CENT, lot_size=100,
                    freeze_quantity=LARGEST_OPTION, underlying=f"US:{root}", expiry=expiry, strike=strike * 10_000,
                    right=right,
                )  # fmt: skip


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _fill(
    table: Table,
    terms: NDArray[np.float64],
    prices: NDArray[np.float64],
    volatility: NDArray[np.float64],
    kept: Table,
    clock: NDArray[np.float64],
    last_at: NDArray[np.float64],
    random: Random,
    closes_at: int,
    rows_per_s: float,
) -> int:
    """Write rows until the table is full or the day is over; how many."""
    places, shares = terms.shape[0], prices.shape[0]
    opens_at = clock[1] or clock[0]
    clock[1] = opens_at
    length = float(closes_at) - opens_at
    for row in range(table.shape[1]):
        part = (clock[0] - opens_at) / length
        pace = rows_per_s * (0.6 + 4.8 * (part - 0.5) * (part - 0.5))  # 1.8 at both ends, 0.6 at noon; mean 1.
        clock[0] += -math.log(uniform(random)) / pace * NS
        if clock[0] >= closes_at:
            return row
        place = int(uniform(random) * shares)
        if places > shares and uniform(random) < 0.5:
            place = shares + int(uniform(random) * (places - shares))
        share = int(terms[place, 0])
        passed = (clock[0] - last_at[share]) / NS / YEAR_S
        last_at[share] = clock[0]
        deviation = volatility[share] * math.sqrt(passed)
        prices[share] *= math.exp(deviation * normal(random) - 0.5 * deviation * deviation)
        value = prices[share]
        unit = 1
        if terms[place, 1] > 0.0:
            years = max(terms[place, 2] - part / 365.0, 1e-6)
            value = black(value, terms[place, 1], volatility[share] * math.sqrt(years), int(terms[place, 3]))[0]
            unit = 100
        half = CENT * (0.5 + 0.0002 * value / CENT * (unit > 1) + uniform(random))
        bid = max(int((value - half) / CENT), 0) * CENT
        ask = max(math.ceil((value + half) / CENT) * CENT, bid + CENT)
        cell = kept[place]
        cell[INSTRUMENT], cell[BID], cell[ASK] = place, bid, ask
        cell[BID_SIZE] = unit * (1 + int(8 * -math.log(uniform(random)))) * (100 if unit == 1 else 1) * (bid > 0)
        cell[ASK_SIZE] = unit * (1 + int(8 * -math.log(uniform(random)))) * (100 if unit == 1 else 1)
        cell[EXCHANGE_AT] = int(clock[0])
        cell[AT] = int(clock[0]) + LONGEST_DELAY // 2
        if cell[LAST] == 0 or uniform(random) < 0.4:
            cell[LAST] = ask if uniform(random) < 0.5 or bid == 0 else bid
            cell[VOLUME] += unit * (1 + int(3 * -math.log(uniform(random)))) * (20 if unit == 1 else 1)
        if unit > 1 and cell[OI] == 0:
            cell[OI] = 100 * int(500 + 5_000 * uniform(random))
        for field in range(FIELDS):
            table[field, row] = cell[field]
    return int(table.shape[1])
