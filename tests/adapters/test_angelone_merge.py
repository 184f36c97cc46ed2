"""The merge of order stream and books: whatever is lost, doubled or late, every fill is reported once."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.adapters.angelone.master import read_master
from angelx.adapters.angelone.merge import OrderMerge
from angelx.adapters.angelone.rows import OrderRow, TradeRow
from angelx.domain.errors import OrderRejected
from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.venue.angelone.contracts import Contracts
from tests.venue.angelone_floor import CALL, RUPEE, START, TABLE

DAY = date(2025, 8, 29)
MASTER = read_master(Contracts(TABLE).master(), DAY, lambda name, day: 1800)
TOKEN = MASTER.by_id[CALL.id].token


def merge() -> tuple[OrderMerge, list[Event]]:
    events: list[Event] = []
    made = OrderMerge(lambda *_: 0, lambda: START, events.append)
    made.master = MASTER
    return made, events


def row(filled: int, average: float, status: str, quantity: int = 750, **more: Any) -> OrderRow:
    fields: dict[str, Any] = {
        "orderid": "1", "ordertag": "axA", "exchange": "NFO", "symboltoken": TOKEN, "transactiontype": "BUY",
        "quantity": str(quantity), "price": 120.0, "filledshares": str(filled), "averageprice": average,
        "status": status, "orderstatus": status,
    }  # fmt: skip
    return OrderRow(**fields | more)


def trade(number: int, quantity: int, price: float, order: str = "1") -> TradeRow:
    return TradeRow(order, str(number), "NFO", "X", "BUY", price, str(quantity), "10:00:00")


fills_of = st.lists(st.tuples(st.integers(1, 4), st.integers(1800, 2400)), min_size=1, max_size=6)


@given(fills=fills_of, ending=st.sampled_from(["complete", "cancelled", "open"]), data=st.data())
def test_fills_are_reported_once_whatever_happens_to_the_messages(
    fills: list[tuple[int, int]], ending: str, data: st.DataObject
) -> None:
    """Lots and ticks of each fill; frames are lost, doubled and shuffled, books are read at any time, the last read
    sees everything."""
    total = 75 * sum(lots for lots, _ in fills)
    quantity = total if ending == "complete" else total + 75
    frames, filled, money, trades = [row(0, 0, "open pending", quantity), row(0, 0, "open", quantity)], 0, 0, []
    history: list[tuple[list[OrderRow], list[TradeRow]]] = [([frames[-1]], [])]
    for number, (lots, ticks) in enumerate(fills):
        filled, money = filled + 75 * lots, money + 75 * lots * ticks * 500
        trades.append(trade(number, 75 * lots, ticks / 20))
        history.append(([frames[-1]], list(trades)))
    if ending == "cancelled":
        frames.append(row(filled, round(money / filled / RUPEE, 4), "cancelled", quantity))
        history.append(([frames[-1]], list(trades)))
    arrivals = data.draw(st.lists(st.one_of(st.sampled_from(frames), st.sampled_from(history)), max_size=15))
    made, events = merge()
    for arrival in (*arrivals, history[-1]):
        if isinstance(arrival, tuple):
            made.books(*arrival, DAY)
        else:
            made.on_frame(arrival)
    reported = [event for event in events if isinstance(event, OrderFilled)]
    assert sum(event.quantity for event in reported) == total
    assert len({event.execution for event in reported}) == len(reported)
    assert abs(sum(event.quantity * event.price for event in reported) - money) <= 250 * total
    assert [type(event) for event in events].count(OrderAccepted) == 1
    assert isinstance(events[0], OrderAccepted)
    assert [event.outcome for event in events if isinstance(event, OrderEnded)] == (
        ["cancelled"] if ending == "cancelled" else []
    )
    made.books(*history[-1], DAY)
    assert len([event for event in events if isinstance(event, OrderFilled)]) == len(reported)


@given(fills=fills_of)
def test_the_trade_book_alone_gives_every_fill_its_own_price(fills: list[tuple[int, int]]) -> None:
    total = 75 * sum(lots for lots, _ in fills)
    trades = [trade(number, 75 * lots, ticks / 20) for number, (lots, ticks) in enumerate(fills)]
    made, events = merge()
    made.books([row(total, 100.0, "complete", total)], [*reversed(trades), *trades], DAY)
    reported = [(event.quantity, event.price) for event in events if isinstance(event, OrderFilled)]
    assert reported == [(75 * lots, ticks * 500) for lots, ticks in fills]
    assert not made.counts["off_price"]


def test_a_fill_after_a_cancel_is_real() -> None:
    made, events = merge()
    made.on_frame(row(0, 0, "open"))
    made.on_frame(row(0, 0, "cancelled"))
    made.on_frame(row(75, 100.0, "cancelled"))
    made.on_frame(row(0, 0, "open"))
    assert [type(event).__name__ for event in events] == ["OrderAccepted", "OrderEnded", "OrderFilled"]


def test_a_rejected_order_was_never_accepted() -> None:
    made, events = merge()
    made.on_frame(row(0, 0, "open pending"))
    made.on_frame(row(0, 0, "rejected", text="RMS: margin"))
    [ended] = events
    assert isinstance(ended, OrderEnded)
    assert ended.detail == "0 of 750 filled; RMS: margin"


def test_what_comes_late_of_an_order_that_is_rejected_does_not_accept_it() -> None:
    made, events = merge()
    order = OrderApproved(0, "axA", 1, "s", CALL.id, 1, 750, 100 * RUPEE, False, 0, "", 1.0)
    made.sending(order)
    made.on_frame(row(0, 0, "rejected", text="RMS: margin"))
    made.on_frame(row(0, 0, "open"))
    with pytest.raises(OrderRejected, match="broker_rejected"):
        made.placed(order, "1", "NORMAL", "CARRYFORWARD")
    assert [type(event) for event in events] == [OrderEnded]
    made.on_frame(row(75, 100.0, "open"))
    assert [type(event) for event in events[1:]] == [OrderAccepted, OrderFilled], "a fill is never refused"


def test_a_tag_sent_once_and_there_twice_is_said_and_both_fill() -> None:
    made, events = merge()
    made.sending(OrderApproved(0, "axA", 1, "s", CALL.id, 1, 75, 100 * RUPEE, False, 0, "", 1.0))
    made.on_frame(row(75, 100.0, "complete", 75))
    made.on_frame(row(75, 100.0, "complete", 75, orderid="2"))
    assert made.counts["same_tag"] == 1
    assert [event.execution for event in events if isinstance(event, OrderFilled)] == ["1:75", "2:75"]


def test_what_worked_another_day_and_is_gone_has_expired() -> None:
    made, events = merge()
    made.books([row(75, 100.0, "open")], [trade(1, 75, 100.0)], DAY)
    made.books([], [], DAY)
    assert not [event for event in events if isinstance(event, OrderEnded)]
    made.books([], [], date(2025, 9, 1))
    ended = events[-1]
    assert isinstance(ended, OrderEnded)
    assert (ended.order, ended.outcome, ended.code) == ("axA", "expired", "day_over")
    assert made.working == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"filledshares": "x"}, {"filledshares": "-75"}, {"filledshares": "751"}, {"filledshares": "1e30"},
        {"averageprice": "NaN", "filledshares": "75"}, {"averageprice": 0, "filledshares": "75"}, {"price": "ten"},
        {"transactiontype": "HOLD"}, {"orderid": ""}, {"quantity": "7.5"},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_and_changes_nothing(wrong: dict[str, Any]) -> None:
    made, events = merge()
    with pytest.raises(ValueError, match=next(iter(wrong)) if len(wrong) == 1 else None):
        made.on_frame(row(0, 0, "open", **wrong) if "filledshares" not in wrong else OrderRow(**{**_fields(), **wrong}))
    assert events == []


def _fields() -> dict[str, Any]:
    made = row(75, 100.0, "open")
    return {name: getattr(made, name) for name in made.__struct_fields__}
