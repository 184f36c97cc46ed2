"""From an HTTP answer that is not a success to an error named for the reaction (SPEC 7.2)."""

from collections.abc import Mapping
from math import isfinite
from typing import Final

import msgspec

from angelx.adapters.alpaca.credentials import Credentials
from angelx.adapters.alpaca.messages import WireRefusal
from angelx.domain.errors import AuthExpired, BrokerError, BrokerUnreachable, OrderRejected, RateLimited
from angelx.domain.wire import Response

REST_OF_WINDOW_S: Final = 60.0
"""How long to wait after 429 where the answer does not say: the whole of the minute window."""
UNCLEAR: Final = 500
"""From this status on, and with 408, a request may have been carried out."""
DUPLICATE_ID: Final = "duplicate_client_id"

CODES: Final[tuple[tuple[int, str, str], ...]] = (
    (40010001, "client_order_id must be unique", DUPLICATE_ID),
    (40310000, "insufficient qty", "insufficient_position"),
    (40310000, "wash trade", "self_trade"),
    (40310000, "insufficient", "insufficient_funds"),
    (40310000, "uncovered", "uncovered_option"),
    (40310000, "not eligible", "options_level"),
    (40310000, "", "forbidden"),
    (40310100, "", "pattern_day_trading"),
    (40410000, "order", "order_not_found"),
    (40410000, "position", "position_not_found"),
    (40410000, "asset", "unknown_instrument"),
    (40410000, "", "not_found"),
    (42210000, "is already in", "already_ended"),
    (42210000, "unable to replace", "not_replaceable"),
    (42210000, "not tradable", "not_tradable"),
    (42210000, "sold short", "not_shortable"),
    (42210000, "sub-penny", "off_tick"),
    (42210000, "wash trade", "self_trade"),
    (42210000, "", "unprocessable"),
    (40010000, "", "malformed"),
    (40010001, "", "invalid"),
    (42910000, "", "rate_limited"),
    (50010000, "", "internal"),
)
"""(Alpaca's code, part of its message, our stable code), first match counts. Source: protocol notes, section 1."""


def is_unclear(status: int) -> bool:
    """Whether what was asked for may have happened all the same."""
    return status >= UNCLEAR or status == 408 or 300 <= status < 400


def stable_code(refusal: WireRefusal) -> str:
    """Our word for what Alpaca objects to."""
    message = refusal.message.lower()
    for code, part, word in CODES:
        if refusal.code == code and part in message:
            return word
    return f"alpaca_{refusal.code}" if refusal.code else "refused"


def refusal_of(response: Response) -> WireRefusal:
    """The body of an error, or as much of it as can be read."""
    try:
        return msgspec.json.decode(response.body, type=WireRefusal)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return WireRefusal(message=response.body[:200].decode(errors="replace"))


def error_of(response: Response, credentials: Credentials, now: int) -> BrokerError:
    """The error that an answer other than 2xx stands for."""
    refusal = refusal_of(response)
    what = credentials.redact(f"{response.status} {refusal.code or ''} {refusal.message}".replace("  ", " "))
    if response.status == 429:
        return RateLimited(f"rate_limited: {what}", wait_s(response.headers, now))
    if response.status == 401 or (response.status == 403 and not refusal.code):
        return AuthExpired(f"unauthorized: {what}")
    if is_unclear(response.status):
        return BrokerUnreachable(f"no usable answer: {what}")
    return OrderRejected(f"{stable_code(refusal)}: {what}")


def wait_s(headers: Mapping[str, str], now: int) -> float:
    """How long a 429 asks to wait, s: at most a minute, which it is where neither header says."""
    resets_at, retry_s = _seconds(headers, "x-ratelimit-reset"), _seconds(headers, "retry-after")
    if resets_at is None and retry_s is None:
        return REST_OF_WINDOW_S
    until_s = 0.0 if resets_at is None else resets_at - now / 1e9
    return min(max(until_s, retry_s or 0.0, 1.0), REST_OF_WINDOW_S)


def _seconds(headers: Mapping[str, str], name: str) -> float | None:
    try:
        seconds = float(headers[name])
    except (KeyError, ValueError):
        return None
    return seconds if isfinite(seconds) else None
