"""Who may do what until when: TOTP (RFC 6238), tokens, refresh, the end of all sessions at midnight in India."""

import base64
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from random import Random
from typing import Any, Final

import msgspec
import pyotp

from angelx.domain.scalars import NS
from angelx.venue.angelone.replies import Refusal

INDIA: Final = timezone(timedelta(hours=5, minutes=30))
JWT_LIFE: Final = 24 * 3600 * NS
REFRESH_LIFE: Final = 15 * 24 * 3600 * NS
TOTP_STEPS: Final = 1
"""Steps of 30 s that a password may be early or late."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """One client and one API key of the venue's; secrets are not shown."""

    client_code: str
    pin: str
    totp_secret: str
    """Base32, at least 26 characters (128 bits)."""
    api_key: str
    name: str = "ANGELX PAPER"
    static_ips: frozenset[str] = frozenset()
    """Addresses orders may come from; empty = from anywhere."""

    def __repr__(self) -> str:
        return f"Credentials(client_code={self.client_code!r}, ...)"


class Session(msgspec.Struct):
    """A set of tokens: those of a login, or newer ones that were asked for with its refresh token."""

    client_code: str
    login: str
    """The JWT of the login: what belongs together ends together."""
    jwt: str
    refresh: str
    feed: str
    began_at: int
    ends_at: int
    """When the JWT expires, ns."""


class Logins:
    """Sessions of all clients.

    Parameters
    ----------
    jwt_life
        How long a token lives, ns; never past midnight in India.
    """

    def __init__(self, credentials: Credentials, random: Random, *, jwt_life: int = JWT_LIFE) -> None:
        self.credentials = credentials
        self.jwt_life = jwt_life
        self._random = random
        self._key = random.randbytes(32)
        self._by_jwt: dict[str, Session] = {}
        self._by_refresh: dict[str, Session] = {}

    # ------------------------------------------------------------ log in, refresh, log out
    def log_in(self, client_code: str, pin: str, totp: str, now: int, wall: int) -> Session:
        """A new session; earlier ones go on. The one-time password is of either time.

        Raises
        ------
        Refusal
            AB1000 or AB1050.
        """
        known = self.credentials
        is_known = hmac.compare_digest(client_code.encode(), known.client_code.encode())
        if not (hmac.compare_digest(pin.encode(), known.pin.encode()) and is_known):
            raise Refusal("AB1000")
        if not (self._is_totp(totp, now) or self._is_totp(totp, wall)):
            raise Refusal("AB1050")
        return self._open(client_code, now)

    def _is_totp(self, totp: str, now: int) -> bool:
        code, seconds = pyotp.TOTP(self.credentials.totp_secret), now // NS
        steps = range(-TOTP_STEPS, TOTP_STEPS + 1)
        return any(hmac.compare_digest(code.at(seconds + 30 * step).encode(), totp.encode()) for step in steps)

    def renew(self, refresh: str, now: int) -> Session:
        """New tokens for a refresh token. The older ones go on until their time: the official client's example asks for
        new tokens at once, and then opens its streams with the first ones.

        Raises
        ------
        Refusal
            AB8050 or AB8051.
        """
        old = self._by_refresh.get(refresh)
        if old is None:
            raise Refusal("AB8050")
        if now >= old.began_at + REFRESH_LIFE or india_date(now) != india_date(old.began_at):
            raise Refusal("AB8051")
        return self._open(old.client_code, now, old.login)

    def log_out(self, session: Session) -> None:
        """All tokens of the session's login are worth nothing any more."""
        for known in (self._by_jwt, self._by_refresh):
            for token in [token for token, one in known.items() if one.login == session.login]:
                del known[token]

    # ------------------------------------------------------------ who is asking
    def session_of(self, authorization: str, api_key: str, now: int) -> Session:
        """The session of a REST call's headers.

        Raises
        ------
        Refusal
            AG8001 to AG8004.
        """
        if api_key != self.credentials.api_key:
            raise Refusal("AG8004")
        jwt = bearer(authorization)
        if not jwt:
            raise Refusal("AG8003")
        session = self._by_jwt.get(jwt)
        if session is None:
            raise Refusal("AG8001")
        if not self.is_alive(session, now):
            raise Refusal("AG8002")
        return session

    def of_stream(self, headers: Mapping[str, str], query: Mapping[str, str], now: int) -> Session | None:
        """The session a WebSocket belongs to: a JWT is enough, or a feed token with its client code, by header or, from
        browsers, by query; an API key that is sent has to be ours.
        """
        key = headers.get("x-api-key") or query.get("apiKey") or self.credentials.api_key
        feed = headers.get("x-feed-token") or query.get("feedToken", "")
        client_code = headers.get("x-client-code") or query.get("clientCode", "")
        session = self._by_jwt.get(bearer(headers.get("authorization", "")))
        if session is None and feed:
            mine = (one for one in self._by_jwt.values() if one.feed == feed and one.client_code == client_code)
            session = next(mine, None)
        is_good = session is not None and self.is_alive(session, now) and key == self.credentials.api_key
        return session if is_good else None

    def of_token(self, token: str, now: int) -> Session | None:
        """The session of a token of either kind: all that the old streams ask for."""
        text = bearer(token)
        session = next((one for one in self._by_jwt.values() if text and text in (one.jwt, one.feed)), None)
        return session if session is not None and self.is_alive(session, now) else None

    def is_alive(self, session: Session, now: int) -> bool:
        """Whether its tokens are good now."""
        is_known = session.jwt in self._by_jwt
        return is_known and now < session.ends_at and india_date(now) == india_date(session.began_at)

    @staticmethod
    def is_of_today(session: Session, now: int) -> bool:
        """Whether a stream of the session may go on: it was let in once, and lives until midnight in India."""
        return india_date(now) == india_date(session.began_at)

    def void_all(self) -> None:
        """No JWT is known any more (fault menu); refresh tokens still are."""
        self._by_jwt.clear()

    # ------------------------------------------------------------ tokens
    def _open(self, client_code: str, now: int, login: str = "") -> Session:
        ends_at = now + self.jwt_life
        jwt = self._token(client_code, "trade_access_token", now, ends_at)
        refresh = self._token(client_code, "trade_refresh_token", now, now + REFRESH_LIFE)
        feed = self._token(client_code, "feed_token", now, ends_at)
        session = Session(client_code, login or jwt, jwt, refresh, feed, now, ends_at)
        self._by_jwt[jwt] = self._by_refresh[refresh] = session
        return session

    def _token(self, client_code: str, kind: str, now: int, ends_at: int) -> str:
        claims = {
            "username": client_code, "roles": 0, "usertype": "USER", "token_type": kind, "iss": "angelx-venue",
            "iat": now // NS, "exp": ends_at // NS, "jti": str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
        }  # fmt: skip
        signed = f"{_part({'alg': 'HS512', 'typ': 'JWT'})}.{_part(claims)}"
        signature = hmac.digest(self._key, signed.encode(), hashlib.sha512)
        return f"{signed}.{_text(signature)}"


def bearer(authorization: str) -> str:
    """The token of an `Authorization` header, with or without its scheme (the SDK's feed client may send either)."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else authorization.strip()


def india_date(at: int) -> date:
    """Date in India."""
    return datetime.fromtimestamp(at // NS, INDIA).date()


def _part(content: dict[str, Any]) -> str:
    return _text(msgspec.json.encode(content))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
