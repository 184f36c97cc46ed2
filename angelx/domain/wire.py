"""What a protocol needs of a network, so that the same client and server run on sockets and in memory.

A client is given a `Transport`; a server is a `WireServer`. Adapters of sockets (aiohttp) and of memory (virtual time)
join the two; neither side knows which.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from angelx.domain.errors import AngelxError


class NoAnswer(AngelxError):
    """The request left, wholly or in part, and no complete answer came: what it asked for may have happened."""


class StreamClosed(AngelxError):
    """The stream is over: `code` is the WebSocket close code, 1006 where the connection was lost."""

    def __init__(self, code: int, why: str = "") -> None:
        super().__init__(f"stream closed ({code}) {why}".rstrip())
        self.code = code


class Request(msgspec.Struct, frozen=True):
    """One HTTP request. Header names are lower case."""

    method: str
    path: str
    """With the query, without the host."""
    headers: Mapping[str, str]
    body: bytes = b""
    peer: str = "127.0.0.1"
    """Address it came from."""

    @property
    def route(self) -> str:
        """The path without its query, and without slashes that are too many, as gateways read it."""
        return "/" + "/".join(part for part in self.path.partition("?")[0].split("/") if part)


class Response(msgspec.Struct, frozen=True):
    """One HTTP answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    more: "Callable[[Stream], Awaitable[None]] | None" = None
    """Sends what comes after the body, part by part, as it happens (server-sent events), until the stream is closed."""


class Stream(Protocol):
    """One WebSocket, seen from either end. Text is `str`, binary is `bytes`."""

    async def send(self, message: str | bytes) -> None:
        """Send one message.

        Raises
        ------
        StreamClosed
            It is over.
        """
        ...

    async def receive(self) -> str | bytes:
        """The next message; raises `StreamClosed` when there will be none."""
        ...

    async def close(self, code: int = 1000) -> None:
        """End it; closing twice is harmless."""
        ...


class Transport(Protocol):
    """A client's way to one host."""

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> Response:
        """Ask once, never again by itself.

        Raises
        ------
        BrokerUnreachable
            Nothing left this machine.
        NoAnswer
            It left and no complete answer came within `timeout_s`.
        """
        ...

    async def open(self, path: str, *, headers: Mapping[str, str], timeout_s: float) -> Stream:
        """Open a WebSocket.

        Raises
        ------
        BrokerUnreachable
            No connection.
        AuthExpired
            The server answered 401 or 403.
        RateLimited
            The server answered 429.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class WireServer(Protocol):
    """The server's end of a protocol: no sockets, no clock of its own."""

    async def handle(self, request: Request) -> Response:
        """Answer one HTTP request."""
        ...

    async def serve(self, request: Request, stream: Stream) -> None:
        """Work one WebSocket until it closes; returning closes it."""
        ...

    def admits(self, request: Request) -> Response | None:
        """Before a WebSocket is opened: `None` lets it in, a response refuses it."""
        ...
