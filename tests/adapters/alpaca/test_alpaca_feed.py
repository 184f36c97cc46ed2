"""The Alpaca feed against the venue: decoding, resynchronisation, limits, halts, and everything that can break."""

import asyncio

import msgspec
import pytest

from angelx.domain.ticks import ASK, AT, BID, BID_SIZE, CHANGED, EXCHANGE_AT, INSTRUMENT, LAST, OI, VOLUME
from angelx.domain.wire import Stream
from angelx.venue.alpaca.server import BASIC, Plan
from tests.adapters.alpaca.alpaca_rig import IBM, Rig, play
from tests.venue.alpaca.alpaca_market import CALL_300

CALL = "OPRA:IBM:2026-01-16:300:C"
AAPL = "US:AAPL"


def last_row(rig: Rig, place: int) -> dict[int, int]:
    for batch in reversed(rig.rows):
        for row in reversed(range(batch.rows)):
            if batch.view[INSTRUMENT, row] == place:
                return {field: batch.view[field, row] for field in range(CHANGED)}
    raise AssertionError("no row of it")


@pytest.mark.parametrize("msgpack", [True, False])
def test_quotes_and_trades_become_whole_rows(msgpack: bool) -> None:
    async def story(rig: Rig) -> None:
        table = await rig.start_feed(IBM, AAPL)
        place = table.index[IBM]
        first = last_row(rig, place)  # From the snapshot, before anything came.
        assert (first[BID], first[ASK], first[LAST], first[VOLUME]) == (2_999_500, 3_000_500, 3_000_100, 100)
        rig.quote(300.01, 300.07, size=700)
        rig.quote(300.01, 300.07, size=700, last=300.03, traded=40)
        await rig.until(lambda: last_row(rig, place)[VOLUME] == 140)
        row = last_row(rig, place)
        assert (row[BID], row[ASK], row[BID_SIZE], row[LAST]) == (3_000_100, 3_000_700, 700, 3_000_300)
        assert row[EXCHANGE_AT] == rig.market.at - 500_000
        assert row[AT] > row[EXCHANGE_AT]
        assert rig.feed.columns.refused == {}

    play(story, msgpack=msgpack)


def test_options_come_in_units_with_the_master_s_open_interest() -> None:
    async def story(rig: Rig) -> None:
        rig.feed._open_interest = {CALL: 120_000}
        table = await rig.start_feed(CALL)
        place = table.index[CALL]
        rig.quote(3.1, 3.3, CALL_300, size=700)
        await rig.until(lambda: last_row(rig, place)[BID] == 31_000)
        row = last_row(rig, place)
        assert (row[BID_SIZE], row[OI]) == (700, 120_000)
        assert rig.feed.scope == "nbbo"

    play(story, feed="opra")


def test_the_plan_s_symbol_limit_keeps_the_most_important() -> None:
    async def story(rig: Rig) -> None:
        table = await rig.start_feed(AAPL, IBM, "US:HALT")
        assert rig.feed.subscribed == 2
        assert rig.feed_states[-1] == (True, "2 of 3 subscribed")
        rig.quote(200.01, 200.05, "AAPL")
        await rig.until(lambda: last_row(rig, table.index[AAPL])[BID] == 2_000_100)

    play(story, plan=Plan(symbol_limits={"sip": 4}))


def test_what_was_missed_is_in_the_snapshot_and_counted_once() -> None:
    async def story(rig: Rig) -> None:
        table = await rig.start_feed(IBM)
        place = table.index[IBM]
        rig.quote(300.01, 300.07, last=300.05, traded=10)
        await rig.until(lambda: last_row(rig, place)[VOLUME] == 110)
        number = rig.fault("disconnect", where="/v2/sip")
        await rig.until(lambda: not rig.feed_states[-1][0])
        rig.quote(300.02, 300.08, last=300.06, traded=30)
        await asyncio.sleep(2)
        rig.faults.remove(number)
        await rig.until(lambda: rig.feed_states[-1][0])
        row = last_row(rig, place)
        assert (row[BID], row[LAST], row[VOLUME]) == (3_000_200, 3_000_600, 140)
        rig.quote(300.02, 300.08, last=300.07, traded=5)
        await rig.until(lambda: last_row(rig, place)[VOLUME] == 145)

    play(story)


