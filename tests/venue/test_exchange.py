"""Orders of every kind at the exchange, by hand."""

import pytest

from angelx.venue.exchange import OrderRequest, Policy, Refused
from angelx.venue.requests import Exit
from tests.venue.floor import Floor
from tests.venue.market_day import EQUITY, TICK


def test_a_market_order_takes_the_touch_and_waits_for_more() -> None:
    floor = Floor()
    floor.quote(99, 100, ask_size=30)
    order = floor.send(1, 50)
    assert (order.status, order.filled) == ("partially_filled", 30)
    floor.quote(99, 101, ask_size=500)
    assert floor.status(order) == "filled"
    assert floor.fills() == [(order.id, 30, 100), (order.id, 20, 101)]
    assert floor.said(order) == ["pending", "accepted", "partial_fill", "fill"]


def test_a_market_order_pays_no_more_than_its_protection() -> None:
    floor = Floor(Policy(protection_bps=200))
    floor.quote(99, 100, ask_size=30)
    order = floor.send(1, 50)
    floor.quote(99, 103, ask_size=500)
    assert floor.status(order) == "partially_filled"
    floor.quote(99, 102, ask_size=500)
    assert floor.status(order) == "filled"


def test_a_stop_triggers_once_at_the_last_price() -> None:
    floor = Floor()
    floor.quote(99, 100, last=99)
    floor.send(1, 10, 100)
    stop = floor.send(-1, 10, kind="stop", stop=95 * TICK)
    assert stop.status == "trigger_pending"
    floor.quote(95, 97, last=96)
    assert floor.status(stop) == "trigger_pending"
    floor.quote(94, 95, last=95, bid_size=4)
    assert floor.status(stop) == "partially_filled"
    floor.quote(93, 95, last=95)
    assert floor.said(stop) == ["pending", "accepted", "triggered", "working", "partial_fill", "fill"]
    assert floor.exchange.positions() == []


def test_a_trailing_stop_follows_the_best_price() -> None:
    floor = Floor()
    floor.quote(99, 100, last=100)
    floor.send(1, 10, 100)
    stop = floor.send(-1, 10, kind="trailing_stop", trail=5 * TICK)
    assert stop.stop == 95 * TICK
    floor.quote(109, 110, last=110)
    floor.quote(105, 107, last=106)
    moved = floor.exchange.order(stop.id)
    assert moved is not None and (moved.stop, moved.best) == (105 * TICK, 110 * TICK)
    floor.quote(104, 106, last=105)
    assert floor.fills()[-1] == (stop.id, 10, 104)


def test_a_replaced_order_keeps_its_id_or_gets_a_new_one() -> None:
    floor = Floor()
    floor.quote(99, 101)
    order = floor.send(1, 10, 98)
    same = floor.exchange.replace(order.id, limit=99 * TICK, keep_id=True)
    assert (same.id, same.request.limit, same.status) == (order.id, 99 * TICK, "working")
    other = floor.exchange.replace(order.id, quantity=20, keep_id=False)
    assert (other.replaces, other.status, floor.status(order)) == (order.id, "working", "replaced")
    floor.quote(97, 99, ask_size=100)
    assert floor.fills() == [(other.id, 20, 99)]
    with pytest.raises(Refused, match="order_ended"):
        floor.exchange.replace(order.id, limit=TICK, keep_id=False)


def test_a_replacement_that_cannot_stand_leaves_the_order_as_it_was() -> None:
    floor = Floor(cash=1000 * TICK)
    floor.quote(99, 101)
    order = floor.send(1, 10, 98)
    after = floor.exchange.replace(order.id, quantity=50, keep_id=True)
    assert (after.status, after.request.quantity) == ("working", 10)
    assert floor.said(order)[-1] == "replace_rejected"
    refused = floor.exchange.replace(order.id, quantity=50, keep_id=False)
    assert (refused.status, refused.code) == ("rejected", "insufficient_funds")
    assert floor.exchange.funds().held == 10 * 98 * TICK


