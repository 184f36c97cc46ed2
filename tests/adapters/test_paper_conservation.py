"""What must hold of every day's reports: nothing comes from nothing, nothing goes beyond limit, order or quote."""

from collections import Counter

from hypothesis import given, settings

from angelx.domain.events import OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.instruments import Instrument
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, INSTRUMENT
from angelx.venue.account import Margin
from tests.venue.market_day import TABLE, TICK, Day, days
from tests.venue.paper_play import MONEY, play


@settings(max_examples=150, deadline=None)
@given(day=days())
def test_money_and_units_are_conserved(day: Day) -> None:
    broker, recorder = play(day, day.rows)
    fills = [event for event in recorder.events if isinstance(event, OrderFilled)]
    cash, units, worth = MONEY, Counter[str](), Counter[str]()
    for fill in fills:
        cash -= fill.side * fill.quantity * fill.price + fill.fee
        units[fill.instrument] += fill.side * fill.quantity
        worth[fill.instrument] += fill.side * fill.quantity * fill.price
    assert broker.funds().cash == cash
    assert {held.instrument: held.quantity for held in broker.positions()} == {k: v for k, v in units.items() if v}
    assert broker.trade_book() == tuple(fills)
    assert len({fill.execution for fill in fills}) == len(fills)
    for report in broker.order_book():
        mine = [fill for fill in fills if fill.order == report.order]
        assert report.filled == sum(fill.quantity for fill in mine)
        assert report.notional == sum(fill.quantity * fill.price for fill in mine)
        assert report.fee == sum(fill.fee for fill in mine)
    working = [report for report in broker.order_book() if report.state == "working"]
    if not working:
        assert broker.funds().held == 0


@settings(max_examples=150, deadline=None)
@given(day=days())
def test_no_fill_beyond_the_order_its_limit_or_the_displayed_size(day: Day) -> None:
    _, recorder = play(day, day.rows)
    intents: dict[str, OrderApproved] = {}
    alive: dict[str, int] = {}
    taken = Counter[tuple[str, int, int]]()
    for _, rows, event in recorder.entries:
        if isinstance(event, OrderApproved):
            intents[event.order] = event
        elif isinstance(event, OrderAccepted):
            assert event.order not in alive, "said once, and not after a fill"
            alive[event.order] = intents[event.order].quantity
        elif isinstance(event, OrderEnded):
            alive.pop(event.order, None)
        elif isinstance(event, OrderFilled):
            intent, place = intents[event.order], TABLE.index[event.instrument]
            alive[event.order] = alive.get(event.order, intent.quantity) - event.quantity
            assert alive[event.order] >= 0
            assert (intent.limit - event.price) * intent.side >= 0
            price_field, size_field = (ASK, ASK_SIZE) if event.side > 0 else (BID, BID_SIZE)
            seen = [row for row in range(rows) if day.table[INSTRUMENT, row] == place]
            price, size = day.table[[price_field, size_field], seen[-1]]
            assert event.price == price
            since = seen[-1]  # The first row of the quote that stands.
            for row in reversed(seen):
                if tuple(day.table[[price_field, size_field], row]) != (price, size):
                    break
                since = row
            taken[event.instrument, event.side, since] += event.quantity
            assert taken[event.instrument, event.side, since] <= size


def share(instrument: Instrument, side: int, quantity: int, notional: int, at: int) -> int:
    return notional // 500


@settings(max_examples=100, deadline=None)
@given(day=days())
def test_an_account_without_shorts_never_owes_money(day: Day) -> None:
    capital = 400 * 100 * TICK
    broker, recorder = play(day, day.rows, cash=capital, fee=share, margin=Margin(short_equity_pct=0))
    assert broker.funds().available >= 0
    cash = capital
    for event in recorder.events:
        if isinstance(event, OrderFilled):
            cash -= event.side * event.quantity * event.price + event.fee
            assert cash >= 0
    assert all(held.quantity > 0 for held in broker.positions())
