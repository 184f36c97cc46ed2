"""The Alpaca adapter when things go wrong: the right typed outcome, nothing sent twice, no fill lost or doubled."""

import asyncio
from decimal import Decimal

import pytest
from msgspec.structs import replace

from angelx.adapters.alpaca.messages import WireOrder
from angelx.domain.errors import AuthExpired, BrokerUnreachable, OrderFateUnknown, OrderRejected, RateLimited
from angelx.domain.events import OrderEnded
from angelx.domain.wire import NoAnswer, Request, Response
from tests.adapters.alpaca.alpaca_rig import Rig, play, raises

ORDERS = "/v2/orders"


def test_a_lost_reply_is_unknown_and_then_found_without_a_second_post() -> None:
    async def story(rig: Rig) -> None:
        rig.fault("lost_reply", where=ORDERS, method="POST", times=1)
        rig.fault("disconnect", where="/stream", for_s=3.0)
        order = rig.approve()
        with raises(OrderFateUnknown):
            await rig.client.place(order)
        await rig.until(lambda: bool(rig.accepted(order.order)))
        await rig.until(lambda: rig.filled(order.order) == 10)
        assert rig.counting.posts() == 1
        with raises(OrderRejected, "duplicate_order"):
            await rig.client.place(order)
        assert rig.counting.posts() == 1

    play(story)


def test_a_lost_request_is_unknown_and_stays_so() -> None:
    async def story(rig: Rig) -> None:
        rig.fault("lost_request", where=ORDERS, method="POST", times=1)
        order = rig.approve()
        with raises(OrderFateUnknown):
            await rig.client.place(order)
        await asyncio.sleep(60)
        assert not rig.events
        assert rig.counting.posts() == 0  # The venue never saw it, and nobody sent it again.
        assert await rig.client.look_up(order.order) is None

    play(story)


def test_a_slow_reply_is_unknown_and_the_fill_comes_all_the_same() -> None:
    async def story(rig: Rig) -> None:
        rig.fault("slow_reply", where=ORDERS, method="POST", delay_s=5.0, times=1)
        order = rig.approve()
        with raises(OrderFateUnknown, "no answer within"):
            await rig.client.place(order)
        await rig.until(lambda: rig.filled(order.order) == 10)
        await asyncio.sleep(10)
        assert rig.counting.posts() == 1

    play(story)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
@pytest.mark.parametrize("done", [False, True])
def test_a_server_error_on_a_post_is_unknown(status: int, done: bool) -> None:
    async def story(rig: Rig) -> None:
        rig.fault("status", where=ORDERS, method="POST", status=status, done=done, times=1)
        order = rig.approve()
        with raises(OrderFateUnknown):
            await rig.client.place(order)
        if done:
            await rig.until(lambda: rig.filled(order.order) == 10)
        else:
            await asyncio.sleep(30)
            assert not rig.events
        assert rig.counting.posts() == int(done)

    play(story)


def test_too_many_requests_are_waited_for_and_nothing_happened() -> None:
    async def story(rig: Rig) -> None:
        rig.fault("status", where=ORDERS, method="POST", status=429, body='{"message":"too many requests."}', times=1)
        order = rig.approve()
        with raises(RateLimited, "rate_limited"):
            await rig.client.place(order)
        with raises(RateLimited, "no room"):
            await rig.client.place(order)
        held_at = asyncio.get_running_loop().time()
        with raises(OrderRejected, "order_not_found"):
            await rig.client.cancel("axNEVERTHERE")  # Cancels and exits wait a second at most.
        assert asyncio.get_running_loop().time() - held_at < 1.5
        await asyncio.sleep(61)
        await rig.client.place(order)  # It was not placed: the same order may go.
        await rig.until(lambda: rig.filled(order.order) == 10)
        assert rig.counting.posts() == 1

    play(story)


@pytest.mark.parametrize(("status", "body"), [(401, '{"message":"unauthorized."}'), (403, '{"message":"forbidden."}')])
def test_lost_authorization_is_told_apart_from_a_refusal(status: int, body: str) -> None:
    async def story(rig: Rig) -> None:
        rig.fault("status", where=ORDERS, method="POST", status=status, body=body, times=1)
        order = rig.approve()
        with raises(AuthExpired, "unauthorized"):
            await rig.client.place(order)
        await rig.client.place(order)
        await rig.until(lambda: rig.filled(order.order) == 10)

    play(story)


