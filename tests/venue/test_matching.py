"""The rules by which the engine fills, one by one."""

import pytest

from angelx.domain.events import OrderAccepted, OrderEnded, OrderFilled
from angelx.domain.instruments import Instrument
from tests.venue.desk import Desk, fills
from tests.venue.market_day import CALL, PUT, TICK, fee


def test_a_marketable_order_fills_at_the_touch_and_not_at_its_limit() -> None:
    desk = Desk()
    desk.quote(99, 101)
    assert desk.send(1, 200, 105) == [
        OrderAccepted(1, "o1", "Vo1"),
        OrderFilled(1, "o1", "US:X", 1, 200, 101 * TICK, 0, "P1"),
    ]
    assert fills(desk.send(-1, 100, 90)) == [("o2", 100, 99)]


def test_what_the_displayed_size_does_not_fill_waits_at_the_limit() -> None:
    desk = Desk()
    desk.quote(99, 101, ask_size=300)
    assert fills(desk.send(1, 500, 102)) == [("o1", 300, 101)]
    assert fills(desk.quote(99, 103)) == []
    assert fills(desk.quote(99, 102, ask_size=150)) == [("o1", 150, 102)]
    assert fills(desk.quote(98, 100, ask_size=900)) == [("o1", 50, 100)]  # The better touch.
    assert desk.engine.orders["o1"].state == "filled"


def test_one_quote_is_not_endless_liquidity() -> None:
    desk = Desk()
    desk.quote(99, 101, ask_size=300)
    assert fills(desk.send(1, 200, 101)) == [("o1", 200, 101)]
    assert fills(desk.send(1, 200, 101)) == [("o2", 100, 101)]
    assert fills(desk.quote(98, 101, ask_size=300)) == []  # Only the other side changed.
    assert fills(desk.quote(98, 101, ask_size=299)) == [("o2", 100, 101)]  # A new quote: its whole size.
    assert fills(desk.send(1, 200, 101)) == [("o3", 199, 101)]


def test_a_quote_that_went_away_and_came_back_is_a_new_quote() -> None:
    desk = Desk()
    desk.quote(99, 101, ask_size=300)
    desk.send(1, 400, 101)
    desk.quote(99, 102, ask_size=300)
    assert fills(desk.quote(99, 101, ask_size=300)) == [("o1", 100, 101)]


def test_better_prices_first_then_earlier_orders() -> None:
    desk = Desk()
    desk.quote(95, 110)
    for limit in (100, 102, 100, 101):
        desk.send(1, 100, limit)
    assert fills(desk.quote(95, 100, ask_size=250)) == [("o2", 100, 100), ("o4", 100, 100), ("o1", 50, 100)]
    assert fills(desk.quote(95, 100, ask_size=240)) == [("o1", 50, 100), ("o3", 100, 100)]


def test_an_order_that_comes_later_does_not_pass_one_that_waits_for_the_same_used_up_quote() -> None:
    desk = Desk()
    desk.quote(99, 101, ask_size=100)
    desk.send(1, 150, 101)
    assert fills(desk.send(1, 50, 101)) == []
    assert fills(desk.quote(99, 101, ask_size=80)) == [("o1", 50, 101), ("o2", 30, 101)]


def test_fills_are_whole_lots() -> None:
    desk = Desk()
    desk.quote(99, 101, ask_size=200, name=CALL)
    assert fills(desk.send(1, 225, 101, name=CALL)) == [("o1", 150, 101)]
    assert fills(desk.quote(99, 101, ask_size=74, name=CALL)) == []
    assert fills(desk.quote(99, 101, ask_size=75, name=CALL)) == [("o1", 75, 101)]


def test_ioc_cancels_the_rest() -> None:
    desk = Desk()
    desk.quote(99, 101, ask_size=300)
    *_, ended = desk.send(1, 500, 101, "IOC")
    assert ended == OrderEnded(1, "o1", "cancelled", "ioc", "300 of 500 filled on arrival")
    assert fills(desk.quote(99, 100)) == []


@pytest.mark.parametrize(("size", "filled"), [(499, []), (500, [("o1", 500, 101)])])
def test_fok_fills_all_or_nothing(size: int, filled: list[tuple[str, int, int]]) -> None:
    desk = Desk()
    desk.quote(99, 101, ask_size=size)
    events = desk.send(1, 500, 101, "FOK")
    assert fills(events) == filled
    assert isinstance(events[-1], OrderFilled if filled else OrderEnded)


@pytest.mark.parametrize("bid", [102, 101 * 2])
def test_a_crossed_quote_fills_nothing_and_a_locked_one_does(bid: int) -> None:
    desk = Desk()
    desk.quote(99, 101)
    desk.quote(bid, 101)
    assert fills(desk.send(1, 100, 101)) == []
    assert fills(desk.quote(101, 101)) == [("o1", 100, 101)]  # The ask stood all the while; the bid uncrossed.


def test_a_cancel_ends_what_waits_and_leaves_what_has_ended() -> None:
    desk = Desk()
    desk.quote(99, 101)
    desk.send(1, 100, 100)
    assert desk.engine.cancel("o1", 5) == [OrderEnded(5, "o1", "cancelled", "requested", "0 of 100 filled")]
    assert desk.engine.cancel("o1", 6) == []
    assert desk.engine.cancel("o9", 7) == [OrderEnded(7, "o9", "absent", "unknown_order", "no order of that id came")]
    assert fills(desk.quote(90, 91)) == []


def test_the_end_of_a_session_expires_the_orders_of_its_segment_oldest_first() -> None:
    desk = Desk()
    for name in (CALL, PUT, "US:X"):
        desk.quote(99, 101, name=name)
    for name in (PUT, "US:X", CALL):
        desk.send(1, 75, 100, name=name)
    assert [(event.order, event.outcome, event.code) for event in desk.engine.end_of_session("NFO", 9)] == [
        ("o1", "expired", "session_end"),
        ("o3", "expired", "session_end"),
    ]
    assert desk.engine.end_of_session("NFO", 9) == []
    assert fills(desk.quote(95, 96, name=CALL)) == []
    assert fills(desk.quote(95, 96)) == [("o2", 75, 96)]


def test_nothing_fills_while_the_market_is_closed() -> None:
    closed = {5, 6}

    def is_open(instrument: Instrument, at: int) -> bool:
        return at not in closed

    desk = Desk(is_open=is_open)
    desk.quote(99, 101, ask_size=50)
    desk.send(1, 100, 101)  # 50 at once, then the quote is used up.
    for _ in range(3):
        assert fills(desk.quote(99, 101, ask_size=50)) == []
    assert fills(desk.quote(99, 101, ask_size=60)) == []
    assert fills(desk.quote(99, 101, ask_size=50)) == []
    assert fills(desk.quote(99, 101, ask_size=50)) == [("o1", 50, 101)]


def test_each_fill_is_charged_what_the_fees_of_its_order_grew_by() -> None:
    desk = Desk(fee=fee)
    desk.quote(99, 101, ask_size=300)
    charged = [event.fee for event in desk.send(1, 500, 101) if isinstance(event, OrderFilled)]
    charged += [event.fee for event in desk.quote(99, 100) if isinstance(event, OrderFilled)]
    notional = (300 * 101 + 200 * 100) * TICK
    assert sum(charged) == fee(desk.table[0], 1, 500, notional, 0)
    assert charged[0] == fee(desk.table[0], 1, 300, 300 * 101 * TICK, 0)
    assert desk.engine.account.cash == 10**15 - notional - sum(charged)
