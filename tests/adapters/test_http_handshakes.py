"""WebSockets worked byte by byte as libraries of other languages do it: headers, masks, fragments, pings, ends."""

import asyncio
import base64
import hashlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from angelx.adapters.http_server import HttpServer
from angelx.domain.wire import Request, Response, Stream, StreamClosed

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = base64.b64encode(hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x01\x02\x03\x04"


class Echo:
    """Sends back what it gets, until the other side closes."""

    async def handle(self, request: Request) -> Response:
        return Response(200, {"content-type": "application/json"}, request.body)

    def admits(self, request: Request) -> Response | None:
        return None

    async def serve(self, request: Request, stream: Stream) -> None:
        try:
            while True:
                await stream.send(await stream.receive())
        except StreamClosed:
            return


@asynccontextmanager
async def served() -> AsyncIterator[HttpServer]:
    server = HttpServer(Echo())
    await server.start()
    try:
        async with asyncio.timeout(10):
            yield server
    finally:
        await server.stop()


class Raw:
    """A client that knows bytes only."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = (line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value for name, value in fields}

    def say(self, opcode: int, payload: bytes, *, is_last: bool = True) -> None:
        masked = bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload))
        length = len(payload)
        size = bytes([128 | length]) if length < 126 else bytes([128 | 126]) + struct.pack("!H", length)
        self.writer.write(bytes([(128 if is_last else 0) | opcode]) + size + MASK + masked)

    async def hear(self) -> tuple[int, bytes]:
        first, second = await self.reader.readexactly(2)
        assert first & 0x70 == 0, "no extension was agreed on: no bit of one is set"
        assert second < 128, "a server does not mask"
        length = second if second < 126 else struct.unpack("!H", await self.reader.readexactly(2))[0]
        return first & 15, await self.reader.readexactly(length)


@asynccontextmanager
async def dialled(server: HttpServer, *lines: str, path: str = "/stream") -> AsyncIterator[Raw]:
    raw = Raw(*await asyncio.open_connection(server.host, server.port))
    raw.writer.write("\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode())
    try:
        yield raw
    finally:
        raw.writer.close()


COMMON = ("Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}")
HANDSHAKES = {
    "coder/websocket": ("Host: localhost", "User-Agent: Go-http-client/1.1", "Connection: Upgrade",
        "Content-Type: application/msgpack", "Upgrade: websocket", *COMMON,
        "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover"),
    "gorilla/websocket": ("Host: localhost", "User-Agent: Go-http-client/1.1", "Authorization: jwt",
        "Connection: Upgrade", *COMMON, "Upgrade: websocket", "X-Api-Key: key"),
    "okhttp": ("Upgrade: websocket", "Connection: Upgrade", *COMMON, "Sec-WebSocket-Extensions: permessage-deflate",
        "Host: localhost", "Accept-Encoding: gzip", "User-Agent: okhttp/4.12.0"),
    "nv-websocket-client": ("Host: localhost", "Connection: Upgrade", "Upgrade: websocket", *COMMON,
        "x-client-code: A1"),
    ".NET ClientWebSocket": ("Host: localhost", "Connection: Upgrade", "Upgrade: websocket", *COMMON),
    "WebSocket4Net": ("Host: localhost", "Upgrade: WebSocket", "Connection: Upgrade", *COMMON, "Origin: localhost"),
    "tungstenite": ("Host: localhost", "Connection: Upgrade", "Upgrade: websocket", *COMMON),
    "websocket-client": ("Upgrade: websocket", "Host: localhost", "Origin: http://localhost", *COMMON,
        "Connection: Upgrade"),
    "autobahn": ("User-Agent: AutobahnPython/24.4.2", "Host: localhost", "Upgrade: WebSocket", "Connection: Upgrade",
        "Pragma: no-cache", "Cache-Control: no-cache", *COMMON),
    "ws": (*COMMON, "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "Host: localhost"),
    "Firefox": ("Host: localhost", "Origin: null", "Connection: keep-alive, Upgrade", "Upgrade: websocket", *COMMON,
        "Sec-WebSocket-Extensions: permessage-deflate", "Sec-Fetch-Mode: websocket"),
}  # fmt: skip


@pytest.mark.parametrize("library", HANDSHAKES)
async def test_a_handshake_is_answered_with_nothing_that_was_not_asked_for(library: str) -> None:
    async with served() as server, dialled(server, *HANDSHAKES[library]) as raw:
        status, fields = await raw.head()
        assert (status, fields["sec-websocket-accept"]) == (101, ACCEPT)
        assert fields["upgrade"].lower() == "websocket" and fields["connection"].lower() == "upgrade"
        assert not {"sec-websocket-extensions", "sec-websocket-protocol"} & set(fields)
        raw.say(TEXT, b"hello")
        assert await raw.hear() == (TEXT, b"hello")


async def test_frames_of_every_kind() -> None:
    async with served() as server, dialled(server, *HANDSHAKES["tungstenite"]) as raw:
        await raw.head()
        raw.say(BINARY, b'{"action":"listen"}')
        assert await raw.hear() == (BINARY, b'{"action":"listen"}')
        raw.say(TEXT, b"a" * 4000)
        assert await raw.hear() == (TEXT, b"a" * 4000)
        raw.say(TEXT, b'{"acti', is_last=False)
        raw.say(0, b'on":"au', is_last=False)
        raw.say(PING, b"between")
        raw.say(0, b'th"}')
        assert [await raw.hear(), await raw.hear()] == [(PONG, b"between"), (TEXT, b'{"action":"auth"}')]
        raw.say(PONG, b"nobody asked")
        raw.say(PING, b"")
        assert await raw.hear() == (PONG, b"")


@pytest.mark.parametrize("said", [b"", struct.pack("!H", 1000), struct.pack("!H", 1001) + b"bye"])
async def test_an_end_is_answered_with_an_end(said: bytes) -> None:
    async with served() as server, dialled(server, *HANDSHAKES["okhttp"]) as raw:
        await raw.head()
        raw.say(CLOSE, said)
        opcode, payload = await raw.hear()
        assert opcode == CLOSE and payload[:2] in (said[:2], struct.pack("!H", 1000))
        assert await raw.reader.read() == b""


async def test_who_expects_to_be_told_to_go_on_is_told() -> None:
    """.NET's HttpWebRequest and curl hold a body back until then."""
    async with served() as server:
        raw = Raw(*await asyncio.open_connection(server.host, server.port))
        raw.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await raw.head())[0] == 100
        raw.writer.write(b"{}")
        status, fields = await raw.head()
        assert (status, await raw.reader.readexactly(int(fields["content-length"]))) == (200, b"{}")
        raw.writer.close()
