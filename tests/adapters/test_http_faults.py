"""The fault menu on real sockets: each fault as a client sees it."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest
import pytest_asyncio

from angelx.adapters.http_server import HttpServer
from angelx.adapters.http_transport import HttpTransport
from angelx.domain.errors import BrokerUnreachable, RateLimited
from angelx.domain.wire import NoAnswer, StreamClosed
from angelx.venue.faults import Fault, FaultyServer
from tests.adapters.wire_pair import EchoServer

Bench = tuple[FaultyServer, HttpTransport, EchoServer]


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    echo = EchoServer()
    faulty = FaultyServer(echo, random=Random(1))
    server = HttpServer(faulty)
    await server.start()
    client = HttpTransport(server.url)
    yield faulty, client, echo
    await client.close()
    await server.stop()


async def post(client: HttpTransport, timeout_s: float = 0.3) -> int:
    return (await client.request("POST", "/order", headers={}, body=b"x", timeout_s=timeout_s)).status


@pytest.mark.parametrize(
    ("what", "done"), [("lost_request", False), ("lost_reply", True), ("mute", True), ("slow_reply", True)]
)
async def test_no_answer_says_nothing_of_whether_it_was_done(bench: Bench, what: str, done: bool) -> None:
    faulty, client, echo = bench
    assert await post(client) == 201
    faulty.add(Fault(what=what, times=1, delay_s=0.6))  # type: ignore[arg-type]
    with pytest.raises(NoAnswer):
        await post(client)
    assert len(echo.seen) == 1 + done
    assert await post(client) == 201


async def test_a_status_comes_through_with_its_headers(bench: Bench) -> None:
    faulty, client, _ = bench
    faulty.add(Fault(what="status", status=403, body="Access denied because of exceeding access rate", times=1))
    answer = await client.request("GET", "/x", headers={}, timeout_s=1)
    assert (answer.status, answer.body[:13], answer.headers["content-type"]) == (403, b"Access denied", "text/plain")
    faulty.add(Fault(what="status", status=429, retry_after_s=3, where="/stream"))
    with pytest.raises(RateLimited) as limited:
        await client.open("/stream", headers={}, timeout_s=1)
    assert limited.value.wait_s == 3
    faulty.add(Fault(what="status", status=503, where="/other"))
    with pytest.raises(BrokerUnreachable):
        await client.open("/other", headers={}, timeout_s=1)


async def test_streams_break_double_and_swap(bench: Bench) -> None:
    faulty, client, _ = bench
    stream = await client.open("/s", headers={}, timeout_s=1)
    assert await stream.receive() == "hello"
    faulty.add(Fault(what="duplicate", times=1))
    await stream.send("a")
    assert [await stream.receive() for _ in range(2)] == ["a", "a"]
    faulty.remove()
    faulty.add(Fault(what="reorder", times=1))
    await stream.send("b")
    await stream.send(b"c")
    assert [await stream.receive() for _ in range(2)] == [b"c", "b"]
    faulty.add(Fault(what="disconnect"))
    with pytest.raises(StreamClosed) as end:
        await stream.receive()
    assert end.value.code == 1006


async def test_a_mute_stream_stays_open(bench: Bench) -> None:
    faulty, client, _ = bench
    stream = await client.open("/s", headers={}, timeout_s=1)
    await stream.receive()
    number = faulty.add(Fault(what="mute"))
    await stream.send("unheard")
    await asyncio.sleep(0.2)
    faulty.remove(number)
    await stream.send("heard")
    assert await stream.receive() == "heard"