def test_refusals_write_prices_and_money_as_people_do() -> None:
    """Clients read them: Angel One's `text`, Alpaca's `message`."""
    floor = Floor(cash=8_046_900)
    floor.quote(99, 101)
    with pytest.raises(Refused, match=r"take-profit 4\.5 is not beyond the stop 4\.55$"):
        floor.send(1, 10, 98, take_profit=Exit(limit=45_000), stop_loss=Exit(stop=45_500))
    assert TICK == 500
    with pytest.raises(Refused, match=r"needs 4900, has 804\.69$"):
        floor.send(1, 1000, 98)
    with pytest.raises(Refused, match=r"off_tick: 10 at 4\.9001: lots of 1, most \d+, ticks of 0\.05"):
        floor.exchange.submit(OrderRequest(instrument=EQUITY, side=1, quantity=10, limit=49_001))


def test_a_bracket_holds_its_exits_until_the_entry_filled_and_one_ends_the_other() -> None:
    floor = Floor()
    floor.quote(99, 100, last=100)
    entry = floor.send(1, 10, 98, take_profit=Exit(limit=110 * TICK), stop_loss=Exit(stop=90 * TICK))
    profit, loss = entry.legs
    assert (floor.status(profit), floor.status(loss)) == ("held", "held")
    floor.quote(97, 98, ask_size=6, last=98)
    assert (floor.status(entry), floor.status(profit)) == ("partially_filled", "held")
    floor.quote(97, 98, ask_size=7, last=98)
    assert (floor.status(profit), floor.status(loss)) == ("working", "trigger_pending")
    floor.quote(110, 111, bid_size=4, last=110)
    shrunk = floor.exchange.order(loss)
    assert shrunk is not None and shrunk.request.quantity == 6
    floor.quote(89, 90, last=90)
    assert (floor.status(profit), floor.status(loss)) == ("cancelled", "filled")
    assert floor.exchange.positions() == []


def test_an_id_of_the_client_is_good_once_where_the_policy_says_so() -> None:
    floor = Floor(Policy(unique_client_ids=True))
    floor.quote(99, 100)
    floor.send(1, 10, 90, client_id="a")
    with pytest.raises(Refused, match="duplicate_order"):
        floor.send(1, 10, 90, client_id="a")
    assert floor.exchange.by_client_id("a") is not None


def test_with_latency_an_order_and_its_reports_are_under_way() -> None:
    floor = Floor(Policy(latency_ns=10))
    floor.quote(99, 100, at=100)
    order = floor.send(1, 10, 100)
    assert order.status == "pending"
    floor.exchange.advance(110)
    assert floor.exchange.positions()[0].quantity == 10
    assert floor.status(order) == "pending"
    floor.exchange.advance(120)
    assert floor.status(order) == "filled"


def test_an_order_in_the_queue_waits_for_what_stands_ahead_of_it() -> None:
    floor = Floor(Policy(queue_position=True))
    floor.quote(99, 100, bid_size=50, last=99)
    order = floor.send(1, 10, 99)
    floor.quote(99, 100, bid_size=20, last=99, traded=30)
    assert floor.status(order) == "working"
    floor.quote(99, 100, bid_size=15, last=99, traded=24)
    assert floor.fills() == [(order.id, 4, 99)]
    floor.quote(98, 99, last=99)
    assert floor.fills()[-1] == (order.id, 6, 99)


def test_what_the_exchange_does_not_know_is_refused() -> None:
    floor = Floor()
    floor.quote(99, 100)
    with pytest.raises(Refused, match="unknown_instrument"):
        floor.send(1, 10, 90, name="US:NONE")
    with pytest.raises(Refused, match="unknown_order"):
        floor.exchange.cancel("V99")
    bad = OrderRequest(instrument=EQUITY, side=1, quantity=0, kind="market")
    kept = floor.exchange.submit(bad, keep_refused=True)
    assert (kept.status, kept.code) == ("rejected", "bad_quantity")


def test_two_exits_hold_back_what_one_needs() -> None:
    floor = Floor()
    floor.quote(99, 100, last=100)
    floor.send(1, 10, 100, take_profit=Exit(limit=110 * TICK), stop_loss=Exit(stop=90 * TICK))
    account = floor.exchange._engine.account
    position = next(iter(account.positions.values()))
    assert (position.quantity, position.selling, account.held) == (10, 10, 0)
    other = floor.send(1, 4, 98)
    oco = floor.send(-1, 10, 112, is_oco=True, stop_loss=Exit(stop=88 * TICK))
    assert floor.status(oco.legs[0]) == "trigger_pending"
    assert position.selling == 20
    floor.exchange.cancel(oco.id)
    assert (floor.status(oco.legs[0]), position.selling) == ("cancelled", 10)
    assert floor.status(other) == "working"


