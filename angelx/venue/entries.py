"""What the exchange keeps of an order, beside what its broker shows of it."""

from typing import Final

from msgspec.structs import replace

from angelx.domain.instruments import Instrument
from angelx.domain.scalars import price_text
from angelx.venue.orders import FOK, IOC, Order
from angelx.venue.requests import (
    CLS,
    GTC,
    KINDS,
    LIMIT,
    MARKET,
    OPG,
    STOP,
    STOP_LIMIT,
    STOPS,
    TIFS,
    TRAILING_STOP,
    Exit,
    OrderRequest,
    Refused,
    VenueOrder,
)

FLIGHT: Final = "flight"
"""Under way to the exchange."""
QUEUED: Final = "queued"
"""Waits for the session."""
HELD: Final = "held"
"""Waits for its entry."""
STOPPED: Final = "stopped"
"""Waits for its trigger."""
BOOK: Final = "book"
GONE: Final = "gone"


class Entry:
    """One order. `order` is the broker's view, the rest the exchange's; with latency they differ."""

    __slots__ = (
        "before", "best", "carried", "children", "is_triggered", "order", "parent", "place", "request", "reserves",
        "rivals", "stop", "ticket", "where",
    )  # fmt: skip

    def __init__(self, order: VenueOrder, place: int) -> None:
        request = order.request
        self.order = order
        self.request = request
        """What the exchange works; changes when a replacement arrives."""
        self.place = place
        self.ticket = Order(order.id, request.instrument, request.side, request.quantity, request.limit, "DAY")
        """What the engine works."""
        self.carried = 0
        """Units of the ticket that the orders it replaced had filled."""
        self.where = FLIGHT
        self.before = order.status
        """What the status is again if a pending cancel or change is denied."""
        self.stop, self.best = request.stop, 0
        self.is_triggered = False
        self.reserves = True
        """False: its rival holds back what both need."""
        self.parent: Entry | None = None
        self.children: tuple[Entry, ...] = ()
        """Exits that wait for this entry."""
        self.rivals: tuple[Entry, ...] = ()
        """Exits of which one cancels the others."""

    @property
    def filled(self) -> int:
        """Units of this order filled so far, at the exchange."""
        return self.ticket.filled - self.carried

    @property
    def left(self) -> int:
        """Units the exchange still works."""
        return self.ticket.quantity - self.ticket.filled

    @property
    def engine_tif(self) -> str:
        """What the engine makes of the time in force once the order may trade."""
        tif = self.request.tif
        return tif if tif in (IOC, FOK) else IOC if tif in (OPG, CLS) else "DAY"


def copy_of(order: VenueOrder) -> VenueOrder:
    """The order as it stands."""
    return replace(order)


def check_form(request: OrderRequest, instrument: Instrument | None) -> None:
    """What is wrong with an order by itself.

    Raises
    ------
    Refused
        `bad_kind`, `bad_tif`, `bad_quantity`, `bad_price`, `bad_stop`, `off_tick`, `unknown_instrument`, `bad_legs`.
    """
    kind, tif = request.kind, request.tif
    if kind not in KINDS:
        raise Refused("bad_kind", f"{kind!r} is none of {', '.join(KINDS)}")
    if tif not in TIFS:
        raise Refused("bad_tif", f"{tif!r} is none of {', '.join(TIFS)}")
    if kind in STOPS and tif not in ("DAY", GTC):
        raise Refused("bad_tif", f"a {kind} order is good for DAY or GTC, was {tif}")
    if request.extended_hours and (kind != LIMIT or tif not in ("DAY", GTC)):
        raise Refused("bad_tif", "only limit orders of the day or GTC work in extended hours")
    if request.side not in (1, -1) or request.quantity <= 0:
        raise Refused("bad_quantity", f"side {request.side}, quantity {request.quantity}")
    if instrument is None:
        raise Refused("unknown_instrument", request.instrument)
    if kind in (LIMIT, STOP_LIMIT) and request.limit <= 0:
        raise Refused("bad_price", f"a {kind} order needs a limit, was {price_text(request.limit)}")
    if kind in (MARKET, STOP, TRAILING_STOP) and request.limit:
        raise Refused("bad_price", f"a {kind} order has no limit, was {price_text(request.limit)}")
    _check_stop(request, instrument)
    _check_exits(request, instrument)


def _check_stop(request: OrderRequest, instrument: Instrument) -> None:
    kind, tick = request.kind, instrument.tick_size
    if kind in (STOP, STOP_LIMIT) and (request.stop <= 0 or request.stop % tick):
        wanted = f"a {kind} order needs a stop in ticks of {price_text(tick)}"
        raise Refused("bad_stop", f"{wanted}, was {price_text(request.stop)}")
    if kind == STOP_LIMIT and (request.limit - request.stop) * request.side < 0:
        limit, stop = price_text(request.limit), price_text(request.stop)
        raise Refused("bad_stop", f"limit {limit} would not trade at the stop {stop}")
    if kind == TRAILING_STOP and ((request.trail > 0) == (request.trail_pct > 0) or request.trail_pct >= 100):
        was = f"{price_text(request.trail)}, {request.trail_pct}"
        raise Refused("bad_stop", f"a trailing stop needs trail or trail_pct, was {was}")
    if kind not in (STOP, STOP_LIMIT) and request.stop:
        raise Refused("bad_stop", f"a {kind} order has no stop, was {price_text(request.stop)}")


def _check_exits(request: OrderRequest, instrument: Instrument) -> None:
    profit, loss, side, tick = request.take_profit, request.stop_loss, request.side, instrument.tick_size
    if profit is None and loss is None:
        if request.is_oco:
            raise Refused("bad_legs", "an OCO order needs a stop-loss")
        return
    if request.tif not in ("DAY", GTC) or request.extended_hours:
        raise Refused("bad_tif", f"orders with exits are good for DAY or GTC, was {request.tif}")
    if profit is not None and (profit.limit <= 0 or profit.limit % tick or profit.stop):
        wanted = f"a take-profit needs a limit in ticks of {price_text(tick)} and no stop"
        raise Refused("bad_legs", f"{wanted}, was {_leg_text(profit)}")
    if loss is not None and (loss.stop <= 0 or loss.stop % tick or loss.limit % tick or loss.limit < 0):
        raise Refused("bad_legs", f"a stop-loss needs a stop in ticks of {price_text(tick)}, was {_leg_text(loss)}")
    if request.is_oco:
        if profit is not None or loss is None or request.kind != LIMIT:
            raise Refused("bad_legs", "an OCO order is a limit order with a stop-loss and nothing else")
        if (request.limit - loss.stop) * side >= 0:
            raise _not_beyond(request.limit, loss.stop)
    elif profit is not None and loss is not None and (profit.limit - loss.stop) * side <= 0:
        raise _not_beyond(profit.limit, loss.stop)


def _not_beyond(profit: int, stop: int) -> Refused:
    return Refused("bad_legs", f"take-profit {price_text(profit)} is not beyond the stop {price_text(stop)}")


def _leg_text(leg: Exit) -> str:
    return f"limit {price_text(leg.limit)}, stop {price_text(leg.stop)}"


def exit_request(entry: OrderRequest, *, limit: int, stop: int, client_id: str, side: int) -> OrderRequest:
    """A leg that closes what an entry opened."""
    return replace(
        entry,
        client_id=client_id,
        side=side,
        kind=STOP_LIMIT if stop and limit else STOP if stop else LIMIT,
        limit=limit,
        stop=stop,
        trail=0,
        trail_pct=0.0,
        take_profit=None,
        stop_loss=None,
        is_oco=False,
    )
