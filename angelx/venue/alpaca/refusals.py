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
NO_METHOD: Final = 40510000
UNPROCESSABLE: Final = 42210000
TOO_MANY: Final = 42910000


class Refusal(AngelxError):
    """An answer other than 2xx."""

    def __init__(self, status: int, code: int | None, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = ({} if code is None else {"code": code}) | {"message": message} | more

    def of_data(self) -> "Refusal":
        """As market data has it: what makes no sense is 400 there, without a code."""
        return Refusal(400, None, self.body["message"]) if self.body.get("code") == INVALID else self

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


_INVALID: Final = frozenset(("bad_kind", "bad_tif", "bad_quantity", "bad_price", "bad_stop", "bad_legs", "off_lot"))
_WORDED: Final = {
    "duplicate_order": (422, INVALID, "client_order_id must be unique"),
    "unknown_instrument": (404, NOT_FOUND, "asset not found for {symbol}"),
    "unknown_order": (404, NOT_FOUND, "order not found"),
    "not_replaceable": (422, UNPROCESSABLE, "unable to replace order in current state"),
    "not_tradable": (422, UNPROCESSABLE, 'asset "{symbol}" is not tradable'),
    "off_tick": (
        422, UNPROCESSABLE, "invalid limit_price. sub-penny increment does not fulfill minimum pricing criteria",
    ),
    "over_freeze": (422, INVALID, "qty is more than one order may have"),
    "no_quote": (422, UNPROCESSABLE, "no available quote for {symbol}"),
    "market_closed": (422, UNPROCESSABLE, "orders of this kind are only accepted during market hours"),
    "insufficient_funds": (403, FORBIDDEN, "insufficient buying power"),
    "insufficient_position": (403, FORBIDDEN, "insufficient qty available for order"),
}  # fmt: skip


def of_exchange(refused: Refused, symbol: str) -> Refusal:
    """The exchange's refusal in Alpaca's words; what depends on money, positions or a state the caller adds."""
    if refused.code in _INVALID:
        return invalid(refused.detail)
    status, code, message = _WORDED.get(refused.code, (422, UNPROCESSABLE, str(refused)))
    return Refusal(status, code, message.replace("{symbol}", symbol))


def wash_trade(existing: str, kind: str) -> Refusal:
    """An order of the same account waits on the other side."""
    return Refusal(
        403,
        FORBIDDEN,
        "potential wash trade detected. use complex orders",
        existing_order_id=existing,
        reject_reason=f"opposite side {kind} order exists",
    )
