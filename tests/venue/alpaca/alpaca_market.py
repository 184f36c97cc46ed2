"""A small American market to trade on by hand: two shares and a chain, and the server in front of it."""

from collections.abc import Callable, Mapping
from datetime import date
from random import Random
from typing import Any

import numpy as np

from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, EXCHANGE_AT, INSTRUMENT, LAST, OI, VOLUME, batch_of
from angelx.domain.timestamps import instant_of
from angelx.venue.account import Margin
from angelx.venue.admission import Bands
from angelx.venue.alpaca.server import AlpacaServer, Credentials, Plan
from angelx.venue.exchange import Exchange, Policy

KEY, SECRET = "PKTESTKEY0001", "s3cr3t-of-the-test-account"
OPEN = instant_of("2026-01-05T14:31:00Z")
"""A Monday, a minute after the open."""
CASH = 1_000_000_000
EXPIRY = date(2026, 1, 16)


def share(symbol: str, **more: Any) -> Instrument:
    return Instrument(
        id=f"US:{symbol}", symbol=symbol, segment="US", kind=Kind.EQUITY, currency="USD", tick_size=100,
        freeze_quantity=999_999, **more,
    )  # fmt: skip


def option(underlying: str, strike: int, right: Right) -> Instrument:
    letter = "C" if right is Right.CALL else "P"
    return Instrument(
        id=f"OPRA:{underlying}:{EXPIRY}:{strike}:{letter}", symbol=f"{underlying} {EXPIRY} {strike} {letter}",
        segment="OPRA", kind=Kind.OPTION, currency="USD", tick_size=100, lot_size=100, freeze_quantity=99_999_900,
        underlying=f"US:{underlying}", expiry=EXPIRY, strike=strike * 10_000, right=right,
    )  # fmt: skip


STRIKES = (290, 295, 300, 305, 310)
TABLE = InstrumentTable(
    [
        share("IBM"),
        share("AAPL"),
        share("HALT", tradable=False),
        *(option("IBM", strike, right) for strike in STRIKES for right in (Right.CALL, Right.PUT)),
    ]
)
CALL_300 = "IBM260116C00300000"
PUT_300 = "IBM260116P00300000"
CALL_305 = "IBM260116C00305000"


def no_fee(*_: object) -> int:
    return 0


class Market:
    """An exchange, the server, and a clock to move."""

    def __init__(self, plan: Plan | None = None, policy: Policy | None = None, **options: Any) -> None:
        self.at = OPEN
        self.clock: Callable[[], int] | None = None
        """Where time comes from, where a test has its own."""
        self.volume: dict[str, int] = {}
        defaults: Mapping[str, Any] = {
            "cash": CASH, "fee": no_fee, "bands": Bands(equity_pct=0, option_pct=0), "currency": "USD",
            "margin": Margin(short_option_pct=10),
            "policy": policy or Policy(unique_client_ids=True, queues_orders=True, extended_hours=True),
        }  # fmt: skip
        self.exchange = Exchange(TABLE, **{**defaults, **options})
        self.server = AlpacaServer(
            self.exchange, credentials=Credentials(KEY, SECRET), now=self.now, random=Random(7), plan=plan
        )

    def now(self) -> int:
        return self.clock() if self.clock is not None else self.at

    def quote(
        self, symbol: str, bid: float, ask: float, *, size: int = 1_000, last: float = 0.0, traded: int = 0, oi: int = 0
    ) -> None:
        """One row, a millisecond after the one before; prices in dollars, sizes in units."""
        self.at = max(self.at + NS // 1000, self.now())
        name = self.name(symbol)
        self.volume[name] = self.volume.get(name, 0) + traded
        row = {
            INSTRUMENT: TABLE.index[name], AT: self.at, EXCHANGE_AT: self.at - 500_000, BID: round(bid * 10_000),
            ASK: round(ask * 10_000), BID_SIZE: size, ASK_SIZE: size, LAST: round((last or (bid + ask) / 2) * 10_000),
            VOLUME: self.volume[name], OI: oi,
        }  # fmt: skip
        self.exchange.feed(batch_of({field: np.array([value]) for field, value in row.items()}), 0, 1)

    def name(self, symbol: str) -> str:
        return self.server.symbols.by_symbol[symbol].id

    def open_for_business(self) -> None:
        """Everything has a quote and has traded."""
        self.quote("IBM", 299.95, 300.05, last=300.0)
        self.quote("IBM", 299.95, 300.05, last=300.01, traded=100)
        self.quote("AAPL", 199.99, 200.01, last=200.0)
        self.quote("AAPL", 199.99, 200.01, last=200.0, traded=50)
        for instrument in TABLE:
            if instrument.kind is Kind.OPTION:
                value = (
                    max(300 - instrument.strike / 10_000, 0)
                    if instrument.right is Right.CALL
                    else max(instrument.strike / 10_000 - 300, 0)
                )
                self.quote(self.server.symbols.of[instrument.id], value + 3.0, value + 3.2, size=5_000, oi=120_000)

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.at = max(self.at + int(seconds * NS), self.now())
        self.exchange.advance(self.at)
