"""Packets of the market stream: three readers agree, and what is no packet is counted."""

import os
import struct
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.adapters.angelone.packets import LENGTHS, REASONS, PacketDecoder, field_cells
from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, EXCHANGE_AT, INSTRUMENT, LAST, OI, VOLUME
from angelx.venue.angelone.packets import DEPTH_20, LTP, QUOTE, SNAP_QUOTE, Quote, packet

TOKENS = {(2, "57920"): 3, (1, "99926000"): 0, (2, "1"): 1, (13, "1"): 2}
PLACES = 5
units = st.integers(0, 2**40)
prices = st.integers(0, 2**31 - 1)
levels = st.tuples(prices, st.integers(0, 2**31 - 1), st.integers(0, 2**15 - 1))
quotes = st.builds(
    Quote, exchange_type=st.just(2), token=st.just(b"57920"), last=prices, last_quantity=units, average=prices,
    volume=units, total_buy=units, total_sell=units, open=prices, high=prices, low=prices, close=prices,
    traded_s=st.integers(0, 4 * 10**9), at_ms=st.integers(0, 4 * 10**12), interest=units,
    buys=st.lists(levels, max_size=5), sells=st.lists(levels, max_size=5), upper=prices, lower=prices,
    year_high=prices, year_low=prices,
)  # fmt: skip


def decoder() -> PacketDecoder:
    return PacketDecoder(TOKENS, PLACES)


DECODER = decoder()


def fresh() -> PacketDecoder:
    DECODER._states[:] = 0
    DECODER._states[:PLACES, INSTRUMENT] = np.arange(PLACES)
    DECODER.new_connection()
    return DECODER


@given(quote=quotes, mode=st.sampled_from([LTP, QUOTE, SNAP_QUOTE, DEPTH_20]))
def test_what_the_venue_packs_the_client_unpacks(quote: Quote, mode: int) -> None:
    raw = packet(quote, mode, 7, 1)
    assert len(raw) == LENGTHS[mode]
    batch = fresh().decode([raw], 99)
    assert len(batch) == 1
    row = batch.table[:, 0].tolist()
    assert (row[INSTRUMENT], row[AT], row[EXCHANGE_AT]) == (3, 99, quote.at_ms * 1_000_000)
    assert row[LAST] == (0 if mode == DEPTH_20 else quote.last * 100)
    assert row[VOLUME] == (quote.volume if mode in {QUOTE, SNAP_QUOTE} else 0)
    assert row[OI] == (quote.interest if mode == SNAP_QUOTE else 0)
    has_depth = mode in {SNAP_QUOTE, DEPTH_20}
    bid = quote.buys[0] if quote.buys and has_depth else (0, 0, 0)
    ask = quote.sells[0] if quote.sells and has_depth else (0, 0, 0)
    assert (row[BID], row[BID_SIZE], row[ASK], row[ASK_SIZE]) == (bid[0] * 100, bid[1], ask[0] * 100, ask[1])


@given(quote=quotes)
def test_the_offsets_are_those_of_the_factsheet(quote: Quote) -> None:
    raw = packet(quote, SNAP_QUOTE, 7, 1)
    read = struct.unpack("<BB25sqqqqqqddqqqqqqd", raw[:147])
    assert read[:6] == (3, 2, b"57920".ljust(25, b"\0"), 7, quote.at_ms, quote.last)
    assert read[6:11] == (quote.last_quantity, quote.average, quote.volume, quote.total_buy, quote.total_sell)
    assert read[11:15] == (quote.open, quote.high, quote.low, quote.close)
    assert read[15:17] == (quote.traded_s, quote.interest)
    assert struct.unpack("<qqqq", raw[347:]) == (quote.upper, quote.lower, quote.year_high, quote.year_low)
    for number, (price, quantity, orders) in enumerate(quote.buys):
        assert struct.unpack_from("<HqqH", raw, 147 + 20 * number) == (1, quantity, price, orders)
    for number, (price, quantity, orders) in enumerate(quote.sells):
        assert struct.unpack_from("<HqqH", raw, 247 + 20 * number) == (0, quantity, price, orders)


