"""The Alpaca adapter against the venue, nothing going wrong: every capability."""

import asyncio
from pathlib import Path

import pytest

from angelx.adapters.alpaca.refusals import wait_s
from angelx.domain.errors import AuthExpired, OrderRejected
from angelx.domain.events import OrderAccepted, OrderEnded, OrderFilled
from angelx.domain.instruments import InstrumentTable, Kind
from angelx.domain.reports import PositionReport
from angelx.domain.scalars import NS
from tests.adapters.alpaca.alpaca_rig import IBM, Rig, play, raises

CALL = "OPRA:IBM:2026-01-16:300:C"


def test_an_order_is_accepted_filled_and_in_all_books() -> None:
    async def story(rig: Rig) -> None:
        order = rig.approve(quantity=10)
        accepted = await rig.client.place(order)
        await rig.until(lambda: rig.filled() == 10)
        assert accepted.order == order.order
        assert [type(event) for event in rig.events] == [OrderAccepted, OrderFilled]
        fill = rig.fills()[0]
        assert (fill.side, fill.quantity, fill.price, fill.instrument) == (1, 10, 3_000_500, IBM)
        (line,) = await rig.client.order_book()
        assert (line.order, line.state, line.filled, line.notional) == (order.order, "filled", 10, 30_005_000)
        assert list(await rig.client.trade_book()) == [fill]
        assert await rig.client.positions() == [PositionReport(IBM, 10, 30_005_000)]
        funds = await rig.client.funds()
        assert funds.cash == 1_000_000_000 - 30_005_000

    play(story)


def test_an_option_is_ordered_in_contracts_and_reported_in_units() -> None:
    async def story(rig: Rig) -> None:
        order = rig.approve(quantity=300, limit=3.2, name=CALL)
        await rig.client.place(order)
        await rig.until(lambda: rig.filled() == 300)
        request = next(request for request in rig.counting.seen if request.method == "POST")
        assert b'"qty":"3"' in request.body
        assert b"IBM260116C00300000" in request.body
        assert await rig.client.positions() == [PositionReport(CALL, 300, 300 * 32_000)]
        with raises(OrderRejected, "off_lot"):
            await rig.client.place(rig.approve(quantity=150, limit=3.2, name=CALL))

    play(story)


def test_partial_fills_come_one_by_one_and_the_rest_is_cancelled() -> None:
    async def story(rig: Rig) -> None:
        rig.quote(299.95, 300.05, size=4)
        order = rig.approve(quantity=10)
        await rig.client.place(order)
        await rig.until(lambda: rig.filled() == 4)
        rig.quote(299.95, 300.05, size=3)
        await rig.until(lambda: rig.filled() == 7)
        await rig.client.cancel(order.order)
        await rig.until(lambda: bool(rig.ended(order.order)))
        (end,) = rig.ended(order.order)
        assert (end.outcome, end.detail) == ("cancelled", "7 of 10 filled")
        with raises(OrderRejected, "already_ended"):
            await rig.client.cancel(order.order)

    play(story)


def test_a_replaced_order_goes_on_under_its_name() -> None:
    async def story(rig: Rig) -> None:
        rig.quote(299.95, 300.05, size=4)
        order = rig.approve(quantity=10)
        first = await rig.client.place(order)
        await rig.until(lambda: rig.filled() == 4)
        second = await rig.client.replace(order.order, quantity=20, limit=3_001_000)
        assert second != first.broker_order
        rig.quote(300.00, 300.10, size=100)
        await rig.until(lambda: rig.filled(order.order) == 20)
        assert not rig.ended(order.order)
        assert len(rig.accepted(order.order)) == 1

    play(story)


def test_a_replaced_order_is_followed_though_somebody_else_replaced_it() -> None:
    async def story(rig: Rig) -> None:
        order = rig.approve(quantity=10, limit=299.0)
        accepted = await rig.client.place(order)
        headers = {"apca-api-key-id": "PKTESTKEY0001", "apca-api-secret-key": "s3cr3t-of-the-test-account"}
        reply = await rig.wire.request(
            "PATCH", f"/v2/orders/{accepted.broker_order}", headers=headers, body=b'{"qty":"12"}', timeout_s=1.0
        )
        assert reply.status == 200
        rig.quote(298.0, 298.5)
        await rig.until(lambda: rig.filled(order.order) == 12)

    play(story)


def test_orders_of_others_are_counted_and_left_alone() -> None:
    async def story(rig: Rig) -> None:
        headers = {"apca-api-key-id": "PKTESTKEY0001", "apca-api-secret-key": "s3cr3t-of-the-test-account"}
        body = b'{"symbol":"AAPL","qty":1,"side":"buy","type":"market","time_in_force":"day"}'
        await rig.wire.request("POST", "/v2/orders", headers=headers, body=body, timeout_s=1.0)
        await asyncio.sleep(1)
        assert not rig.events
        assert rig.client.counts["foreign"] > 0
        (line,) = await rig.client.order_book()
        assert (line.order, line.state) == ("", "filled")
        (fill,) = await rig.client.trade_book()
        assert (fill.order, fill.quantity) == ("", 1)

    play(story)


