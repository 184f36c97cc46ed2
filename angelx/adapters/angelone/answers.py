"""What an answer of Angel One's means: its data, or an error named for the reaction it asks for.

Two envelopes exist (`status`/`errorcode` of the services, `success`/`errorCode` of the gateway); a rate limit is HTTP
403 with plain text; business errors come with HTTP 200. What fits none of these says nothing about what was done.
"""

from typing import Any, Final

import msgspec

from angelx.domain.errors import AuthExpired, BrokerError, OrderRejected, RateLimited
from angelx.domain.text import printable
from angelx.domain.wire import Response

LOG_IN_AGAIN: Final = frozenset(("AG8001", "AG8002", "AG8003", "AB1010", "AB1011", "AB8050", "AB8051"))
TOO_MANY: Final = "AB1021"
SAYS_NOTHING: Final = frozenset(("AB1004", "AB2000", "AB2001"))
"""Something went wrong on their side, before or after the order was taken."""
RATE_WAIT_S: Final = 60.0
_RATE_WORDS: Final = ("exceeding access rate", "too many requests", "rate limit")
_SHOWN: Final = 200
_NOTHING: Final = (b"null", b'""', b"")


class CallRefused(OrderRejected):
    """The broker's definite no: `code` is its own, `message` its words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Unclear(BrokerError):
    """An answer came, and does not say what was done: `why` has what it looked like."""


class _Envelope(msgspec.Struct):
    status: Any = None
    success: Any = None
    message: Any = ""
    errorcode: Any = ""
    error_code: Any = msgspec.field(name="errorCode", default="")
    data: msgspec.Raw = msgspec.Raw(b"null")


_decoder: Final = msgspec.json.Decoder(_Envelope)


def data_of(response: Response) -> bytes:
    """The JSON of `data`; empty where it is null or an empty text.

    Raises
    ------
    AuthExpired
        Log in again.
    RateLimited
        Wait; it was not done.
    CallRefused
        It was not done.
    Unclear
        It may have been done.
    """
    status, body = response.status, response.body
    if status in {403, 429}:
        _check_rate(status, body)
    try:
        envelope = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unclear(f"HTTP {status}, no envelope: {_shown(body)}") from error
    flag = envelope.status if envelope.status is not None else envelope.success
    code = str(envelope.errorcode or envelope.error_code or "")
    if flag is True and status < 300 and not code:
        data = bytes(envelope.data)
        return b"" if data in _NOTHING else data
    raise _error(status, code, _shown(str(envelope.message or "").encode()), is_refusal=flag is False)


def _check_rate(status: int, body: bytes) -> None:
    """A 403 is ambiguous: its text decides."""
    text = body[:_SHOWN].decode("utf-8", "replace").lower()
    if status == 429 or any(words in text for words in _RATE_WORDS):
        raise RateLimited(f"HTTP {status}: {_shown(body)}", RATE_WAIT_S)


def _error(status: int, code: str, message: str, *, is_refusal: bool) -> BrokerError:
    if code in LOG_IN_AGAIN:
        return AuthExpired(f"{code}: {message}")
    if code == TOO_MANY:
        return RateLimited(f"{code}: {message}", RATE_WAIT_S)
    if code in SAYS_NOTHING or status >= 500:
        return Unclear(f"HTTP {status} {code}: {message}")
    if code and is_refusal:
        return CallRefused(code, message)
    if status == 401:
        return AuthExpired(f"HTTP 401: {message}")
    return Unclear(f"HTTP {status} without a code: {message}")


def _shown(body: bytes) -> str:
    """The beginning of a text, printable."""
    return printable(body[:_SHOWN].decode("utf-8", "replace"))
