"""One request as its handler sees it, and the routes that lead there."""

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, unquote
from zoneinfo import ZoneInfo

import msgspec

from angelx.domain.scalars import NS
from angelx.domain.timestamps import instant_of
from angelx.domain.wire import Request
from angelx.venue.alpaca.refusals import NO_METHOD, Refusal, invalid, malformed, not_found

NEW_YORK: Final = ZoneInfo("America/New_York")
A_DAY: Final = "2026-01-05"
ELSEWHERE: Final = {
    "/v1beta3/crypto": "crypto", "/v1beta2/crypto": "crypto", "/v1beta1/crypto": "crypto", "/v2/wallets": "crypto",
    "/v1beta1/forex": "currencies", "/v1beta1/fixed_income": "bonds", "/v1beta1/indices": "indices",
    "/v1beta1/logos": "logos", "/v1/locates": "locates", "/v2/tokenization": "tokens",
}  # fmt: skip
"""What Alpaca has and this venue has not, by the beginning of the path."""
_SLASH_INSIDE: Final = re.compile("%2F", re.IGNORECASE)
Answer = tuple[int, Any]
"""Status and body; a body of `None` is empty."""


class Call:
    """A request: path parts, query, body."""

    __slots__ = ("_said", "body", "method", "path", "query", "where")

    def __init__(self, request: Request) -> None:
        self.method = request.method.upper()
        self.path = plain_path(request)
        self._said = parse_qsl(request.path.partition("?")[2], keep_blank_values=True)
        self.query = dict(self._said)
        self.body = request.body
        self.where: tuple[str, ...] = ()
        """What the route's pattern caught."""

    def text(self, name: str, default: str = "") -> str:
        """A parameter."""
        return self.query.get(name, default)

    def names(self, name: str) -> list[str]:
        """A list parted by commas, or said several times."""
        return [part for key, value in self._said if key == name for part in value.split(",") if part]

    def flag(self, name: str) -> bool:
        """True or false; Python's spelling too."""
        return self.query.get(name, "").lower() == "true"

    def count(self, name: str, default: int, most: int) -> int:
        """A number from 1.

        Raises
        ------
        Refusal
            It is none.
        """
        value = self.query.get(name, "")
        if not value:
            return default
        if not (value.isdecimal() and 1 <= int(value) <= most):
            raise invalid(f"invalid {name}: must be 1 to {most}")
        return int(value)

    def instant(self, name: str, default: int) -> int:
        """A time or a date, ns.

        Raises
        ------
        Refusal
            It is none.
        """
        value = self.query.get(name, "")
        if not value:
            return default
        try:
            return instant_of(f"{value}T00:00:00Z" if len(value) == len(A_DAY) else value.replace(" ", "+"))
        except ValueError as error:
            raise invalid(f"invalid {name}: {value[:40]}") from error

    def edge(self, name: str, default: int, *, is_end: bool = False) -> int:
        """As `instant`, but a date is New York's: its first nanosecond, or its last."""
        value = self.query.get(name, "")
        if len(value) != len(A_DAY):
            return self.instant(name, default)
        day = self.day(name, date.min)
        try:
            begins = datetime.combine(day + timedelta(days=is_end), time(), NEW_YORK)
        except OverflowError as error:
            raise invalid(f"invalid {name}: {value}") from error
        return int(begins.timestamp()) * NS - is_end

    def day(self, name: str, default: date) -> date:
        """A date.

        Raises
        ------
        Refusal
            It is none.
        """
        value = self.query.get(name, "")
        if not value:
            return default
        try:
            return date.fromisoformat(value[:10])
        except ValueError as error:
            raise invalid(f"invalid {name}: {value[:40]}") from error

    def json(self) -> dict[str, Any]:
        """The body as an object.

        Raises
        ------
        Refusal
            It is none.
        """
        try:
            found = msgspec.json.decode(self.body or b"{}")
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise malformed() from error
        if not isinstance(found, dict):
            raise malformed()
        return found


def plain_path(request: Request) -> str:
    """Where a request goes, its escapes resolved; a slash inside a part stays `%2F`."""
    return unquote(_SLASH_INSIDE.sub("%252F", request.route))


Handler = Callable[[Call], Answer]


class Routes:
    """Which handler answers which path."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, pattern: str, handler: Handler) -> None:
        """`{}` in the pattern catches one part of the path."""
        self._routes.append((method, re.compile(re.escape(pattern).replace(r"\{\}", "([^/]+)")), handler))

    def find(self, call: Call) -> Handler:
        """The handler of a call, which is told what its path says. HEAD is a GET whose body is not sent.

        Raises
        ------
        Refusal
            Nothing is there, or for other methods only.
        """
        asked = "GET" if call.method == "HEAD" else call.method
        others = False
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(call.path)
            if match is not None and method == asked:
                call.where = tuple(part.replace("%2F", "/") for part in match.groups())
                return handler
            others = others or match is not None
        if others:
            raise Refusal(405, NO_METHOD, "method not allowed")
        what = next((name for begins, name in ELSEWHERE.items() if call.path.startswith(begins)), None)
        raise not_found("endpoint not found." if what is None else f"this venue has no {what}")
