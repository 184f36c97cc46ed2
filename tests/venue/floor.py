"""An exchange to put quotes and orders into by hand; prices in ticks."""

from collections.abc import Callable
from typing import Any

import numpy as np

from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, INSTRUMENT, LAST, VOLUME, batch_of
from angelx.venue.admission import Bands
from angelx.venue.exchange import Exchange, OrderRequest, Policy, Report, VenueOrder
from tests.venue.market_day import EQUITY, TABLE, TICK

MONEY = 10**15
OPEN_BANDS = Bands(equity_pct=0, option_pct=0)


def no_fee(*_: object) -> int:
    return 0


class Floor:
    """An exchange, its reports, and a counter for a clock."""

    def __init__(self, policy: Policy | None = None, **options: Any) -> None:
        defaults: dict[str, Any] = {"cash": MONEY, "fee": no_fee, "bands": OPEN_BANDS, "policy": policy}
        self.exchange = Exchange(options.pop("table", TABLE), **defaults | options)
        self.reports: list[Report] = []
        self.exchange.on_report.append(self.reports.append)
        self.at = 0
        self.volume = 0

    def quote(
        self, bid: int, ask: int, bid_size: int = 1000, ask_size: int = 1000, *, last: int = 0, traded: int = 0,
        name: str = EQUITY, at: int = 0,
    ) -> None:  # fmt: skip
        self.at = at or self.at + 1
        self.volume += traded
        row = {
            INSTRUMENT: self.exchange.table.index[name], AT: self.at, BID: bid * TICK, ASK: ask * TICK,
            BID_SIZE: bid_size, ASK_SIZE: ask_size, LAST: last * TICK, VOLUME: self.volume,
        }  # fmt: skip
        self.exchange.feed(batch_of({field: np.array([value]) for field, value in row.items()}), 0, 1)

    def send(self, side: int, quantity: int, limit: int = 0, name: str = EQUITY, **more: Any) -> VenueOrder:
        """Prices of `more` are in 1/10,000."""
        kind = more.pop("kind", "limit" if limit else "market")
        request = OrderRequest(
            instrument=name, side=side, quantity=quantity, kind=kind, limit=limit * TICK, **more
        )  # fmt: skip
        return self.exchange.submit(request)

    def said(self, order: VenueOrder | str | None = None) -> list[str]:
        """Kinds of reports of an order, or of all."""
        name = order.id if isinstance(order, VenueOrder) else order
        return [report.kind for report in self.reports if name is None or report.order.id == name]

    def status(self, order: VenueOrder | str) -> str:
        found = self.exchange.order(order.id if isinstance(order, VenueOrder) else order)
        assert found is not None
        return found.status

    def fills(self) -> list[tuple[str, int, int]]:
        return [(fill.order, fill.quantity, fill.price // TICK) for fill in self.exchange.fills()]


Make = Callable[..., Floor]