def test_an_order_whose_price_changes_goes_behind_those_of_its_price() -> None:
    floor = Floor()
    floor.quote(99, 100)
    first, second = floor.send(1, 10, 95), floor.send(1, 10, 95)
    floor.exchange.replace(first.id, quantity=8, keep_id=True)
    floor.quote(94, 95, ask_size=3)
    assert floor.fills() == [(first.id, 3, 95)]  # Smaller at the same price: it keeps its place.
    floor.exchange.replace(first.id, limit=94 * TICK, keep_id=True)
    floor.exchange.replace(first.id, limit=95 * TICK, keep_id=True)
    floor.quote(94, 95, ask_size=10)
    assert floor.fills()[-1] == (second.id, 10, 95)


def test_a_change_may_be_of_kind() -> None:
    floor = Floor()
    floor.quote(99, 100, last=100)
    order = floor.send(1, 10, 96)
    stop = floor.exchange.replace(order.id, kind="stop_limit", stop=103 * TICK, limit=104 * TICK, keep_id=True)
    assert (stop.status, stop.stop, stop.request.limit) == ("trigger_pending", 103 * TICK, 104 * TICK)
    floor.quote(96, 97, last=97)
    assert floor.fills() == []
    market = floor.exchange.replace(order.id, kind="market", keep_id=True)
    assert (market.status, market.request.limit, market.stop) == ("filled", 0, 0)
    assert floor.fills() == [(order.id, 10, 97)]

    plain = floor.exchange.replace(
        floor.send(-1, 10, kind="stop", stop=90 * TICK).id, kind="limit", limit=99 * TICK, keep_id=False
    )
    assert (plain.status, plain.stop) == ("working", 0)
    again = floor.exchange.replace(plain.id, kind="stop", stop=95 * TICK, keep_id=False)
    floor.quote(94, 96, last=95)
    assert floor.status(again) == "filled"
    assert floor.said(again)[-2:] == ["triggered", "fill"]


def test_a_trail_may_be_changed() -> None:
    floor = Floor()
    floor.quote(99, 100, last=100)
    floor.send(1, 20, 100)
    trailing = floor.send(-1, 10, kind="trailing_stop", trail_pct=10.0)
    assert trailing.stop == 90 * TICK
    closer = floor.exchange.replace(trailing.id, trail=3 * TICK, keep_id=False)
    assert (closer.stop, closer.best, closer.status) == (97 * TICK, 100 * TICK, "trigger_pending")
    with pytest.raises(Refused, match="bad_stop"):
        floor.send(-1, 10, kind="trailing_stop")
    floor.quote(96, 98, last=97)
    assert floor.status(closer) == "filled"


def test_a_limit_order_may_become_one_that_trails() -> None:
    floor = Floor()
    floor.quote(99, 100, last=100)
    floor.send(1, 10, 100)
    order = floor.send(-1, 10, 110)
    trailing = floor.exchange.replace(order.id, kind="trailing_stop", trail=4 * TICK, keep_id=True)
    assert (trailing.status, trailing.stop, trailing.best) == ("trigger_pending", 96 * TICK, 100 * TICK)
    floor.quote(95, 97, last=96)
    assert floor.exchange.positions() == []


def test_an_exit_keeps_its_quantity_and_kind() -> None:
    floor = Floor()
    floor.quote(99, 100, last=100)
    entry = floor.send(1, 10, 100, take_profit=Exit(limit=110 * TICK), stop_loss=Exit(stop=90 * TICK))
    profit, loss = entry.legs
    with pytest.raises(Refused, match="linked"):  # Two limits in one book could trade in one instant, both.
        floor.exchange.replace(loss, kind="limit", limit=105 * TICK, keep_id=True)
    with pytest.raises(Refused, match="linked"):
        floor.exchange.replace(profit, quantity=12, keep_id=True)
    moved = floor.exchange.replace(profit, limit=104 * TICK, keep_id=False)
    floor.quote(104, 105, last=104)
    assert (floor.status(moved), floor.status(loss)) == ("filled", "cancelled")