def test_a_mute_socket_is_replaced_while_the_market_is_open() -> None:
    async def story(rig: Rig) -> None:
        await rig.start_feed(IBM)
        rig.fault("mute", where="/v2/sip", for_s=20.0)
        await rig.until(lambda: rig.feed.counts["mute"] > 0)
        await rig.until(lambda: rig.feed_states[-1][0] and rig.feed.counts["connections"] > 1)

    play(story, feed_options={"is_open": lambda: True})


def test_a_quiet_socket_is_left_alone_while_the_market_is_closed() -> None:
    async def story(rig: Rig) -> None:
        await rig.start_feed(IBM)
        await asyncio.sleep(600)
        assert rig.feed.counts["connections"] == 1

    play(story)


@pytest.mark.parametrize("what", ["duplicate", "reorder", "lost_event"])
def test_a_bad_line_loses_no_connection(what: str) -> None:
    async def story(rig: Rig) -> None:
        table = await rig.start_feed(IBM)
        rig.fault(what, where="/v2/sip", rate=0.3)
        for step in range(50):
            rig.quote(300.0 + step / 100, 300.1 + step / 100)
            await asyncio.sleep(0.01)
        rig.faults.remove()
        rig.quote(311.0, 311.1)
        await rig.until(lambda: last_row(rig, table.index[IBM])[BID] == 3_110_000)
        assert rig.feed.counts["connections"] == 1

    play(story)


def test_a_second_connection_waits_for_the_first_to_go() -> None:
    async def story(rig: Rig) -> None:
        other = Rig()
        other.wire.server = rig.faults
        other.client._rest._transport = other.feed._rest._transport = other.feed._transport = rig.wire
        await rig.start_feed(IBM)
        task = asyncio.get_running_loop().create_task(other.start_feed(IBM))
        await rig.until(lambda: other.feed.counts["error_406"] > 0)
        assert "connection limit" in other.feed_states[-1][1]
        await rig.feed._hang_up()
        rig._tasks[-1].cancel()
        await rig.until(lambda: bool(other.feed_states) and other.feed_states[-1][0])
        await task
        for one in other._tasks:
            one.cancel()

    play(story)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"secret": "wrong", "start": False}, "auth failed"), ({"plan": BASIC}, "insufficient subscription")],
)
def test_a_refused_log_in_is_told(options: dict[str, object], words: str) -> None:
    async def story(rig: Rig) -> None:
        rig.feed._symbol_of = lambda name: name.removeprefix("US:")
        from tests.venue.alpaca.alpaca_market import TABLE

        await rig.feed.subscribe(TABLE, [0])
        task = asyncio.get_running_loop().create_task(rig.feed.run())
        await rig.until(lambda: bool(rig.feed_states))
        assert not rig.feed_states[-1][0]
        assert words in rig.feed_states[-1][1]
        task.cancel()

    play(story, **options)  # type: ignore[arg-type]


class Refusing:
    """A server's end of a stream: one message of a kind is replaced by an error, once."""

    def __init__(self, inner: Stream, moment: str, code: int, done: list[int]) -> None:
        self._inner, self._moment, self._code, self._done = inner, moment, code, done
        self.receive, self.close = inner.receive, inner.close

    async def send(self, message: str | bytes) -> None:
        first = msgspec.json.decode(message)[0]
        kind = {"subscription": "subscribe", "q": "later"}.get(first["T"], first.get("msg"))
        if kind == self._moment and not self._done:
            self._done.append(self._code)
            message = msgspec.json.encode([{"T": "error", "code": self._code, "msg": "because"}])
        await self._inner.send(message)


