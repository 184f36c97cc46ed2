"""Rankings of shares over REST: most active, gainers and losers of the day."""

from collections.abc import Callable
from typing import Final

from angelx.domain.instruments import Instrument
from angelx.domain.ticks import LAST, VOLUME
from angelx.domain.timestamps import rfc3339
from angelx.market.state import FIRST
from angelx.venue.alpaca.call import Answer, Call, Routes
from angelx.venue.alpaca.names import Symbols, number
from angelx.venue.alpaca.refusals import invalid
from angelx.venue.alpaca.tape import Tape
from angelx.venue.alpaca.views import Json
from angelx.venue.exchange import Exchange

FEW: Final = 10
MOST_ACTIVES: Final = 100
MOST_MOVERS: Final = 50


class ScreenerApi:
    """Which shares trade and move most; changes count from the day's first price."""

    def __init__(self, exchange: Exchange, symbols: Symbols, tape: Tape, now: Callable[[], int]) -> None:
        self._exchange, self._symbols, self._tape, self._now = exchange, symbols, tape, now

    def routes(self, routes: Routes) -> None:
        """What this answers."""
        routes.add("GET", "/v1beta1/screener/stocks/most-actives", self.actives)
        routes.add("GET", "/v1beta1/screener/{}/movers", self.movers)

    def actives(self, call: Call) -> Answer:
        """GET /screener/stocks/most-actives."""
        field = {"volume": "volume", "trades": "trade_count"}.get(call.text("by", "volume"))
        if field is None:
            raise invalid(f"invalid by: {call.text('by')[:20]}")
        rows = sorted(map(self._activity, self._symbols.shares), key=lambda row: -row[field])
        shown = rows[: call.count("top", FEW, MOST_ACTIVES)]
        return 200, {"most_actives": shown, "last_updated": rfc3339(self._now())}

    def _activity(self, share: Instrument) -> Json:
        place = self._exchange.table.index[share.id]
        volume: int = self._exchange.market.of(place)[VOLUME]
        return {"symbol": share.symbol, "volume": volume, "trade_count": int(self._tape.count[place])}

    def movers(self, call: Call) -> Answer:
        """GET /screener/{stocks or crypto}/movers; nothing in crypto trades here."""
        market = call.where[0]
        if market not in ("stocks", "crypto"):
            raise invalid(f"invalid market_type: {market[:20]}")
        top = call.count("top", FEW, MOST_MOVERS)
        rows = [row for share in self._symbols.shares if (row := self._move(share)) and market == "stocks"]
        rows.sort(key=lambda row: -row["percent_change"])
        return 200, {
            "gainers": [row for row in rows if row["change"] > 0][:top],
            "losers": [row for row in reversed(rows) if row["change"] < 0][:top],
            "market_type": market,
            "last_updated": rfc3339(self._now()),
        }

    def _move(self, share: Instrument) -> Json | None:
        cells = self._exchange.market.of(self._exchange.table.index[share.id])
        first, last = cells[FIRST], cells[LAST]
        if first <= 0 or last <= 0:
            return None
        change = last - first
        return {
            "symbol": share.symbol, "percent_change": round(100 * change / first, 2), "change": number(change),
            "price": number(last),
        }  # fmt: skip
