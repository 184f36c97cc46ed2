"""What the order stream may do: double, reorder, lose, end, fall silent; and sessions that end under it."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from angelx.domain.errors import AuthExpired, RateLimited
from angelx.domain.events import OrderEnded, OrderFilled
from angelx.domain.scalars import NS
from angelx.domain.wire import NoAnswer
from angelx.venue.faults import Fault
from tests.adapters.angelone_pair import UNREACHABLE, Pair, approved, play

STREAM = "/smart-order-update"


async def trade_a_little(pair: Pair) -> None:
    """An order that fills in three parts, one that is cancelled."""
    client = pair.client
    await client.place(approved("axA", quantity=225))
    await client.place(approved("axB", limit=90))
    for price in (101, 100.5, 100):
        pair.floor.quote(price - 1, price, size=75)
        await asyncio.sleep(0.05)
    try:
        await client.cancel("axB")
    except AuthExpired:  # It was not done: asking once more is the caller's right.
        await client.cancel("axB")
    await asyncio.sleep(0.05)


def check(pair: Pair) -> None:
    fills = [event for event in pair.events if isinstance(event, OrderFilled)]
    theirs = pair.floor.exchange.fills()
    assert sum(fill.quantity for fill in fills) == sum(fill.quantity for fill in theirs) == 225
    assert sum(fill.quantity * fill.price for fill in fills) == sum(fill.quantity * fill.price for fill in theirs)
    assert len({fill.execution for fill in fills}) == len(fills)
    assert [event.order for event in pair.events if isinstance(event, OrderEnded)] == ["axB"]
    assert pair.kinds().count("OrderAccepted") <= 2
    assert pair.line.count("placeOrder") == 2


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [Fault(what="duplicate", where=STREAM)],
        [Fault(what="reorder", where=STREAM, rate=0.5)],
        [Fault(what="reorder", where=STREAM, delay_s=2.0)],
        [Fault(what="lost_event", where=STREAM, after=1, for_s=60)],
        [Fault(what="lost_event", where=STREAM, rate=0.5, after=1), Fault(what="duplicate", where=STREAM, rate=0.5)],
        [Fault(what="slow_event", where=STREAM, delay_s=3.0)],
        [Fault(what="disconnect", at_s=0.1, for_s=5)],
        [Fault(what="mute", where=STREAM, at_s=0.05, for_s=30)],
        [Fault(what="token_expiry", at_s=0.16), Fault(what="disconnect", at_s=0.2, for_s=1)],
        [Fault(what="status", where="*Book", status=503, times=4), Fault(what="disconnect", at_s=0.1, for_s=2)],
        [
            Fault(
                what="status", where="*Book", status=403, body="Access denied because of exceeding access rate", times=2
            )
        ],
    ],
    ids=lambda faults: "+".join(fault.what for fault in faults) or "none",
)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_fill_comes_once_whatever_the_stream_does(tmp_path: Path, faults: list[Fault], seed: int) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 102, size=75)
        async with pair.running():
            for fault in faults:
                pair.line.menu.add(fault)
            await trade_a_little(pair)
            await asyncio.sleep(150)
            check(pair)
            assert pair.states[-1][0]
            pair.line.menu.remove()
            await pair.client.order_book()
        check(pair)

    play(tmp_path, scenario, seed=seed, shuffle=True)


def test_the_gate_reopens_only_after_the_books_were_merged(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 102, size=75)
        async with pair.running():
            await pair.client.place(approved("axA", quantity=150))
            pair.line.memory.is_up = False
            pair.line.memory.cut()
            await asyncio.sleep(1)
            assert [up for up, _ in pair.states] == [True, False]
            pair.floor.quote(100, 101, size=750)
            pair.line.faults.extend([("getOrderBook", NoAnswer("lost"))] * 3)
            pair.line.memory.is_up = True
            await pair.until(lambda: pair.states[-1][0])
            assert [type(event).__name__ for event in pair.events] == ["OrderAccepted", "OrderFilled"] or (
                pair.kinds() == ["OrderFilled"]
            )
            assert [up for up, _ in pair.states] == [True, False, True]

    play(tmp_path, scenario)


def test_books_alone_do_not_open_the_gate(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        async with pair.running() as client:
            pair.line.faults.extend([(STREAM, UNREACHABLE)] * 5)
            pair.line.memory.cut()
            await asyncio.sleep(0.1)
            books = pair.line.count("getOrderBook")
            client._resync.set()
            await asyncio.sleep(3)
            assert pair.line.count("getOrderBook") > books
            assert [up for up, _ in pair.states] == [True, False]
            await pair.until(lambda: pair.states[-1][0])

    play(tmp_path, scenario)


def test_the_wait_before_coming_back_grows_and_is_jittered(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        times: list[float] = []
        async with pair.running():
            loop, open_stream = asyncio.get_running_loop(), pair.line.open

            async def refuse(path: str, **_: object) -> None:
                times.append(loop.time())
                raise UNREACHABLE

            pair.line.open = refuse  # type: ignore[method-assign,assignment]
            pair.line.memory.cut()
            await asyncio.sleep(120)
            pair.line.open = open_stream  # type: ignore[method-assign]
            await pair.until(lambda: pair.states[-1][0])
        waits = [after - before for before, after in pairwise(times)]
        assert len(waits) >= 6
        assert all(wait <= 30 for wait in waits)
        assert waits[4] > 3 * waits[0]
        assert len({round(wait, 3) for wait in waits}) == len(waits)

    play(tmp_path, scenario)


def test_too_many_streams_wait_their_minute(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        async with pair.running():
            pair.line.faults.append((STREAM, RateLimited("three already", 60.0)))
            began = asyncio.get_running_loop().time()
            pair.line.memory.cut()
            await asyncio.sleep(1)
            await pair.until(lambda: pair.states[-1][0])
            assert asyncio.get_running_loop().time() - began > 60

    play(tmp_path, scenario)


def test_what_is_no_message_is_counted_and_the_books_are_read(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        async with pair.running() as client:
            await asyncio.sleep(2)
            books = pair.line.count("getOrderBook")
            event = '{"order-status":"AB05","orderData":{"orderid":"1"}}'
            for nonsense in ("", "{", "[]", "[" * 100_000, event, b"\xff"):
                client.take_message(nonsense)
            await asyncio.sleep(5)
            assert sum(client.refused_frames.values()) == 6
            assert pair.line.count("getOrderBook") > books
            assert pair.states == [(True, "order stream up, books merged")]
        assert pair.events == []

    play(tmp_path, scenario)


def test_a_message_may_end_the_session(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        async with pair.running() as client:
            with pytest.raises(AuthExpired):
                client.take_message('{"order-status":"AB00","status-code":"401","error-message":"bad token"}')
            with pytest.raises(RateLimited):
                client.take_message('{"order-status":"AB00","status-code":"429"}')
            pair.floor.server.expire_tokens()
            pair.line.memory.cut()
            await asyncio.sleep(0.1)
            await pair.until(lambda: pair.states[-1][0])
            assert pair.line.count("generateTokens") == 1

    play(tmp_path, scenario)


def test_midnight_in_india_ends_the_session_and_a_new_one_begins(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        async with pair.running() as client:
            logins = pair.line.count("loginByPassword")
            jwt = client.session.jwt
            await asyncio.sleep(14 * 3600 + 120)  # 10:00 to 00:02
            assert client.session.jwt != jwt
            assert pair.line.count("loginByPassword") == logins + 1
            assert pair.line.count("generateTokens") >= 3  # every 240 minutes at the latest
            assert len(pair.states) <= 3  # the stream lasts until midnight
            pair.floor.quote(100, 101)
            await asyncio.sleep(300)
            await client.place(approved())
            await asyncio.sleep(0.1)
            assert "OrderFilled" in pair.kinds()

    play(tmp_path, scenario)


def test_tokens_are_renewed_before_they_expire_once_for_all(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.server.logins.jwt_life = 1000 * NS
        async with pair.running() as client:
            await asyncio.sleep(890)
            assert pair.line.count("generateTokens") == 0
            await asyncio.sleep(100)
            assert pair.line.count("generateTokens") == 1
            pair.floor.server.expire_tokens()
            await asyncio.gather(client.order_book(), client.positions(), client.funds())
            assert pair.line.count("generateTokens") == 2
            assert pair.line.count("loginByPassword") == 1

    play(tmp_path, scenario)