def test_what_an_earlier_process_sent_is_found_after_a_restart() -> None:
    async def story(rig: Rig) -> None:
        done, resting = rig.approve(quantity=5), rig.approve(quantity=5, limit=290.0)
        await rig.client.place(done)
        await rig.client.place(resting)
        await rig.until(lambda: rig.filled() == 5)
        before = list(rig.events)
        again = Rig()
        again.market, again.wire.server = rig.market, rig.faults
        again.client._rest._transport = again.client._stream._transport = rig.wire  # The same venue.
        await again.start()
        assert [(type(event), event.order) for event in again.events if isinstance(event, OrderFilled)] == [
            (OrderFilled, done.order)
        ]
        assert again.fills()[0].execution == next(e for e in before if isinstance(e, OrderFilled)).execution
        assert len(again.accepted(resting.order)) == 1
        await again.client.cancel(resting.order)
        await rig.until(lambda: bool(rig.ended(resting.order)) and bool(again.ended(resting.order)))
        for task in again._tasks:
            task.cancel()

    play(story)


def test_the_master_is_kept_for_the_day_and_no_other(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        instruments = await rig.client.instruments()
        kinds = [instrument.kind for instrument in instruments]
        assert (kinds.count(Kind.EQUITY), kinds.count(Kind.OPTION)) == (3, 10)
        found = {instrument.id: instrument for instrument in instruments}
        assert found[IBM].tick_size == 100
        assert not found["US:HALT"].tradable
        call = found[CALL]
        assert (call.symbol, call.lot_size, call.strike, call.underlying) == ("IBM260116C00300000", 100, 3_000_000, IBM)
        listing = rig.client.listing(CALL)
        assert listing is not None and listing.open_interest == 120_000
        again = Rig(client_options={"cache": tmp_path})
        again.client._rest._transport = rig.wire
        before = len(rig.counting.seen)
        assert await again.client.instruments() == instruments
        assert len(rig.counting.seen) == before

    (tmp_path / "alpaca-2026-01-02.json").write_text("of another day")
    play(story, client_options={"cache": tmp_path})
    assert [path.name for path in tmp_path.iterdir()] == ["alpaca-2026-01-05.json"]


def test_wrong_keys_do_not_connect() -> None:
    async def story(rig: Rig) -> None:
        with raises(AuthExpired, "unauthorized"):
            await rig.client.connect(InstrumentTable([]))
        assert "wrong" not in repr(rig.client._rest._credentials)

    play(story, start=False, secret="wrong-secret")


def test_the_market_price_of_a_short_is_reported_with_its_sign() -> None:
    async def story(rig: Rig) -> None:
        order = rig.approve(side=-1, quantity=10, limit=299.95)
        await rig.client.place(order)
        await rig.until(lambda: rig.filled() == 10)
        assert await rig.client.positions() == [PositionReport(IBM, -10, -29_995_000)]

    play(story)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "US:NOPE"}, "unknown_instrument"),
        ({"name": "US:HALT", "limit": 10.0}, "not_tradable"),
        ({"quantity": 100_000}, "insufficient_funds"),
        ({"limit": 300.055}, "off_tick"),
        ({"quantity": 0}, "off_lot"),
    ],
)
def test_a_refusal_has_a_stable_code(change: dict[str, object], words: str) -> None:
    async def story(rig: Rig) -> None:
        order = rig.approve(**change)  # type: ignore[arg-type]
        with raises(OrderRejected, words):
            await rig.client.place(order)
        assert not rig.events
        assert not isinstance(rig.events, OrderEnded)

    play(story)


def test_more_than_held_cannot_be_sold_in_one_order() -> None:
    async def story(rig: Rig) -> None:
        await rig.client.place(rig.approve(quantity=10))
        await rig.until(lambda: rig.filled() == 10)
        resting = rig.approve(side=-1, quantity=6, limit=310.0)
        await rig.client.place(resting)
        with raises(OrderRejected, "insufficient_position"):
            await rig.client.place(rig.approve(side=-1, quantity=6, limit=299.95))
        with raises(OrderRejected, "self_trade"):
            await rig.client.place(rig.approve(quantity=1, limit=311.0))

    play(story)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, 60.0),
        ({"x-ratelimit-reset": "1012"}, 12.0),
        ({"x-ratelimit-reset": "900"}, 1.0),
        ({"x-ratelimit-reset": "99999"}, 60.0),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "5", "x-ratelimit-reset": "1003"}, 5.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 60.0),
        ({"retry-after": "nan", "x-ratelimit-reset": "nan"}, 60.0),
        ({"retry-after": "inf"}, 60.0),
        ({"x-ratelimit-reset": "soon", "retry-after": "3"}, 3.0),
    ],
)
def test_a_429_is_waited_for_as_long_as_it_says(headers: dict[str, str], wait: float) -> None:
    assert wait_s(headers, 1000 * NS) == wait
