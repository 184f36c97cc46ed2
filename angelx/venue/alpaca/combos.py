"""Orders in several legs: all of them at once or none, at a net price (docs/alpaca.md says how they fill).

The exchange has no book of combinations. Each row asks again whether every leg's touch has the size and the net of the
touches is within the limit; then the legs trade there, in one instant.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from angelx.domain.scalars import BUY
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE
from angelx.domain.timestamps import rfc3339
from angelx.venue.alpaca.names import each, text, wire_id
from angelx.venue.alpaca.order_form import Leg
from angelx.venue.alpaca.refusals import Refusal, not_found, of_exchange, unprocessable
from angelx.venue.alpaca.views import Json, Views
from angelx.venue.exchange import Exchange
from angelx.venue.keeping import Keeper
from angelx.venue.orders import FOK
from angelx.venue.requests import LIMIT, MARKET, OrderRequest, Refused, VenueOrder

ENDED: Final = ("filled", "canceled", "expired", "rejected")
KEPT: Final = "combo/"
"""Begins the name under which one is kept."""


class _KeptLeg(msgspec.Struct, frozen=True):
    instrument: str
    side: int
    ratio: int
    intent: str


class _KeptCombo(msgspec.Struct, frozen=True):
    """As it is written down."""

    id: str
    client_id: str
    legs: tuple[_KeptLeg, ...]
    quantity: int
    limit: int | None
    created_at: int
    updated_at: int
    status: str
    net: int


class _Combo(msgspec.Struct):
    id: str
    client_id: str
    legs: tuple[Leg, ...]
    quantity: int
    limit: int | None
    created_at: int
    updated_at: int
    status: str = "new"
    net: int = 0
    """Money paid for one of it, 1/10,000."""
    orders: tuple[str, ...] = ()
    """The exchange's ids of its legs, once they traded."""


