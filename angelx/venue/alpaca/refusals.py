"""Refusals as Alpaca words them: HTTP status, eight-digit code, message, and what else the body says."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from angelx.domain.errors import AngelxError
from angelx.domain.wire import Response
from angelx.venue.requests import Refused

MALFORMED: Final = 40010000
INVALID: Final = 40010001
FORBIDDEN: Final = 40310000
NOT_FOUND: Final = 40410000
UNPROCESSABLE: Final = 42210000
TOO_MANY: Final = 42910000
INTERNAL: Final = 50010000


class Refusal(AngelxError):
    """An answer other than 2xx."""

    def __init__(self, status: int, code: int | None, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = ({} if code is None else {"code": code}) | {"message": message} | more

    def response(self, headers: Mapping[str, str]) -> Response:
        """As the wire has it."""
        return answer(self.status, self.body, headers)


def answer(status: int, body: Any, headers: Mapping[str, str] = {}) -> Response:
    """An answer of JSON; `None` is an empty one."""
    data = b"" if body is None else msgspec.json.encode(body)
    return Response(status, {"content-type": "application/json; charset=UTF-8", **headers}, data)


def unauthorized() -> Refusal:
    """The layer that checks credentials sends no code."""
    return Refusal(401, None, "unauthorized.")


def forbidden() -> Refusal:
    """Credentials are missing."""
    return Refusal(403, None, "forbidden.")


def malformed(message: str = "request body format is invalid") -> Refusal:
    """It cannot be read."""
    return Refusal(400, MALFORMED, message)


def invalid(message: str) -> Refusal:
    """It can be read, and makes no sense."""
    return Refusal(422, INVALID, message)


def unprocessable(message: str, **more: Any) -> Refusal:
    """It makes sense, and cannot be done."""
    return Refusal(422, UNPROCESSABLE, message, **more)


def not_found(message: str) -> Refusal:
    """There is no such thing."""
    return Refusal(404, NOT_FOUND, message)


_INVALID: Final = frozenset(
    ("bad_kind", "bad_tif", "bad_quantity", "bad_price", "bad_stop", "bad_legs", "off_lot", "over_freeze")
)
_STATES: Final = {"cancelled": "canceled"}


def of_exchange(refused: Refused, symbol: str, state: str = "") -> Refusal:
    """The exchange's refusal in Alpaca's words; those that depend on money or positions are worded by the caller.

    Parameters
    ----------
    state
        Of the order it is about.
    """
    code, detail = refused.code, refused.detail
    if code == "duplicate_order":
        return invalid("client_order_id must be unique")
    if code in _INVALID:
        return invalid(detail)
    if code == "unknown_instrument":
        return not_found(f"asset not found for {symbol}")
    if code == "unknown_order":
        return not_found("order not found")
    if code == "order_ended":
        return unprocessable(f'order is already in "{_STATES.get(state, state)}" state')
    if code == "not_replaceable":
        return unprocessable("unable to replace order in current state")
    if code == "not_tradable":
        return unprocessable(f'asset "{symbol}" is not tradable')
    if code == "off_tick":
        return unprocessable(
            f"invalid limit_price. sub-penny increment does not fulfill minimum pricing criteria: {detail}"
        )
    if code == "insufficient_funds":
        return Refusal(403, FORBIDDEN, "insufficient buying power")
    if code == "insufficient_position":
        return Refusal(403, FORBIDDEN, "insufficient qty available for order")
    if code == "self_trade":
        return wash_trade(refused.order)
    return unprocessable(f"{code}: {detail}")


def wash_trade(existing: str) -> Refusal:
    """An order of the same account waits on the other side."""
    return Refusal(
        403,
        FORBIDDEN,
        "potential wash trade detected. use complex orders",
        existing_order_id=existing,
        reject_reason="opposite side limit order exists",
    )