CODES = (400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 500, 999)
ENDS = (401, 402, 407, 409, 411)
"""What ends a connection that was good: it is begun anew. Of anything else a note is made; silence is noticed too."""
MOMENTS = ("connected", "authenticated", "subscribe", "later")


@pytest.mark.parametrize(
    ("moment", "code"),
    [(moment, code) for moment in MOMENTS for code in CODES if (moment, code) != ("subscribe", 405)],  # A limit: above.
)
def test_every_error_of_the_stream_is_told_and_overcome(moment: str, code: int) -> None:
    async def story(rig: Rig) -> None:
        done: list[int] = []
        serve = rig.counting.serve
        rig.counting.serve = (  # type: ignore[method-assign]
            lambda request, stream: serve(request, Refusing(stream, moment, code, done))
            if request.path == "/v2/sip" else serve(request, stream)
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        begun_at = loop.time()
        table = await rig.start_feed(IBM)
        rig.quote(300.01, 300.07)
        await rig.until(lambda: done == [code] and rig.feed.counts[f"error_{code}"] == 1)
        goes_on = moment == "later" and code not in ENDS
        await rig.until(lambda: rig.feed.counts["connections"] == (1 if goes_on else 2) and rig.feed_states[-1][0])
        told = [why for is_up, why in rig.feed_states if not is_up]
        assert [f"{code} because" in why for why in told] == ([] if goes_on else [True])
        assert loop.time() - begun_at < 60
        assert code != 406 or goes_on or loop.time() - begun_at > 5
        rig.quote(311.0, 311.1)
        await rig.until(lambda: last_row(rig, table.index[IBM])[BID] == 3_110_000)

    play(story, msgpack=False)


def test_halts_and_their_ends_are_told_by_instrument() -> None:
    async def story(rig: Rig) -> None:
        await rig.start_feed(IBM)
        rig.market.exchange.halt(IBM)
        rig.market.exchange.resume(IBM)
        rig.market.server.streams["sip"].band(rig.market.exchange.table[0], 2_900_000, 3_100_000)
        await rig.until(lambda: len(rig.statuses) == 3)
        assert [(one.instrument, one.code) for one in rig.statuses] == [(IBM, "H"), (IBM, "T"), (IBM, "LULD")]
        assert (rig.statuses[2].low, rig.statuses[2].high) == (2_900_000, 3_100_000)

    play(story)


def test_subscribing_anew_replaces_the_set() -> None:
    async def story(rig: Rig) -> None:
        table = await rig.start_feed(IBM)
        await rig.feed.subscribe(table, [table.index[AAPL]])
        await rig.until(lambda: rig.feed.counts["connections"] == 2 and rig.feed_states[-1][0])
        rig.quote(200.01, 200.05, "AAPL")
        await rig.until(lambda: last_row(rig, table.index[AAPL])[BID] == 2_000_100)
        before = rig.feed.columns.received
        rig.quote(300.0, 300.1)
        await asyncio.sleep(1)
        assert rig.feed.columns.received == before

    play(story)


def test_symbols_that_are_quiet_cost_fewer_and_fewer_connections() -> None:
    """Ten seconds without a tick may be a mute socket or a quiet share: who asks again waits twice as long."""

    async def story(rig: Rig) -> None:
        table = await rig.start_feed(IBM)
        await asyncio.sleep(600)
        assert rig.feed.counts["mute"] == 5  # After 10, 20, 40, 80 and 160 s.
        assert "sent no tick for" in next(why for is_up, why in rig.feed_states if not is_up)
        rig.quote(300.01, 300.07)
        await rig.until(lambda: last_row(rig, table.index[IBM])[BID] == 3_000_100)
        await asyncio.sleep(14)
        assert rig.feed.counts["mute"] == 6

    play(story, feed_options={"is_open": lambda: True})
