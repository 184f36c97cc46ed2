"""A client's way to one host over real sockets, by aiohttp: pooled connections, exact errors, no retries."""

import asyncio
import ssl
from collections.abc import Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from aiohttp import WSMsgType
from yarl import URL

from angelx.domain.errors import AuthExpired, BrokerUnreachable, RateLimited
from angelx.domain.wire import NoAnswer, Response, StreamClosed

MOST_CONNECTIONS: Final = 16
KEEP_S: Final = 15.0
"""An idle connection is dropped before a server might."""
LARGEST_MESSAGE: Final = 16 * 2**20
MOST_URLS: Final = 64
_CLOSE_S: Final = 2.0
_SKIPPED: Final = ("Content-Type", "User-Agent", "Accept-Encoding")
"""Nothing is added to a request that the protocol did not ask for."""


class HttpTransport:
    """A `Transport` to one origin.

    Parameters
    ----------
    origin
        `https://apiconnect.angelone.in`, `http://127.0.0.1:8081`: scheme, host, port. `ws` and `wss` mean the same.
    tls
        Whom to trust; the system's authorities by default.
    """

    def __init__(self, origin: str, *, tls: ssl.SSLContext | None = None, connections: int = MOST_CONNECTIONS) -> None:
        self._origin = origin.rstrip("/").replace("wss://", "https://").replace("ws://", "http://")
        self._tls = tls
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[str, URL] = {}

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> Response:
        """As `Transport`."""
        flight = SimpleNamespace(left=False)
        try:
            async with self._open_session().request(
                method,
                self._url(path),
                headers=headers,
                data=body or None,
                allow_redirects=False,
                skip_auto_headers=_SKIPPED,
                timeout=_timeout(timeout_s),
                trace_request_ctx=flight,
            ) as answer:
                content = await answer.read()
                return Response(answer.status, {name.lower(): value for name, value in answer.headers.items()}, content)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            why = f"{method} {_bare(path)}: {_text(error, timeout_s)}"
            raise (NoAnswer(why) if flight.left else BrokerUnreachable(why)) from error

    async def open(self, path: str, *, headers: Mapping[str, str], timeout_s: float) -> "ClientStream":
        """As `Transport`."""
        where = _bare(path)
        try:
            async with asyncio.timeout(timeout_s):
                socket = await self._open_session().ws_connect(
                    URL(self._origin + path, encoded=True),
                    headers=headers,
                    autoping=True,
                    max_msg_size=LARGEST_MESSAGE,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            why = f"{where}: the stream was refused with HTTP {error.status}"
            if error.status in (401, 403):
                raise AuthExpired(why) from error
            if error.status == 429:
                raise RateLimited(why, _wait_s(error.headers)) from error
            raise BrokerUnreachable(why) from error
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise BrokerUnreachable(f"{where}: no stream: {_text(error, timeout_s)}") from error
        return ClientStream(socket)

    async def close(self) -> None:
        """As `Transport`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _url(self, path: str) -> URL:
        """Parsed once where it is asked for again and again."""
        url = self._urls.get(path)
        if url is None:
            url = URL(self._origin + path, encoded=True)
            if len(self._urls) < MOST_URLS and "?" not in path:
                self._urls[path] = url
        return url

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_has_left)
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, keepalive_timeout=KEEP_S, ssl=self._tls or True
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[trace],
            )
            session._retry_connection = False  # noqa: SLF001 - else aiohttp sends GET and DELETE twice by itself
            self._session = session
        return self._session


class ClientStream:
    """The client's end of one WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, message: str | bytes) -> None:
        """As `Stream`."""
        if self._socket.closed:
            raise StreamClosed(self._socket.close_code or 1006)
        try:
            if isinstance(message, str):
                await self._socket.send_str(message)
            else:
                await self._socket.send_bytes(message)
        except (ConnectionError, aiohttp.ClientError) as error:
            raise StreamClosed(self._socket.close_code or 1006, str(error)) from error

    async def receive(self) -> str | bytes:
        """As `Stream`."""
        message = await self._socket.receive()
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            data: str | bytes = message.data
            return data
        why = str(message.data) if message.type is WSMsgType.ERROR else str(message.extra or "")
        raise StreamClosed(self._socket.close_code or 1006, why)

    async def close(self, code: int = 1000) -> None:
        """As `Stream`."""
        await self._socket.close(code=code)


async def _has_left(session: aiohttp.ClientSession, context: Any, what: Any) -> None:
    """The head of the request is handed to the socket: from now on nobody knows how far it comes."""
    if context.trace_request_ctx is not None:
        context.trace_request_ctx.left = True


@cache
def _timeout(total_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s)


def _bare(path: str) -> str:
    """The path without its query, which may hold secrets."""
    return path.partition("?")[0]


def _text(error: BaseException, timeout_s: float) -> str:
    return f"no answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else str(error) or repr(error)


def _wait_s(headers: Mapping[str, str] | None) -> float:
    """What `Retry-After` says in seconds; 60 where it says nothing."""
    text = headers.get("Retry-After", "") if headers else ""
    return float(text) if text.isdecimal() else 60.0
