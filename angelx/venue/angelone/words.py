"""Orders and fills of the exchange in Angel One's words: rows of the order book, the trade book, the order stream."""

import hashlib
import uuid
from functools import lru_cache
from typing import Any, Final

import msgspec

from angelx.domain.scalars import SCALE
from angelx.venue.angelone.contracts import Contract
from angelx.venue.angelone.day import india_text
from angelx.venue.requests import Fill, VenueOrder

VARIETIES: Final = ("NORMAL", "STOPLOSS", "AMO", "ROBO")
ORDER_TYPES: Final = {
    "MARKET": "market", "LIMIT": "limit", "STOPLOSS_LIMIT": "stop_limit", "STOPLOSS_MARKET": "stop",
}  # fmt: skip
KINDS: Final = {kind: name for name, kind in ORDER_TYPES.items()}
CASH_PRODUCTS: Final = ("DELIVERY", "INTRADAY", "MARGIN", "BO")
DERIVATIVE_PRODUCTS: Final = ("CARRYFORWARD", "INTRADAY", "BO")
DURATIONS: Final = ("DAY", "IOC")

OPEN: Final = "AB01"
CANCELLED: Final = "AB02"
REJECTED: Final = "AB03"
MODIFIED: Final = "AB04"
COMPLETE: Final = "AB05"
AMO_RECEIVED: Final = "AB06"
AMO_CANCELLED: Final = "AB07"
AMO_MODIFIED: Final = "AB08"
OPEN_PENDING: Final = "AB09"
TRIGGER_PENDING: Final = "AB10"
MODIFY_PENDING: Final = "AB11"

STATUSES: Final = {
    "pending": ("open pending", OPEN_PENDING),
    "accepted": ("after market order req received", AMO_RECEIVED),
    "held": ("open pending", OPEN_PENDING),
    "trigger_pending": ("trigger pending", TRIGGER_PENDING),
    "working": ("open", OPEN),
    "partially_filled": ("open", OPEN),
    "pending_cancel": ("cancel pending", ""),
    "pending_replace": ("modify pending", MODIFY_PENDING),
    "filled": ("complete", COMPLETE),
    "cancelled": ("cancelled", CANCELLED),
    "expired": ("cancelled", CANCELLED),
    "rejected": ("rejected", REJECTED),
    "replaced": ("modified", MODIFIED),
}
"""Text and stream code of the exchange's statuses."""

_STAMP: Final = "%d-%b-%Y %H:%M:%S"
_STEP_NS: Final = 1_000_000
"""An order that is under way was received in its first ms, is validated in the second, then goes to the exchange."""
_FIRST_FILL_ID: Final = 10_000_000


class Words(msgspec.Struct, frozen=True):
    """What an order said that the exchange does not read; kept in its `product`."""

    variety: str
    product: str
    disclosed: int = 0


def products(contract: Contract) -> tuple[str, ...]:
    """Which a contract can be traded as."""
    return DERIVATIVE_PRODUCTS if contract.option_type else CASH_PRODUCTS


def words_of(order: VenueOrder) -> Words:
    """What the sender said; of an order that did not come through this server, the least that fits."""
    product = order.request.product
    return msgspec.json.decode(product, type=Words) if product.startswith("{") else Words("NORMAL", product)


def order_id(order: VenueOrder) -> str:
    """15 digits: the date and a serial number."""
    return _ids(order.created_at, order.number)[0]


def unique_id(order: VenueOrder) -> str:
    """A UUID that depends on nothing but the order."""
    return _ids(order.created_at, order.number)[1]


@lru_cache(maxsize=1 << 16)
def _ids(created_at: int, number: int) -> tuple[str, str, str]:
    """Order id, unique id, and the exchange's id of an order."""
    name = f"{india_text(created_at, '%y%m%d')}{number:09d}"
    at_exchange = 10**15 + int.from_bytes(_digest(f"exchange {name}")[:6], "big") % 10**15
    return name, str(uuid.UUID(bytes=_digest(f"unique {name}"), version=4)), str(at_exchange)


def fill_id(fill: Fill) -> str:
    """Digits of an execution."""
    return str(_FIRST_FILL_ID + int("".join(filter(str.isdecimal, fill.execution)) or "0"))


def rupees(price: int) -> float:
    """A JSON number."""
    return price / SCALE


def rupee_text(amount: int) -> str:
    """`123.45`: how positions and funds write money."""
    sign, cents = ("-" if amount < 0 else ""), (abs(amount) + 50) // 100
    return f"{sign}{cents // 100}.{cents % 100:02d}"


def average(notional: int, quantity: int) -> int:
    """Price of several fills, 1/10,000, halves up."""
    return (2 * notional + quantity) // (2 * quantity) if quantity else 0