@pytest.mark.parametrize(
    ("status", "code", "message", "word"),
    [
        (422, 40010001, "client_order_id must be unique.", ""),
        (422, 40010001, "qty must be > 0", "invalid"),
        (400, 40010000, "request body format is invalid", "malformed"),
        (403, 40310000, "insufficient buying power", "insufficient_funds"),
        (403, 40310000, "insufficient qty available for order (requested: 1, available: 0)", "insufficient_position"),
        (403, 40310000, "potential wash trade detected. use complex orders", "self_trade"),
        (403, 40310000, "account not eligible to trade uncovered option contracts", "uncovered_option"),
        (403, 40310100, "trade denied due to pattern day trading protection", "pattern_day_trading"),
        (404, 40410000, "asset not found for X", "unknown_instrument"),
        (422, 42210000, 'asset "X" is not tradable', "not_tradable"),
        (422, 42210000, 'asset "X" cannot be sold short', "not_shortable"),
        (422, 42210000, "invalid limit_price 290.123. sub-penny increment does not fulfill …", "off_tick"),
        (422, 42210000, "something new", "unprocessable"),
        (418, 41810000, "never seen", "alpaca_41810000"),
    ],
)
def test_every_error_code_has_its_word(status: int, code: int, message: str, word: str) -> None:
    async def story(rig: Rig) -> None:
        body = f'{{"code":{code},"message":"{message.replace(chr(34), chr(92) + chr(34))}"}}'
        rig.fault("status", where=ORDERS, method="POST", status=status, body=body, times=1)
        order = rig.approve()
        with raises(OrderRejected if word else OrderFateUnknown, word or "is there yet"):
            await rig.client.place(order)
        assert not rig.events

    play(story)


def test_a_duplicate_id_is_ours_when_all_agree_and_foreign_else() -> None:
    async def story(rig: Rig) -> None:
        first = rig.approve(quantity=3)
        await rig.client.place(first)
        await rig.until(lambda: rig.filled() == 3)
        rig.client._tracker.orders.clear()  # As if the process had been another one.
        with raises(OrderRejected, "foreign_client_id"):
            await rig.client.place(rig.approve(quantity=4, order=first.order))
        posts = rig.counting.posts()
        accepted = await rig.client.place(rig.approve(quantity=3, order=first.order))
        assert accepted.order == first.order
        assert rig.counting.posts() == posts + 1
        assert len(rig.market.exchange.orders()) == 1

    play(story)


def test_a_duplicate_id_of_another_day_is_foreign() -> None:
    async def story(rig: Rig) -> None:
        first = rig.approve(quantity=3)
        await rig.client.place(first)
        rig.client._tracker.orders.clear()
        await asyncio.sleep(3600)
        with raises(OrderRejected, "foreign_client_id"):
            await rig.client.place(rig.approve(quantity=3, order=first.order))

    play(story)


def test_nothing_listens_there() -> None:
    async def story(rig: Rig) -> None:
        rig.wire.is_up = False
        order = rig.approve()
        with raises(BrokerUnreachable):
            await rig.client.place(order)
        with raises(BrokerUnreachable):
            await rig.client.positions()
        rig.wire.is_up = True
        await rig.client.place(order)
        await rig.until(lambda: rig.filled() == 10)

    play(story)


def test_reads_are_asked_again_and_then_given_up() -> None:
    async def story(rig: Rig) -> None:
        rig.fault("status", where="/v2/positions", method="GET", status=503, times=2)
        assert await rig.client.positions() == []
        rig.fault("status", where="/v2/positions", method="GET", status=503)
        with raises(BrokerUnreachable, "503"):
            await rig.client.positions()

    play(story)


def test_a_cut_stream_comes_back_with_what_was_missed() -> None:
    async def story(rig: Rig) -> None:
        rig.quote(299.95, 300.05, size=4)
        order = rig.approve()
        await rig.client.place(order)
        await rig.until(lambda: rig.filled() == 4)
        number = rig.fault("disconnect", where="/stream")
        await rig.until(lambda: not rig.states[-1][0])
        rig.quote(299.90, 300.00, size=3)
        rig.quote(299.90, 299.99, size=3)
        await asyncio.sleep(5)
        rig.faults.remove(number)
        await rig.until(lambda: rig.states[-1][0])
        assert [(fill.quantity, fill.price) for fill in rig.fills()] == [
            (4, 3_000_500), (3, 3_000_000), (3, 2_999_900),
        ]  # fmt: skip

    play(story)


@pytest.mark.parametrize("what", ["duplicate", "reorder"])
@pytest.mark.parametrize("seed", range(4))
def test_duplicated_and_reordered_updates_are_each_told_once_and_in_order(what: str, seed: int) -> None:
    async def story(rig: Rig) -> None:
        rig.fault(what, where="/stream", rate=0.6)
        names = []
        for turn in range(6):
            rig.quote(299.95, 300.05, size=4 + turn)
            order = rig.approve(quantity=10)
            await rig.client.place(order)
            names.append(order.order)
            rig.quote(299.95, 300.04, size=3)
            await asyncio.sleep(0.05)
        rig.quote(299.95, 300.03, size=1000)
        await rig.until(lambda: all(rig.filled(name) == 10 for name in names))

    play(story, seed=seed)


