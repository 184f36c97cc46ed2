"""Market data in virtual time: subscribed, resynchronised, reopened, never silent without being noticed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from angelx.adapters.angelone.feed import AngelOneFeed
from angelx.domain.errors import InputInvalid
from angelx.domain.instruments import InstrumentTable, Right
from angelx.domain.ports import FeedClient
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, AT, BID, EXCHANGE_AT, INSTRUMENT, LAST, OI
from angelx.domain.wire import NoAnswer, Response
from angelx.venue.faults import Fault
from tests.adapters.angelone_pair import Pair, play
from tests.venue.angelone_floor import CALL, INDEX, RUPEE, TABLE, option

STREAM = "/smart-stream"
CALL_PLACE = TABLE.index[CALL.id]


@asynccontextmanager
async def streaming(
    pair: Pair, table: InstrumentTable = TABLE, places: Sequence[int] = (0, 2)
) -> AsyncIterator[AngelOneFeed]:
    await pair.client.session.ensure()
    await pair.client.instruments()
    feed = pair.new_feed()
    port: FeedClient = feed
    await port.subscribe(table, places)
    work = asyncio.get_running_loop().create_task(feed.run())
    await pair.until(lambda: bool(pair.feed_states) and pair.feed_states[-1][0])
    yield feed
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


def seen(pair: Pair) -> list[tuple[int, int, int]]:
    """(Place, bid, ask) of every row, in rupees."""
    rows = [row.tolist() for batch in pair.rows for row in batch.table.T]
    return [(row[INSTRUMENT], row[BID] // RUPEE, row[ASK] // RUPEE) for row in rows]


def test_rows_come_as_the_market_moves_and_times_never_go_back(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101, oi=750)
        async with streaming(pair) as feed:
            assert (CALL_PLACE, 100, 101) in seen(pair)
            for price in (101, 102, 103):
                pair.floor.quote(price, price + 1)
                await asyncio.sleep(0.01)
            pair.floor.quote(200, 201, name="NFO:NIFTY:2025-09-02:24600:CE")  # not asked for
            await asyncio.sleep(0.1)
            assert seen(pair)[-3:] == [(CALL_PLACE, price, price + 1) for price in (101, 102, 103)]
            times = np.concatenate([batch.table[AT] for batch in pair.rows])
            assert (np.diff(times) >= 0).all()
            assert feed.refused == {}
            last = pair.rows[-1].table[:, -1]
            assert last[EXCHANGE_AT] <= last[AT]
            assert last[LAST] == 103.5 * RUPEE

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(what="disconnect", where=STREAM, for_s=2),
        Fault(what="mute", where=STREAM, for_s=40),
        Fault(what="lost_event", where=STREAM, for_s=40),
        Fault(what="status", where=STREAM, status=401, times=2),
        Fault(what="status", where=STREAM, status=429, times=1),
        Fault(what="status", where=STREAM, status=503, times=3),
        Fault(what="status", where="*/market/v1/quote", status=500, times=5),
        Fault(what="status", where="*/market/v1/quote", status=403, body="exceeding access rate", times=1),
        Fault(what="token_expiry"),
    ],
    ids=lambda fault: f"{fault.what}-{fault.status if fault.what == 'status' else ''}",
)
def test_the_gate_reopens_after_any_fault_with_the_present_quote(tmp_path: Path, fault: Fault) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with streaming(pair):
            pair.line.menu.add(fault)
            if fault.what in {"status", "token_expiry"}:
                pair.line.memory.cut()
            await pair.until(lambda: not pair.feed_states[-1][0])
            pair.floor.quote(110, 111)
            pair.rows.clear()
            await pair.until(lambda: pair.feed_states[-1][0])
            assert (CALL_PLACE, 110, 111) in seen(pair)
            pair.rows.clear()
            pair.floor.quote(120, 121)
            await asyncio.sleep(1)
            assert seen(pair) == [(CALL_PLACE, 120, 121)]
        assert [up for up, _ in pair.feed_states][:3] == [True, False, True]

    play(tmp_path, scenario)


def test_last_prices_that_are_asked_for_at_once_are_one_question(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101, last=100)
        pair.floor.quote(24_500, 24_500, name=INDEX.id, last=24_500)
        await pair.client.session.ensure()
        await pair.client.instruments()
        feed = pair.new_feed()
        before = pair.line.count("/market/v1/quote")
        prices = await asyncio.gather(feed.last_price(CALL.id), feed.last_price(INDEX.id), feed.last_price(CALL.id))
        assert list(prices) == [100 * RUPEE, 24_500 * RUPEE, 100 * RUPEE]
        assert pair.line.count("/market/v1/quote") == before + 1
        with pytest.raises(InputInvalid, match="not in today's scrip master"):
            await feed.last_price("NSE:NOBODY")

    play(tmp_path, scenario)


def test_doubled_and_reordered_packets_never_take_the_quote_back(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with streaming(pair) as feed:
            pair.line.menu.add(Fault(what="duplicate", where=STREAM, rate=0.5))
            pair.line.menu.add(Fault(what="reorder", where=STREAM, rate=0.5))
            for price in range(101, 151):
                pair.floor.quote(price, price + 1)
                await asyncio.sleep(0.001)
            await asyncio.sleep(1)
            bids = [bid for place, bid, _ in seen(pair) if place == CALL_PLACE]
            assert bids == sorted(bids)
            assert bids[-1] >= 149
            assert feed.refused.get("out_of_order", 0) > 0

    play(tmp_path, scenario)


def test_damaged_packets_are_counted_and_the_stream_goes_on(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with streaming(pair) as feed:
            line = feed._lines[0]
            for raw in (b"", b"\3", b"\3" * 379, b"\1" * 51, b"\0" * 443):
                line._waiting.append(raw)
            line._flush()
            line._hear("nonsense")
            line._hear('{"errorCode":"E1001","errorMessage":"no"}')
            pair.floor.quote(105, 106)
            await asyncio.sleep(0.1)
            assert seen(pair)[-1] == (CALL_PLACE, 105, 106)
            assert sum(feed.refused.values()) == 5
            assert feed.counts["error_E1001"] == 1
            assert [up for up, _ in pair.feed_states] == [True]

    play(tmp_path, scenario)


def test_a_turn_of_the_loop_is_one_batch(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with streaming(pair):
            await asyncio.sleep(1)
            pair.rows.clear()
            for price in range(200, 250):
                pair.floor.quote(price, price + 1, pass_ns=0)
            await asyncio.sleep(1)
            assert len(seen(pair)) == 50
            assert len(pair.rows) < 50

    play(tmp_path, scenario)


def test_more_than_a_thousand_instruments_take_several_streams(tmp_path: Path) -> None:
    table = InstrumentTable([option(10_000 + 50 * number, Right.CALL) for number in range(2100)])

    async def scenario(pair: Pair) -> None:
        async with streaming(pair, table, range(2100)) as feed:
            assert len(feed._lines) == 3
            assert pair.line.count(STREAM) == 3
            assert pair.line.count("/market/v1/quote") == 42
            pair.rows.clear()
            pair.floor.quote(100, 101, name=table[2099].id)
            await asyncio.sleep(0.1)
            assert seen(pair) == [(2099, 100, 101)]

    play(tmp_path, scenario, table=table)


def test_what_cannot_be_had_is_refused_by_name(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        await pair.client.session.ensure()
        feed = pair.new_feed()
        with pytest.raises(InputInvalid, match="not in today's scrip master"):
            await feed.subscribe(TABLE, [0])
        await pair.client.instruments()
        other = InstrumentTable([option(1, Right.PUT)])
        with pytest.raises(InputInvalid, match="NFO:NIFTY:2025-09-02:1:PE"):
            await feed.subscribe(other, [0])

    play(tmp_path, scenario)


def test_another_subscription_replaces_the_first(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        pair.floor.quote(24500, 24500, name=INDEX.id)
        async with streaming(pair, places=(2,)) as feed:
            await feed.subscribe(TABLE, [0])
            await asyncio.sleep(0.1)
            await pair.until(lambda: pair.feed_states[-1][0])
            pair.rows.clear()
            pair.floor.quote(105, 106)
            pair.floor.quote(24600, 24600, name=INDEX.id)
            await asyncio.sleep(0.1)
            assert seen(pair) == [(0, 24600, 24600)]
        assert [up for up, _ in pair.feed_states] == [True, False, True]

    play(tmp_path, scenario)


def test_a_quote_that_makes_no_sense_is_left_out(tmp_path: Path) -> None:
    quote = b'{"exchange":"NFO","symbolToken":"35003","ltp":"x","exchFeedTime":"29-Aug-2025 10:00:00"}'
    answer = Response(200, {}, b'{"status":true,"data":{"fetched":[' + quote + b"]}}")

    async def scenario(pair: Pair) -> None:
        pair.line.faults.append(("/market/v1/quote", answer))
        pair.line.faults.append(("/market/v1/quote", NoAnswer("lost")))
        async with streaming(pair) as feed:
            assert feed.counts["bad_quote"] == 1
            assert all(batch.table[OI].min() >= 0 for batch in pair.rows)

    play(tmp_path, scenario)


def test_a_stream_that_never_says_anything_is_given_up(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.line.menu.add(Fault(what="mute", where=STREAM, for_s=20))
        async with streaming(pair):
            assert asyncio.get_running_loop().time() > 20
            assert pair.line.count(STREAM) >= 2

    play(tmp_path, scenario)


def test_another_days_tokens_are_asked_for_anew(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        pair.floor.quote(100, 101)
        async with streaming(pair) as feed:
            asked = pair.line.count(STREAM)
            pair.clock.wrong = 5 * 24 * 3600 * NS  # after the options' expiry
            await pair.client.instruments()
            await asyncio.sleep(1)
            await pair.until(lambda: pair.feed_states[-1][0])
            assert pair.line.count(STREAM) == asked + 1
            assert feed.counts["delisted"] == 1
            pair.floor.quote(24600, 24600, name=INDEX.id)
            await asyncio.sleep(0.1)
            assert seen(pair)[-1] == (0, 24600, 24600)

    play(tmp_path, scenario)