class Combos:
    """The account's multi-leg orders.

    Parameters
    ----------
    tell
        Sends an event of the order stream: name, order, and what else it says.
    """

    def __init__(
        self, exchange: Exchange, views: Views, tell: Callable[[str, Json, Json], None], keeper: Keeper
    ) -> None:
        self._exchange, self._views, self._tell, self._keeper = exchange, views, tell, keeper
        self._combos: dict[str, _Combo] = {}
        self.inside: set[str] = set()
        """The exchange's ids of orders that are legs."""

    def place(
        self, client_id: str, legs: Sequence[Leg], quantity: int, limit: int | None, uuid: Callable[[], str]
    ) -> Json:
        """A new one; it trades at once where it can.

        Raises
        ------
        Refusal
            A market order finds no market.
        """
        now = self._exchange.now
        combo = _Combo(uuid(), client_id, tuple(legs), quantity, limit, now, now)
        if any(self._exchange.phase(leg.instrument.id) != "open" for leg in legs):
            raise unprocessable("options market orders are only allowed during market hours")
        if limit is None and not self._can_trade(combo):
            raise unprocessable("no available quote for a leg")
        self._combos[combo.id] = combo
        self._keep(combo)
        shown = self._shown(combo) | {"status": "pending_new"}
        self._tell("new", self._shown(combo), {})
        refusal = self._try(combo)
        if refusal is not None:
            raise refusal
        return shown

    def look(self) -> None:
        """The market moved."""
        for combo in self._combos.values():
            if combo.status == "new":
                self._try(combo)

    def expire(self, segment: str) -> None:
        """The session of a segment is over."""
        for combo in self._combos.values():
            if combo.legs[0].instrument.segment == segment:
                self._end(combo, "expired")

    def _end(self, combo: _Combo, status: str) -> None:
        if combo.status not in ENDED:
            combo.status, combo.updated_at = status, self._exchange.now
            self._keep(combo)
            self._tell(status, self._shown(combo), {})

    # ------------------------------------------------------------ trading
    def _can_trade(self, combo: _Combo) -> bool:
        """Every leg's touch has the size, and their net is within the limit."""
        net = 0
        for leg in combo.legs:
            cells = self._exchange.market.of(self._exchange.table.index[leg.instrument.id])
            touch, size = (cells[ASK], cells[ASK_SIZE]) if leg.side == BUY else (cells[BID], cells[BID_SIZE])
            if touch <= 0 or size < leg.ratio * combo.quantity * each(leg.instrument):
                return False
            net += leg.side * leg.ratio * touch
        combo.net = net
        return combo.limit is None or net <= combo.limit

    def _try(self, combo: _Combo) -> Refusal | None:
        """Trade if the market is there; what the exchange objects to. Legs that had traded by then stay traded."""
        if not self._can_trade(combo):
            return None
        made: list[VenueOrder] = []
        refusal = None
        try:
            for leg in sorted(combo.legs, key=lambda leg: leg.side):  # Sales are refused more often than purchases.
                made.append(self._traded(combo, leg) or self._exchange.submit(self._leg_request(combo, leg)))  # noqa: PERF401
        except Refused as refused:
            refusal = of_exchange(refused, self._symbol(combo, len(made)))
        self.inside.update(order.id for order in made)
        if refusal is not None:
            self._end(combo, "rejected")
            return refusal
        combo.orders = tuple(order.id for order in made)
        combo.status, combo.updated_at = "filled", self._exchange.now
        self._keep(combo)
        paid = {"price": text(combo.net), "qty": str(combo.quantity), "position_qty": "0"}
        self._tell("fill", self._shown(combo), {"execution_id": wire_id("fill", combo.id), **paid})
        return None

    @staticmethod
    def _symbol(combo: _Combo, number: int) -> str:
        return sorted(combo.legs, key=lambda leg: leg.side)[number].instrument.symbol

    def _leg_request(self, combo: _Combo, leg: Leg) -> OrderRequest:
        cells = self._exchange.market.of(self._exchange.table.index[leg.instrument.id])
        return OrderRequest(
            client_id=_leg_id(combo, leg),
            instrument=leg.instrument.id,
            side=leg.side,
            quantity=leg.ratio * combo.quantity * each(leg.instrument),
            limit=cells[ASK] if leg.side == BUY else cells[BID],
            tif=FOK,
            product="mleg",
            tag=leg.intent,
        )

    def _traded(self, combo: _Combo, leg: Leg) -> VenueOrder | None:
        """The leg's order, if it was sent; an earlier process may have ended between two legs."""
        return self._exchange.by_client_id(_leg_id(combo, leg))

    # ------------------------------------------------------------ over the end of the process
    def _keep(self, combo: _Combo) -> None:
        legs = tuple(_KeptLeg(leg.instrument.id, leg.side, leg.ratio, leg.intent) for leg in combo.legs)
        kept = _KeptCombo(
            combo.id, combo.client_id, legs, combo.quantity, combo.limit, combo.created_at, combo.updated_at,
            combo.status, combo.net,
        )  # fmt: skip
        self._keeper.put(KEPT + combo.id, kept)

    def restore(self, value: Any) -> str:
        """Take up one of an earlier process, and the legs it sent; its client order id."""
        kept = msgspec.convert(value, _KeptCombo)
        table = self._exchange.table
        legs = tuple(Leg(table[table.index[leg.instrument]], leg.side, leg.ratio, leg.intent) for leg in kept.legs)
        combo = _Combo(
            kept.id, kept.client_id, legs, kept.quantity, kept.limit, kept.created_at, kept.updated_at, kept.status,
            kept.net,
        )  # fmt: skip
        sent = [order for leg in legs if (order := self._traded(combo, leg)) is not None]
        self.inside.update(order.id for order in sent)
        self._combos[combo.id] = combo
        if len(sent) == len(legs):
            combo.orders, combo.status = tuple(order.id for order in sent), "filled"
        return combo.client_id

    # ------------------------------------------------------------ looking and cancelling
    def all(self) -> list[tuple[VenueOrder, Json]]:
        """Each as an order to filter by, and as it is written."""
        return [(self._outline(combo), self._shown(combo)) for combo in self._combos.values()]

    def get(self, name: str) -> Json | None:
        """By id."""
        combo = self._combos.get(name)
        return None if combo is None else self._shown(combo)

    def by_client_id(self, name: str) -> Json | None:
        """By client order id."""
        return next((self._shown(combo) for combo in self._combos.values() if combo.client_id == name), None)

    def cancel(self, name: str) -> None:
        """End one that waits.

        Raises
        ------
        Refusal
            It has ended, or is not there.
        """
        combo = self._combos.get(name)
        if combo is None:
            raise not_found("order not found")
        if combo.status in ENDED:
            raise unprocessable(f'order is already in "{combo.status}" state')
        self._end(combo, "canceled")

    def cancel_all(self) -> list[str]:
        """End all that wait; their ids."""
        waiting = [combo for combo in self._combos.values() if combo.status not in ENDED]
        for combo in waiting:
            self._end(combo, "canceled")
        return [combo.id for combo in waiting]

    def _outline(self, combo: _Combo) -> VenueOrder:
        leg = combo.legs[0]
        request = OrderRequest(
            client_id=combo.client_id, instrument=leg.instrument.id, side=leg.side, quantity=combo.quantity
        )
        status = "filled" if combo.status in ENDED else "working"
        return VenueOrder(combo.id, 0, request, status, combo.created_at, combo.updated_at)

    def _shown(self, combo: _Combo) -> Json:
        created, done = rfc3339(combo.created_at), rfc3339(combo.updated_at)
        filled = combo.status == "filled"
        nothing = (
            "filled_at", "expired_at", "canceled_at", "failed_at", "replaced_at", "replaced_by",
            "replaces", "notional", "stop_price", "trail_percent", "trail_price", "hwm", "subtag", "source",
            "position_intent", "ratio_qty",
        )  # fmt: skip
        ends: dict[str, Any] = {"filled": "filled_at", "canceled": "canceled_at", "expired": "expired_at"}
        return {
            **dict.fromkeys(nothing),
            "id": combo.id,
            "client_order_id": combo.client_id,
            "created_at": created,
            "updated_at": done,
            "submitted_at": created,
            "expires_at": self._views.expires(combo.legs[0].instrument, combo.created_at),
            "asset_id": "",
            "symbol": "",
            "asset_class": "",
            "side": "",
            "type": MARKET if combo.limit is None else LIMIT,
            "order_type": MARKET if combo.limit is None else LIMIT,
            "qty": str(combo.quantity),
            "filled_qty": str(combo.quantity if filled else 0),
            "filled_avg_price": text(combo.net) if filled else None,
            "order_class": "mleg",
            "time_in_force": "day",
            "limit_price": None if combo.limit is None else text(combo.limit),
            "status": combo.status,
            "extended_hours": False,
            "legs": [self._leg(combo, leg) for leg in combo.legs],
            **({ends[combo.status]: done} if combo.status in ends else {}),
        }

    def _leg(self, combo: _Combo, leg: Leg) -> Json:
        traded = self._traded(combo, leg) if combo.orders else None
        request = OrderRequest(
            client_id=_leg_id(combo, leg), instrument=leg.instrument.id, side=leg.side, product="mleg", tag=leg.intent,
            quantity=leg.ratio * combo.quantity * each(leg.instrument),
        )  # fmt: skip
        order = traded or VenueOrder(
            f"{combo.id}:{leg.instrument.id}", 0, request, "working", combo.created_at, combo.updated_at
        )
        shown = self._views.order(order) | {"ratio_qty": str(leg.ratio)}
        return shown if traded is not None else shown | {"status": combo.status}


def _leg_id(combo: _Combo, leg: Leg) -> str:
    """Client order id of a leg's order."""
    return wire_id("leg", f"{combo.id}:{leg.instrument.id}")