@settings(max_examples=30)
@given(quotes=st.lists(quotes, max_size=8), modes=st.lists(st.integers(1, 4), min_size=8, max_size=8))
def test_cut_into_any_batches_the_rows_are_the_same(quotes: list[Quote], modes: list[int]) -> None:
    raws = [packet(quote, mode, number, 1) for number, (quote, mode) in enumerate(zip(quotes, modes, strict=False))]
    whole = fresh().decode(raws, 5).table.copy()
    one_by_one = fresh()
    parts = [one_by_one.decode([raw], 5).table for raw in raws]
    assert np.array_equal(whole, np.concatenate([np.zeros((11, 0), np.int64), *parts], axis=1))


def test_what_a_packet_does_not_carry_stays_as_it_was() -> None:
    reader = fresh()
    full = Quote(2, b"57920", last=100, volume=5, interest=9, at_ms=1, buys=[(99, 10, 1)], sells=[(101, 20, 1)])
    row = reader.decode([packet(full, SNAP_QUOTE, 1, 0), packet(Quote(2, b"57920", last=102, at_ms=2), LTP, 2, 0)], 5)
    assert row.table[:, 1].tolist() == [3, 5, 2_000_000, 9900, 10100, 10, 20, 10200, 5, 9, 0]


def test_currency_is_scaled_and_rounded_half_even() -> None:
    reader = fresh()
    for sequence, (wire, price) in enumerate([(834_512_500, 834_512), (834_513_500, 834_514), (834_512_501, 834_513)]):
        row = reader.decode([packet(Quote(13, b"1", last=wire), LTP, sequence, 0)], 0)
        assert row.table[LAST, 0] == price


def damaged(raw: bytes, at: int, value: bytes) -> bytes:
    return raw[:at] + value + raw[at + len(value) :]


GOOD = packet(Quote(2, b"57920", last=1, at_ms=5, buys=[(1, 1, 1)]), SNAP_QUOTE, 5, 0)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "length"),
        (GOOD[:-1], "length"),
        (GOOD + b"\0", "length"),
        (damaged(GOOD, 0, b"\1"), "length"),
        (damaged(GOOD, 0, b"\0"), "mode"),
        (damaged(GOOD, 0, b"\5"), "mode"),
        (damaged(GOOD, 2, b"5792x"), "token"),
        (damaged(GOOD, 2, b"\0"), "token"),
        (damaged(GOOD, 2, b"1" * 25), "token"),
        (damaged(GOOD, 2, b"57921"), "unknown_token"),
        (damaged(GOOD, 1, b"\1"), "unknown_token"),
        (damaged(GOOD, 1, b"\xff"), "unknown_token"),
        (damaged(GOOD, 35, struct.pack("<q", -1)), "time"),
        (damaged(GOOD, 35, struct.pack("<q", 2**62)), "time"),
        (damaged(GOOD, 43, struct.pack("<q", -1)), "range"),
        (damaged(GOOD, 43, struct.pack("<q", 2**62)), "range"),
        (damaged(GOOD, 67, struct.pack("<q", -1)), "range"),
        (damaged(GOOD, 131, struct.pack("<q", -1)), "range"),
        (damaged(GOOD, 149, struct.pack("<q", -1)), "range"),
        (damaged(GOOD, 147, b"\2"), "depth"),
        (damaged(GOOD, 27, struct.pack("<q", -9)), ""),
    ],
)
def test_what_is_no_packet_is_counted_by_reason_and_changes_nothing(raw: bytes, reason: str) -> None:
    reader = fresh()
    before = reader._states[:PLACES].copy()
    rows = len(reader.decode([raw], 1))
    if reason:
        assert (rows, reader.refused) == (0, {reason: 1})
        assert np.array_equal(reader._states[:PLACES], before)
    assert len(reader.decode([GOOD], 1)) == 1


def test_older_packets_of_a_connection_are_dropped_and_a_new_one_begins_anew() -> None:
    reader = fresh()
    first, later = (packet(Quote(2, b"1", last=n, at_ms=n), LTP, n, 0) for n in (1, 2))
    assert len(reader.decode([later, first, later], 0)) == 2
    assert reader.refused == {"out_of_order": 1}
    reader.new_connection()
    assert len(reader.decode([first], 0)) == 1


