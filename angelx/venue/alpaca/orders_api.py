"""Orders over REST: place, list, replace, cancel; positions are closed through them."""

from collections.abc import Iterable
from decimal import Decimal
from itertools import islice
from random import Random
from typing import Final
from uuid import UUID

import msgspec

from angelx.domain.instruments import Instrument, Kind
from angelx.domain.scalars import price_of
from angelx.domain.timestamps import instant_of
from angelx.venue.alpaca.call import Answer, Call, Routes
from angelx.venue.alpaca.combos import Combos
from angelx.venue.alpaca.cover import check_cover
from angelx.venue.alpaca.names import Symbols, each, text, wire_id
from angelx.venue.alpaca.order_form import LONGEST_CLIENT_ID, TIFS, OrderForm, legs_of, price, read, request_of
from angelx.venue.alpaca.order_list import Edge, Found, between, check, filter_of
from angelx.venue.alpaca.refusals import (
    FORBIDDEN,
    Refusal,
    invalid,
    not_found,
    of_exchange,
    unprocessable,
    wash_trade,
)
from angelx.venue.alpaca.views import Json, Views
from angelx.venue.exchange import Exchange
from angelx.venue.requests import LIMIT, MARKET, STOP_LIMIT, TRAILING_STOP, OrderRequest, Refused, VenueOrder

MOST_ORDERS: Final = 500
FEW_ORDERS: Final = 50
_LIMITED: Final = (LIMIT, STOP_LIMIT)
_NOTHING_YET: Final = {"filled_qty": "0", "filled_avg_price": None, "filled_at": None, "canceled_at": None}


class ReplaceForm(msgspec.Struct):
    """What comes in the body of a PATCH."""

    qty: Decimal | None = None
    time_in_force: str | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    client_order_id: str | None = None


