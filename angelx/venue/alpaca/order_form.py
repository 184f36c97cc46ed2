"""A posted order: read leniently (numbers as text or as numbers), checked by Alpaca's rules, put into the exchange's
words.
"""

from collections.abc import Iterable
from decimal import Decimal
from math import gcd
from typing import Final, TypeVar

import msgspec

from angelx.domain.instruments import Instrument, Kind
from angelx.domain.scalars import BUY, SCALE, SELL, price_of
from angelx.venue.alpaca.names import Symbols, each, plain
from angelx.venue.alpaca.refusals import FORBIDDEN, Refusal, invalid, malformed, not_found, unprocessable
from angelx.venue.requests import LIMIT, MARKET, STOP, STOP_LIMIT, TRAILING_STOP, Exit, OrderRequest

TIFS: Final = {"day": "DAY", "gtc": "GTC", "opg": "OPG", "cls": "CLS", "ioc": "IOC", "fok": "FOK"}
TYPES: Final = (MARKET, LIMIT, STOP, STOP_LIMIT, TRAILING_STOP)
CLASSES: Final = ("", "simple", "bracket", "oco", "oto", "mleg")
INTENTS: Final = {"buy_to_open": BUY, "buy_to_close": BUY, "sell_to_open": SELL, "sell_to_close": SELL}
LONGEST_CLIENT_ID: Final = 128
MOST: Final = Decimal(10) ** 9
Number = Decimal | None
Form = TypeVar("Form", bound=msgspec.Struct)


class TakeProfit(msgspec.Struct):
    """One exit of a bracket."""

    limit_price: Number = None


class StopLoss(msgspec.Struct):
    """The other exit of a bracket."""

    stop_price: Number = None
    limit_price: Number = None


class LegForm(msgspec.Struct):
    """One leg of a multi-leg order."""

    symbol: str
    ratio_qty: Decimal
    side: str | None = None
    position_intent: str | None = None


class OrderForm(msgspec.Struct):
    """What comes in the body."""

    symbol: str | None = None
    qty: Number = None
    notional: Number = None
    side: str | None = None
    type: str | None = None
    time_in_force: str | None = None
    limit_price: Number = None
    stop_price: Number = None
    trail_price: Number = None
    trail_percent: Number = None
    extended_hours: bool | None = None
    client_order_id: str | None = None
    order_class: str | None = None
    position_intent: str | None = None
    take_profit: TakeProfit | None = None
    stop_loss: StopLoss | None = None
    legs: list[LegForm] | None = None


class Leg(msgspec.Struct, frozen=True):
    """A leg of a multi-leg order, checked."""

    instrument: Instrument
    side: int
    ratio: int
    intent: str


def read(body: bytes, kind: type[Form]) -> Form:
    """The body of a POST or a PATCH.

    Raises
    ------
    Refusal
        It is no JSON, or a value has the wrong type.
    """
    try:
        return said(msgspec.json.decode(body, type=kind))
    except msgspec.ValidationError as error:
        if not body.lstrip().startswith(b"{"):
            raise malformed() from error
        raise invalid(f"invalid value: {error}") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise malformed() from error


def said(form: Form) -> Form:
    """A form without its empty texts: Go's client sends every field, empty where nothing is wanted."""
    empty = [name for name in form.__struct_fields__ if getattr(form, name) == ""]
    return msgspec.structs.replace(form, **dict.fromkeys(empty)) if empty else form


def request_of(form: OrderForm, symbols: Symbols, client_id: str, leg_ids: tuple[str, str]) -> OrderRequest:
    """What the exchange is asked.

    Raises
    ------
    Refusal
        The order breaks a rule that does not depend on money, positions or the market.
    """
    check_common(form)
    if not form.symbol:
        raise invalid("symbol is required")
    instrument = symbols.by_symbol.get(form.symbol)
    if instrument is None:  # The words of a live account: Alpaca-API issue 184.
        raise invalid(f"could not find us_equity '{form.symbol[:40]}'")
    side = side_of(form.side, form.position_intent)
    if form.notional is not None or (form.qty is not None and form.qty != int(form.qty)):
        raise Refusal(403, FORBIDDEN, f'asset "{form.symbol}" is not fractionable')
    if form.qty is None:
        raise invalid("qty or notional is required")
    _check_type(form, instrument)
    order_class = form.order_class or ""
    profit, loss = _exits(form, order_class)
    limit = form.limit_price
    if order_class == "oco":
        limit = profit.limit_price if isinstance(profit, TakeProfit) else limit
    return OrderRequest(
        client_id=client_id,
        instrument=instrument.id,
        side=side,
        quantity=int(form.qty) * each(instrument),
        kind=form.type or "",
        limit=price(limit, "limit_price", instrument) if limit is not None else 0,
        stop=price(form.stop_price, "stop_price", instrument) if form.stop_price is not None else 0,
        trail=price(form.trail_price, "trail_price", instrument) if form.trail_price is not None else 0,
        trail_pct=float(form.trail_percent) if form.trail_percent is not None else 0.0,
        tif=TIFS[form.time_in_force or ""],
        extended_hours=bool(form.extended_hours),
        product=order_class,
        tag=form.position_intent or "",
        take_profit=_take_profit(profit, leg_ids[0], instrument) if order_class != "oco" else None,
        stop_loss=_stop_loss(loss, leg_ids[1], instrument),
        is_oco=order_class == "oco",
    )


