"""Any `WireServer` on a real socket: HTTP and WebSockets by aiohttp."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog
from aiohttp import WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError

from angelx.domain.errors import InputInvalid
from angelx.domain.wire import NoAnswer, Request, Response, Stream, StreamClosed, WireServer

log = structlog.get_logger()

LOST: Final = 1006
"""Close code of a connection that broke: nothing may be sent with it."""
MOST_WAITING: Final = 1000
"""Messages received and not yet taken, before the socket is not read any more."""
LARGEST_BODY: Final = 16 * 2**20
LONGEST_LINE: Final = 64 * 2**10
"""Of a request's first line and of one header: thousands of symbols in a query."""
_SHUTDOWN_S: Final = 0.1


class _OwnFaults(logging.Filter):
    """Lets through what went wrong here: bytes that are no HTTP are answered with 400, and are the sender's matter."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


_LOGGER: Final = logging.getLogger("angelx.http_server")
_LOGGER.addFilter(_OwnFaults())


class HttpServer:
    """Serves a protocol at one address.

    A handler that raises `NoAnswer` breaks the connection without an answer. Closing a stream with code 1006 breaks its
    connection without a closing handshake. Protocol pings are answered here.

    Parameters
    ----------
    port
        0 = any free one.
    """

    def __init__(
        self, server: WireServer, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.server = server
        self.host, self.port = host, port
        self._tls = tls
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Origin, once it was started: `http://127.0.0.1:8081`."""
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        InputInvalid
            The address is taken or not ours.
        """
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_S, max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE, logger=_LOGGER,
        )  # fmt: skip
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port, ssl_context=self._tls)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise InputInvalid(f"cannot listen on {self.host}:{self.port}: {error.strerror or error}") from error
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Break all connections and listen no more; stopping twice is harmless."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    # ------------------------------------------------------------ answering
    async def _answer(self, http: web.Request) -> web.StreamResponse:
        try:
            body = await http.read()
        except web.HTTPRequestEntityTooLarge:
            return web.json_response({"message": "request entity too large"}, status=413)
        except web.RequestPayloadError:
            return web.json_response({"message": "request body cannot be read"}, status=400)
        except ConnectionError:  # It broke in the middle of the body: nobody waits for an answer.
            raise asyncio.CancelledError from None
        headers = {name.lower(): _readable(value) for name, value in http.headers.items()}
        # Some clients put the whole address into the first line, as if a proxy stood between.
        path = http.raw_path if http.raw_path.startswith("/") else http.rel_url.raw_path_qs
        request = Request(http.method, path, headers, body, http.remote or "")
        try:
            if request.headers.get("upgrade", "").lower() == "websocket":
                return await self._serve(http, request)
            response = await self.server.handle(request)
            return _web(response) if response.more is None else await _events(http, response, response.more)
        except NoAnswer:
            if http.transport is not None:
                http.transport.abort()
            raise asyncio.CancelledError from None

    async def _serve(self, http: web.Request, request: Request) -> web.StreamResponse:
        refusal = self.server.admits(request)
        if refusal is not None:
            return _web(refusal)
        socket = web.WebSocketResponse(autoclose=True, autoping=True, compress=False, max_msg_size=LARGEST_BODY)
        await socket.prepare(http)
        stream = ServerStream(socket, http)
        await asyncio.gather(stream.pump(), self._work(request, stream))
        return socket

    async def _work(self, request: Request, stream: "ServerStream") -> None:
        try:
            await self.server.serve(request, stream)
        except StreamClosed:
            await stream.close()
        except NoAnswer:
            await stream.close(LOST)
        else:
            await stream.close()


class ServerStream:
    """The server's end of one WebSocket."""

    def __init__(self, socket: web.WebSocketResponse, http: web.Request) -> None:
        self._socket, self._http = socket, http
        self._waiting: asyncio.Queue[str | bytes | None] = asyncio.Queue(MOST_WAITING)

    async def pump(self) -> None:
        """Read until the end, so that pings are answered while nobody takes messages."""
        while True:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            await self._waiting.put(message.data)
        await self._waiting.put(None)

    async def send(self, message: str | bytes) -> None:
        """As `Stream`."""
        if self._socket.closed:
            raise StreamClosed(self._socket.close_code or LOST)
        try:
            if isinstance(message, str):
                await self._socket.send_str(message)
            else:
                await self._socket.send_bytes(message)
        except ConnectionError as error:
            raise StreamClosed(self._socket.close_code or LOST, str(error)) from error

    async def receive(self) -> str | bytes:
        """As `Stream`."""
        message = await self._waiting.get()
        if message is None:
            self._waiting.put_nowait(None)
            raise StreamClosed(self._socket.close_code or LOST)
        return message

    async def close(self, code: int = 1000) -> None:
        """As `Stream`."""
        if code == LOST:
            self.lose()
        elif not self._socket.closed:
            await self._socket.close(code=code)

    def lose(self) -> None:
        """Break the connection."""
        if self._http.transport is not None:
            self._http.transport.abort()


class PartStream:
    """An answer that goes on, as a stream that only sends."""

    def __init__(self, answer: web.StreamResponse, http: web.Request) -> None:
        self._answer, self._http = answer, http

    async def send(self, message: str | bytes) -> None:
        """As `Stream`."""
        try:
            await self._answer.write(message.encode() if isinstance(message, str) else message)
        except ConnectionError as error:
            raise StreamClosed(LOST, str(error)) from error

    async def receive(self) -> str | bytes:
        """As `Stream`: nothing ever comes."""
        raise StreamClosed(LOST)

    async def close(self, code: int = 1000) -> None:
        """As `Stream`."""
        if code == LOST:
            self.lose()

    def lose(self) -> None:
        """Break the connection."""
        if self._http.transport is not None:
            self._http.transport.abort()


async def _events(
    http: web.Request, response: Response, more: Callable[[Stream], Awaitable[None]]
) -> web.StreamResponse:
    """An answer that goes on until it ends or nobody reads it any more."""
    answer = web.StreamResponse(status=response.status, headers=response.headers)
    await answer.prepare(http)
    stream = PartStream(answer, http)
    with suppress(StreamClosed, ConnectionError):
        await stream.send(response.body)
        await more(stream)
        await answer.write_eof()
    return answer


def _readable(value: str) -> str:
    """A header's value without the surrogates that stand for bytes that are no UTF-8."""
    return value if value.isascii() else value.encode(errors="replace").decode()


def _web(response: Response) -> web.Response:
    return web.Response(status=response.status, headers=response.headers, body=response.body)
