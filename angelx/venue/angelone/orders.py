"""Placing, modifying and cancelling; the order book, the trade book, the order stream."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

import msgspec

from angelx.domain.instruments import Kind
from angelx.domain.scalars import BUY, SELL, price_of
from angelx.venue.angelone import words
from angelx.venue.angelone.contracts import Contract, Contracts
from angelx.venue.angelone.logins import india_date
from angelx.venue.angelone.replies import Refusal
from angelx.venue.exchange import Exchange
from angelx.venue.requests import OrderRequest, Refused, Report, VenueOrder

MOST_TAG: Final = 19


class OrderRules(msgspec.Struct, frozen=True, kw_only=True):
    """What orders by API may be; the defaults are what SEBI's rules leave to retail algorithms."""

    market: bool = False
    ioc: bool = False
    stop_market_options: bool = False
    """NSE takes no stop orders without a limit on options."""


ANYTHING_GOES: Final = OrderRules(market=True, ioc=True, stop_market_options=True)


class OrderDesk:
    """One account's orders.

    Parameters
    ----------
    now
        Exchange time, ns.
    """

    def __init__(
        self, exchange: Exchange, contracts: Contracts, *, client_code: str, now: Callable[[], int], rules: OrderRules
    ) -> None:
        self.rules = rules
        self.on_frame: list[Callable[[str], None]] = []
        """Called with every message of the order stream."""
        self._exchange = exchange
        self._contracts = contracts
        self._client_code = client_code
        self._now = now
        self._last_fill = {fill.order: fill for fill in exchange.fills()}
        self._modified: set[str] = set()
        self._numbers: dict[str, str] = {}
        self._uniques: dict[str, str] = {}
        for order in exchange.orders():
            self._note(order)
        exchange.on_report.append(self.on_report)

    # ------------------------------------------------------------ requests
    def place(self, body: Mapping[str, Any]) -> dict[str, str]:
        """An order comes in; what is wrong with its form is refused here, all else by the order's own state.

        Raises
        ------
        Refusal
            AB1008, AB1009, AB1012, AB2002, AB4008 or AB9001.
        """
        variety = _text(body, "variety")
        if variety == "ROBO":
            raise Refusal("AB2002")
        if variety not in words.VARIETIES:
            raise Refusal("AB1008")
        contract = self._contracts.of(_text(body, "exchange"), _text(body, "symboltoken"), _text(body, "tradingsymbol"))
        if len(_text(body, "ordertag")) > MOST_TAG:
            raise Refusal("AB4008")
        kind, tif = self._form(variety, body, contract)
        disclosed = _whole(body, "disclosedquantity")
        said = words.Words(variety, _product(body, contract), disclosed)
        limit, trigger = _prices(body, kind)
        request = OrderRequest(
            instrument=contract.instrument.id, side=_side(body), quantity=_whole(body, "quantity"), kind=kind,
            limit=limit, stop=trigger, tif=tif, tag=_text(body, "ordertag"), queued=variety == "AMO",
            product=msgspec.json.encode(said).decode(),
        )  # fmt: skip
        order = self._exchange.submit(request, keep_refused=True)
        self._note(order)
        return {
            "script": contract.symbol,
            "orderid": words.order_id(order),
            "uniqueorderid": words.unique_id(order),
        }

    def _form(self, variety: str, body: Mapping[str, Any], contract: Contract) -> tuple[str, str]:
        """Kind and time in force, as far as they fit the variety and the rules."""
        order_type, tif = _text(body, "ordertype"), _text(body, "duration") or "DAY"
        kind = words.ORDER_TYPES.get(order_type)
        if kind is None or tif not in words.DURATIONS:
            raise Refusal("AB9001", f"Invalid ordertype {order_type} or duration {tif}")
        if (variety == "STOPLOSS") != (kind in {"stop", "stop_limit"}) and variety != "AMO":
            raise Refusal("AB1008")
        rules, is_option = self.rules, contract.instrument.kind is Kind.OPTION
        if kind == "market" and not rules.market:
            raise Refusal("AB9001", "MARKET orders are not allowed for algo orders, place a LIMIT order")
        if tif == "IOC" and not rules.ioc:
            raise Refusal("AB9001", "IOC orders are not allowed for algo orders")
        if kind == "stop" and is_option and not rules.stop_market_options:
            raise Refusal("AB9001", "STOPLOSS_MARKET orders are not allowed on options")
        return kind, tif

    def modify(self, body: Mapping[str, Any]) -> dict[str, str]:
        """Change a waiting order; its id stays, and its trigger where none is said.

        Raises
        ------
        Refusal
            AB1008, AB1013 or AB9001.
        """
        order = self._waiting(body)
        contract = self._contracts.by_id[order.request.instrument]
        kind, tif = self._form(_text(body, "variety"), body, contract)
        limit, trigger = _prices(body, kind, order.stop)
        try:
            self._exchange.replace(
                order.id, quantity=_whole(body, "quantity"), limit=limit or None, stop=trigger or None, kind=kind,
                tif=tif, keep_id=True,
            )  # fmt: skip
        except Refused as refused:
            raise Refusal("AB9001", f"{refused.code}: {refused.detail}") from refused
        self._modified.add(order.id)
        return {"orderid": words.order_id(order), "uniqueorderid": words.unique_id(order)}

    def cancel(self, body: Mapping[str, Any]) -> dict[str, str]:
        """Ask for the end of an order.

        Raises
        ------
        Refusal
            AB1008 where it is of another variety, AB1013 where it is not known or has ended.
        """
        order = self._waiting(body)
        try:
            self._exchange.cancel(order.id)
        except Refused as refused:
            raise Refusal("AB1013", f"Order not found: {refused.code}") from refused
        return {"orderid": words.order_id(order), "uniqueorderid": words.unique_id(order)}

    def _waiting(self, body: Mapping[str, Any]) -> VenueOrder:
        order = self.find(_text(body, "orderid"))
        if order is None or not order.is_working:
            raise Refusal("AB1013")
        if _text(body, "variety") != words.words_of(order).variety:
            raise Refusal("AB1008")
        return order

    def find(self, order_id: str) -> VenueOrder | None:
        """The order of a broker's id."""
        name = self._numbers.get(order_id)
        return None if name is None else self._exchange.order(name)

    def _note(self, order: VenueOrder) -> None:
        number = words.order_id(order)
        if number not in self._numbers:
            self._numbers[number] = order.id
            self._uniques[words.unique_id(order)] = order.id

    # ------------------------------------------------------------ the books
    def book(self) -> list[dict[str, Any]] | None:
        """Today's orders, oldest first; `None` where there is none."""
        return [self._row(order) for order in self._today()] or None

    def details(self, unique_id: str) -> dict[str, Any]:
        """One of today's orders.

        Raises
        ------
        Refusal
            AB1013.
        """
        order = self._exchange.order(self._uniques.get(unique_id, ""))
        if order is None:
            raise Refusal("AB1013")
        return self._row(order)

    def trades(self) -> list[dict[str, Any]] | None:
        """Today's fills, oldest first; `None` where there is none."""
        orders = {order.id: order for order in self._exchange.orders()}
        today = self._day()
        return [
            words.trade_row(fill, orders[fill.order], self._contracts.by_id[fill.instrument])
            for fill in self._exchange.fills()
            if india_date(fill.at) == today and fill.instrument in self._contracts.by_id
        ] or None

    def _today(self) -> list[VenueOrder]:
        today = self._day()
        return [order for order in self._exchange.orders() if order.is_working or india_date(order.created_at) == today]

    def _day(self) -> date:
        return india_date(self._now())

    def _row(self, order: VenueOrder) -> dict[str, Any]:
        contract = self._contracts.by_id.get(order.request.instrument)
        last = self._last_fill.get(order.id)
        return words.order_row(order, contract, last, is_modified=order.id in self._modified, now=self._now())

    # ------------------------------------------------------------ the order stream
    def on_report(self, report: Report) -> None:
        """Every change of an order goes out to those who listen."""
        self._note(report.order)
        if report.fill is not None:
            self._last_fill[report.order.id] = report.fill
        code = _code(report)
        if not code or not self.on_frame:
            return
        row = self._row(report.order)
        del row["exchangeorderid"]
        if report.kind == "replaced":
            row["status"] = row["orderstatus"] = "modified"
        elif report.kind == "replace_rejected":
            row["orderstatus"] = "not modified"
        elif report.kind == "cancel_rejected":
            row["orderstatus"] = "not cancelled"
        elif report.kind == "pending":
            row["status"] = row["orderstatus"] = "open pending"
        message = words.frame(self._client_code, code, row)
        for listener in self.on_frame:
            listener(message)


