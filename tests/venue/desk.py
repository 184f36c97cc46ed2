"""An engine to put quotes and orders into by hand."""

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np

from angelx.domain.events import Event, OrderFilled
from angelx.domain.instruments import InstrumentTable
from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, INSTRUMENT, LAST, Rows, batch_of
from angelx.market.state import MarketState
from angelx.venue.admission import Bands
from angelx.venue.matching import MatchingEngine
from angelx.venue.orders import Order
from tests.venue.market_day import EQUITY, TABLE, TICK, always

MONEY = 10**15


def no_fee(*_: object) -> int:
    return 0


class Desk:
    """Prices in ticks, time counts the quotes."""

    def __init__(self, table: InstrumentTable = TABLE, **options: Any) -> None:
        self.table = table
        self.state = MarketState(table)
        self.at = 0
        self.sent = 0
        defaults: dict[str, Any] = {"cash": MONEY, "fee": no_fee, "is_open": always, "random": Random(1)}
        self.engine = MatchingEngine(self.state, **defaults | {"bands": Bands(equity_pct=0, option_pct=0)} | options)

    def quote(
        self, bid: int, ask: int, bid_size: int = 1000, ask_size: int = 1000, name: str = EQUITY, last: int = 0
    ) -> Sequence[Event]:
        """A row; what it fills."""
        self.at += 1
        row = {
            INSTRUMENT: self.table.index[name], AT: self.at, BID: bid * TICK, ASK: ask * TICK, BID_SIZE: bid_size,
            ASK_SIZE: ask_size, LAST: last * TICK,
        }  # fmt: skip
        rows = Rows(batch_of({field: np.array([value]) for field, value in row.items()}), 0, 1)
        self.state.fold(rows)
        assert self.engine.probe(rows.batch, 0, 1) == 1
        return self.engine.fold(rows)

    def send(self, side: int, quantity: int, limit: int, tif: str = "DAY", name: str = EQUITY) -> list[Event]:
        """A new order, `o1`, `o2`, …, limit in ticks; the answer."""
        self.sent += 1
        return self.engine.submit(Order(f"o{self.sent}", name, side, quantity, limit * TICK, tif), self.at)


def fills(events: Sequence[Event]) -> list[tuple[str, int, int]]:
    """(order, units, price in ticks) of the fills among events."""
    return [(event.order, event.quantity, event.price // TICK) for event in events if isinstance(event, OrderFilled)]
