"""`MemoryTransport` in virtual time behaves as sockets do."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from angelx.domain.errors import AuthExpired, BrokerUnreachable, RateLimited
from angelx.domain.wire import NoAnswer, StreamClosed
from angelx.sim.loop import simulate
from angelx.sim.memory_transport import MemoryTransport
from tests.adapters.wire_pair import EchoServer


def play(main: Callable[[MemoryTransport, EchoServer], Awaitable[None]], **options: float) -> None:
    async def scenario() -> None:
        echo = EchoServer()
        transport = MemoryTransport(echo, random=Random(1), **options)
        await main(transport, echo)
        await transport.close()

    simulate(scenario)


def test_a_request_takes_its_latency_both_ways() -> None:
    async def main(transport: MemoryTransport, echo: EchoServer) -> None:
        answer = await transport.request("POST", "/echo", headers={"A": "b"}, body=b"x", timeout_s=1)
        assert (answer.status, answer.body, echo.seen[0].headers) == (201, b"x", {"a": "b"})
        assert asyncio.get_running_loop().time() == pytest.approx(0.02)

    play(main, latency_s=0.01)


def test_what_is_not_answered_may_have_happened() -> None:
    async def main(transport: MemoryTransport, echo: EchoServer) -> None:
        for path in ("/break", "/slow"):
            with pytest.raises(NoAnswer):
                await transport.request("POST", path, headers={}, timeout_s=0.1)
        transport.is_up = False
        with pytest.raises(BrokerUnreachable):
            await transport.request("POST", "/echo", headers={}, timeout_s=0.1)
        assert len(echo.seen) == 2

    play(main)


def test_a_cut_connection_ends_streams_and_requests() -> None:
    async def main(transport: MemoryTransport, echo: EchoServer) -> None:
        stream = await transport.open("/s", headers={}, timeout_s=1)
        assert await stream.receive() == "hello"
        flight = asyncio.gather(transport.request("POST", "/mute", headers={}, timeout_s=60), return_exceptions=True)
        await asyncio.sleep(1)
        transport.cut()
        assert isinstance((await flight)[0], NoAnswer)
        with pytest.raises(StreamClosed) as end:
            await stream.receive()
        await asyncio.sleep(1)
        assert (end.value.code, echo.ended) == (1006, ["/s"])
        for task in tuple(transport._tasks):
            task.cancel()

    play(main)


def test_messages_of_a_stream_keep_their_order() -> None:
    async def main(transport: MemoryTransport, echo: EchoServer) -> None:
        stream = await transport.open("/s", headers={}, timeout_s=1)
        await stream.receive()
        for number in range(200):
            await stream.send(str(number))
        assert [await stream.receive() for _ in range(200)] == [str(number) for number in range(200)]
        await stream.send("bye")
        with pytest.raises(StreamClosed) as end:
            await stream.receive()
        assert end.value.code == 4001

    play(main, latency_s=0.001, jitter_s=0.05)


def test_a_refused_stream_says_why() -> None:
    async def main(transport: MemoryTransport, echo: EchoServer) -> None:
        with pytest.raises(AuthExpired):
            await transport.open("/refuse", headers={}, timeout_s=2)
        with pytest.raises(RateLimited) as limited:
            await transport.open("/many", headers={}, timeout_s=2)
        assert limited.value.wait_s == 7

    play(main)