def test_rest_fills_in_only_what_is_not_newer() -> None:
    reader = fresh()
    cells = field_cells(exchange_at=10, bid=1, ask=2, bid_size=3, ask_size=4, last=5, volume=6, oi=7)
    row = reader.restore(2, cells, 99)
    assert row is not None
    assert row.table[:, 0].tolist() == [2, 99, 10, 1, 2, 3, 4, 5, 6, 7, 0]
    assert reader.restore(2, cells | {EXCHANGE_AT: 9}, 100) is None
    assert not reader.has_new(2)


def mutated(random: Random) -> bytes:
    """A good packet with some bytes changed, cut or added; or noise behind a good head; or noise."""
    how = random.randrange(4)
    if how == 0:
        return random.randbytes(random.randrange(500))
    if how == 1:
        head = bytes([random.randrange(6), 2]) + b"57920".ljust(25, b"\0")
        return head + random.randbytes(random.choice((51, 123, 379, 443)) - 27)
    raw = bytearray(random.choice(GOODS))
    for _ in range(random.randrange(1, 4)):
        raw[random.randrange(len(raw))] = random.choice((0, 1, 127, 128, 255, random.randrange(256)))
    return bytes(raw[: random.randrange(len(raw))]) if how == 3 else bytes(raw)


GOODS = [GOOD, *(packet(Quote(2, b"57920", last=1, at_ms=5), mode, 5, 0) for mode in (LTP, QUOTE, DEPTH_20))]
CASES = int(os.environ.get("ANGELX_FUZZ_CASES", "5000"))
PER_EXAMPLE = 50


@settings(max_examples=CASES // PER_EXAMPLE)
@given(seed=st.integers(0, 2**64))
def test_no_bytes_break_the_decoder(seed: int) -> None:
    """ANGELX_FUZZ_CASES=100000 runs as many; docs/angelone.md says when that was done."""
    random = Random(seed)
    for _ in range(PER_EXAMPLE):
        reader = fresh()
        batch = reader.decode([mutated(random), GOOD], 1)
        assert len(batch) + sum(reader.refused.values()) == 2
        assert set(reader.refused) <= set(REASONS)
        assert (batch.table >= 0).all()


def test_the_official_client_reads_the_venue_the_same_way(sdk_feed: Any) -> None:
    quote = Quote(
        2, b"57920", last=100, last_quantity=1, average=2, volume=3, total_buy=4, total_sell=5, open=6, high=7, low=8,
        close=9, traded_s=10, at_ms=11, interest=12, buys=[(99, 75, 2)], sells=[(101, 150, 3)], upper=13, lower=14,
        year_high=15, year_low=16,
    )  # fmt: skip
    read: dict[str, Any] = {}
    for mode in (LTP, QUOTE, SNAP_QUOTE):
        read = sdk_feed._parse_binary_data(packet(quote, mode, 7, 1))
        assert (read["subscription_mode"], read["exchange_type"], read["token"]) == (mode, 2, "57920")
        assert (read["sequence_number"], read["exchange_timestamp"], read["last_traded_price"]) == (7, 11, 100)
    assert read["best_5_buy_data"][0] == {"flag": 1, "quantity": 75, "price": 99, "no of orders": 2}
    assert read["best_5_sell_data"][0] == {"flag": 0, "quantity": 150, "price": 101, "no of orders": 3}
    assert (read["open_interest"], read["upper_circuit_limit"], read["52_week_low_price"]) == (12, 13, 16)
    deep = sdk_feed._parse_binary_data(packet(quote, DEPTH_20, 7, 1))
    assert deep["depth_20_buy_data"][0] == {"quantity": 75, "price": 99, "num_of_orders": 2}
    assert deep["packet_received_time"] == 1


@pytest.fixture
def sdk_feed() -> Any:
    """The official feed client without its constructor, which writes log files; and without what its package does."""
    from tests.conformance.smartapi import feed_class

    return object.__new__(feed_class())