def status_of(order: VenueOrder, *, is_modified: bool, now: int) -> tuple[str, str]:
    """`status` and `orderstatus`."""
    text = STATUSES[order.status][0]
    if order.status == "pending":
        age = now - order.created_at
        if age < 2 * _STEP_NS:
            text = "put order req received" if age < _STEP_NS else "validation pending"
    if order.status == "cancelled" and words_of(order).variety == "AMO" and not order.filled:
        text = "cancelled after market order"
    return ("modified" if is_modified and order.status == "trigger_pending" else text), text


def order_row(
    order: VenueOrder, contract: Contract | None, last: Fill | None, *, is_modified: bool, now: int
) -> dict[str, Any]:
    """One line of the order book."""
    request, words = order.request, words_of(order)
    status, order_status = status_of(order, is_modified=is_modified, now=now)
    instrument = None if contract is None else contract.instrument
    left = request.quantity - order.filled
    is_over = not order.is_working
    stamp = india_text(order.updated_at or order.created_at, _STAMP)
    return {
        "variety": words.variety,
        "ordertype": KINDS.get(request.kind, request.kind.upper()),
        "producttype": words.product,
        "duration": request.tif,
        "price": rupees(request.limit),
        "triggerprice": rupees(request.stop),
        "quantity": str(request.quantity),
        "disclosedquantity": str(words.disclosed),
        "squareoff": 0.0,
        "stoploss": 0.0,
        "trailingstoploss": 0.0,
        "tradingsymbol": contract.symbol if contract else request.instrument,
        "transactiontype": "BUY" if request.side > 0 else "SELL",
        "exchange": contract.exchange if contract else "",
        "symboltoken": contract.token if contract else "",
        "ordertag": request.tag,
        "instrumenttype": contract.type if contract else "",
        "strikeprice": rupees(instrument.strike) if instrument and instrument.strike else -1.0,
        "optiontype": contract.option_type if contract else "",
        "expirydate": contract.expiry if contract else "",
        "lotsize": str(instrument.lot_size if instrument else 1),
        "cancelsize": str(left if is_over and order.status != "rejected" else 0),
        "averageprice": rupees(average(order.notional, order.filled)),
        "filledshares": str(order.filled),
        "unfilledshares": str(left if order.is_working else 0),
        "orderid": order_id(order),
        "text": _text(order),
        "status": status,
        "orderstatus": order_status,
        "updatetime": stamp,
        "exchtime": stamp,
        "exchorderupdatetime": stamp,
        "fillid": "" if last is None else fill_id(last),
        "filltime": "" if last is None else india_text(last.at, "%H:%M:%S"),
        "parentorderid": "",
        "uniqueorderid": unique_id(order),
        "exchangeorderid": ""
        if order.status in {"pending", "accepted", "rejected"}
        else _ids(order.created_at, order.number)[2],
    }


def trade_row(fill: Fill, order: VenueOrder, contract: Contract) -> dict[str, Any]:
    """One line of the trade book."""
    instrument = contract.instrument
    return {
        "exchange": contract.exchange,
        "producttype": words_of(order).product,
        "tradingsymbol": contract.symbol,
        "instrumenttype": contract.type,
        "symbolgroup": "XX" if contract.option_type else "EQ",
        "strikeprice": rupees(instrument.strike) if instrument.strike else -1.0,
        "optiontype": contract.option_type,
        "expirydate": contract.expiry,
        "marketlot": str(instrument.lot_size),
        "precision": "2",
        "multiplier": "-1",
        "tradevalue": rupees(fill.price * fill.quantity),
        "transactiontype": "BUY" if fill.side > 0 else "SELL",
        "fillprice": rupees(fill.price),
        "fillsize": str(fill.quantity),
        "orderid": order_id(order),
        "fillid": fill_id(fill),
        "filltime": india_text(fill.at, "%H:%M:%S"),
    }


def frame(client_code: str, code: str, data: dict[str, Any]) -> str:
    """One message of the order stream."""
    return msgspec.json.encode(
        {"user-id": client_code, "status-code": "200", "order-status": code, "error-message": "", "orderData": data}
    ).decode()


EMPTY_ORDER: Final[dict[str, Any]] = {
    **dict.fromkeys(
        (
            "variety", "ordertype", "ordertag", "producttype", "duration", "tradingsymbol", "transactiontype",
            "exchange", "symboltoken", "instrumenttype", "optiontype", "expirydate", "quantity", "disclosedquantity",
            "lotsize", "cancelsize", "filledshares", "unfilledshares", "orderid", "text", "status", "orderstatus",
            "updatetime", "exchtime", "exchorderupdatetime", "fillid", "filltime", "parentorderid", "uniqueorderid",
        ),
        "",
    ),
    **dict.fromkeys(
        ("price", "triggerprice", "squareoff", "stoploss", "trailingstoploss", "strikeprice", "averageprice"), 0.0
    ),
}  # fmt: skip
"""What the first message after connecting carries."""


def _text(order: VenueOrder) -> str:
    if order.status == "expired":
        return "Order expired at the end of the session"
    return f"{order.code}: {order.detail}" if order.code and order.status == "rejected" else order.detail


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
