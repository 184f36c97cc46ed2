"""The venue's Alpaca streams, message by message: log-in, subscriptions, every error code, encodings."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from angelx.domain.wire import Request, StreamClosed
from angelx.sim.loop import simulate
from angelx.sim.memory_transport import MemoryStream, MemoryTransport
from angelx.venue.alpaca.market_stream import MOST_WAITING
from angelx.venue.alpaca.server import BASIC, Plan
from tests.venue.alpaca.alpaca_market import CALL_300, KEY, SECRET, Market

AUTH = {"action": "auth", "key": KEY, "secret": SECRET}
MSGPACK = {"content-type": "application/msgpack"}


class Wire:
    """One connection, with decoded messages."""

    def __init__(self, stream: MemoryStream, *, msgpack: bool) -> None:
        self.stream, self.msgpack = stream, msgpack

    async def say(self, message: Any) -> None:
        if isinstance(message, bytes | str):
            await self.stream.send(message)
        else:
            encoded = msgspec.msgpack.encode(message) if self.msgpack else msgspec.json.encode(message).decode()
            await self.stream.send(encoded)

    async def hear(self) -> Any:
        frame = await asyncio.wait_for(self.stream.receive(), 60)
        assert isinstance(frame, bytes) == self.msgpack
        return msgspec.msgpack.decode(frame) if isinstance(frame, bytes) else msgspec.json.decode(frame)

    async def codes(self) -> list[int]:
        return [message["code"] for message in await self.hear() if message["T"] == "error"]


def on_venue(
    story: Callable[[Market, Callable[..., Coroutine[Any, Any, Wire]]], Coroutine[Any, Any, None]],
    plan: Plan | None = None,
) -> None:
    async def whole() -> None:
        market = Market(plan)
        market.open_for_business()
        transport = MemoryTransport(market.server)

        async def opened(path: str = "/v2/sip", *, msgpack: bool = False, entered: bool = True) -> Wire:
            stream = await transport.open(path, headers=MSGPACK if msgpack else {}, timeout_s=1)
            wire = Wire(stream, msgpack=msgpack)
            assert await wire.hear() == [{"T": "success", "msg": "connected"}]
            if entered:
                await wire.say(AUTH)
                assert await wire.hear() == [{"T": "success", "msg": "authenticated"}]
            return wire

        await story(market, opened)
        await transport.close()

    simulate(whole)


def test_a_subscription_is_answered_with_the_whole_set() -> None:
    async def story(market: Market, opened: Any) -> None:
        wire = await opened()
        await wire.say({"action": "subscribe", "trades": ["IBM"], "quotes": ["AAPL", "IBM"], "bars": ["*"]})
        (answer,) = await wire.hear()
        assert answer == {
            "T": "subscription", "trades": ["IBM"], "quotes": ["AAPL", "IBM"], "bars": ["*"], "updatedBars": [],
            "dailyBars": [], "statuses": [], "lulds": [], "corrections": ["IBM"], "cancelErrors": ["IBM"],
        }  # fmt: skip
        await wire.say({"action": "unsubscribe", "quotes": ["AAPL"], "trades": ["IBM"]})
        (answer,) = await wire.hear()
        assert (answer["quotes"], answer["corrections"]) == (["IBM"], [])
        market.quote("AAPL", 1.0, 2.0)
        market.quote("IBM", 299.99, 300.07, size=80)
        (quote,) = await wire.hear()
        assert quote == {
            "T": "q", "S": "IBM", "bx": "V", "bp": 299.99, "bs": 80, "ax": "V", "ap": 300.07, "as": 80, "c": ["R"],
            "z": "A", "t": "2026-01-05T14:31:00.0155Z",
        }  # fmt: skip

    on_venue(story)


def test_msgpack_has_timestamps() -> None:
    async def story(market: Market, opened: Any) -> None:
        wire = await opened("/v1beta1/opra", msgpack=True)
        await wire.say({"action": "subscribe", "quotes": [CALL_300]})
        assert await wire.hear() == [{"T": "subscription", "trades": [], "quotes": [CALL_300]}]
        market.quote(CALL_300, 3.1, 3.3)
        (quote,) = await wire.hear()
        assert (quote["c"], quote["t"].tzinfo is not None, "z" in quote) == ("A", True, False)

    on_venue(story)


@pytest.mark.parametrize(
    ("path", "msgpack", "message", "code"),
    [
        ("/v2/sip", False, "{", 400),
        ("/v2/sip", False, {"action": "dance"}, 400),
        ("/v2/sip", False, {"action": "subscribe", "quotes": "IBM"}, 400),
        ("/v2/sip", False, {"action": "subscribe", "candles": ["IBM"]}, 400),
        ("/v2/sip", False, AUTH, 403),
        ("/v2/sip", False, {"action": "subscribe", "quotes": [f"S{n}" for n in range(40)]}, 405),
        ("/v1beta1/opra", True, {"action": "subscribe", "bars": [CALL_300]}, 410),
        ("/v1beta1/opra", True, {"action": "subscribe", "quotes": ["*"]}, 413),
    ],
)
def test_refused_actions_leave_the_set_and_the_connection(path: str, msgpack: bool, message: Any, code: int) -> None:
    async def story(market: Market, opened: Any) -> None:
        wire = await opened(path, msgpack=msgpack)
        await wire.say({"action": "subscribe", "trades": [CALL_300]})
        (before,) = await wire.hear()
        await wire.say(message)
        assert await wire.codes() == [code]
        await wire.say({"action": "subscribe"})
        assert await wire.hear() == [before]

    on_venue(story, Plan(symbol_limits={"sip": 30}))


def test_before_the_log_in_nothing_else_is_heard() -> None:
    async def story(market: Market, opened: Any) -> None:
        wire = await opened(entered=False)
        await wire.say({"action": "subscribe", "quotes": ["IBM"]})
        assert await wire.codes() == [401]
        await wire.say("nonsense")
        assert await wire.codes() == [400]
        await wire.say({**AUTH, "secret": "wrong"})
        assert await wire.codes() == [402]
        with pytest.raises(StreamClosed):
            await wire.hear()
        late = await opened(entered=False)
        assert await late.codes() == [404]

    on_venue(story)


def test_headers_of_the_upgrade_log_in_too() -> None:
    async def story(market: Market, opened: Any) -> None:
        transport = MemoryTransport(market.server)
        headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
        wire = Wire(await transport.open("/v2/sip", headers=headers, timeout_s=1), msgpack=False)
        assert [(await wire.hear())[0]["msg"] for _ in range(2)] == ["connected", "authenticated"]
        await transport.close()

    on_venue(story)


def test_one_connection_for_each_feed() -> None:
    async def story(market: Market, opened: Any) -> None:
        first = await opened()
        await opened("/v2/iex")
        second = await opened(entered=False)
        await second.say(AUTH)
        assert await second.codes() == [406]
        await first.stream.close()
        await asyncio.sleep(1)
        await opened()

    on_venue(story)


def test_the_plan_decides_what_may_be_seen() -> None:
    async def story(market: Market, opened: Any) -> None:
        sip = await opened(entered=False)
        await sip.say(AUTH)
        assert await sip.codes() == [409]
        options = await opened("/v1beta1/indicative", entered=False)
        await options.say(AUTH)
        assert await options.codes() == [412]
        assert market.server.admits(Request("GET", "/v2/nothing", {})) is not None

    on_venue(story, BASIC)


def test_a_slow_client_is_told_and_hung_up_on() -> None:
    async def story(market: Market, opened: Any) -> None:
        wire = await opened()
        await wire.say({"action": "subscribe", "quotes": ["IBM"]})
        await wire.hear()
        for step in range(MOST_WAITING + 1):
            market.quote("IBM", 200.0 + step % 9, 300.0)
        assert await wire.codes() == [407]
        with pytest.raises(StreamClosed):
            await wire.hear()

    on_venue(story)


def test_the_test_stream_trades_around_the_clock() -> None:
    async def story(market: Market, opened: Any) -> None:
        wire = await opened("/v2/test")
        await wire.say({"action": "subscribe", "trades": ["FAKEPACA"]})
        await wire.hear()
        seen = [(await wire.hear())[0] for _ in range(2)]
        assert [(one["S"], one["i"]) for one in seen] == [("FAKEPACA", 1), ("FAKEPACA", 2)]

    on_venue(story)


# ---------------------------------------------------------------- the order stream
@pytest.mark.parametrize("login", [AUTH, {"action": "authenticate", "data": {"key_id": KEY, "secret_key": SECRET}}])
@pytest.mark.parametrize(("headers", "binary"), [({}, True), ({}, False), (MSGPACK, True)])
def test_the_order_stream_in_all_its_forms(login: Any, headers: dict[str, str], binary: bool) -> None:
    async def whole() -> None:
        market = Market(Plan(binary_updates=binary))
        market.open_for_business()
        transport = MemoryTransport(market.server)
        stream = await transport.open("/stream", headers=headers, timeout_s=1)

        async def heard() -> Any:
            frame = await asyncio.wait_for(stream.receive(), 5)
            assert isinstance(frame, bytes) == (binary or bool(headers))
            return msgspec.msgpack.decode(frame) if headers and isinstance(frame, bytes) else msgspec.json.decode(frame)

        await stream.send('{"action":"listen","data":{"streams":["trade_updates"]}}')
        assert await heard() == {"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}}
        await stream.send(msgspec.json.encode(login).decode())
        assert (await heard())["data"]["status"] == "authorized"
        await stream.send('{"action":"listen","data":{"streams":["trade_updates","other"]}}')
        assert await heard() == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
        body = b'{"symbol":"IBM","qty":"1","side":"buy","type":"market","time_in_force":"day"}'
        keys = {"apca-api-key-id": KEY, "apca-api-secret-key": SECRET}
        reply = await transport.request("POST", "/v2/orders", headers=keys, body=body, timeout_s=1)
        assert msgspec.json.decode(reply.body)["status"] == "pending_new"
        events = [(await heard())["data"] for _ in range(3)]
        assert [event["event"] for event in events] == ["pending_new", "new", "fill"]
        assert (events[2]["price"], events[2]["qty"], events[2]["position_qty"]) == ("300.05", "1", "1")
        await stream.send('{"action":"listen","data":{"streams":[]}}')
        assert (await heard())["data"]["streams"] == []
        assert market.server.updates.listening == 0
        await transport.close()

    simulate(whole)
