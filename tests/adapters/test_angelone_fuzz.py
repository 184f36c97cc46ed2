"""JSON that is not as it should be, in answers and on the order stream: a typed error, no event, no order."""

import os
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.adapters.angelone.answers import CallRefused, Unclear, data_of
from angelx.adapters.angelone.feed import _Quotes
from angelx.adapters.angelone.master import read_master
from angelx.adapters.angelone.rows import (
    JSON_ERRORS,
    Frame,
    FundsRow,
    OrderRow,
    Placed,
    PositionRow,
    TradeRow,
    one_of,
    rows_of,
)
from angelx.domain.errors import AuthExpired, RateLimited
from angelx.domain.events import OrderFilled
from angelx.domain.wire import Response
from angelx.venue.angelone.contracts import Contracts
from tests.adapters.test_angelone_merge import DAY, MASTER, TOKEN, merge, row, trade
from tests.venue.angelone_floor import TABLE

CASES = int(os.environ.get("ANGELX_FUZZ_CASES", "5000"))
PER_EXAMPLE = 50
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e300, -1e-300, 2**63, 2**200, "", " ", "x", "NaN", "Infinity", "1e999999", "-", "- 5",
    "0x10", "\uff11\uff12", "\U0001f600", "1" * 400, [], {}, [[[]]], {"a": {"b": []}}, "2025-13-45", "null",
)  # fmt: skip
FRAME = {
    "user-id": "A1", "status-code": "200", "order-status": "AB01", "error-message": "",
    "orderData": msgspec.to_builtins(row(75, 100.0, "open")),
}  # fmt: skip
ENVELOPE = {"status": True, "message": "SUCCESS", "errorcode": "", "data": {"orderid": "1", "uniqueorderid": "2"}}
MASTER_ROWS = msgspec.json.decode(Contracts(TABLE).master())


def broken(good: Any, random: Random) -> bytes:
    """The JSON of something good with values replaced, keys lost or doubled, bytes changed, or cut off."""
    raw = msgspec.json.encode(_replaced(good, random, 0.2) if random.random() < 0.8 else good)
    how = random.randrange(6)
    if how == 0:
        return raw[: random.randrange(len(raw) + 1)]
    if how == 1 and raw:
        at = random.randrange(len(raw))
        return raw[:at] + random.randbytes(random.randrange(3)) + raw[at + 1 :]
    if how == 2:
        return random.choice((b"", b"null", b"[" * 5000, b'{"a":' * 3000, b"\xff\xfe", b"<html>", random.randbytes(40)))
    return raw


def _replaced(value: Any, random: Random, share: float) -> Any:
    if random.random() < share / 4:
        return random.choice(ODD)
    if isinstance(value, dict):
        kept = {key: _replaced(one, random, share) for key, one in value.items() if random.random() > share / 8}
        if random.random() < share:
            kept[random.choice(("status", "success", "errorCode", "extra", ""))] = random.choice(ODD)
        return kept
    if isinstance(value, list):
        return [_replaced(one, random, share) for one in value] * random.choice((1, 1, 1, 2))
    return random.choice(ODD) if random.random() < share / 2 else value


def fuzz(check: Callable[[Random], None]) -> None:
    @settings(max_examples=max(CASES // PER_EXAMPLE, 1))
    @given(seed=st.integers(0, 2**64))
    def run(seed: int) -> None:
        random = Random(seed)
        for _ in range(PER_EXAMPLE):
            check(random)

    run()


def test_an_answer_is_data_or_a_typed_error() -> None:
    def check(random: Random) -> None:
        status = random.choice((200, 200, 200, 201, 301, 400, 401, 403, 404, 429, 500, 502, 503))
        good = random.choice((ENVELOPE, {"success": False, "message": "m", "errorCode": "AG8001", "data": ""}))
        try:
            data = data_of(Response(status, {}, broken(good, random)))
        except (AuthExpired, RateLimited, CallRefused, Unclear):
            return
        assert status < 300
        try:
            assert one_of(data, Placed).orderid is not None
        except ValueError:
            return

    fuzz(check)


def test_a_message_of_the_order_stream_is_taken_whole_or_refused() -> None:
    def check(random: Random) -> None:
        made, events = merge()
        try:
            frame = msgspec.json.decode(broken(FRAME, random), type=Frame)
            if frame.order is not None:
                made.on_frame(frame.order)
        except (*JSON_ERRORS, ValueError):
            assert events == []
        for event in events:
            if isinstance(event, OrderFilled):
                assert event.quantity > 0
                assert event.price > 0

    fuzz(check)


def test_books_are_read_whole_or_not_at_all() -> None:
    orders = msgspec.to_builtins([row(75, 100.0, "open"), row(0, 0, "open", orderid="2", ordertag="by hand")])
    trades = msgspec.to_builtins([trade(1, 75, 100.0)])
    position = {"exchange": "NFO", "symboltoken": TOKEN, "producttype": "X", "netqty": "75"}

    def check(random: Random) -> None:
        made, events = merge()
        try:
            made.books(
                rows_of(broken(orders, random), OrderRow), rows_of(broken(trades, random), TradeRow), DAY
            )  # fmt: skip
        except ValueError:
            assert events == []
        for kind, good in ((PositionRow, [position]), (FundsRow, {"net": "1"}), (_Quotes, {"fetched": []})):
            try:
                rows_of(broken(good, random), kind) if kind is PositionRow else one_of(broken(good, random), kind)
            except ValueError:
                continue

    fuzz(check)


def test_a_scrip_master_is_instruments_or_an_error() -> None:
    def check(random: Random) -> None:
        try:
            master = read_master(broken(MASTER_ROWS, random), DAY, lambda name, day: None)
        except ValueError:
            return
        assert all(contract.token for contract in master.by_id.values())

    fuzz(check)
    assert MASTER.refused == {}
