"""Frames that nobody should send: a typed error or a count, the connection survives, no order.

`ANGELX_FUZZ_CASES` sets how many cases each property tries (docs/alpaca.md names the longest run).
"""

import os
from random import Random
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from angelx.adapters.alpaca.messages import StreamMessage, UpdateData
from angelx.adapters.alpaca.order_stream import _answer_of, _decoded
from angelx.adapters.alpaca.ticks import TickColumns
from angelx.adapters.alpaca.tracker import Gap, Tracker, Unreadable
from angelx.domain.events import OrderApproved, OrderFilled
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, INSTRUMENT, LAST, VOLUME
from angelx.venue.alpaca.market_stream import timestamp
from tests.adapters.alpaca.alpaca_rig import IBM, Rig, play
from tests.venue.alpaca.alpaca_market import OPEN, TABLE

CASES = int(os.environ.get("ANGELX_FUZZ_CASES", "4000"))
FRAMES = 20
"""Cases in one example: hypothesis itself takes longer than a case."""
many = settings(
    max_examples=max(CASES // FRAMES, 1), deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
TIME = "2026-01-05T14:31:00.000000001Z"
ORDER = {
    "id": "b1", "client_order_id": "axFUZZ00000000000A", "status": "partially_filled", "symbol": "IBM", "side": "buy",
    "qty": "10", "filled_qty": "4", "filled_avg_price": "300.05", "created_at": TIME, "submitted_at": TIME,
    "replaces": None, "replaced_by": None, "limit_price": "300.05",
}  # fmt: skip
MESSAGES: list[dict[str, Any]] = [
    {"T": "q", "S": "IBM", "bp": 300.01, "bs": 3, "ap": 300.05, "as": 2, "t": TIME, "c": ["R"], "z": "A"},
    {"T": "t", "S": "IBM", "p": 300.01, "s": 3, "t": TIME, "c": ["@"], "i": 5},
    {"T": "c", "S": "IBM", "os": 3, "cs": 4, "t": TIME},
    {"T": "x", "S": "IBM", "s": 4, "t": TIME},
    {"T": "s", "S": "IBM", "sc": "H", "t": TIME},
    {"T": "l", "S": "IBM", "u": 310.0, "d": 290.0, "t": TIME},
    {"T": "error", "code": 400, "msg": "invalid syntax"},
    {"T": "subscription", "trades": ["IBM"]},
]
UPDATE = {"event": "fill", "execution_id": "e1", "order": ORDER, "timestamp": TIME, "price": "300.05", "qty": "4"}

seeds = st.integers(0, 2**62).map(lambda seed: [Random(seed + number) for number in range(FRAMES)])
"""Frames are made by plain code from a seed: hypothesis alone would take a hundred times as long."""
SCALARS: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 2**63, -(2**70), 1e300, -0.0, 0.00005, float("nan"), float("inf"), "q", "t", "IBM",
    TIME, "fill", "canceled", "NaN", "1e999", "-5", "", "9" * 40, "\ud800", [], [1, "a"], {}, {"a": None},
)  # fmt: skip


def value_of(random: Random, depth: int = 0) -> Any:
    """Any value JSON can have, and some that it cannot."""
    kind = random.randrange(8)
    if kind == 0:
        return random.randrange(-(2**65), 2**65)
    if kind == 1:
        return random.uniform(-1, 1) * 10 ** random.randrange(-10, 40)
    if kind == 2:
        return "".join(chr(random.randrange(1, 0xD7FF)) for _ in range(random.randrange(6)))
    if kind == 3 and depth < 3:
        return [value_of(random, depth + 1) for _ in range(random.randrange(4))]
    return random.choice(SCALARS)


def spoilt(random: Random, good: dict[str, Any]) -> dict[str, Any]:
    """A good message with some of its values replaced, removed or added."""
    message = dict(good)
    for _ in range(random.randrange(4)):
        key = random.choice(sorted(good)) if random.random() < 0.8 else value_of(random)
        if random.random() < 0.7:
            message[str(key)] = value_of(random)
        else:
            message.pop(key if isinstance(key, str) else "", None)
    return message


def packed(value: Any) -> bytes:
    """As msgpack, times as extensions where they are times; integers too large become floats."""
    if isinstance(value, dict):
        value = {key: timestamp(OPEN) if inner == TIME else _small(inner) for key, inner in value.items()}
    return msgspec.msgpack.encode(value)


def _small(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return float(value)
    if isinstance(value, list):
        return [_small(inner) for inner in value]
    return {key: _small(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def frame_of(random: Random, *, msgpack: bool) -> bytes:
    """Arrays of spoilt messages, sometimes cut, flipped or of no form at all."""
    if random.randrange(10) == 0:
        whole = (b"[" * 5_000, b"\x91" * 5_000, b"\xdd\xff\xff\xff\xff", b"[1,", random.randbytes(random.randrange(60)))
        return random.choice(whole)
    messages = [spoilt(random, random.choice(MESSAGES)) for _ in range(random.randrange(5))]
    try:
        if msgpack:
            frame = bytes((0x90 | len(messages),)) + b"".join(map(packed, messages))
        else:
            frame = msgspec.json.encode(messages)
    except (UnicodeEncodeError, OverflowError):  # What cannot be sent is not received.
        frame = b"[{}]"
    for _ in range(random.choice((0, 0, 1, 2))):
        place = random.randrange(len(frame) + 1)
        frame = frame[:place] + (b"" if random.random() < 0.5 else random.randbytes(2) + frame[place + 1 :])
    return frame


COLUMNS = TickColumns(TABLE, {"IBM": 0})
"""One for all frames, as on one connection: what a frame leaves behind must not hurt the next one."""


def check_batch() -> None:
    batch = COLUMNS.batch()
    if batch is not None:
        assert (batch.table[INSTRUMENT] == 0).all()
        assert (batch.table[[BID, ASK, BID_SIZE, ASK_SIZE, LAST, VOLUME]] >= 0).all()


@many
@given(randoms=seeds)
def test_no_json_frame_raises(randoms: list[Random]) -> None:
    for random in randoms:
        frame = frame_of(random, msgpack=False)
        COLUMNS.take(frame, 5, msgpack=False)
        COLUMNS.take(frame.decode(errors="surrogateescape"), 5, msgpack=False)
        check_batch()


@many
@given(randoms=seeds)
def test_no_msgpack_frame_raises(randoms: list[Random]) -> None:
    for random in randoms:
        COLUMNS.take(frame_of(random, msgpack=True), 5, msgpack=True)
        check_batch()


@many
@given(randoms=seeds)
def test_no_update_does_anything_but_tell_or_refuse(randoms: list[Random]) -> None:
    """Updates of one order, spoilt: no execution is told twice."""
    tracker = Tracker(lambda symbol: TABLE[0] if symbol == "IBM" else None)
    tracker.expect(
        OrderApproved(OPEN, "axFUZZ00000000000A", 1, "s", IBM, 1, 10, 3_000_500, False, 0, "", 1.0), TABLE[0]
    )
    told: list[str] = []
    for random in randoms:
        update = spoilt(random, {**UPDATE, "order": spoilt(random, ORDER)})
        try:
            frame = msgspec.json.encode({"stream": "trade_updates", "data": update})
        except (UnicodeEncodeError, OverflowError):
            continue
        message = _decoded(frame)
        assert isinstance(message, StreamMessage)
        _answer_of(message)
        try:
            events = tracker.told(msgspec.json.decode(message.data, type=UpdateData), OPEN)
        except (Gap, Unreadable, msgspec.ValidationError):
            continue
        told += [event.execution for event in events if isinstance(event, OrderFilled)]
    assert len(told) == len(set(told))


def test_garbage_on_a_live_connection_breaks_nothing_and_orders_nothing() -> None:
    """Method: both streams of a running adapter get bad frames between good ones."""
    random = Random(3)

    def garbage() -> list[bytes]:
        good = [packed(dict(random.choice(MESSAGES[:6]))) for _ in range(3)]
        good[1] = bytes(random.randrange(256) for _ in range(random.randrange(1, 40)))
        return good

    async def story(rig: Rig) -> None:
        await rig.start_feed(IBM)
        market = rig.market.server
        (client,) = market.streams["sip"]._clients
        for step in range(300):
            client.waiting.extend(garbage())
            client.wake.set()
            for listener in market.updates._listeners:
                listener.queue.put_nowait(bytes(random.randrange(256) for _ in range(20)))
            rig.quote(300.0 + step / 100, 300.1 + step / 100)
            await Rig.until(lambda: not client.waiting)
        rig.quote(311.0, 311.1)
        await Rig.until(lambda: rig.rows[-1].view[3, rig.rows[-1].rows - 1] == 3_110_000)
        assert rig.feed.counts["connections"] == 1
        assert sum(rig.feed.columns.refused.values()) > 0
        assert rig.client._stream.malformed == 300
        assert len(rig.states) == 1
        assert rig.counting.posts() == 0
        await rig.client.place(rig.approve(limit=320.0))
        await Rig.until(lambda: rig.filled() == 10)

    play(story)
