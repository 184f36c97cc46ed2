"""Requests that no client of ours sends: they are answered, and the server lives on."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from angelx.adapters.http_server import LARGEST_BODY, LONGEST_LINE, HttpServer
from angelx.domain.wire import Request, Response, Stream


class Echo:
    """Says what came."""

    async def handle(self, request: Request) -> Response:
        said = f"{request.method} {len(request.path)} {len(request.body)}"
        return Response(200, {"content-type": "text/plain"}, said.encode())

    def admits(self, request: Request) -> Response | None:
        return Response(404, {}, b"")

    async def serve(self, request: Request, stream: Stream) -> None: ...


@asynccontextmanager
async def served() -> AsyncIterator[HttpServer]:
    server = HttpServer(Echo())
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def answers(server: HttpServer, request: bytes, count: int = 1) -> list[tuple[int, bytes]]:
    """Statuses and bodies of so many answers on one connection."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(request)
    found = []
    async with asyncio.timeout(10):
        for _ in range(count):
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split()[1])
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            is_empty = request.startswith(b"HEAD")
            found.append((status, b"" if is_empty else await reader.readexactly(int(fields[b"content-length"]))))
    writer.close()
    return found


def post(body: bytes, *headers: str) -> bytes:
    lines = ["POST / HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with served() as server:
        wanted = b"".join(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * count) for count in range(3))
        found = await answers(server, wanted, 3)
        assert [body for _, body in found] == [b"GET 1 0", b"GET 2 0", b"GET 3 0"]


async def test_thousands_of_symbols_fit_into_a_query() -> None:
    async with served() as server:
        path = "/" + "x" * (LONGEST_LINE - 100)
        assert await answers(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == [
            (200, f"GET {len(path)} 0".encode())
        ]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(gzip.compress(b"hello"), "Content-Encoding: gzip"), 200),
        (post(b"no gzip", "Content-Encoding: gzip"), 400),
        (post(b"x" * (LARGEST_BODY + 1)), 413),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 200),
    ],
    ids=["gzip", "bad gzip", "huge", "head", "chunks"],
)
async def test_bodies_are_read_or_refused(request_: bytes, status: int) -> None:
    async with served() as server:
        ((found, body),) = await answers(server, request_)
        assert found == status
        if status >= 400:
            assert body.startswith(b'{"message": ')
        assert (await answers(server, post(b"abc"))) == [(200, b"POST 1 3")]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * (LONGEST_LINE + 1) + b"\r\n\r\n", 400),
        (post(b"no gzip", "Content-Encoding: gzip"), 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nKey: \xff\xe9\r\n\r\n", 200),
    ],
    ids=["no host", "no HTTP", "a long header", "bad gzip", "no UTF-8"],
)
async def test_a_senders_mistake_is_answered_and_leaves_no_traceback(
    request_: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with served() as server:
        ((found, _),) = await answers(server, request_)
        assert found == status
    assert not caplog.records


async def test_headers_reach_the_server_as_text_that_can_be_written(caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that are no UTF-8 come as surrogates: whoever encodes them, as to compare keys, would fail."""
    async with served() as server:
        seen: list[str] = []

        async def handle(request: Request) -> Response:
            seen.append(request.headers["key"])
            return Response(200, {}, request.headers["key"].encode())

        server.server.handle = handle  # type: ignore[method-assign]
        ((found, _),) = await answers(server, b"GET / HTTP/1.1\r\nHost: x\r\nKey: \xff\xe9\r\n\r\n")
        assert (found, seen) == (200, ["??"])
        ((_, body),) = await answers(server, "GET / HTTP/1.1\r\nHost: x\r\nKey: é\r\n\r\n".encode())
        assert body == "é".encode()
    assert not caplog.records


async def test_who_goes_in_the_middle_of_a_body_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as server:
        _, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nabc")
        await writer.drain()
        await answers(server, post(b"abc"))
        writer.transport.abort()
        await answers(server, post(b"abc"))
    assert not caplog.records


async def test_the_first_line_may_have_the_whole_address() -> None:
    """As clients write it that think of a proxy; HTTP/1.0 needs no host."""
    async with served() as server:
        whole = f"GET {server.url}/ab?c=%2F HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        assert await answers(server, whole) == [(200, b"GET 9 0")]
        assert await answers(server, b"GET /ab HTTP/1.0\r\n\r\n") == [(200, b"GET 3 0")]
