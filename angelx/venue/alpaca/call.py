"""One request as its handler sees it, and the routes that lead there."""

import re
from collections.abc import Callable
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from angelx.domain.timestamps import instant_of
from angelx.domain.wire import Request
from angelx.venue.alpaca.refusals import invalid, malformed

Answer = tuple[int, Any]
"""Status and body; a body of `None` is empty."""


class Call:
    """A request: path parts, query, body."""

    __slots__ = ("body", "method", "path", "query", "where")

    def __init__(self, request: Request) -> None:
        parts = urlsplit(request.path)
        self.method = request.method.upper()
        self.path = unquote(parts.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.body = request.body
        self.where: tuple[str, ...] = ()
        """What the route's pattern caught."""

    def text(self, name: str, default: str = "") -> str:
        """A parameter."""
        return self.query.get(name, default)

    def names(self, name: str) -> list[str]:
        """A list parted by commas."""
        return [part for part in self.query.get(name, "").split(",") if part]

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
            return instant_of(f"{value}T00:00:00Z" if len(value) == len("2026-01-05") else value.replace(" ", "+"))
        except ValueError as error:
            raise invalid(f"invalid {name}: {value[:40]}") from error

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


Handler = Callable[[Call], Answer]


class Routes:
    """Which handler answers which path."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, pattern: str, handler: Handler) -> None:
        """`{}` in the pattern catches one part of the path."""
        self._routes.append((method, re.compile(re.escape(pattern).replace(r"\{\}", "([^/]+)")), handler))

    def find(self, call: Call) -> Handler | None:
        """The handler of a call, which is told what its path says; `None` where nothing is there."""
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(call.path) if method == call.method else None
            if match is not None:
                call.where = match.groups()
                return handler
        return None
