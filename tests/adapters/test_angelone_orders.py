"""Orders at Angel One, in memory and virtual time: every answer has its reaction, and no order leaves twice."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from angelx.adapters.angelone.answers import LOG_IN_AGAIN, SAYS_NOTHING, CallRefused
from angelx.domain.errors import AuthExpired, BrokerUnreachable, OrderFateUnknown, OrderRejected, RateLimited
from angelx.domain.events import OrderAccepted, OrderEnded, OrderFilled
from angelx.domain.ports import BrokerClient
from angelx.domain.scalars import NS
from angelx.domain.wire import NoAnswer, Response
from angelx.venue.faults import Fault
from tests.adapters.angelone_pair import PLACE, TOO_FAST, UNREACHABLE, Pair, approved, play
from tests.venue.angelone_floor import CALL, PUT, RUPEE

ID = "axAAAAAAAAAAAAAAAA"


def envelope(code: str, *, gateway: bool = False, status: int = 200) -> Response:
    body: dict[str, Any] = {"success": False, "message": "no", "errorCode": code, "data": ""}
    if not gateway:
        body = {"status": False, "message": "no", "errorcode": code, "data": None}
    return Response(status, {}, msgspec.json.encode(body))


# ---------------------------------------------------------------- the plain way
def test_an_order_is_accepted_filled_and_in_the_books(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        client: BrokerClient = pair.client
        pair.floor.quote(100, 101)
        async with pair.running():
            accepted = await client.place(approved())
            await asyncio.sleep(0.1)
            assert accepted.broker_order == "250829000000001"
            assert pair.kinds() == ["OrderAccepted", "OrderFilled"]
            fill = pair.events[-1]
            assert isinstance(fill, OrderFilled)
            assert (fill.order, fill.side, fill.quantity, fill.price) == (ID, 1, 75, 101 * RUPEE)
            [report] = await client.order_book()
            assert (report.order, report.state, report.filled, report.notional) == (ID, "filled", 75, 75 * 101 * RUPEE)
            assert await client.trade_book() == (fill,)
            [position] = await client.positions()
            assert (position.instrument, position.quantity, position.cost) == (CALL.id, 75, 75 * 101 * RUPEE)
            funds = await client.funds()
            theirs = pair.floor.exchange.funds()
            assert (funds.cash, funds.available, funds.equity) == (theirs.cash, theirs.available, theirs.equity)
        assert pair.kinds() == ["OrderAccepted", "OrderFilled"]

    play(tmp_path, scenario)


def test_a_partial_fill_then_a_cancel(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        async with pair.running() as client:
            pair.floor.quote(100, 101, size=75)
            await client.place(approved(quantity=225))
            await asyncio.sleep(0.1)
            pair.floor.quote(100, 100.5, size=75)
            await asyncio.sleep(0.1)
            await client.cancel(ID)
            await asyncio.sleep(0.1)
        fills = [event for event in pair.events if isinstance(event, OrderFilled)]
        assert [(fill.quantity, fill.price) for fill in fills] == [(75, 101 * RUPEE), (75, 100.5 * RUPEE)]
        assert isinstance(pair.events[-1], OrderEnded)
        assert pair.events[-1].outcome == "cancelled"

    play(tmp_path, scenario)


def test_what_the_exchange_refuses_ends_by_report(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with pair.running() as client:
            with pytest.raises(OrderRejected):  # The stream was faster than the answer.
                await client.place(approved(quantity=74))
            await asyncio.sleep(0.1)
        ended = pair.events[-1]
        assert isinstance(ended, OrderEnded)
        assert (ended.outcome, ended.code) == ("rejected", "broker_rejected")
        assert "off_lot" in ended.detail

    play(tmp_path, scenario)


def test_an_order_is_replaced_in_place_and_a_stop_triggers(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with pair.running() as client:
            await client.place(approved(limit=95))
            await client.replace(ID, 150, 96 * RUPEE)
            [report] = await client.order_book()
            assert (report.quantity, report.limit, report.state) == (150, 96 * RUPEE, "working")
            await client.place(approved("axENTRY"))
            stop = approved("axSTOP", side=-1, limit=88, reduces=True)
            await client.place_stop(stop, 90 * RUPEE)
            pair.floor.quote(89, 90, last=89.5, traded=75)
            pair.floor.quote(89, 90, last=89.5, traded=75)
            await asyncio.sleep(0.1)
        filled = [event.order for event in pair.events if isinstance(event, OrderFilled)]
        assert filled[0] == "axENTRY"
        assert "axSTOP" in filled

    play(tmp_path, scenario)


def test_an_exit_keeps_the_product_of_its_position(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        await pair.floor.log_in()
        await pair.floor.place(101, producttype="INTRADAY", ordertag="byhand")
        async with pair.running() as client:
            await client.place(approved(side=-1, limit=100, reduces=True))
            await client.place(approved("axOPEN"))
        products = [msgspec.json.decode(body)["producttype"] for path, body in pair.line.asked if PLACE in path]
        assert products == ["INTRADAY", "CARRYFORWARD"]

    play(tmp_path, scenario)


# ---------------------------------------------------------------- every answer and its reaction
ANSWERS = [
    (TOO_FAST, RateLimited),
    (Response(429, {}, b""), RateLimited),
    (envelope("AB1021"), RateLimited),
    *[(envelope(code, gateway=code.startswith("AG")), AuthExpired) for code in sorted(LOG_IN_AGAIN)],
    *[(envelope(code), OrderFateUnknown) for code in sorted(SAYS_NOTHING)],
    (envelope("AG7002", gateway=True), CallRefused),
    *[
        (envelope(code), CallRefused)
        for code in (
            "AB1000",
            "AB1001",
            "AB1002",
            "AB1003",
            "AB1005",
            "AB1006",
            "AB1007",
            "AB1008",
            "AB1009",
            "AB1012",
            "AB1013",
            "AB1014",
            "AB1015",
            "AB1016",
            "AB1017",
            "AB1018",
            "AB1031",
            "AB1032",
            "AB1050",
            "AB2002",
            "AB4008",
            "AB9000",
            "AB9001",
            "AB9005",
            "AB9013",
            "AG8004",
        )
    ],
    (Response(500, {}, b"oops"), OrderFateUnknown),
    (Response(502, {}, b"<html>bad gateway</html>"), OrderFateUnknown),
    (Response(503, {}, b""), OrderFateUnknown),
    (Response(403, {}, b"<html>forbidden</html>"), OrderFateUnknown),
    (Response(200, {}, b""), OrderFateUnknown),
    (Response(200, {}, b"{"), OrderFateUnknown),
    (Response(200, {}, b"[]"), OrderFateUnknown),
    (Response(200, {}, b'{"status":true,"message":"SUCCESS","errorcode":"","data":null}'), OrderFateUnknown),
    (Response(200, {}, b'{"status":true,"message":"SUCCESS","errorcode":"","data":{}}'), OrderFateUnknown),
    (Response(200, {}, b'{"status":false,"message":"","errorcode":"","data":null}'), OrderFateUnknown),
    (Response(500, {}, b'{"status":false,"message":"","errorcode":"AB1012","data":null}'), OrderFateUnknown),
    (UNREACHABLE, BrokerUnreachable),
    (NoAnswer("half an answer"), OrderFateUnknown),
]


@pytest.mark.parametrize(("answer", "error"), ANSWERS, ids=lambda one: getattr(one, "__name__", str(one)[:60]))
def test_every_answer_to_an_order_has_its_reaction_and_nothing_is_sent_twice(
    tmp_path: Path, answer: Response | Exception, error: type[Exception]
) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with pair.running() as client:
            pair.line.faults.append((PLACE, answer))
            with pytest.raises(error) as raised:
                await client.place(approved())
            assert raised.type is error
            await asyncio.sleep(60)
        assert pair.line.count(PLACE) == 1
        assert pair.floor.exchange.orders() == []
        assert pair.events == []

    play(tmp_path, scenario)


def test_after_a_token_was_refused_the_next_order_finds_a_new_one(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with pair.running() as client:
            pair.floor.server.expire_tokens()
            with pytest.raises(AuthExpired):
                await client.place(approved())
            await client.place(approved("axB"))
        assert [event.order for event in pair.events if isinstance(event, OrderFilled)] == ["axB"]
        assert pair.line.count(PLACE) == 2

    play(tmp_path, scenario)


# ---------------------------------------------------------------- lost and slow
@pytest.mark.parametrize("fault", ["lost_reply", "lost_request"])
def test_an_order_without_an_answer_is_looked_up_and_never_sent_again(tmp_path: Path, fault: str) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with pair.running() as client:
            pair.line.faults.append((PLACE, fault))
            with pytest.raises(OrderFateUnknown) as unknown:
                await client.place(approved())
            assert unknown.value.order == ID
            with pytest.raises(OrderRejected, match="sent before"):
                await client.place(approved())
            found = await client.look_up(ID)
            await asyncio.sleep(60)
            if fault == "lost_reply":
                assert found is not None
                assert pair.kinds() == ["OrderAccepted", "OrderFilled"]
                assert client.merge.unanswered == []
            else:
                assert found is None
                assert pair.events == []
                assert client.merge.unanswered == [ID]
        assert pair.line.count(PLACE) == 1

    play(tmp_path, scenario)


def test_an_unknown_order_that_arrives_late_is_adopted(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with pair.running() as client:
            pair.line.faults.append((PLACE, "lost_request"))
            with pytest.raises(OrderFateUnknown):
                await client.place(approved())
            await pair.floor.log_in()
            await pair.floor.place(95, ordertag=ID)
            await asyncio.sleep(0.1)
            assert pair.events == [OrderAccepted(pair.events[0].at, ID, "250829000000001")]
            await client.cancel(ID)
            await asyncio.sleep(0.1)
        assert pair.kinds() == ["OrderAccepted", "OrderEnded"]

    play(tmp_path, scenario)


def test_a_slow_answer_within_the_time_is_an_answer(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with pair.running() as client:
            pair.line.faults.append((PLACE, "slow"))
            await client.place(approved())
            await asyncio.sleep(1)
        assert pair.kinds() == ["OrderFilled"] or pair.kinds() == ["OrderAccepted", "OrderFilled"]

    play(tmp_path, scenario)


def test_a_fill_may_come_before_its_acknowledgement(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with pair.running() as client:
            pair.line.menu.add(Fault(what="slow_reply", where="*/placeOrder", delay_s=1.0))
            accepted = await client.place(approved())
            assert pair.kinds() == ["OrderAccepted", "OrderFilled"]
            assert accepted.broker_order == "250829000000001"
        assert pair.kinds() == ["OrderAccepted", "OrderFilled"]

    play(tmp_path, scenario)


@pytest.mark.parametrize("fault", ["lost_reply", "lost_request"])
def test_a_cancel_without_an_answer_is_not_repeated(tmp_path: Path, fault: str) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with pair.running() as client:
            await client.place(approved(limit=95))
            pair.line.faults.append(("cancelOrder", fault))
            with pytest.raises(OrderFateUnknown):
                await client.cancel(ID)
            await asyncio.sleep(60)
            assert (await client.order_book())[0].state == ("cancelled" if fault == "lost_reply" else "working")
        assert pair.line.count("cancelOrder") == 1

    play(tmp_path, scenario)


def test_cancelling_what_has_ended_or_never_was_is_refused(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with pair.running() as client:
            await client.place(approved())
            with pytest.raises(CallRefused, match="AB1013"):
                await client.cancel(ID)
            with pytest.raises(OrderRejected, match="unknown_order"):
                await client.cancel("axNONE")

    play(tmp_path, scenario)


# ---------------------------------------------------------------- rates
def test_ten_orders_at_once_stay_within_the_limit_and_exits_go_first(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with pair.running() as client:
            loop = asyncio.get_running_loop()
            began = loop.time()
            entries = [loop.create_task(client.place(approved(f"axE{n}", limit=90))) for n in range(10)]
            exits = [loop.create_task(client.place(approved(f"axX{n}", -1, limit=110, reduces=True))) for n in range(2)]
            await asyncio.gather(*entries)
            for refused in exits:  # Nothing is held.
                with pytest.raises(OrderRejected):
                    await refused
            assert 1.0 < loop.time() - began < 1.2
        tags = [msgspec.json.decode(body)["ordertag"] for path, body in pair.line.asked if PLACE in path]
        assert set(tags[:8]) >= {"axX0", "axX1"}

    play(tmp_path, scenario, cash=10**7 * RUPEE)


def test_an_entry_that_would_wait_too_long_is_given_up(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with pair.running() as client:
            pair.line.faults.append((PLACE, TOO_FAST))
            with pytest.raises(RateLimited):
                await client.place(approved())
            with pytest.raises(RateLimited):
                await client.place(approved("axB"))
            with pytest.raises(OrderRejected):  # It went, and nothing is held.
                await client.place(approved("axC", -1, limit=110, reduces=True))
        assert pair.line.count(PLACE) == 2

    play(tmp_path, scenario)


# ---------------------------------------------------------------- what is not ours, and what was ours before
def test_orders_of_others_are_in_the_book_and_never_reported(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        await pair.floor.log_in()
        await pair.floor.place(101, ordertag="byhand")
        async with pair.running() as client:
            [report] = await client.order_book()
            assert (report.order, report.state, report.filled) == ("", "filled", 75)
            with pytest.raises(OrderRejected):
                await client.cancel("byhand")
        assert pair.events == []
        assert client.merge.counts["foreign"] == 1
        assert pair.line.count("cancelOrder") == 0

    play(tmp_path, scenario)


def test_our_tag_on_another_order_is_not_ours(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        pair.floor.quote(100, 101, name=PUT.id)
        async with pair.running() as client:
            pair.line.faults.append((PLACE, "lost_request"))
            with pytest.raises(OrderFateUnknown):
                await client.place(approved())
            await pair.floor.log_in()
            await pair.floor.place(101, ordertag=ID, name=PUT.id)
            assert await client.look_up(ID) is None
        assert pair.events == []
        assert client.merge.counts["wrong_tag"] == 1

    play(tmp_path, scenario)


def test_after_a_restart_nothing_known_is_reported_again_and_nothing_missed_is_lost(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101, size=75)
        orders = [approved("axA", quantity=150), approved("axB", limit=90)]
        async with pair.running() as client:
            for order in orders:
                await client.place(order)
            await asyncio.sleep(0.1)
        told = [*orders, *pair.events]
        assert [event.quantity for event in told if isinstance(event, OrderFilled)] == [75]
        pair.floor.quote(100, 101, size=750, traded=1)  # While nobody listens the rest of axA fills.
        await pair.floor.log_in()
        row = {"variety": "NORMAL", "orderid": "250829000000002"}
        await pair.floor.post("order/v1/cancelOrder", row)
        pair.events.clear()
        pair.states.clear()
        await asyncio.sleep(2)
        second = pair.new_client()
        second.recall(told)
        async with pair.running(second):
            await asyncio.sleep(20)
            with pytest.raises(OrderRejected, match="sent before"):
                await second.place(orders[0])
            book = await second.trade_book()
        rest, ended = pair.events
        assert isinstance(rest, OrderFilled)
        assert (rest.order, rest.quantity, rest.execution) == ("axA", 75, "250829000000001:150")
        assert isinstance(ended, OrderEnded)
        assert (ended.order, ended.outcome) == ("axB", "cancelled")
        assert [fill.execution for fill in book] == ["250829000000001:75", "250829000000001:150"]

    play(tmp_path, scenario)


# ---------------------------------------------------------------- reads
@pytest.mark.parametrize(
    "answer", [NoAnswer("lost"), UNREACHABLE, Response(502, {}, b"x"), Response(200, {}, b"{}"), envelope("AB2001")]
)
def test_a_read_is_repeated_and_an_order_book_is_whole_or_not_at_all(
    tmp_path: Path, answer: Response | Exception
) -> None:
    async def scenario(pair: Pair) -> None:
        async with pair.running() as client:
            await asyncio.sleep(5)
            pair.line.faults.append(("getOrderBook", answer))
            assert await client.order_book() == []
            pair.line.faults.extend([("getOrderBook", answer)] * 3)
            with pytest.raises(BrokerUnreachable):
                await client.order_book()
            pair.line.faults.append(("getPosition", Response(200, {}, b'{"status":true,"data":[{"netqty":"1"}]}')))
            with pytest.raises(BrokerUnreachable):
                await client.positions()

    play(tmp_path, scenario)


def test_a_read_logs_in_again_once_and_a_limit_bars_its_category_only(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        async with pair.running() as client:
            await asyncio.sleep(5)
            pair.floor.server.expire_tokens()
            assert await client.order_book() == []
            pair.line.faults.append(("getRMS", TOO_FAST))
            with pytest.raises(RateLimited) as limited:
                await client.funds()
            assert limited.value.wait_s == 60
            began = asyncio.get_running_loop().time()
            assert await client.positions() == []
            assert asyncio.get_running_loop().time() - began < 2
            with pytest.raises(RateLimited):
                await client.funds()
        assert pair.line.count("getRMS") == 1

    play(tmp_path, scenario)


def test_yesterdays_tokens_name_nothing(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        async with pair.running() as client:
            pair.clock.wrong = 24 * 3600 * NS
            with pytest.raises(OrderRejected, match="no_master"):
                await client.place(approved())
        assert pair.line.count(PLACE) == 0

    play(tmp_path, scenario)


def test_unknown_instruments_and_long_ids_do_not_leave(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        async with pair.running() as client:
            with pytest.raises(OrderRejected, match="unknown_instrument"):
                await client.place(approved(instrument="NFO:NONE"))
            with pytest.raises(OrderRejected, match="bad_order_id"):
                await client.place(approved("ax" + "A" * 18))
        assert pair.line.count(PLACE) == 0

    play(tmp_path, scenario)
