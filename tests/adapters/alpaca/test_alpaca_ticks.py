"""Market messages into columns: exact prices, exact times, nothing raised, whatever comes."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.adapters.alpaca.ticks import TickColumns, exact_price
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, AT, BID, BID_SIZE, EXCHANGE_AT, LAST, VOLUME
from angelx.domain.timestamps import instant_of, rfc3339
from angelx.venue.alpaca.market_stream import timestamp
from tests.venue.alpaca.alpaca_market import TABLE

SYMBOLS = {"IBM": 0, "AAPL": 1, "IBM260116C00300000": 7}
AT_TEXT = "2026-01-05T14:30:00.123456789Z"
AT_NS = instant_of(AT_TEXT)


def columns() -> TickColumns:
    return TickColumns(TABLE, SYMBOLS)


def quote(bid: Any = 300.01, ask: Any = 300.05, **more: Any) -> dict[str, Any]:
    return {"T": "q", "S": "IBM", "bp": bid, "bs": 3, "ap": ask, "as": 2, "t": AT_TEXT, "c": ["R"], "z": "A", **more}


def trade(price: float = 300.03, size: float = 10, **more: Any) -> dict[str, Any]:
    return {"T": "t", "S": "IBM", "p": price, "s": size, "t": AT_TEXT, **more}


def encoded(messages: list[Any], *, msgpack: bool) -> bytes:
    if not msgpack:
        return msgspec.json.encode(messages)
    packed = [
        {**one, "t": timestamp(instant_of(one["t"]))} if isinstance(one, dict) and one.get("t") == AT_TEXT else one
        for one in messages
    ]
    return msgspec.msgpack.encode(packed)


@pytest.mark.parametrize("msgpack", [False, True])
def test_a_frame_of_mixed_messages(msgpack: bool) -> None:
    made = columns()
    frame = encoded(
        [
            quote(), trade(), trade(300.09, 5, c=["@", "I"]), trade(299.0, 7, c=["M"]), {**quote(1, 2), "S": "XYZ"},
            {"T": "x", "S": "IBM", "p": 300.03, "s": 4, "t": AT_TEXT, "i": 1, "x": "V", "a": "C", "z": "A"},
            {"T": "c", "S": "IBM", "os": 6, "cs": 8, "t": AT_TEXT}, {"T": "b", "S": "IBM", "o": 1},
            {"T": "future", "S": "IBM"}, 5, {"T": "success", "msg": "connected"},
        ],
        msgpack=msgpack,
    )  # fmt: skip
    others = made.take(frame, 77, msgpack=msgpack)
    batch = made.batch()
    assert batch is not None
    assert batch.table[VOLUME].tolist() == [0, 10, 15, 15, 11, 13]
    assert batch.table[LAST].tolist() == [0, 3_000_300, 3_000_300, 3_000_300, 3_000_300, 3_000_300]
    assert (batch.table[BID] == 3_000_100).all() and (batch.table[ASK] == 3_000_500).all()
    assert (batch.table[EXCHANGE_AT] == AT_NS).all() and (batch.table[AT] == 77).all()
    assert made.refused == {"unknown_symbol": 1, "unknown_kind": 1, "bad_message": 1}
    assert [type(one).__name__ for one in others] == ["Bar", "Success"]
    assert made.batch() is None


@given(st.decimals(min_value=0, max_value=99_999, places=9, allow_nan=False, allow_infinity=False))
def test_a_price_is_rounded_half_even_from_its_decimal_text(price: Decimal) -> None:
    sent = float(f"{price:.14g}")
    expected = int((Decimal(repr(sent)) * 10_000).to_integral_value(ROUND_HALF_EVEN))
    made = columns()
    made.take(encoded([quote(sent, sent)], msgpack=True), 1, msgpack=True)
    batch = made.batch()
    assert batch is not None
    assert batch.table[BID, 0] == expected == exact_price(sent)


@pytest.mark.parametrize(("price", "expected"), [(1.00005, 10_000), (1.00015, 10_002), (0.00005, 0), (2.67495, 26_750)])
def test_ties_go_to_the_even_neighbour(price: float, expected: int) -> None:
    made = columns()
    made.take(encoded([quote(price, price)], msgpack=False), 1, msgpack=False)
    batch = made.batch()
    assert batch is not None
    assert batch.table[BID, 0] == batch.table[ASK, 0] == expected
    assert made.rounded == 2


@pytest.mark.parametrize("bad", [-1.0, 1e300, float("nan"), float("inf")])
def test_what_is_no_price_is_refused_by_reason(bad: float) -> None:
    made = columns()
    made.take(encoded([quote(bad, 1.0), trade(bad), quote(bs=bad)], msgpack=True), 1, msgpack=True)
    assert sum(made.refused.values()) == 3
    assert made.refused["bad_price"] == 2


def test_a_lot_of_an_option_is_its_multiplier() -> None:
    made = columns()
    made.take(encoded([{**quote(), "S": "IBM260116C00300000", "c": "A"}], msgpack=True), 1, msgpack=True)
    batch = made.batch()
    assert batch is not None
    assert batch.table[BID_SIZE, 0] == 300


def test_room_grows_without_moving_what_was_given_out() -> None:
    made = columns()
    frame = encoded([quote()] * 700, msgpack=True)
    made.take(frame, 1, msgpack=True)
    first = made.batch()
    for _ in range(4):
        made.take(frame, 2, msgpack=True)
    second = made.batch()
    assert first is not None and second is not None
    assert (first.rows, second.rows) == (700, 2_800)
    assert (first.table[AT] == 1).all() and (second.table[AT] == 2).all()


@given(st.integers(0, 4_000_000_000 * NS))
def test_times_survive_both_forms_to_the_nanosecond(at: int) -> None:
    assert instant_of(rfc3339(at)) == at
    made = columns()
    made.take(msgspec.msgpack.encode([{**quote(), "t": timestamp(at)}]), 1, msgpack=True)
    made.take(msgspec.json.encode([{**quote(), "t": rfc3339(at)}]), 1, msgpack=False)
    if at:
        batch = made.batch()
        assert batch is not None
        assert batch.table[EXCHANGE_AT].tolist() == [at, at]


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("2026-01-05T09:30:00-05:00", True), ("2026-01-05T14:30:00.5+00:00", True), ("2026-01-05T14:30:00", False),
        ("2026-01-05 14:30:00Z", False), ("2026-13-05T14:30:00Z", False), ("2026-01-05T14:30:00.Z", False),
        ("2026-01-05T14:30:00.12x4Z", False), ("", False), ("Z", False), ("2026-01-05T14:30:00.²Z", False),
    ],
)  # fmt: skip
def test_only_whole_times_are_times(text: str, good: bool) -> None:
    if good:
        assert abs(instant_of(text) - instant_of("2026-01-05T14:30:00Z")) < NS
    else:
        with pytest.raises(ValueError, match="RFC 3339"):
            instant_of(text)


def test_many_rows_decode_as_one_by_one() -> None:
    rng = np.random.default_rng(5)
    messages = [
        quote(float(bid) / 100, float(bid + 3) / 100) if kind else trade(float(bid) / 100, int(bid % 90))
        for bid, kind in zip(rng.integers(1_000, 90_000, 500), rng.integers(0, 2, 500), strict=True)
    ]
    whole, single = columns(), columns()
    whole.take(encoded(messages, msgpack=True), 1, msgpack=True)
    rows = []
    for message in messages:
        single.take(encoded([message], msgpack=False), 1, msgpack=False)
        batch = single.batch()
        assert batch is not None
        rows.append(batch.table[:, 0])
    together = whole.batch()
    assert together is not None
    assert (together.table == np.array(rows).T).all()


def test_what_a_snapshot_contains_is_not_counted_again() -> None:
    made = columns()
    made.seed(0, {LAST: 3_000_000, VOLUME: 500, BID: 2_999_900}, quoted_at=AT_NS, traded_at=AT_NS)
    made.take(encoded([quote(1.0, 2.0), trade(299.0, 40)], msgpack=True), 1, msgpack=True)
    assert made.batch() is None
    assert made.repeated == 2
    later = {**trade(299.5, 40), "t": rfc3339(AT_NS + 1)}
    made.take(msgspec.json.encode([later]), 2, msgpack=False)
    batch = made.batch()
    assert batch is not None
    assert (batch.table[VOLUME, 0], batch.table[LAST, 0], batch.table[BID, 0]) == (540, 2_995_000, 2_999_900)
