"""The streams of 2021 at Angel One's server, message by message as smartapi-python, -javascript, -java, -dotnet sent
them.
"""

import asyncio
import base64
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from angelx.domain.scalars import NS
from angelx.domain.wire import Request, StreamClosed
from angelx.venue.angelone.feed_v1 import NEST, ORDERS
from tests.venue.angelone_floor import CALL, INDEX, PUT, AngelFloor
from tests.venue.test_angelone_server import opened


class Wire:
    """A stream in memory: what the client sends, and what it reads unpacked."""

    def __init__(self, *, is_packed: bool) -> None:
        self.is_packed = is_packed
        self.sent: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self.told: list[Any] = []
        self.closed = 0

    async def send(self, message: str | bytes) -> None:
        assert isinstance(message, str), "text: the clients decode base64 from it"
        self.told.append(msgspec.json.decode(zlib.decompress(base64.b64decode(message)) if self.is_packed else message))

    async def receive(self) -> str | bytes:
        message = await self.sent.get()
        if message is None:
            raise StreamClosed(1000, "")
        return message

    async def close(self, code: int = 1000) -> None:
        self.closed = code

    async def says(self, message: dict[str, Any] | bytes | str) -> list[Any]:
        """Everything that comes in answer to one message."""
        self.told.clear()
        self.sent.put_nowait(msgspec.json.encode(message) if isinstance(message, dict) else message)
        return await self.hears()

    async def hears(self) -> list[Any]:
        for _ in range(5):
            await asyncio.sleep(0)
        return self.told


@asynccontextmanager
async def dialled(floor: AngelFloor, path: str = NEST) -> AsyncIterator[Wire]:
    request = Request("GET", path, {}, b"")
    assert floor.server.admits(request) is None
    wire = Wire(is_packed=path.startswith(NEST))
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(floor.server.serve(request, wire))
        yield wire
        wire.sent.put_nowait(None)
        await serving


def ask(floor: AngelFloor, task: str, channel: str = "", **more: str) -> dict[str, str]:
    return {"task": task, "channel": channel, "token": floor.tokens["feedToken"], "user": "A1", "acctid": "A1"} | more


def channel(floor: AngelFloor, *names: str) -> str:
    words = {"NFO": "nse_fo", "NSE": "nse_cm"}
    found = [floor.server.contracts.by_id[name] for name in names]
    return "&".join(f"{words[one.exchange]}|{one.token}" for one in found)


async def test_prices_come_as_the_old_clients_read_them() -> None:
    floor = await opened()
    floor.quote(99, 101, last=100, traded=75)
    async with dialled(floor) as wire:
        assert await wire.says(ask(floor, "cn", "NONLM")) == [[{"ak": "ok", "task": "cn", "msg": "cn"}]]
        assert await wire.says(ask(floor, "hb")) == []
        [[row]] = await wire.says(ask(floor, "mw", channel(floor, CALL.id)))
        token = floor.server.contracts.by_id[CALL.id].token
        assert row.items() >= {
            "name": "sf", "tk": token, "e": "nse_fo", "ltp": "100.00", "bp": "99.00", "sp": "101.00", "bq": "750",
            "bs": "750", "v": "75", "ltt": "29/08/2025 10:00:00",
        }.items()  # fmt: skip
        assert all(isinstance(value, str) and "'" not in value for value in row.values())
        wire.told.clear()
        floor.quote(101, 103)
        floor.quote(50, 51, name=PUT.id)
        assert [(row["tk"], row["ltp"]) for [row] in await wire.hears()] == [(token, "102.00")]


async def test_depth_and_indices_have_names_of_their_own() -> None:
    floor = await opened()
    floor.quote(24_499, 24_501, name=INDEX.id)
    floor.quote(99, 101)
    async with dialled(floor) as wire:
        [[index]] = await wire.says(ask(floor, "sfi", channel(floor, INDEX.id)))
        assert (index["name"], index["iv"], index["ltp"]) == ("if", "24500.00", "24500.00")
        [[depth]] = await wire.says(ask(floor, "dp", channel(floor, CALL.id)).copy())
        assert (depth["name"], depth["bp"], depth["sp"]) == ("dp", "99.00", "101.00")


async def test_who_is_not_known_is_told_so_and_nothing_else() -> None:
    floor = await opened()
    floor.quote(99, 101)
    wanted = channel(floor, CALL.id)
    async with dialled(floor) as wire:
        for bad in ({"token": "x"}, {"user": "B2"}, {"token": ""}, {"user": ""}):
            for task in ("cn", "hb", "mw"):
                assert await wire.says(ask(floor, task, wanted, **bad)) == [[{"ak": "nk", "task": task, "msg": task}]]
        for broken in ("", "ping", b"\xff\xfe", "[" * 100_000, '{"task": 1}', "[]"):
            assert await wire.says(broken) == [[{"ak": "nk", "task": "", "msg": ""}]]
        floor.quote(100, 102)
        wire.told.clear()
        assert await wire.hears() == []
        assert await wire.says(ask(floor, "cn")) == [[{"ak": "ok", "task": "cn", "msg": "cn"}]]


async def test_tokens_of_either_kind_are_known_wherever_clients_put_them() -> None:
    """Java has the feed token in the channel of its first message; others send the JWT."""
    floor = await opened()
    feed, jwt = floor.tokens["feedToken"], floor.tokens["jwtToken"]
    for told in ({"channel": feed, "token": ""}, {"token": jwt}, {"token": f"Bearer {jwt}"}):
        async with dialled(floor) as wire:
            assert await wire.says(ask(floor, "cn") | told) == [[{"ak": "ok", "task": "cn", "msg": "cn"}]]


async def test_unknown_tokens_are_left_out() -> None:
    floor = await opened()
    floor.quote(99, 101)
    async with dialled(floor) as wire:
        [rows] = await wire.says(ask(floor, "mw", f"nse_fo|1&mcx_fo|2& {channel(floor, CALL.id)}&nse_cm&"))
        assert len(rows) == 1
        assert await wire.says(ask(floor, "mw", "nse_fo|1")) == []


async def test_a_fourth_client_is_one_too_many_and_midnight_ends_all() -> None:
    floor = await opened()
    async with dialled(floor) as one, dialled(floor) as two, dialled(floor) as three, dialled(floor) as four:
        for wire, word in ((one, "ok"), (two, "ok"), (three, "ok"), (four, "nk")):
            assert (await wire.says(ask(floor, "cn")))[0][0]["ak"] == word
        floor.wait(15 * 3600 * NS)
        await one.says(ask(floor, "hb"))
        assert one.closed == 1008


async def test_orders_are_told_on_both_paths() -> None:
    """smartapi-javascript reads plain JSON, smartapi-java packed arrays."""
    floor = await opened()
    floor.quote(99, 101)
    jwt = floor.tokens["jwtToken"]
    words = {"feedtype": "order_feed", "jwttoken": jwt, "clientcode": "A1", "apikey": "key1"}
    for path in (NEST, ORDERS):
        async with dialled(floor, f"{path}?jwttoken={jwt}&&clientcode=A1&&apikey=key1") as wire:
            assert (await wire.says({"actiontype": "subscribe", **words}))[0][0]["ak"] == "ok"
            assert await wire.says({"actiontype": "heartbeat", **words}) == []
            order = await floor.place(90)
            told = [row for rows in await wire.hears() for row in rows]
            assert {row["orderid"] for row in told} == {order}
            assert told[-1]["orderstatus"] == "open"
            await wire.says({"actiontype": "unsubscribe", **words})
            wire.told.clear()
            await floor.place(91)
            assert await wire.hears() == []
            floor.wait(NS)
