"""Envelopes, error codes and the plain-text refusal of Angel One's gateway."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from angelx.domain.wire import Response

ERRORS: Final[Mapping[str, str]] = {
    "AG8001": "Invalid Token",
    "AG8002": "Token Expired",
    "AG8003": "Token missing",
    "AG8004": "Invalid API Key",
    "AG7002": "Request from an unregistered IP address",
    "AB8050": "Invalid Refresh Token",
    "AB8051": "Refresh Token Expired",
    "AB1000": "Invalid Email Or Password",
    "AB1004": "Something Went Wrong, Please Try After Sometime",
    "AB1005": "User Type Must Be USER",
    "AB1008": "Invalid Order Variety",
    "AB1009": "Symbol Not Found",
    "AB1011": "Client not login",
    "AB1012": "Invalid Product Type",
    "AB1013": "Order not found",
    "AB1015": "Holding not found",
    "AB1016": "Position not found",
    "AB1017": "Position conversion failed",
    "AB1018": "Failed to get symbol details",
    "AB1021": "Too many requests",
    "AB1050": "Invalid totp",
    "AB2000": "Error not specified",
    "AB2001": "Internal Error, Please Try After Sometime",
    "AB2002": "ROBO order is block",
    "AB4008": "ordertag length should be less than 20 characters",
    "AB9000": "GTT internal error",
    "AB9001": "Invalid parameters",
    "AB9013": "Invalid rule id",
}
"""Messages of the codes this server answers with."""

GATEWAY: Final = frozenset({"AG8001", "AG8002", "AG8003", "AG8004", "AG7002"})
"""Answered by the gateway, whose envelope has other key names."""

JSON: Final = {"content-type": "application/json"}
_TOO_FAST: Final = b"Access denied because of exceeding access rate"


class Refusal(Exception):
    """A call is answered with an error code."""

    def __init__(self, code: str, message: str = "") -> None:
        self.code = code
        self.message = message or ERRORS[code]
        super().__init__(f"{code}: {self.message}")


def success(data: Any) -> Response:
    """Both `data: null` for empty lists and `data: ""` are the caller's to choose."""
    return _json({"status": True, "message": "SUCCESS", "errorcode": "", "data": data})


def failure(refusal: Refusal) -> Response:
    """The error envelope: the gateway's key names differ from those of the services behind it."""
    if refusal.code in GATEWAY:
        return _json({"success": False, "message": refusal.message, "errorCode": refusal.code, "data": ""})
    return _json({"status": False, "message": refusal.message, "errorcode": refusal.code, "data": None})


def too_fast() -> Response:
    """A rate limit was hit: HTTP 403 with plain text, no JSON."""
    return Response(403, {"content-type": "text/plain"}, _TOO_FAST)


def not_found(path: str) -> Response:
    """No such call."""
    return Response(404, JSON, msgspec.json.encode({"message": "no Route matched with those values", "path": path}))


def _json(content: Mapping[str, Any]) -> Response:
    return Response(200, JSON, msgspec.json.encode(content))