def check_common(form: OrderForm) -> None:
    """Rules of every order, several legs or one.

    Raises
    ------
    Refusal
        It breaks one.
    """
    if form.type not in TYPES:
        raise invalid(f"invalid order type: {form.type!r}")
    if form.time_in_force not in TIFS:
        raise invalid(f"invalid time_in_force: {form.time_in_force!r}")
    if (form.order_class or "") not in CLASSES:
        raise invalid(f"invalid order_class: {form.order_class!r}")
    if form.client_order_id is not None and len(form.client_order_id) > LONGEST_CLIENT_ID:
        raise invalid(f"client_order_id must be no more than {LONGEST_CLIENT_ID} characters")
    if form.qty is not None and form.notional is not None:
        raise invalid("only one of qty or notional is accepted")
    for name, value in (("qty", form.qty), ("notional", form.notional)):
        if value is not None and (not value.is_finite() or not 0 < value < MOST):
            raise invalid(f"{name} must be > 0")


def side_of(side: str | None, intent: str | None) -> int:
    """Buy or sell, from either field.

    Raises
    ------
    Refusal
        Neither says, or they disagree.
    """
    if intent is not None and intent not in INTENTS:
        raise invalid(f"invalid position_intent: {intent!r}")
    if side is None and intent is not None:
        return INTENTS[intent]
    if side not in ("buy", "sell"):
        raise invalid(f"invalid side: {side!r}")
    wanted = BUY if side == "buy" else SELL
    if intent is not None and INTENTS[intent] != wanted:
        raise invalid(f"position_intent {intent} does not go with side {side}")
    return wanted


def legs_of(form: OrderForm, symbols: Symbols) -> tuple[Leg, ...]:
    """The legs of a multi-leg order.

    Raises
    ------
    Refusal
        They break a rule.
    """
    check_common(form)
    if form.type not in (MARKET, LIMIT) or form.time_in_force != "day" or form.extended_hours:
        raise invalid("mleg orders are market or limit orders of the day")
    if form.qty is None or form.qty != int(form.qty):
        raise invalid("qty is required and must be whole for mleg orders")
    if form.type == LIMIT and form.limit_price is None:
        raise invalid("limit orders require a limit price")
    if form.limit_price is not None and (not form.limit_price.is_finite() or abs(form.limit_price) > MOST):
        raise invalid("invalid limit price")
    legs = form.legs or []
    if not 2 <= len(legs) <= 4 or len({leg.symbol for leg in legs}) != len(legs):
        raise invalid("mleg orders have 2 to 4 legs of different contracts")
    found = []
    for leg in legs:
        instrument = symbols.by_symbol.get(leg.symbol)
        if instrument is None or instrument.kind is not Kind.OPTION:
            raise not_found(f"asset not found for {leg.symbol}")
        if not leg.ratio_qty.is_finite() or leg.ratio_qty != int(leg.ratio_qty) or not 0 < leg.ratio_qty < MOST:
            raise invalid("ratio_qty must be a whole number > 0")
        side = side_of(leg.side or None, leg.position_intent or None)
        found.append(Leg(instrument, side, int(leg.ratio_qty), leg.position_intent or ""))
    if gcd(*(leg.ratio for leg in found)) != 1:
        raise invalid("leg ratios must be in their lowest terms")
    return tuple(found)


