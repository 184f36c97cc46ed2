"""Closing positions over REST: market orders the other way."""

from decimal import Decimal, InvalidOperation
from typing import Final

from angelx.domain.scalars import side_text
from angelx.venue.alpaca.call import Answer, Call, Routes
from angelx.venue.alpaca.names import Symbols, each
from angelx.venue.alpaca.orders_api import OrdersApi
from angelx.venue.alpaca.refusals import FORBIDDEN, Refusal, invalid, not_found
from angelx.venue.alpaca.views import Json
from angelx.venue.exchange import Exchange
from angelx.venue.requests import MARKET, OrderRequest

HUNDRED: Final = 100


class ClosingApi:
    """Ends positions through orders."""

    def __init__(self, exchange: Exchange, symbols: Symbols, orders: OrdersApi) -> None:
        self._exchange, self._symbols, self._orders = exchange, symbols, orders

    def routes(self, routes: Routes) -> None:
        """What this answers."""
        routes.add("DELETE", "/v2/positions", self.close_all)
        routes.add("DELETE", "/v2/positions/{}", self.close)

    def close_all(self, call: Call) -> Answer:
        """DELETE /positions."""
        if call.flag("cancel_orders"):
            self._orders.cancel_all(call)
        answers = []
        for held in self._exchange.positions():
            symbol = self._symbols.of.get(held.instrument)
            if symbol is None:
                continue
            try:
                answers.append(
                    {"symbol": symbol, "status": 200, "body": self._close(held.instrument, abs(held.quantity))}
                )
            except Refusal as refusal:
                answers.append({"symbol": symbol, "status": refusal.status, "body": refusal.body})
        return 207, answers

    def close(self, call: Call) -> Answer:
        """DELETE /positions/{symbol}."""
        instrument = self._symbols.by_symbol.get(call.where[0])
        held = abs(self._exchange.position(instrument.id)) if instrument is not None else 0
        if instrument is None or not held:
            raise not_found("position does not exist")
        unit = each(instrument)
        quantity, percentage = call.text("qty"), call.text("percentage")
        if quantity and percentage:
            raise invalid("only one of qty or percentage is accepted")
        try:
            count = Decimal(quantity or 0)
            if count != int(count):
                raise Refusal(403, FORBIDDEN, f'asset "{call.where[0]}" is not fractionable')
            units = int(count) * unit if quantity else held
            if percentage:
                share = Decimal(percentage)
                if not 0 < share <= HUNDRED:
                    raise invalid("percentage must be > 0 and at most 100")
                units = int(share * held / HUNDRED) // unit * unit
        except (InvalidOperation, ValueError, OverflowError) as error:
            raise invalid("qty and percentage are numbers") from error
        if units <= 0:
            raise invalid("qty must be > 0")
        return 200, self._close(instrument.id, units)

    def _close(self, instrument: str, units: int) -> Json:
        side = -1 if self._exchange.position(instrument) > 0 else 1
        return self._orders.enter(
            OrderRequest(
                client_id=self._orders.new_id(),
                instrument=instrument,
                side=side,
                quantity=units,
                kind=MARKET,
                tag=f"{side_text(side)}_to_close",
            )
        )
