"""The session with Angel One: TOTP login, renewal before its actual expiry, the new one after midnight in India."""

import asyncio
import base64
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any, Final

import msgspec
import pyotp
import structlog

from angelx.adapters.angelone.answers import CallRefused, Unclear, data_of
from angelx.adapters.angelone.backoff import Backoff
from angelx.adapters.angelone.limits import LOGIN, LOGOUT, RENEW
from angelx.adapters.rate_budget import Priority, RateBudget
from angelx.domain.errors import AuthExpired, BrokerError, BrokerUnreachable, ConfigInvalid, RateLimited
from angelx.domain.ports import Clock
from angelx.domain.scalars import NS
from angelx.domain.wire import NoAnswer, Response, Transport

log = structlog.get_logger()

AUTH: Final = "/rest/auth/angelbroking"
SECURE: Final = "/rest/secure/angelbroking"
MOST_AGE: Final = 240 * 60 * NS
"""A session is renewed after this time at the latest."""
USED: Final = 0.9
"""Share of a token's life after which it is renewed."""
DAY: Final = 86_400 * NS
INDIA_AHEAD: Final = 19_800 * NS
AFTER_MIDNIGHT_S: Final = (5.0, 60.0)
"""Everybody's sessions end at the same moment: between these many seconds later we log in again."""
WRONG_TOTP: Final = "AB1050"
MOST_REFUSALS: Final = 3
"""Log-ins refused in a row before we stop: an account is locked by wrong passwords."""
CLOCK_TOLERANCE: Final = 15 * NS
LOOK_S: Final = 20.0
TIMEOUT_S: Final = 7.0