class OrdersApi:
    """The account's orders."""

    def __init__(self, exchange: Exchange, symbols: Symbols, views: Views, combos: Combos, random: Random) -> None:
        self._exchange, self._symbols, self._views, self._combos = exchange, symbols, views, combos
        self._random = random
        self.configuration: Json = {
            "dtbp_check": "entry",
            "fractional_trading": False,
            "max_margin_multiplier": "1",
            "no_shorting": False,
            "pdt_check": "entry",
            "suspend_trade": False,
            "trade_confirm_email": "all",
            "ptp_no_exception_entry": False,
            "max_options_trading_level": None,
            "disable_overnight_trading": False,
        }
        """What the account's owner has set."""
        self._seen: dict[str, VenueOrder] = {}
        """Every order as it was last reported, by the exchange's id, oldest first."""
        self._open: dict[str, dict[str, VenueOrder]] = {}
        """Those that something may still happen to, by instrument."""
        self._ids: dict[str, str] = {}
        """The exchange's order id by ours."""
        self._used: set[str] = set()
        """Client order ids: good for one order in the account's life."""

    def routes(self, routes: Routes) -> None:
        """What this answers."""
        routes.add("POST", "/v2/orders", self.place)
        routes.add("GET", "/v2/orders", self.listing)
        routes.add("DELETE", "/v2/orders", self.cancel_all)
        routes.add("GET", "/v2/orders:by_client_order_id", self.by_client_id)
        routes.add("GET", "/v2/orders/{}", self.one)
        routes.add("PATCH", "/v2/orders/{}", self.replace)
        routes.add("DELETE", "/v2/orders/{}", self.cancel)

    def saw(self, order: VenueOrder) -> None:
        """An order came in, or changed."""
        if order.id not in self._seen:
            self._ids[wire_id("order", order.id)] = order.id
            self._used.add(order.request.client_id)
        self._seen[order.id] = order
        waiting = self._open.setdefault(order.request.instrument, {})
        if order.is_working:
            waiting[order.id] = order
        else:
            waiting.pop(order.id, None)

    def used(self, client_id: str) -> None:
        """A client order id is good no more."""
        self._used.add(client_id)

    # ------------------------------------------------------------ place
    def place(self, call: Call) -> Answer:
        """POST /orders."""
        form = read(call.body, OrderForm)
        client_id = form.client_order_id or self.new_id()
        self._check_unused(client_id)
        if form.order_class == "mleg":
            legs = tuple(
                msgspec.structs.replace(leg, intent=leg.intent or self._intent(leg.instrument.id, leg.side))
                for leg in legs_of(form, self._symbols)
            )
            assert form.qty is not None
            limit = None if form.limit_price is None else price_of(form.limit_price)
            count = int(form.qty)
            check_cover(
                self._exchange,
                ((leg.instrument, leg.side * leg.ratio * count * each(leg.instrument)) for leg in legs),
            )
            self._used.add(client_id)
            return 200, self._combos.place(client_id, legs, count, limit, self.new_id)
        request = request_of(form, self._symbols, client_id, (self.new_id(), self.new_id()))
        return 200, self.enter(request)

    def enter(self, request: OrderRequest) -> Json:
        """Put an order in; answered as it stood when it came.

        Raises
        ------
        Refusal
            It was not taken, and its client order id is not used up.
        """
        if not request.tag:
            request = msgspec.structs.replace(request, tag=self._intent(request.instrument, request.side))
        self._check_allowed(request)
        self._check_position(request)
        self._check_wash(request)
        self._check_exits(request)
        check_cover(self._exchange, [(self._instrument(request.instrument), request.side * request.quantity)])
        arrived: list[VenueOrder] = []
        catch = arrived.append
        self._exchange.on_report.insert(0, lambda report: catch(report.order))
        try:
            order = self._exchange.submit(request)
        except Refused as refused:
            raise self._worded(refused, request) from refused
        finally:
            del self._exchange.on_report[0]
        self.saw(order)
        first = next((one for one in arrived if one.id == order.id), order)
        status = "pending" if order.status not in ("accepted", "rejected") else order.status
        shown = msgspec.structs.replace(first, status=status, legs=order.legs)
        return self._views.order(shown, [leg | {"status": "held", **_NOTHING_YET} for leg in self._legs(shown)])

    def _intent(self, instrument: str, side: int) -> str:
        """What an order does to the position, where its sender does not say."""
        is_exit = self._exchange.position(instrument) * side < 0
        return f"{'buy' if side > 0 else 'sell'}_to_{'close' if is_exit else 'open'}"

    def _check_allowed(self, request: OrderRequest) -> None:
        """What the account's owner has ruled out."""
        if self.configuration["suspend_trade"]:
            raise Refusal(403, FORBIDDEN, "new orders are rejected by user request")
        is_option = self._instrument(request.instrument).kind is Kind.OPTION
        if is_option and request.kind == MARKET and self._exchange.phase(request.instrument) != "open":
            raise unprocessable("options market orders are only allowed during market hours")
        if self.configuration["no_shorting"] and request.side < 0 and self._exchange.position(request.instrument) <= 0:
            raise Refusal(403, FORBIDDEN, "account is not allowed to short")

    def _check_unused(self, client_id: str) -> None:
        if client_id in self._used:
            raise invalid("client_order_id must be unique")

    def _check_position(self, request: OrderRequest) -> None:
        """An order may not cross zero: what is held is closed first."""
        held = self._exchange.position(request.instrument)
        if held * request.side >= 0:
            return
        on_sale = self.closing(request.instrument, request.side)
        available = abs(held) - on_sale
        if request.quantity > available and (request.quantity > abs(held) or on_sale):
            raise self._short_of(request, available)

    def _check_exits(self, request: OrderRequest) -> None:
        """Of two exits without an entry there must be something to leave."""
        if request.is_oco and self._exchange.position(request.instrument) * request.side >= 0:
            raise unprocessable("oco orders must be exit orders")

    def _short_of(self, request: OrderRequest, available: int) -> Refusal:
        instrument = self._instrument(request.instrument)
        unit, held = each(instrument), abs(self._exchange.position(request.instrument))
        wanted, there = request.quantity // unit, max(available, 0) // unit
        return Refusal(
            403,
            FORBIDDEN,
            f"insufficient qty available for order (requested: {wanted}, available: {there})",
            available=str(there),
            existing_qty=str(held // unit),
            held_for_orders=str(held // unit - there),
            symbol=self._symbols.of[instrument.id],
        )

    def _check_wash(self, request: OrderRequest) -> None:
        """No order may come that could trade with one of the same account on the other side.

        By the table of Alpaca's user protection: limits where they cross, anything else always; trailing stops and
        complex orders are left out.
        """
        if _may_meet_ours(request):
            return
        for order in self._working(request.instrument):
            other = order.request
            if other.side == request.side or order.parent or _may_meet_ours(other):
                continue
            have_limits = request.kind in _LIMITED and other.kind in _LIMITED
            if not have_limits or (request.limit - other.limit) * request.side >= 0:
                raise wash_trade(wire_id("order", order.id), other.kind)

    def _working(self, instrument: str) -> list[VenueOrder]:
        return [order for order in self._open.get(instrument, {}).values() if order.status != "held"]

    def closing(self, instrument: str, side: int) -> int:
        """Units that orders on this side of an instrument still want, exits of entries left out."""
        return sum(
            order.left
            for order in self._open.get(instrument, {}).values()
            if order.request.side == side and not order.parent
        )

    def _worded(self, refused: Refused, request: OrderRequest) -> Refusal:
        symbol = self._symbols.of.get(request.instrument, "")
        refusal = of_exchange(refused, symbol)
        if refused.code == "insufficient_position":
            return self._short_of(request, abs(self._exchange.position(request.instrument)))
        if refused.code == "insufficient_funds":
            instrument = self._instrument(request.instrument)
            cost = (request.limit or self._views.price(instrument, -request.side)) * request.quantity
            refusal.body |= {
                "buying_power": text(max(self._exchange.funds().available, 0)),
                "cost_basis": text(cost),
            }
        return refusal

    # ------------------------------------------------------------ look
    def listing(self, call: Call) -> Answer:
        """GET /orders."""
        status = call.text("status", "open")
        check(call)
        limit, nested = call.count("limit", FEW_ORDERS, MOST_ORDERS), call.flag("nested")
        inside = self._combos.inside if nested else ()
        found: list[Found] = [
            (order.created_at, order, None) for order in self._chosen(status) if order.id not in inside
        ]
        combos = [(order.created_at, order, shown) for order, shown in self._combos.all()]
        if combos:
            found += [one for one in combos if status == "all" or one[1].is_working == (status == "open")]
            found.sort(key=lambda one: one[0])
        found = between(call, found, self._edge)
        if call.text("direction", "desc") != "asc":
            found.reverse()
        fits = filter_of(call, self._symbols, self._exchange.table)
        fitting = ((order, shown) for at, order, shown in found if fits(at, order))
        return 200, [shown or self._shown(order, nested=nested) for order, shown in islice(fitting, limit)]

    def _edge(self, name: str) -> Edge:
        combo = self._combos.get(name)
        if combo is not None:
            return instant_of(combo["created_at"]), 0
        order = self._order(name)
        return order.created_at, order.number

    def _chosen(self, status: str) -> Iterable[VenueOrder]:
        """Orders that are open, closed or any, oldest first."""
        if status == "open":
            waiting = (order for orders in self._open.values() for order in orders.values())
            return sorted(waiting, key=lambda order: order.number)
        if status == "all":
            return self._seen.values()
        return (order for order in self._seen.values() if not order.is_working)

    def _shown(self, order: VenueOrder, *, nested: bool) -> Json:
        order = self._exchange.order(order.id) or order  # A trailing stop moves without a report.
        return self._views.order(order, self._legs(order) if nested else None)

    def _legs(self, order: VenueOrder) -> list[Json]:
        found = (self._exchange.order(leg) for leg in order.legs)
        return [self._views.order(leg) for leg in found if leg is not None]

    def one(self, call: Call) -> Answer:
        """GET /orders/{id}."""
        combo = self._combos.get(call.where[0])
        if combo is not None:
            return 200, combo
        return 200, self._shown(self._order(call.where[0]), nested=True)

    def by_client_id(self, call: Call) -> Answer:
        """GET /orders:by_client_order_id."""
        name = call.text("client_order_id")
        if not name or len(name) > LONGEST_CLIENT_ID:
            raise invalid("client_order_id is required")
        combo = self._combos.by_client_id(name)
        if combo is not None:
            return 200, combo
        order = self._exchange.by_client_id(name)
        if order is None:
            raise not_found("order not found")
        return 200, self._shown(order, nested=True)

    # ------------------------------------------------------------ change
    def replace(self, call: Call) -> Answer:
        """PATCH /orders/{id}: a new order with a new id."""
        order = self._order(call.where[0])
        form = read(call.body or b"{}", ReplaceForm)
        instrument = self._instrument(order.request.instrument)
        client_id = form.client_order_id or self.new_id()
        self._check_unused(client_id)
        if form.time_in_force is not None and form.time_in_force not in TIFS:
            raise invalid(f"invalid time_in_force: {form.time_in_force!r}")
        if not order.is_working:
            raise self._ended(order)
        if order.status in ("pending", "accepted", "held", "pending_replace", "pending_cancel"):
            raise unprocessable("unable to replace order in current state")
        try:
            made = self._exchange.replace(
                order.id,
                quantity=self._new_quantity(form.qty, order, instrument),
                limit=_maybe(form.limit_price, "limit_price", instrument),
                stop=_maybe(form.stop_price, "stop_price", instrument),
                trail=_maybe(form.trail, "trail", instrument),
                tif=None if form.time_in_force is None else TIFS[form.time_in_force],
                client_id=client_id,
                keep_id=False,
            )
        except Refused as refused:
            raise self._about(refused, order) from refused
        self.saw(made)
        shown = msgspec.structs.replace(made, status="pending" if made.status != "rejected" else made.status)
        return 200, self._views.order(shown)

    @staticmethod
    def _new_quantity(quantity: Decimal | None, order: VenueOrder, instrument: Instrument) -> int | None:
        if quantity is None:
            return None
        if not quantity.is_finite() or quantity <= 0 or quantity != int(quantity):
            raise invalid("qty must be > 0")
        return int(quantity) * each(instrument) - order.carried

    def cancel(self, call: Call) -> Answer:
        """DELETE /orders/{id}."""
        if self._combos.get(call.where[0]) is not None:
            self._combos.cancel(call.where[0])
            return 204, None
        self._cancel(self._order(call.where[0]))
        return 204, None

    def _cancel(self, order: VenueOrder) -> None:
        if order.status == "pending_replace":
            raise unprocessable('order is already in "pending_replace" state')
        try:
            self._exchange.cancel(order.id)
        except Refused as refused:
            raise self._about(refused, order) from refused

    def cancel_all(self, _: Call) -> Answer:
        """DELETE /orders."""
        answers: list[Json] = [{"id": name, "status": 200} for name in self._combos.cancel_all()]
        answers.extend(map(self._cancelled, [order for order in self._chosen("open") if not self._ends_anyway(order)]))
        return 207, answers

    def _ends_anyway(self, order: VenueOrder) -> bool:
        """Exits of an entry that nothing was filled of end with it."""
        entry = self._exchange.order(order.parent) if order.status == "held" else None
        return entry is not None and entry.is_working and not entry.filled + entry.carried

    def _cancelled(self, order: VenueOrder) -> Json:
        name = wire_id("order", order.id)
        now = self._exchange.order(order.id) or order
        if now.status == "cancelled":  # With another of these: only one of two exits can go on.
            return {"id": name, "status": 200}
        try:
            self._cancel(order)
        except Refusal as refusal:
            return {"id": name, "status": 500, "body": refusal.body}
        return {"id": name, "status": 200}

    def _about(self, refused: Refused, order: VenueOrder) -> Refusal:
        if refused.code == "order_ended":
            return self._ended(order)
        return self._worded(refused, order.request)

    def _ended(self, order: VenueOrder) -> Refusal:
        now = self._exchange.order(order.id) or order
        state = self._views.order(now)["status"]
        return unprocessable(f'order is already in "{state}" state')

    def _order(self, name: str) -> VenueOrder:
        try:
            found = self._ids.get(str(UUID(name)))
        except ValueError as error:  # As a live account was answered: Alpaca-API issue 135.
            raise invalid("order_id is missing") from error
        order = self._exchange.order(found) if found is not None else None
        if order is None:
            raise not_found(f"order not found for {name[:64]}")
        return order

    # ------------------------------------------------------------ small things
    def _instrument(self, name: str) -> Instrument:
        instrument = self._exchange.table.get(name)
        assert instrument is not None
        return instrument

    def new_id(self) -> str:
        """A client order id of our own."""
        return str(UUID(int=self._random.getrandbits(128), version=4))


def _may_meet_ours(request: OrderRequest) -> bool:
    """Whether wash trades are not looked for: of trailing stops and complex orders."""
    has_exits = request.is_oco or request.take_profit is not None or request.stop_loss is not None
    return has_exits or request.kind == TRAILING_STOP or request.product == "mleg"


def _maybe(value: Decimal | None, name: str, instrument: Instrument) -> int | None:
    return None if value is None else price(value, name, instrument)


def events_of(kind: str, status: str) -> str:
    """The order stream's word for a report; empty where Alpaca says nothing."""
    if kind in ("accepted", "working"):
        return {"working": "new", "trigger_pending": "new", "accepted": "accepted", "held": "held"}.get(status, "new")
    return EVENTS.get(kind, "")


EVENTS: Final = {
    "pending": "pending_new", "partial_fill": "partial_fill", "fill": "fill", "pending_cancel": "pending_cancel",
    "cancel_rejected": "order_cancel_rejected", "pending_replace": "pending_replace", "replaced": "replaced",
    "replace_rejected": "order_replace_rejected", "cancelled": "canceled", "expired": "expired",
    "rejected": "rejected",
}  # fmt: skip