def price(value: Decimal, name: str, instrument: Instrument) -> int:
    """A price in 1/10,000.

    Raises
    ------
    Refusal
        It is not positive, or finer than two decimals (four below a dollar).
    """
    if not value.is_finite() or not 0 < value < MOST:
        raise invalid(f"{name} must be > 0")
    scaled = price_of(value)
    finest = instrument.tick_size if instrument.kind is Kind.OPTION else 100 if scaled >= SCALE else 1
    if value * SCALE != scaled or scaled % finest:
        raise unprocessable(
            f"invalid {name} {plain(value)}. sub-penny increment does not fulfill minimum pricing criteria"
        )
    return scaled


def _check_type(form: OrderForm, instrument: Instrument) -> None:
    kind, tif = form.type or "", form.time_in_force
    spoken = kind.replace("_", " ")
    is_simple = (form.order_class or "simple") == "simple"
    percent = form.trail_percent
    has_limit, has_stop = form.limit_price is not None, form.stop_price is not None
    objections = (
        (kind in (LIMIT, STOP_LIMIT) and not has_limit and form.order_class != "oco",
         f"{spoken} orders require a limit price"),
        (kind in (STOP, STOP_LIMIT) and not has_stop, f"{spoken} orders require a stop price"),
        (kind == TRAILING_STOP and (form.trail_price is None) == (percent is None),
         "trailing stop orders require either trail_price or trail_percent"),
        (kind not in (LIMIT, STOP_LIMIT) and has_limit, f"{spoken} orders must not have a limit price"),
        (kind not in (STOP, STOP_LIMIT) and has_stop, f"{spoken} orders must not have a stop price"),
        (percent is not None and not (percent.is_finite() and 0 < percent < 100), "trail_percent must be > 0"),
        (kind == TRAILING_STOP and (tif not in ("day", "gtc") or not is_simple),
         "trailing stop orders must be simple day or gtc orders"),
        (form.extended_hours and kind != LIMIT, 'only type="limit" is allowed for extended hours orders'),
        (form.extended_hours and tif not in ("day", "gtc"), "extended hours orders must be DAY or GTC limit orders"),
    )  # fmt: skip
    _refuse_first(objections)
    if instrument.kind is Kind.OPTION:
        _refuse_first(
            (
                (form.extended_hours, "extended hours orders are not allowed for options"),
                (kind == TRAILING_STOP or tif not in ("day", "gtc"), f"invalid order type {kind} {tif} for options"),
                (not is_simple, "complex orders are not supported for options trading"),
            )
        )


def _refuse_first(objections: Iterable[tuple[bool | None, str]]) -> None:
    for is_so, message in objections:
        if is_so:
            raise invalid(message)


def _exits(form: OrderForm, order_class: str) -> tuple[TakeProfit | None, StopLoss | None]:
    profit, loss = form.take_profit, form.stop_loss
    has_profit = profit is not None and profit.limit_price is not None
    has_loss = loss is not None and loss.stop_price is not None
    if order_class in ("", "simple"):
        _refuse_first([(profit is not None or loss is not None, "take_profit and stop_loss need an order_class")])
        return None, None
    is_oco = order_class == "oco"
    has_target = has_profit or (is_oco and form.limit_price is not None)
    _refuse_first(
        (
            (form.time_in_force not in ("day", "gtc"), f"{order_class} orders must be day or gtc"),
            (form.extended_hours, f"extended hours are not supported for {order_class} orders"),
            (order_class != "oto" and not has_target, f"{order_class} orders require take_profit.limit_price"),
            (order_class != "oto" and not has_loss, f"{order_class} orders require stop_loss.stop_price"),
            (order_class == "oto" and has_profit == has_loss, "oto orders require one of take_profit and stop_loss"),
            (is_oco and form.type != LIMIT, "oco orders must be limit orders"),
        )
    )
    return profit if has_profit else None, loss if has_loss else None


def _take_profit(profit: TakeProfit | None, client_id: str, instrument: Instrument) -> Exit | None:
    if profit is None or profit.limit_price is None:
        return None
    return Exit(limit=price(profit.limit_price, "take_profit.limit_price", instrument), client_id=client_id)


def _stop_loss(loss: StopLoss | None, client_id: str, instrument: Instrument) -> Exit | None:
    if loss is None or loss.stop_price is None:
        return None
    limit = price(loss.limit_price, "stop_loss.limit_price", instrument) if loss.limit_price is not None else 0
    return Exit(stop=price(loss.stop_price, "stop_loss.stop_price", instrument), limit=limit, client_id=client_id)