class AngelLogin(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to log in. Nothing of it is ever shown."""

    client_code: str
    pin: str
    totp_secret: str
    """Base32; pyotp refuses fewer than 112 bits."""
    api_key: str
    local_ip: str = "127.0.0.1"
    public_ip: str = "127.0.0.1"
    mac: str = "00:00:00:00:00:00"

    def __repr__(self) -> str:
        return "AngelLogin(...)"

    def __rich_repr__(self) -> Any:
        """As `repr`."""
        return iter(())


def one_time_passwords(secret: str) -> pyotp.TOTP:
    """What makes them of a secret; spaces, as some show it in groups, are left out.

    Raises
    ------
    ConfigInvalid
        It is no such secret. It is not shown.
    """
    try:
        totp = pyotp.TOTP("".join(secret.split()))
        totp.at(0)
    except ValueError as error:
        raise ConfigInvalid(
            f"the secret of Angel One's one-time passwords cannot be one: {error}; it is base32 (A to Z, 2 to 7), "
            "shown once, when TOTP is enabled, and not the six digits"
        ) from None
    return totp


class _Tokens(msgspec.Struct):
    jwt: str = msgspec.field(name="jwtToken")
    refresh: str = msgspec.field(name="refreshToken")
    feed: str = msgspec.field(name="feedToken")

    def __repr__(self) -> str:
        return "_Tokens(...)"


class _Claims(msgspec.Struct):
    iat: float = 0
    exp: float = 0


class AngelSession:
    """One client code's session, shared by orders and market data.

    Parameters
    ----------
    clock
        Time for one-time passwords and for midnight.
    random
        Of the wait after midnight.
    """

    def __init__(
        self, login: AngelLogin, transport: Transport, budget: RateBudget, clock: Clock, random: Random,
        *, timeout_s: float = TIMEOUT_S,
    ) -> None:  # fmt: skip
        self.budget = budget
        self.clock = clock
        self.transport = transport
        self.on_renewed: list[Callable[[], None]] = []
        """Called after every new set of tokens."""
        self._login = login
        self._totp = one_time_passwords(login.totp_secret)
        self._random = random
        self._timeout_s = timeout_s
        self._tokens: _Tokens | None = None
        self._began_at = self._renew_at = 0
        self._lock = asyncio.Lock()
        self._skew = 0
        """Broker's clock less ours, ns; 0 while ours was good enough to log in."""
        self._refusals = 0

    def __repr__(self) -> str:
        return f"AngelSession(logged_in={self._tokens is not None})"

    @property
    def client_code(self) -> str:
        """Who we are."""
        return self._login.client_code

    @property
    def jwt(self) -> str:
        """The present token, empty before the first login."""
        return "" if self._tokens is None else self._tokens.jwt

    def now(self) -> int:
        """The broker's time as far as we know, ns."""
        return self.clock.now() + self._skew

    # ------------------------------------------------------------ headers
    def headers(self, *, logged_in: bool = True) -> dict[str, str]:
        """Of a REST call."""
        login = self._login
        common = {
            "Content-Type": "application/json", "Accept": "application/json", "X-UserType": "USER",
            "X-SourceID": "WEB", "X-ClientLocalIP": login.local_ip, "X-ClientPublicIP": login.public_ip,
            "X-MACAddress": login.mac, "X-PrivateKey": login.api_key,
        }  # fmt: skip
        return {**common, "Authorization": f"Bearer {self.jwt}"} if logged_in and self.jwt else common

    def stream_headers(self) -> dict[str, str]:
        """Of a WebSocket."""
        feed = "" if self._tokens is None else self._tokens.feed
        return {
            "Authorization": f"Bearer {self.jwt}", "x-api-key": self._login.api_key,
            "x-client-code": self._login.client_code, "x-feed-token": feed,
        }  # fmt: skip

    def redacted(self, text: str) -> str:
        """The text without any secret of ours."""
        login, tokens = self._login, self._tokens
        secrets = [login.pin, login.totp_secret, login.api_key]
        if tokens is not None:
            secrets += [tokens.jwt, tokens.refresh, tokens.feed]
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    # ------------------------------------------------------------ tokens
    async def ensure(self) -> None:
        """Be logged in.

        Raises
        ------
        AuthExpired, BrokerUnreachable, RateLimited
            It could not be done.
        """
        async with self._lock:
            if self._tokens is None:
                await self._log_in()

    async def renew(self, stale: str) -> None:
        """Have other tokens than the stale one; whoever comes second finds it done.

        Raises
        ------
        AuthExpired, BrokerUnreachable, RateLimited
            It could not be done; the old ones stay.
        """
        async with self._lock:
            if self.jwt and self.jwt != stale:
                return
            await self._renew()

    async def _renew(self) -> None:
        tokens = self._tokens
        if tokens is not None and india_date(self.now()) == india_date(self._began_at):
            try:
                body = {"refreshToken": tokens.refresh}
                answer = await self._ask(f"{AUTH}/jwt/v1/generateTokens", RENEW, body, logged_in=True)
                self._take(data_of(answer))
            except (AuthExpired, CallRefused, Unclear):
                log.info("session_refresh_refused", broker="angelone", action="log_in")
            else:
                return
        await self._log_in()

    async def _log_in(self) -> None:
        if self._refusals >= MOST_REFUSALS:
            raise AuthExpired(f"log-in refused {self._refusals} times: correct the credentials and start again")
        try:
            answer = await self._try_login()
            try:
                data = data_of(answer)
            except CallRefused as refused:
                if refused.code != WRONG_TOTP or not self._sets_clock(answer):
                    raise
                data = data_of(await self._try_login())
            self._take(data)
        except CallRefused as refused:
            self._refusals += 1
            raise AuthExpired(self.redacted(f"log-in refused: {refused}")) from None
        except Unclear as unclear:
            raise BrokerUnreachable(self.redacted(f"log-in: {unclear}")) from None
        self._refusals = 0

    async def _try_login(self) -> Response:
        login = self._login
        body = {
            "clientcode": login.client_code, "password": login.pin, "totp": self._totp.at(self.now() // NS),
        }  # fmt: skip
        return await self._ask(f"{AUTH}/user/v1/loginByPassword", LOGIN, body, logged_in=False)

    def _sets_clock(self, answer: Response) -> bool:
        """Whether the broker's clock differs from ours; then one-time passwords follow its."""
        try:
            theirs = int(parsedate_to_datetime(answer.headers.get("date", "")).timestamp()) * NS
        except ValueError:
            return False
        skew = theirs - self.clock.now()
        if abs(skew - self._skew) < CLOCK_TOLERANCE:
            return False
        log.warning("clock_differs", broker="angelone", skew_ms=skew // 1_000_000, action="log_in_by_broker_time")
        self._skew = skew
        return True

    async def _ask(self, path: str, category: str, body: Mapping[str, str], *, logged_in: bool) -> Response:
        await self.budget.take(category, Priority.EXIT)
        try:
            return await self.transport.request(
                "POST", path, headers=self.headers(logged_in=logged_in), body=msgspec.json.encode(body),
                timeout_s=self._timeout_s,
            )  # fmt: skip
        except NoAnswer as error:
            raise BrokerUnreachable(self.redacted(str(error))) from None

    def _take(self, data: bytes) -> None:
        try:
            tokens = msgspec.json.decode(data, type=_Tokens)
        except msgspec.DecodeError as error:
            raise Unclear("tokens are missing in the answer") from error
        now = self.now()
        self._tokens = tokens
        self._began_at = now
        self._renew_at = min(now + min(int(_life(tokens.jwt) * USED), MOST_AGE), self._next_midnight(now))
        for renewed in self.on_renewed:
            renewed()

    def _next_midnight(self, now: int) -> int:
        """When all sessions of the day have ended, and a jitter."""
        midnight = ((now + INDIA_AHEAD) // DAY + 1) * DAY - INDIA_AHEAD
        return midnight + int(self._random.uniform(*AFTER_MIDNIGHT_S) * NS)

    # ------------------------------------------------------------ life
    async def run(self) -> None:
        """Renew in time until cancelled."""
        backoff = Backoff(self._random, first_s=2.0, most_s=120.0)
        while True:
            left = (self._renew_at - self.now()) / NS
            if left > 0:
                await asyncio.sleep(min(left, LOOK_S))
                continue
            try:
                await self.renew(self.jwt)
                backoff.reset()
            except RateLimited as limited:
                await asyncio.sleep(limited.wait_s)
            except BrokerError as error:
                log.warning("session_not_renewed", broker="angelone", why=self.redacted(str(error)), action="retry")
                await asyncio.sleep(backoff.wait_s())

    async def log_out(self) -> None:
        """End this session, as far as that can be done; others go on."""
        tokens, self._tokens = self._tokens, None
        if tokens is None:
            return
        try:
            await self.budget.take(LOGOUT, Priority.EXIT, within_s=self._timeout_s)
            await self.transport.request(
                "POST", f"{SECURE}/user/v1/logout",
                headers={**self.headers(logged_in=False), "Authorization": f"Bearer {tokens.jwt}"},
                body=msgspec.json.encode({"clientcode": self._login.client_code}), timeout_s=self._timeout_s,
            )  # fmt: skip
        except (BrokerError, NoAnswer):
            log.info("log_out_unanswered", broker="angelone", action="none")


def india_date(at: int) -> date:
    """The trading date in India."""
    return datetime.fromtimestamp((at + INDIA_AHEAD) // NS, UTC).date()


def _life(jwt: str) -> int:
    """How long a token lives by its own claims, ns; the most we let it where it does not say."""
    try:
        part = jwt.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)), type=_Claims)
    except (IndexError, ValueError, msgspec.DecodeError):
        return MOST_AGE
    life = claims.exp - claims.iat
    return int(life * NS) if 0 < life < 10**7 else MOST_AGE
