"""The benchmark's market: a million seeded quotes of one instrument, and the bare loop of the rule run on them.

Rule: EMA(10) and EMA(20) of the mid, alpha = 2 / (n + 1), both started at the first mid; from the 20th quote on, fast
above slow while not long buys, fast below slow while not short sells; 100 units at first, 200 to flip; filled at the
touch. On the whole market that is 45,740 orders and a profit of -689,650.00.
"""

from collections.abc import Iterator
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from angelx.domain.instruments import Instrument, InstrumentTable, Kind
from angelx.domain.scalars import SCALE
from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, EXCHANGE_AT, TickBatch, batch_of

QUOTES: Final = 1_000_000
SEED: Final = 20260105
DAY: Final = date(2026, 1, 5)
OPENS_AT: Final = 1_767_584_700_000_000_000
TICK: Final = 500
ORDERS: Final = 45_740
PNL: Final = -6_896_500_000
"""-689,650.00 as money."""

BENCH: Final = Instrument(
    id="NSE:BENCH", symbol="BENCH", segment="NSE", kind=Kind.EQUITY, currency="INR", tick_size=TICK
)
CHUNK: Final = 65_536


def make_quotes(n: int = QUOTES, seed: int = SEED) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
    """Columns `ts` (ns), `bid`, `ask` (on a 0.05 grid around 2,500), `bid_size`, `ask_size`, each of shape (n,)."""
    rng = np.random.default_rng(seed)
    step = rng.choice(np.array([-2, -1, 0, 0, 1, 2]), size=n)
    mid = np.maximum(50_000 + np.cumsum(step), 2_000)  # in ticks
    half = rng.integers(1, 3, size=n)
    ts = OPENS_AT + np.cumsum(rng.integers(5_000_000, 35_000_000, size=n))
    return {
        "ts": ts.astype(np.int64),
        "bid": np.round((mid - half) * 0.05, 2),
        "ask": np.round((mid + half) * 0.05, 2),
        "bid_size": rng.integers(1000, 5000, size=n),
        "ask_size": rng.integers(1000, 5000, size=n),
    }


class QuoteSource:
    """The quotes as a tick source."""

    name = "bench-quotes"
    kind = "stream"
    scope = "simulated"

    def __init__(self, n: int = QUOTES, seed: int = SEED) -> None:
        quotes = make_quotes(n, seed)
        self._batches = [self._batch(quotes, start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]
        self.instruments = InstrumentTable([BENCH])
        self.reference = f'{{"n":{n},"seed":{seed}}}'
        self.digest = self.reference
        self.rows = n
        self.first_at = int(quotes["ts"][0])
        self.last_at = int(quotes["ts"][-1])

    @staticmethod
    def _batch(quotes: dict[str, NDArray[np.int64] | NDArray[np.float64]], start: int, stop: int) -> TickBatch:
        def price(name: str) -> NDArray[np.int64]:
            return np.rint(quotes[name][start:stop] * SCALE).astype(np.int64)

        ts = quotes["ts"][start:stop].astype(np.int64)
        return batch_of(
            {
                AT: ts,
                EXCHANGE_AT: ts,
                BID: price("bid"),
                ASK: price("ask"),
                BID_SIZE: quotes["bid_size"][start:stop].astype(np.int64),
                ASK_SIZE: quotes["ask_size"][start:stop].astype(np.int64),
            }
        )

    def batches(self, first_row: int = 0) -> Iterator[TickBatch]:
        """The whole; benchmarks begin at the beginning."""
        assert first_row == 0
        yield from self._batches


def bare_loop(bids: list[int], asks: list[int]) -> tuple[int, int]:
    """The rule in plain Python over lists of integer prices, nothing else: orders, and cash plus the position at the
    mid. The baseline of `bench replay`.
    """
    fast = slow = (bids[0] + asks[0]) / 2
    a, b = 2 / 11, 2 / 21
    position = cash = orders = 0
    for count, (bid, ask) in enumerate(zip(bids, asks, strict=True)):
        mid = (bid + ask) / 2
        fast += a * (mid - fast)
        slow += b * (mid - slow)
        if count >= 19:
            if fast > slow and position <= 0:
                units = 100 if position == 0 else 200
                position += units
                cash -= units * ask
                orders += 1
            elif fast < slow and position >= 0:
                units = 100 if position == 0 else 200
                position -= units
                cash += units * bid
                orders += 1
    return orders, cash + position * (bids[-1] + asks[-1]) // 2


class BareRule:
    """The rule in plain Python, a quote at a time."""

    def __init__(self) -> None:
        self._fast = self._slow = 0.0
        self._seen = self._position = 0

    def quote(self, bid: int, ask: int) -> int:
        """Signed units to trade at its touch; 0 = none."""
        mid = (bid + ask) / 2
        if not self._seen:
            self._fast = self._slow = mid
        self._seen += 1
        self._fast += 2 / 11 * (mid - self._fast)
        self._slow += 2 / 21 * (mid - self._slow)
        side = (self._fast > self._slow) - (self._fast < self._slow)
        if self._seen < 20 or not side or self._position * side > 0:
            return 0
        units = side * (200 if self._position else 100)
        self._position += units
        return units
