"""Requests to one of Alpaca's hosts: budgets first, one attempt for what changes something, several for what reads."""

import asyncio
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec

from angelx.adapters.alpaca.credentials import Credentials
from angelx.adapters.alpaca.refusals import error_of, is_unclear
from angelx.adapters.rate_budget import Priority, RateBudget
from angelx.bus.clock import PacingClock
from angelx.domain.errors import BrokerUnreachable, OrderFateUnknown, OrderRejected, RateLimited
from angelx.domain.scalars import NS
from angelx.domain.wire import NoAnswer, Response, Transport
from angelx.orders.windows import MINUTE, Limit

CATEGORY: Final = "requests"
PER_MINUTE: Final = 200
"""Requests a minute of one account (docs/alpaca.md)."""
RESERVE: Final = 40
"""Of which entries and polls leave this many to exits and look-ups."""
EXITS_WAIT_S: Final = 1.0
"""After "too many requests" exits, cancels and look-ups wait this long only; all else waits as told."""
ATTEMPTS: Final = 4
"""Of a read."""
FIRST_PAUSE_S: Final = 0.25

Answer = TypeVar("Answer")
Query = dict[str, str | int]


def budget(clock: PacingClock | None = None) -> RateBudget:
    """The sliding window of one account, in the broker's time: everybody who uses these credentials shares it."""
    return RateBudget({CATEGORY: [Limit(PER_MINUTE, MINUTE)]}, reserve={CATEGORY: RESERVE}, clock=clock)


class Rest:
    """One host, one account.

    Parameters
    ----------
    now
        Nanoseconds since the epoch.
    timeout_s
        Longest wait for one answer.
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        budget: RateBudget,
        *,
        now: Callable[[], int],
        random: Random,
        timeout_s: float = 5.0,
    ) -> None:
        self._transport, self._credentials, self._budget = transport, credentials, budget
        self._now, self._random, self._timeout_s = now, random, timeout_s
        self.offset_ns = 0
        """Their clock less ours by the last answer's `Date`, ns: a sanity check, it has a resolution of a second."""

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        order: str,
        priority: Priority,
        within_s: float = 5.0,
        last_look: Callable[[], str] = str,
    ) -> Response:
        """Ask once for a change.

        `last_look` is asked when the budget lets it go: a reason keeps it here, as `OrderRejected`.

        Raises
        ------
        BrokerUnreachable, RateLimited, AuthExpired, OrderRejected
            It was not done.
        OrderFateUnknown
            It may have been done.
        """
        await self._budget.take(CATEGORY, priority, within_s=within_s)
        if why := last_look():
            raise OrderRejected(f"barred: {why}")
        data = b"" if body is None else msgspec.json.encode(body)
        headers = self._credentials.headers() | ({"content-type": "application/json"} if data else {})
        try:
            response = await self._transport.request(
                method, path, headers=headers, body=data, timeout_s=self._timeout_s
            )
        except NoAnswer as error:
            raise OrderFateUnknown(order, self._credentials.redact(str(error))) from error
        self._note(response)
        if 200 <= response.status < 300:
            return response
        if is_unclear(response.status):
            raise OrderFateUnknown(order, str(error_of(response, self._credentials, self._now())))
        raise self._error(response)

    async def get(
        self, path: str, query: Query | None = None, *, answer: type[Answer], priority: Priority = Priority.LOOKUP
    ) -> Answer:
        """Read; what fails on the way is asked again, a few times.

        Raises
        ------
        BrokerUnreachable
            No usable answer.
        RateLimited, AuthExpired, OrderRejected
            As they say; a 404 is `OrderRejected`.
        """
        if query:
            path = f"{path}?{urlencode(query)}"
        for attempt in range(ATTEMPTS):
            try:
                return await self._read(path, answer, priority)
            except BrokerUnreachable:
                if attempt + 1 == ATTEMPTS:
                    raise
                await asyncio.sleep(FIRST_PAUSE_S * 2**attempt * (0.5 + self._random.random()))
        raise AssertionError("unreachable")

    async def _read(self, path: str, answer: type[Answer], priority: Priority) -> Answer:
        await self._budget.take(CATEGORY, priority)
        try:
            response = await self._transport.request(
                "GET", path, headers=self._credentials.headers(), timeout_s=self._timeout_s
            )
        except NoAnswer as error:
            raise BrokerUnreachable(self._credentials.redact(str(error))) from error
        self._note(response)
        if not 200 <= response.status < 300:
            raise self._error(response)
        try:
            return msgspec.json.decode(response.body, type=answer)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            where = path.partition("?")[0]
            raise BrokerUnreachable(f"{where} answered what cannot be read: {error}") from error

    def _error(self, response: Response) -> Exception:
        error = error_of(response, self._credentials, self._now())
        if isinstance(error, RateLimited):
            self._budget.hold(CATEGORY, error.wait_s, exits_s=EXITS_WAIT_S)
        return error

    def _note(self, response: Response) -> None:
        try:
            theirs = int(parsedate_to_datetime(response.headers["date"]).timestamp()) * NS
        except (KeyError, ValueError, OverflowError):
            return
        self.offset_ns = theirs + NS // 2 - self._now()