def test_lost_updates_are_found_in_the_books() -> None:
    async def story(rig: Rig) -> None:
        rig.fault("lost_event", where="/stream", rate=0.5)
        names = []
        for _ in range(6):
            rig.quote(299.95, 300.05, size=6)
            order = rig.approve(quantity=10)
            await rig.client.place(order)
            names.append(order.order)
            rig.quote(299.95, 300.04, size=1000)
            await asyncio.sleep(0.05)
        await rig.until(lambda: all(rig.filled(name) == 10 for name in names))

    play(story)


def test_a_mute_stream_is_caught_by_the_books_and_replaced() -> None:
    async def story(rig: Rig) -> None:
        order = rig.approve(limit=299.0)
        await rig.client.place(order)
        await rig.until(lambda: bool(rig.accepted(order.order)))
        await asyncio.sleep(1)
        number = rig.fault("mute", where="/stream")
        rig.quote(298.0, 298.5)
        await rig.until(lambda: rig.filled() == 10)
        rig.faults.remove(number)
        await rig.until(lambda: rig.client.counts["mute"] == 1)
        await rig.until(lambda: len(rig.states) >= 3 and rig.states[-1][0])

    play(story)


def test_a_stream_comes_back_while_look_ups_use_up_the_whole_budget() -> None:
    """Whoever reads the books keeps the stream waiting: it must not wait itself behind all other questions."""

    async def story(rig: Rig) -> None:
        async def ask() -> None:
            while True:
                await rig.client.order_book()
                await asyncio.sleep(0.5)

        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(ask()) for _ in range(8)]
            await asyncio.sleep(120)  # The budget is used up by now, and the books have been looked at beside it.
            rig.fault("disconnect", where="/stream")
            await rig.until(lambda: not rig.states[-1][0], 10)
            await rig.until(lambda: rig.states[-1][0], 60)
            for one in asking:
                one.cancel()

    play(story)


def test_revoked_keys_are_reported_and_their_return_too() -> None:
    async def story(rig: Rig) -> None:
        rig.market.server.revoke_keys()
        await rig.until(lambda: not rig.states[-1][0])
        order = rig.approve()
        with raises(AuthExpired):
            await rig.client.place(order)
        rig.market.server.revoke_keys(are_revoked=False)
        await rig.until(lambda: rig.states[-1][0])
        await rig.client.place(order)
        await rig.until(lambda: rig.filled() == 10)

    play(story)


def test_a_void_log_in_is_made_again() -> None:
    async def story(rig: Rig) -> None:
        rig.fault("token_expiry")
        await rig.until(lambda: not rig.states[-1][0])
        assert "authorization" in rig.states[-1][1]
        await rig.until(lambda: rig.states[-1][0])
        await rig.client.place(rig.approve())
        await rig.until(lambda: rig.filled() == 10)

    play(story)


def test_another_clock_over_there_is_measured_and_does_no_harm() -> None:
    async def story(rig: Rig) -> None:
        rig.fault("clock_offset", offset_s=90.0)
        rig.fault("disconnect", where="/stream", for_s=1.0)
        await asyncio.sleep(5)
        await rig.until(lambda: rig.states[-1][0])
        assert abs(rig.client.offset_ns / 1e9 - 90.0) < 0.1
        rig.fault("lost_reply", where=ORDERS, method="POST", times=1)
        order = rig.approve()
        with raises(OrderFateUnknown):
            await rig.client.place(order)
        await rig.until(lambda: rig.filled(order.order) == 10)
        assert rig.counting.posts() == 1

    play(story)


def test_a_burst_of_rejects_is_told_for_each_order() -> None:
    async def story(rig: Rig) -> None:
        number = rig.fault("reject_burst", rate=1.0)
        for _ in range(5):
            order = rig.approve()
            try:
                await rig.client.place(order)
            except OrderRejected:
                continue
            await rig.until(lambda name=order.order: bool(rig.ended(name)))  # type: ignore[misc]
            assert rig.ended(order.order)[0].outcome == "rejected"
        rig.faults.remove(number)
        assert not rig.fills()

    play(story)


def test_a_cancel_that_may_have_been_taken_is_looked_up() -> None:
    async def story(rig: Rig) -> None:
        order = rig.approve(limit=290.0)
        await rig.client.place(order)
        rig.fault("lost_reply", where="/v2/orders/*", method="DELETE", times=1)
        rig.fault("disconnect", where="/stream", for_s=2.0)
        with raises(OrderFateUnknown):
            await rig.client.cancel(order.order)
        await rig.until(lambda: bool(rig.ended(order.order)))

    play(story)