def _code(report: Report) -> str:
    """What the stream calls a change; empty for those it does not tell."""
    if report.kind == "replaced":
        is_amo = report.order.status == "accepted"
        return words.AMO_MODIFIED if is_amo else words.MODIFIED
    if report.order.status == "cancelled" and words.words_of(report.order).variety == "AMO" and not report.order.filled:
        return words.AMO_CANCELLED
    return words.STATUSES[report.order.status][1]


# ---------------------------------------------------------------- fields of a request
def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    return "" if value is None else str(value)


def _whole(body: Mapping[str, Any], key: str) -> int:
    text = _text(body, key) or "0"
    try:
        value = float(text)
    except ValueError:
        raise Refusal("AB9001", f"Invalid {key}: {text!r}") from None
    if not value.is_integer() or not 0 <= value < 1 << 53:
        raise Refusal("AB9001", f"Invalid {key}: {text!r}")
    return int(value)


def _price(body: Mapping[str, Any], key: str) -> int:
    text = _text(body, key) or "0"
    try:
        price = price_of(text)
    except ValueError:
        raise Refusal("AB9001", f"Invalid {key}: {text!r}") from None
    if not 0 <= price < 1 << 53:
        raise Refusal("AB9001", f"Invalid {key}: {text!r}")
    return price


def _prices(body: Mapping[str, Any], kind: str, was: int = 0) -> tuple[int, int]:
    limit, trigger = _price(body, "price"), _price(body, "triggerprice") or was
    if kind in {"limit", "stop_limit"} and not limit:
        raise Refusal("AB9001", "Invalid price: a limit order needs one")
    if kind in {"stop", "stop_limit"} and not trigger:
        raise Refusal("AB9001", "Invalid triggerprice: a stop-loss order needs one")
    return (limit if kind in {"limit", "stop_limit"} else 0), (trigger if kind in {"stop", "stop_limit"} else 0)


def _side(body: Mapping[str, Any]) -> int:
    side = {"BUY": BUY, "SELL": SELL}.get(_text(body, "transactiontype"))
    if side is None:
        raise Refusal("AB9001", "Invalid transactiontype")
    return side


def _product(body: Mapping[str, Any], contract: Contract) -> str:
    product = _text(body, "producttype")
    if product not in words.products(contract):
        raise Refusal("AB1012")
    return product
