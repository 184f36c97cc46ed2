"""Calls of a client who is logged in: reads that may be repeated, and sends that never are."""

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

import msgspec

from angelx.adapters.angelone.answers import Unclear, data_of
from angelx.adapters.angelone.backoff import Backoff
from angelx.adapters.angelone.limits import ORDERS
from angelx.adapters.angelone.session import SECURE, AngelSession
from angelx.adapters.rate_budget import Priority
from angelx.domain.errors import AuthExpired, BrokerUnreachable, OrderFateUnknown, OrderRejected, RateLimited
from angelx.domain.wire import NoAnswer, Response

TRIES: Final = 3
"""Of a read."""
EXITS_WAIT_S: Final = 1.0
"""After "too many requests" exits and look-ups wait this long only: the shortest window. All else waits as told."""
ENTRY_WAIT_S: Final = 2.0
"""Longest wait for a place in the rate windows before an entry is given up; its price would be old."""
EXIT_WAIT_S: Final = 30.0


class Caller:
    """Sends calls of one session.

    Parameters
    ----------
    random
        Of the waits between tries.
    """

    def __init__(self, session: AngelSession, random: Random, *, timeout_s: float) -> None:
        self.session = session
        self._random = random
        self._timeout_s = timeout_s
        self.counts = {"reads": 0, "retries": 0, "sends": 0, "rate_limited": 0, "unclear": 0}

    # ------------------------------------------------------------ reads
    async def read(
        self, method: str, path: str, category: str, body: Mapping[str, Any] | None = None,
        *, priority: Priority = Priority.POLL, within_s: float | None = None,
    ) -> bytes:  # fmt: skip
        """The JSON of the answer's data, empty where there is none. Asked up to `TRIES` times.

        Raises
        ------
        AuthExpired
            And could not log in again.
        RateLimited
            Nobody of the category goes before its wait is over.
        BrokerUnreachable
            No clear answer.
        CallRefused
            A definite no.
        """
        backoff, renewed = Backoff(self._random, first_s=0.2, most_s=2.0), False
        failure: Exception | None = None
        for number in range(TRIES):
            if number:
                self.counts["retries"] += 1
                await asyncio.sleep(backoff.wait_s())
            await self.session.budget.take(category, priority, within_s=within_s)
            self.counts["reads"] += 1
            jwt = self.session.jwt
            try:
                answer = await self._request(method, path, body)
                self.session.budget.arrived(category)
                return data_of(answer)
            except AuthExpired:
                if renewed:
                    raise
                renewed = True
                await self.session.renew(jwt)
            except (NoAnswer, BrokerUnreachable, Unclear) as error:
                failure = error
            except RateLimited as limited:
                self._limited(category, limited)
                raise
        raise BrokerUnreachable(self.session.redacted(f"{path}: {failure or 'no answer'}")) from failure

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> Response:
        return await self.session.transport.request(
            method, SECURE + path, headers=self.session.headers(),
            body=b"" if body is None else msgspec.json.encode(body), timeout_s=self._timeout_s,
        )  # fmt: skip

    # ------------------------------------------------------------ sends
    async def send(
        self, path: str, body: Mapping[str, Any], order: str, *, is_exit: bool, last_look: Callable[[], str] = str
    ) -> bytes:
        """The JSON of the answer's data to one order request, sent once, never again.

        `last_look` is asked when the budget lets it go: a reason keeps it here, as `OrderRejected`.

        Raises
        ------
        BrokerUnreachable
            Nothing left.
        RateLimited, AuthExpired, CallRefused
            It was not done. After `AuthExpired` a new login has been tried already.
        OrderFateUnknown
            It may have been done: look it up.
        """
        priority = Priority.EXIT if is_exit else Priority.ENTRY
        wait_s = EXIT_WAIT_S if is_exit else ENTRY_WAIT_S
        await self.session.budget.take(ORDERS, priority, within_s=wait_s)
        if why := last_look():
            raise OrderRejected(f"barred: {why}")
        self.counts["sends"] += 1
        jwt = self.session.jwt
        try:
            return data_of(await self._request("POST", path, body))
        except (NoAnswer, Unclear) as error:
            self.counts["unclear"] += 1
            raise OrderFateUnknown(order, self.session.redacted(str(error))) from None
        except RateLimited as limited:
            self._limited(ORDERS, limited)
            raise
        except AuthExpired:
            await self._renew_quietly(jwt)
            raise

    async def _renew_quietly(self, jwt: str) -> None:
        """So that the next order finds a session; why it failed will be seen then."""
        try:
            await self.session.renew(jwt)
        except (AuthExpired, BrokerUnreachable, RateLimited):
            return

    def _limited(self, category: str, limited: RateLimited) -> None:
        self.counts["rate_limited"] += 1
        self.session.budget.hold(category, limited.wait_s, exits_s=EXITS_WAIT_S)