def test_an_answer_that_cannot_be_read_is_an_order_in_doubt() -> None:
    async def story(rig: Rig) -> None:
        inner = rig.counting.handle

        async def garbled(request: Request) -> Response:
            response = await inner(request)
            if request.method == "POST":
                rig.counting.handle = inner  # type: ignore[method-assign]
                return Response(200, {}, b"<html>gateway</html>")
            return response

        rig.counting.handle = garbled  # type: ignore[method-assign]
        order = rig.approve()
        with raises(OrderFateUnknown, "cannot be read"):
            await rig.client.place(order)
        await rig.until(lambda: rig.filled(order.order) == 10)

    play(story)


def test_a_cancelled_call_leaves_the_order_in_doubt() -> None:
    async def story(rig: Rig) -> None:
        rig.fault("slow_reply", where=ORDERS, method="POST", delay_s=1.0, times=1)
        order = rig.approve()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await rig.client.place(order)
        await rig.until(lambda: rig.filled(order.order) == 10)
        assert rig.counting.posts() == 1

    play(story)


def test_an_order_in_doubt_finds_out_soon_that_nothing_answers() -> None:
    """Its look-ups come before the next idle look at the books, which is up to 30 s away."""

    async def story(rig: Rig) -> None:
        mute = rig.fault("mute", where="/v2/*")
        with raises(OrderFateUnknown, ""):
            await rig.client.place(rig.approve())
        found_at = asyncio.get_running_loop().time()
        await rig.until(lambda: not rig.states[-1][0])
        rig.faults.remove(mute)
        assert asyncio.get_running_loop().time() - found_at < 20

    play(story)


def test_the_budget_lets_exits_go_first_and_keeps_places_for_them() -> None:
    async def story(rig: Rig) -> None:
        for _ in range(200):
            try:
                async with asyncio.timeout(0.01):
                    await rig.client.place(rig.approve(quantity=1, limit=200.0))
            except (TimeoutError, RateLimited):
                break
        entries = rig.counting.posts()
        assert entries <= 160
        exit_order = rig.approve(side=1, quantity=1, limit=200.0, reduces=True)
        await rig.client.place(exit_order)
        with raises(RateLimited):
            await rig.client.place(rig.approve(quantity=1, limit=200.0))
        assert not any(isinstance(error, NoAnswer) for error in rig.events)

    play(story)


@pytest.mark.parametrize("quantity", ["NaN", "Infinity", "1e400", "ten"])
def test_books_that_cannot_be_read_are_no_books(quantity: str) -> None:
    async def story(rig: Rig) -> None:
        inner = rig.counting.handle

        async def spoilt(request: Request) -> Response:
            response = await inner(request)
            if request.path == "/v2/positions":
                line = f'[{{"symbol":"IBM","qty":"{quantity}","side":"long","cost_basis":"1"}}]'
                return Response(200, {}, line.encode())
            return response

        rig.counting.handle = spoilt  # type: ignore[method-assign]
        with raises(BrokerUnreachable, "cannot be read"):
            await rig.client.positions()

    play(story)


def test_without_a_stream_the_books_tell_what_happens() -> None:
    async def story(rig: Rig) -> None:
        rig.fault("disconnect", where="/stream", for_s=1000.0)
        await rig.until(lambda: not rig.states[-1][0])
        order = rig.approve()
        await rig.client.place(order)
        await rig.until(lambda: rig.filled(order.order) == 10, within_s=10)
        assert not rig.states[-1][0]

    play(story)


def test_books_that_nobody_answers_take_the_line_down() -> None:
    async def story(rig: Rig) -> None:
        number = rig.fault("mute")
        with raises(OrderFateUnknown):
            await rig.client.place(rig.approve())
        await rig.until(lambda: not rig.states[-1][0], within_s=45)
        assert "the books cannot be read" in rig.states[-1][1]
        rig.faults.remove(number)
        await rig.until(lambda: rig.states[-1][0])
        await rig.until(lambda: rig.filled() == 10)

    play(story)


def test_an_answer_that_comes_after_the_stream_said_rejected_accepts_nothing() -> None:
    async def story(rig: Rig) -> None:
        order = rig.approve()
        wire = WireOrder(
            id="B1", client_order_id=order.order, status="rejected", symbol="IBM", side="buy", qty=Decimal(10)
        )
        listing = rig.client.listing(order.instrument)
        assert listing is not None
        rig.client._tracker.expect(order, listing.instrument)
        events, _ = rig.client._tracker.read([wire], {}, 0)
        assert [type(event) for event in events] == [OrderEnded]
        with pytest.raises(OrderRejected):
            rig.client._accepted(order, replace(wire, status="new"))

    play(story)
