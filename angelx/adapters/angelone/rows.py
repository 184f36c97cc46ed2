"""Lines of the order book, the trade book, positions and funds as the broker sends them, read with suspicion.

Numbers come as numbers or as strings, whatever the documentation says; what is neither is an error that names its key.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from angelx.domain.scalars import BUY, SELL, price_of

Number = str | int | float | None
JSON_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading a text as JSON may raise."""
_LARGEST: Final = 1 << 53
Row = TypeVar("Row")


class OrderRow(msgspec.Struct):
    """One order, in the book or on the stream."""

    orderid: str = ""
    ordertag: str | None = ""
    variety: str = "NORMAL"
    ordertype: str = ""
    producttype: str = ""
    duration: str = ""
    exchange: str = ""
    symboltoken: str | int = ""
    transactiontype: str = ""
    quantity: Number = 0
    price: Number = 0
    triggerprice: Number = 0
    averageprice: Number = 0
    filledshares: Number = 0
    status: str | None = ""
    orderstatus: str | None = ""
    text: str | None = ""
    uniqueorderid: str | None = ""


class TradeRow(msgspec.Struct):
    """One fill."""

    orderid: str
    fillid: str | int
    exchange: str
    tradingsymbol: str
    transactiontype: str
    fillprice: Number
    fillsize: Number
    filltime: str = ""


class PositionRow(msgspec.Struct):
    """One position."""

    exchange: str
    symboltoken: str | int
    producttype: str
    netqty: Number
    buyqty: Number = 0
    sellqty: Number = 0
    cfbuyqty: Number = 0
    cfsellqty: Number = 0
    totalbuyvalue: Number = 0
    totalsellvalue: Number = 0
    netprice: Number = 0


class FundsRow(msgspec.Struct):
    """RMS limits."""

    net: Number
    m2munrealized: Number = 0
    utiliseddebits: Number = 0
    utilisedoptionpremium: Number = 0
    utilisedpayout: Number = 0


class Frame(msgspec.Struct):
    """One message of the order stream."""

    order_status: str = msgspec.field(name="order-status")
    status_code: str | int = msgspec.field(name="status-code", default="200")
    error_message: str | None = msgspec.field(name="error-message", default="")
    order: OrderRow | None = msgspec.field(name="orderData", default=None)


class Placed(msgspec.Struct):
    """The answer to an order that was taken."""

    orderid: str
    uniqueorderid: str | None = ""


def rows_of(data: bytes, kind: type[Row]) -> Sequence[Row]:
    """A list that may be missing altogether.

    Raises
    ------
    ValueError
        It is not such a list.
    """
    try:
        return msgspec.json.decode(data, type=list[kind]) if data else ()  # type: ignore[valid-type]
    except JSON_ERRORS as error:
        raise ValueError(f"{kind.__name__}: {error}") from error


def one_of(data: bytes, kind: type[Row]) -> Row:
    """One object.

    Raises
    ------
    ValueError
        It is none.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except JSON_ERRORS as error:
        raise ValueError(f"{kind.__name__}: {error}") from error


def units(key: str, value: Number) -> int:
    """A whole number, perhaps below 0.

    Raises
    ------
    ValueError
        It is none; the key is named.
    """
    number = _decimal(key, value)
    if number != number.to_integral_value():
        raise ValueError(f"{key}: {value!r} is not whole")
    return int(number)


def money(key: str, value: Number) -> int:
    """Money or a price, 1/10,000. A space after the sign is overlooked (`- 2235.80`).

    Raises
    ------
    ValueError
        It is none; the key is named.
    """
    return price_of(_decimal(key, value))


def _decimal(key: str, value: Number) -> Decimal:
    text = "0" if value is None else str(value).replace(" ", "") or "0"
    try:
        number = Decimal(text)
    except ArithmeticError:
        raise ValueError(f"{key}: {value!r} is no number") from None
    if not number.is_finite() or abs(number) >= _LARGEST:
        raise ValueError(f"{key}: {value!r} is out of range")
    return number


def side_of(text: str) -> int:
    """+1 or -1.

    Raises
    ------
    ValueError
        Neither `BUY` nor `SELL`.
    """
    if text not in {"BUY", "SELL"}:
        raise ValueError(f"transactiontype: {text!r} is neither BUY nor SELL")
    return BUY if text == "BUY" else SELL
