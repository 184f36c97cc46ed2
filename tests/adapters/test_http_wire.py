"""`HttpServer` and `HttpTransport` on loopback, and what a broken connection looks like."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from angelx.adapters.http_server import HttpServer
from angelx.adapters.http_transport import HttpTransport
from angelx.domain.errors import AuthExpired, BrokerUnreachable, InputInvalid, RateLimited
from angelx.domain.wire import NoAnswer, StreamClosed
from tests.adapters.wire_pair import EchoServer

Pair = tuple[HttpServer, HttpTransport, EchoServer]


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[Pair]:
    echo = EchoServer()
    server = HttpServer(echo)
    await server.start()
    client = HttpTransport(server.url)
    yield server, client, echo
    await client.close()
    await server.stop()


async def raw_server(reply: bytes) -> tuple[asyncio.Server, str]:
    """Answers everything with these bytes and hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_request_and_its_answer_come_through_whole(pair: Pair) -> None:
    _, client, echo = pair
    answer = await client.request(
        "POST", "/echo/a%20b?%7B%7D", headers={"X-Key": "k", "content-type": "a/b"}, body=b"\x00\xff", timeout_s=2
    )
    assert (answer.status, answer.body, answer.headers["x-seen"]) == (201, b"\x00\xff", "yes")
    seen = echo.seen[0]
    assert (seen.method, seen.path, seen.headers["x-key"], seen.peer) == (
        "POST",
        "/echo/a%20b?%7B%7D",
        "k",
        "127.0.0.1",
    )


@pytest.mark.parametrize("path", ["/break", "/mute", "/slow"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_what_left_and_was_not_answered_has_no_answer_and_is_sent_once(
    pair: Pair, path: str, method: str
) -> None:
    _, client, echo = pair
    await client.request("GET", "/echo", headers={}, timeout_s=2)  # Leaves a connection in the pool.
    with pytest.raises(NoAnswer):
        await client.request(method, path, headers={}, timeout_s=0.1)
    await asyncio.sleep(0.05)
    assert [request.path for request in echo.seen] == ["/echo", path]


@pytest.mark.parametrize(
    "reply",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Len", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"nonsense\r\n\r\n"],
)
async def test_half_an_answer_is_none(reply: bytes) -> None:
    server, origin = await raw_server(reply)
    client = HttpTransport(origin)
    with pytest.raises(NoAnswer):
        await client.request("POST", "/order", headers={}, body=b"{}", timeout_s=1)
    await client.close()
    server.close()


async def test_nothing_left_where_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        client = HttpTransport(f"http://127.0.0.1:{free.getsockname()[1]}")
    with pytest.raises(BrokerUnreachable):
        await client.request("POST", "/order", headers={}, body=b"{}", timeout_s=1)
    with pytest.raises(BrokerUnreachable):
        await client.open("/stream", headers={}, timeout_s=1)
    await client.close()


async def test_a_request_that_waits_for_a_free_connection_has_not_left(pair: Pair) -> None:
    server, _, echo = pair
    client = HttpTransport(server.url, connections=1)
    first = asyncio.gather(client.request("GET", "/mute", headers={}, timeout_s=0.4), return_exceptions=True)
    await asyncio.sleep(0.1)
    with pytest.raises(BrokerUnreachable):
        await client.request("POST", "/order", headers={}, timeout_s=0.1)
    assert isinstance((await first)[0], NoAnswer)
    assert len(echo.seen) == 1
    await client.close()


async def test_a_stream_carries_text_and_bytes_until_either_side_closes(pair: Pair) -> None:
    _, client, echo = pair
    stream = await client.open("/s", headers={}, timeout_s=2)
    assert await stream.receive() == "hello"
    for message in ("text", b"\x01\x02", b"x" * 300_000):
        await stream.send(message)
        assert await stream.receive() == message
    await stream.send("bye")
    with pytest.raises(StreamClosed) as end:
        await stream.receive()
    assert end.value.code == 4001
    with pytest.raises(StreamClosed):
        await stream.send("more")
    await stream.close()
    other = await client.open("/t", headers={}, timeout_s=2)
    await other.close()
    await asyncio.sleep(0.05)
    assert echo.ended == ["/s", "/t"]


async def test_a_stream_that_breaks_ends_with_1006(pair: Pair) -> None:
    _, client, _ = pair
    stream = await client.open("/s", headers={}, timeout_s=2)
    await stream.receive()
    await stream.send("lose")
    with pytest.raises(StreamClosed) as end:
        await stream.receive()
    assert end.value.code == 1006


async def test_a_refused_stream_says_why(pair: Pair) -> None:
    _, client, _ = pair
    with pytest.raises(AuthExpired):
        await client.open("/refuse", headers={}, timeout_s=2)
    with pytest.raises(RateLimited) as limited:
        await client.open("/many", headers={}, timeout_s=2)
    assert limited.value.wait_s == 7
    with pytest.raises(BrokerUnreachable):
        await client.open("/wrong", headers={}, timeout_s=2)


async def test_pings_are_answered_while_the_server_does_not_read(pair: Pair) -> None:
    server, _, _ = pair
    async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "/s", autoping=False) as raw:
        await raw.receive()
        await raw.ping(b"me")
        pong = await raw.receive(timeout=1)
        assert (pong.type, bytes(pong.data)) == (aiohttp.WSMsgType.PONG, b"me")


async def test_when_the_server_dies_the_stream_ends_and_the_next_request_does_not_leave(pair: Pair) -> None:
    server, client, _ = pair
    stream = await client.open("/s", headers={}, timeout_s=2)
    await stream.receive()
    reply = asyncio.gather(client.request("POST", "/mute", headers={}, timeout_s=5), return_exceptions=True)
    await asyncio.sleep(0.05)
    await server.stop()
    with pytest.raises(StreamClosed):
        await stream.receive()
    assert isinstance((await reply)[0], NoAnswer)
    with pytest.raises(BrokerUnreachable):
        await client.request("POST", "/order", headers={}, timeout_s=1)


async def test_a_taken_port_is_named(pair: Pair) -> None:
    server, _, echo = pair
    with pytest.raises(InputInvalid, match=str(server.port)):
        await HttpServer(echo, port=server.port).start()
