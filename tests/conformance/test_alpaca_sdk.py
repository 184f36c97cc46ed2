"""alpaca-py, Alpaca's own client, against the venue on real sockets: every call of the protocol notes."""

import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from alpaca.common.enums import Sort
from alpaca.common.exceptions import APIError
from alpaca.data.enums import DataFeed, OptionsFeed
from alpaca.data.live import OptionDataStream, StockDataStream
from alpaca.data.models import Bar, Quote, Trade, TradingStatus
from alpaca.data.requests import (
    CorporateActionsRequest,
    OptionBarsRequest,
    OptionChainRequest,
    OptionLatestQuoteRequest,
    OptionLatestTradeRequest,
    OptionSnapshotRequest,
    OptionTradesRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.enums import (
    AssetClass,
    ContractType,
    OrderClass,
    OrderSide,
    OrderStatus,
    PositionIntent,
    QueryOrderStatus,
    TimeInForce,
)
from alpaca.trading.models import TradeUpdate
from alpaca.trading.requests import (
    ClosePositionRequest,
    CreateWatchlistRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOptionContractsRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    OptionLegRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
    UpdateWatchlistRequest,
)
from alpaca.trading.stream import TradingStream

from angelx.venue.alpaca.server import BASIC, Plan
from tests.conformance.alpaca_venue import LiveVenue
from tests.venue.alpaca.alpaca_market import CALL_300, CALL_305, KEY, SECRET

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
DAY, GTC, IOC, FOK = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK
BUY, SELL = OrderSide.BUY, OrderSide.SELL


@pytest.fixture
def venue() -> Iterator[LiveVenue]:
    made = LiveVenue(Plan(connections=2, trading_per_minute=10_000, data_per_minute=10_000))
    yield made
    made.close()


def refusal(error: pytest.ExceptionInfo[APIError]) -> tuple[int, int, str]:
    return error.value.status_code, error.value.code, error.value.message


def limit(
    price: float, qty: float = 5, side: OrderSide = BUY, tif: TimeInForce = DAY, **more: Any
) -> LimitOrderRequest:
    symbol = more.pop("symbol", "IBM")
    return LimitOrderRequest(symbol=symbol, qty=qty, side=side, time_in_force=tif, limit_price=price, **more)


# ---------------------------------------------------------------- the account
def test_account_and_its_configuration(venue: LiveVenue) -> None:
    client = venue.trading()
    account = client.get_account()
    assert (account.cash, account.buying_power, account.currency) == ("100000", "100000", "USD")
    assert (account.status, account.multiplier, account.trading_blocked) == ("ACTIVE", "1", False)
    configuration = client.get_account_configurations()
    configuration.no_shorting = True
    assert client.set_account_configurations(configuration).no_shorting is True
    assert client.get_account().shorting_enabled is False
    with pytest.raises(APIError) as error:
        client.submit_order(limit(299.95, side=SELL))
    assert refusal(error) == (403, 40310000, "account is not allowed to short")
    configuration.suspend_trade = True
    client.set_account_configurations(configuration)
    with pytest.raises(APIError) as error:
        client.submit_order(limit(299.95))
    assert refusal(error)[:2] == (403, 40310000)


def test_clock_and_calendar(venue: LiveVenue) -> None:
    client = venue.trading()
    clock = client.get_clock()
    assert clock.is_open
    assert clock.next_close.astimezone(UTC) == datetime(2026, 1, 5, 21, tzinfo=UTC)
    days = client.get_calendar(GetCalendarRequest(start=date(2025, 11, 26), end=date(2025, 12, 1)))
    assert [(day.date.day, day.close.hour) for day in days] == [(26, 16), (28, 13), (1, 16)]
    assert days[0].open.hour == 9


def test_assets_and_contracts(venue: LiveVenue) -> None:
    client = venue.trading()
    assets = client.get_all_assets(GetAssetsRequest(asset_class=AssetClass.US_EQUITY))
    assert [asset.symbol for asset in assets] == ["AAPL", "HALT", "IBM"]
    assert client.get_asset("IBM").id == assets[2].id == client.get_asset(assets[2].id).id
    with pytest.raises(APIError) as error:
        client.get_asset("NOPE")
    assert refusal(error) == (404, 40410000, "asset not found for NOPE")
    found, token = [], None
    while True:
        request = GetOptionContractsRequest(underlying_symbols=["IBM"], limit=4, page_token=token)
        page = client.get_option_contracts(request)
        found += page.option_contracts
        token = page.next_page_token
        if token is None:
            break
    assert len(found) == len({contract.symbol for contract in found}) == 10
    contract = client.get_option_contract(CALL_300)
    assert (contract.strike_price, contract.size, contract.open_interest) == (300.0, "100", "1200")
    assert client.get_option_contract(contract.id).symbol == CALL_300


# ---------------------------------------------------------------- orders
def test_a_market_order_fills_at_the_touch(venue: LiveVenue) -> None:
    client = venue.trading()
    order = client.submit_order(
        MarketOrderRequest(symbol="IBM", qty=5, side=BUY, time_in_force=DAY, client_order_id="m1")
    )
    assert order.status == OrderStatus.PENDING_NEW
    found = client.get_order_by_client_id("m1")
    assert (found.status, found.filled_qty, found.filled_avg_price) == (OrderStatus.FILLED, "5", "300.05")
    assert client.get_order_by_id(order.id).filled_at is not None


@pytest.mark.parametrize("tif", [IOC, FOK])
def test_what_does_not_fill_at_once_is_cancelled(venue: LiveVenue, tif: TimeInForce) -> None:
    client = venue.trading()
    venue.quote("IBM", 299.95, 300.05, size=3)
    order = client.submit_order(limit(300.05, qty=5, tif=tif))
    found = client.get_order_by_id(order.id)
    assert found.status == OrderStatus.CANCELED
    assert found.filled_qty == ("3" if tif == IOC else "0")


def test_stops_trigger_and_trail(venue: LiveVenue) -> None:
    client = venue.trading()
    client.submit_order(MarketOrderRequest(symbol="IBM", qty=30, side=BUY, time_in_force=DAY))
    stop = client.submit_order(StopOrderRequest(symbol="IBM", qty=10, side=SELL, time_in_force=DAY, stop_price=299.0))
    both = client.submit_order(
        StopLimitOrderRequest(symbol="IBM", qty=10, side=SELL, time_in_force=GTC, stop_price=299.0, limit_price=298.0)
    )
    trail = client.submit_order(
        TrailingStopOrderRequest(symbol="IBM", qty=10, side=SELL, time_in_force=DAY, trail_price=2.0)
    )
    assert client.get_order_by_id(stop.id).status == OrderStatus.NEW
    venue.quote("IBM", 302.95, 303.05, last=303.0)
    now = client.get_order_by_id(trail.id)
    assert (now.hwm, now.stop_price, now.trail_price) == ("303", "301", "2")
    venue.quote("IBM", 300.45, 300.55, last=300.5)
    assert client.get_order_by_id(trail.id).status == OrderStatus.FILLED
    venue.quote("IBM", 298.95, 299.05, last=298.99)
    assert client.get_order_by_id(stop.id).status == OrderStatus.FILLED
    assert client.get_order_by_id(both.id).status == OrderStatus.FILLED


def test_auction_orders_keep_to_their_times(venue: LiveVenue) -> None:
    client = venue.trading()
    with pytest.raises(APIError) as error:
        client.submit_order(limit(300.0, tif=TimeInForce.OPG))
    assert refusal(error)[:2] == (422, 42210000)
    order = client.submit_order(limit(300.0, tif=TimeInForce.CLS))
    assert order.time_in_force == TimeInForce.CLS


def test_a_bracket_holds_its_legs_and_one_exit_ends_the_other(venue: LiveVenue) -> None:
    client = venue.trading()
    order = client.submit_order(
        limit(
            300.05, qty=10, order_class=OrderClass.BRACKET, take_profit=TakeProfitRequest(limit_price=305.0),
            stop_loss=StopLossRequest(stop_price=295.0),
        )
    )  # fmt: skip
    assert order.legs is not None
    assert [leg.status for leg in order.legs] == [OrderStatus.HELD, OrderStatus.HELD]
    found = client.get_order_by_id(order.id, GetOrderByIdRequest(nested=True))
    assert found.status == OrderStatus.FILLED
    assert found.legs is not None
    assert [leg.status for leg in found.legs] == [OrderStatus.NEW, OrderStatus.NEW]
    nested = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, nested=True))
    flat = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL))
    assert (len(nested), len(flat)) == (1, 3)
    venue.quote("IBM", 305.0, 305.1, last=305.05)
    legs = [client.get_order_by_id(leg.id).status for leg in order.legs]
    assert legs == [OrderStatus.FILLED, OrderStatus.CANCELED]
    assert client.get_all_positions() == []


def test_oco_and_oto(venue: LiveVenue) -> None:
    client = venue.trading()
    client.submit_order(MarketOrderRequest(symbol="IBM", qty=10, side=BUY, time_in_force=DAY))
    oco = client.submit_order(
        limit(
            310.0, qty=10, side=SELL, order_class=OrderClass.OCO, take_profit=TakeProfitRequest(limit_price=310.0),
            stop_loss=StopLossRequest(stop_price=290.0, limit_price=289.0),
        )
    )  # fmt: skip
    assert oco.limit_price == "310"
    assert oco.legs is not None
    client.cancel_order_by_id(oco.id)
    assert client.get_order_by_id(oco.legs[0].id).status == OrderStatus.CANCELED
    oto = client.submit_order(
        limit(190.0, symbol="AAPL", order_class=OrderClass.OTO, stop_loss=StopLossRequest(stop_price=180.0))
    )
    assert oto.legs is not None
    assert len(oto.legs) == 1
    client.cancel_order_by_id(oto.id)
    assert client.get_order_by_id(oto.legs[0].id).status == OrderStatus.CANCELED


def test_legs_trade_together(venue: LiveVenue) -> None:
    client = venue.trading()
    legs = [
        OptionLegRequest(symbol=CALL_300, ratio_qty=1, side=BUY, position_intent=PositionIntent.BUY_TO_OPEN),
        OptionLegRequest(symbol=CALL_305, ratio_qty=1, side=SELL, position_intent=PositionIntent.SELL_TO_OPEN),
    ]
    order = client.submit_order(
        LimitOrderRequest(qty=2, order_class=OrderClass.MLEG, time_in_force=DAY, limit_price=0.05, legs=legs)
    )
    assert (order.symbol, order.side, order.status) == (None, None, OrderStatus.PENDING_NEW)
    assert client.get_order_by_id(order.id).status == OrderStatus.NEW
    assert client.get_all_positions() == []
    venue.quote(CALL_300, 3.0, 3.1, size=5_000)
    venue.quote(CALL_305, 3.05, 3.2, size=5_000)
    found = client.get_order_by_id(order.id)
    assert (found.status, found.filled_avg_price) == (OrderStatus.FILLED, "0.05")
    assert {position.symbol: position.qty for position in client.get_all_positions()} == {CALL_300: "2", CALL_305: "-2"}
    waiting = client.submit_order(
        LimitOrderRequest(qty=1, order_class=OrderClass.MLEG, time_in_force=DAY, limit_price=-5.0, legs=legs)
    )
    client.cancel_order_by_id(waiting.id)
    assert client.get_order_by_id(waiting.id).status == OrderStatus.CANCELED


def test_a_client_order_id_is_good_once_in_a_life(venue: LiveVenue) -> None:
    client = venue.trading()
    order = client.submit_order(limit(290.0, client_order_id="once"))
    client.cancel_order_by_id(order.id)
    with pytest.raises(APIError) as error:
        client.submit_order(limit(290.0, client_order_id="once"))
    assert refusal(error) == (422, 40010001, "client_order_id must be unique")
    assert client.get_order_by_client_id("once").id == order.id
    assert UUID(client.submit_order(limit(290.0)).client_order_id).version == 4


def test_a_replacement_is_a_new_order(venue: LiveVenue) -> None:
    client = venue.trading()
    venue.quote("IBM", 299.95, 300.05, size=2)
    order = client.submit_order(limit(300.05, qty=5))
    made = client.replace_order_by_id(order.id, ReplaceOrderRequest(qty=8, limit_price=299.0, client_order_id="next"))
    assert (made.id != order.id, made.replaces, made.qty) == (True, order.id, "8")
    old = client.get_order_by_id(order.id)
    assert (old.status, old.replaced_by, old.filled_qty) == (OrderStatus.REPLACED, made.id, "2")
    venue.quote("IBM", 298.9, 299.0, size=100)
    assert client.get_order_by_client_id("next").status == OrderStatus.FILLED
    with pytest.raises(APIError) as error:
        client.replace_order_by_id(made.id, ReplaceOrderRequest(qty=9))
    assert refusal(error) == (422, 42210000, 'order is already in "filled" state')


def test_cancelling(venue: LiveVenue) -> None:
    client = venue.trading()
    done = client.submit_order(limit(300.05))
    orders = [client.submit_order(limit(290.0 - step)) for step in range(3)]
    client.cancel_order_by_id(orders[0].id)
    with pytest.raises(APIError) as error:
        client.cancel_order_by_id(done.id)
    assert refusal(error) == (422, 42210000, 'order is already in "filled" state')
    with pytest.raises(APIError) as error:
        client.cancel_order_by_id(uuid4())
    assert refusal(error)[:2] == (404, 40410000)
    answers = client.cancel_orders()
    assert {answer.id for answer in answers} == {order.id for order in orders[1:]}
    assert {answer.status for answer in answers} == {200}


def test_listing_with_filters(venue: LiveVenue) -> None:
    client = venue.trading()
    made = []
    for step in range(4):
        venue.quote("IBM", 299.95, 300.05)
        made.append(client.submit_order(limit(290.0 + step, side=BUY)))
    venue.quote("AAPL", 199.99, 200.01)
    made.append(client.submit_order(limit(220.0, symbol="AAPL", side=SELL)))

    def listed(**more: Any) -> list[UUID]:
        return [order.id for order in client.get_orders(GetOrdersRequest(**more))]

    ids = [order.id for order in made]
    assert listed() == ids[::-1]
    assert listed(direction=Sort.ASC, limit=2) == ids[:2]
    assert listed(symbols=["AAPL"]) == ids[4:]
    assert listed(side=SELL) == ids[4:]
    assert listed(after=made[2].submitted_at, direction=Sort.ASC) in (
        ids[2:],
        ids[3:],
    )  # alpaca-py cuts at microseconds.
    client.cancel_order_by_id(ids[0])
    assert listed(status=QueryOrderStatus.CLOSED) == ids[:1]
    assert len(listed(status=QueryOrderStatus.ALL)) == 5


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (limit(300.05, symbol="NOPE"), (422, 40010001, "could not find us_equity 'NOPE'")),
        (limit(10.0, symbol="HALT"), (422, 42210000, 'asset "HALT" is not tradable')),
        (limit(300.055), (422, 42210000, "sub-penny increment")),
        (limit(300.0, qty=100_000), (403, 40310000, "insufficient buying power")),
        (limit(300.0, qty=1.5), (403, 40310000, "not fractionable")),
        (limit(300.0, qty=-1), (422, 40010001, "qty must be > 0")),
        (limit(300.0, tif=IOC, extended_hours=True), (422, 40010001, "extended hours")),
        (
            MarketOrderRequest(symbol="IBM", qty=1, side=BUY, time_in_force=DAY, extended_hours=True),
            (422, 40010001, 'only type="limit" is allowed for extended hours orders'),
        ),
        (MarketOrderRequest(symbol="IBM", notional=100, side=BUY, time_in_force=DAY), (403, 40310000, "fractionable")),
        (limit(3.0, symbol=CALL_300, extended_hours=True), (422, 40010001, "not allowed for options")),
        (limit(3.0, symbol=CALL_300, tif=FOK), (422, 40010001, "for options")),
    ],
)
def test_refusals(venue: LiveVenue, order: Any, expected: tuple[int, int, str]) -> None:
    with pytest.raises(APIError) as error:
        venue.trading().submit_order(order)
    status, code, message = refusal(error)
    assert (status, code) == expected[:2]
    assert expected[2] in message


def test_wash_trades_and_short_quantities_are_refused_with_their_context(venue: LiveVenue) -> None:
    client = venue.trading()
    client.submit_order(limit(300.05, qty=10))
    resting = client.submit_order(limit(310.0, qty=6, side=SELL))
    with pytest.raises(APIError) as error:
        client.submit_order(limit(299.0, qty=6, side=SELL))
    assert refusal(error)[:2] == (403, 40310000)
    body = json.loads(str(error.value))
    assert (body["available"], body["existing_qty"], body["held_for_orders"]) == ("4", "10", "6")
    with pytest.raises(APIError) as error:
        client.submit_order(limit(310.0, qty=1))
    assert json.loads(str(error.value))["existing_order_id"] == str(resting.id)


def test_wrong_keys_are_told_without_a_code(venue: LiveVenue) -> None:
    with pytest.raises(APIError) as error:
        venue.trading(secret="wrong").get_account()
    assert error.value.status_code == 401
    assert json.loads(str(error.value)) == {"message": "unauthorized."}
    with pytest.raises(KeyError):
        _ = error.value.code


def test_headers_say_how_many_requests_are_left() -> None:
    venue = LiveVenue(Plan(trading_per_minute=3))
    try:
        request = urllib.request.Request(
            f"{venue.url}/v2/clock", headers={"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
        )
        seen = []
        for _ in range(3):
            with urllib.request.urlopen(request) as reply:
                seen.append((reply.headers["X-RateLimit-Limit"], reply.headers["X-RateLimit-Remaining"]))
        assert seen == [("3", "2"), ("3", "1"), ("3", "0")]
        client = venue.trading()
        client._retry = 0
        with pytest.raises(APIError) as error:
            client.get_clock()
        assert error.value.status_code == 429
        assert int(error.value.response.headers["X-RateLimit-Reset"]) > 1_767_000_000
    finally:
        venue.close()


# ---------------------------------------------------------------- positions, activities, history
def test_positions_are_shown_and_closed(venue: LiveVenue) -> None:
    client = venue.trading()
    client.submit_order(limit(300.05, qty=10))
    client.submit_order(limit(3.2, symbol=CALL_300, qty=3))
    position = client.get_open_position("IBM")
    assert (position.qty, position.avg_entry_price, position.cost_basis, position.side) == (
        "10",
        "300.05",
        "3000.5",
        "long",
    )
    option = client.get_open_position(CALL_300)
    assert (option.qty, option.cost_basis, option.asset_class) == ("3", "960", "us_option")
    with pytest.raises(APIError) as error:
        client.get_open_position("AAPL")
    assert refusal(error) == (404, 40410000, "position does not exist")
    half = client.close_position("IBM", ClosePositionRequest(percentage="50"))
    assert (half.qty, half.side) == ("5", SELL)
    client.close_position("IBM", ClosePositionRequest(qty="2"))
    assert client.get_open_position(position.asset_id).qty == "3"
    client.submit_order(limit(320.0, qty=1, side=SELL))
    answers = client.close_all_positions(cancel_orders=True)
    assert sorted((answer.symbol, answer.status) for answer in answers) == [("IBM", 200), (CALL_300, 200)]
    assert client.get_all_positions() == []
    with pytest.raises(APIError):
        client.exercise_options_position(CALL_300)


def test_activities_come_in_pages(venue: LiveVenue) -> None:
    client = venue.trading()
    for _ in range(5):
        venue.quote("IBM", 299.95, 300.05)
        client.submit_order(limit(300.05, qty=2))
    pages: list[Any] = []
    token = None
    while True:
        query = {"page_size": 2, "direction": "asc"} | ({"page_token": token} if token else {})
        page = client.get("/account/activities/FILL", query)
        pages += page
        if len(page) < 2:
            break
        token = page[-1]["id"]
    assert len({row["id"] for row in pages}) == 5
    assert [row["type"] for row in pages] == ["fill"] * 5
    assert {(row["price"], row["qty"], row["cum_qty"], row["leaves_qty"]) for row in pages} == {
        ("300.05", "2", "2", "0")
    }
    assert client.get("/account/activities", {"activity_types": "DIV"}) == []


def test_portfolio_history(venue: LiveVenue) -> None:
    client = venue.trading()
    client.submit_order(limit(300.05, qty=100))
    for step in range(3):
        venue.do(lambda: venue.market.wait(60))
        venue.quote("IBM", 300.95 + step, 301.05 + step)
    history = client.get_portfolio_history(GetPortfolioHistoryRequest(period="1D", timeframe="1Min"))
    assert len(history.timestamp) == len(history.equity) == 4
    assert history.equity[-1] == pytest.approx(100_000 + 100 * (302.95 - 300.05))
    assert history.base_value == 100_000


def test_watchlists_and_announcements(venue: LiveVenue) -> None:
    client = venue.trading()
    made = client.create_watchlist(CreateWatchlistRequest(name="mine", symbols=["IBM"]))
    client.add_asset_to_watchlist_by_id(made.id, "AAPL")
    assert [asset.symbol for asset in client.get_watchlist_by_id(made.id).assets or ()] == ["IBM", "AAPL"]
    assert [asset.symbol for asset in client.remove_asset_from_watchlist_by_id(made.id, "IBM").assets or ()] == ["AAPL"]
    assert client.update_watchlist_by_id(made.id, UpdateWatchlistRequest(name="yours")).name == "yours"
    assert len(client.get_watchlists()) == 1
    client.delete_watchlist_by_id(made.id)
    assert client.get_watchlists() == []
    assert venue.actions().get_corporate_actions(CorporateActionsRequest(symbols=["IBM"])).data is not None


# ---------------------------------------------------------------- data over REST
def test_stock_history_comes_in_pages_over_all_symbols(venue: LiveVenue) -> None:
    for step in range(30):
        venue.do(lambda: venue.market.wait(20))
        venue.quote("IBM", 299.95, 300.05, last=300.0 + step / 100, traded=10, size=1_000 + step)
        venue.quote("AAPL", 199.95, 200.05, last=200.0, traded=5, size=1_000 + step)
    client = venue.stocks()
    start = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
    bars = client.get_stock_bars(
        StockBarsRequest(symbol_or_symbols=["IBM", "AAPL"], timeframe=TimeFrame.Minute, start=start)
    )
    assert sum(bar.volume for bar in bars.data["IBM"]) == 100 + 300
    wide = client.get_stock_bars(
        StockBarsRequest(symbol_or_symbols="IBM", timeframe=TimeFrame(5, TimeFrameUnit.Minute), start=start)
    )
    assert [bar.timestamp.minute for bar in wide.data["IBM"]] == [30, 35, 40]
    (daily,) = client.get_stock_bars(
        StockBarsRequest(symbol_or_symbols="IBM", timeframe=TimeFrame.Day, start=datetime(2026, 1, 5, tzinfo=UTC))
    ).data["IBM"]
    assert (daily.timestamp, daily.open, daily.close) == (datetime(2026, 1, 5, 5, tzinfo=UTC), 300.01, 300.29)
    trades = client.get_stock_trades(StockTradesRequest(symbol_or_symbols=["IBM", "AAPL"], start=start))
    assert {symbol: len(rows) for symbol, rows in trades.data.items()} == {"IBM": 31, "AAPL": 31}
    quotes = client.get_stock_quotes(StockQuotesRequest(symbol_or_symbols=["IBM", "AAPL", "HALT"], start=start))
    assert sorted(quotes.data) == ["AAPL", "IBM"]
    found: list[Any] = []
    token = None
    while True:
        query = {"symbols": "IBM,AAPL", "limit": 7, "start": start.isoformat()} | (
            {"page_token": token} if token else {}
        )
        page = client.get("/stocks/trades", query)
        assert sum(map(len, page["trades"].values())) <= 7
        found += [(symbol, row["t"]) for symbol, rows in page["trades"].items() for row in rows]
        token = page["next_page_token"]
        if token is None:
            break
    assert found == sorted(found)
    assert len(set(found)) == 62


def test_the_latest_and_snapshots(venue: LiveVenue) -> None:
    client = venue.stocks()
    quote = client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="IBM"))["IBM"]
    assert (quote.bid_price, quote.ask_price, quote.bid_size) == (299.95, 300.05, 1000)
    trade = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=["IBM"]))["IBM"]
    assert (trade.price, trade.size) == (300.01, 100)
    assert client.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="IBM"))["IBM"].volume == 100
    snapshot = client.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=["IBM", "AAPL"]))["AAPL"]
    assert snapshot.latest_trade.price == 200.0
    assert snapshot.previous_daily_bar is None


def test_options_have_quotes_and_greeks(venue: LiveVenue) -> None:
    client = venue.options()
    chain = client.get_option_chain(OptionChainRequest(underlying_symbol="IBM"))
    assert len(chain) == 10
    call = chain[CALL_300]
    assert 0.4 < call.greeks.delta < 0.65
    assert 0.05 < call.implied_volatility < 0.5
    assert call.latest_quote.ask_size == 50
    venue.quote(CALL_300, 0.0, 3.2)
    assert client.get_option_snapshot(OptionSnapshotRequest(symbol_or_symbols=[CALL_300]))[CALL_300].greeks is None
    narrow = client.get_option_chain(
        OptionChainRequest(underlying_symbol="IBM", type=ContractType.CALL, strike_price_gte=305.0)
    )
    assert sorted(narrow) == [CALL_305, "IBM260116C00310000"]
    venue.quote(CALL_305, 3.0, 3.2, last=3.1, traded=200)
    assert (
        client.get_option_latest_quote(OptionLatestQuoteRequest(symbol_or_symbols=CALL_305))[CALL_305].bid_price == 3.0
    )
    assert client.get_option_latest_trade(OptionLatestTradeRequest(symbol_or_symbols=CALL_305))[CALL_305].size == 2
    assert (
        client.get_option_bars(
            OptionBarsRequest(
                symbol_or_symbols=CALL_305, timeframe=TimeFrame.Minute, start=datetime(2026, 1, 5, tzinfo=UTC)
            )
        )
        .data[CALL_305][0]
        .volume
        == 2
    )
    assert (
        len(
            client.get_option_trades(
                OptionTradesRequest(symbol_or_symbols=CALL_305, start=datetime(2026, 1, 5, tzinfo=UTC))
            ).data[CALL_305]
        )
        == 1
    )
    assert client.get_option_exchange_codes()


def test_a_subscription_covers_its_feeds_only() -> None:
    venue = LiveVenue(BASIC)
    try:
        with pytest.raises(APIError) as error:
            venue.stocks().get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="IBM", feed=DataFeed.SIP))
        assert refusal(error) == (403, 42210000, "subscription does not permit querying recent SIP data")
        assert venue.options().get_option_chain(
            OptionChainRequest(underlying_symbol="IBM", feed=OptionsFeed.INDICATIVE)
        )
    finally:
        venue.close()


# ---------------------------------------------------------------- streams
def test_the_order_stream_tells_everything(venue: LiveVenue) -> None:
    stream = TradingStream(KEY, SECRET, url_override=f"{venue.ws}/stream")
    seen: list[TradeUpdate] = []

    async def note(update: Any) -> None:
        seen.append(update)

    stream.subscribe_trade_updates(note)
    with venue.running(stream):
        venue.until(lambda: venue.do(lambda: venue.market.server.updates.listening) == 1)
        client = venue.trading()
        venue.quote("IBM", 299.95, 300.05, size=2)
        order = client.submit_order(limit(300.05, qty=5))
        venue.quote("IBM", 299.95, 300.04, size=2)
        client.replace_order_by_id(order.id, ReplaceOrderRequest(limit_price=299.0))
        client.cancel_orders()
        venue.until(lambda: bool(seen) and seen[-1].event == "canceled")
    events = [update.event for update in seen]
    assert events == [
        "pending_new", "new", "partial_fill", "partial_fill", "replaced", "new", "canceled",
    ]  # fmt: skip
    fill = seen[2]
    assert (fill.price, fill.qty, fill.position_qty, fill.order.filled_qty) == (300.05, 2.0, 2.0, "2")
    assert len({update.execution_id for update in seen}) == len(seen)
    assert seen[-1].order.replaces == order.id
    assert seen[-1].order.filled_qty == "4"


def test_the_stock_stream(venue: LiveVenue) -> None:
    stream = StockDataStream(KEY, SECRET, url_override=f"{venue.ws}/v2/sip")
    seen: list[Any] = []

    async def note(message: Any) -> None:
        seen.append(message)

    stream.subscribe_quotes(note, "IBM", "AAPL")
    stream.subscribe_trades(note, "*")
    stream.subscribe_bars(note, "*")
    stream.subscribe_trading_statuses(note, "IBM")
    with venue.running(stream):
        venue.until(lambda: venue.do(lambda: len(venue.market.server.streams["sip"]._clients)) == 1)
        venue.until(
            lambda: venue.do(lambda: bool(next(iter(venue.market.server.streams["sip"]._clients)).channels["quotes"]))
        )
        venue.quote("IBM", 300.01, 300.11, last=300.05)
        venue.quote("IBM", 300.01, 300.11, last=300.06, traded=7)
        venue.do(lambda: venue.market.wait(61))
        venue.quote("IBM", 300.02, 300.11, last=300.07, traded=9)
        venue.do(lambda: venue.market.exchange.halt("US:IBM"))
        venue.until(lambda: any(isinstance(message, TradingStatus) for message in seen))
    kinds = [type(message) for message in seen]
    assert kinds == [Quote, Trade, Bar, Bar, Quote, Trade, TradingStatus]
    assert (seen[0].bid_price, seen[0].ask_price, seen[0].symbol) == (300.01, 300.11, "IBM")
    assert (seen[1].price, seen[1].size) == (300.06, 7)
    assert {bar.symbol: bar.volume for bar in seen[2:4]} == {"AAPL": 50, "IBM": 7 + 100}
    assert seen[6].status_code == "H"


def test_the_option_stream_and_its_unsubscription(venue: LiveVenue) -> None:
    stream = OptionDataStream(KEY, SECRET, url_override=f"{venue.ws}/v1beta1/opra")
    seen: list[Any] = []

    async def note(message: Any) -> None:
        seen.append(message)

    stream.subscribe_quotes(note, CALL_300, CALL_305)
    stream.subscribe_trades(note, CALL_300)
    with venue.running(stream):
        clients = venue.market.server.streams["opra"]._clients
        venue.until(lambda: any(client.channels["quotes"] for client in tuple(clients)))
        venue.quote(CALL_300, 3.1, 3.3, size=700)
        venue.until(lambda: len(seen) == 1)
        stream.unsubscribe_quotes(CALL_300)
        venue.until(lambda: any(len(client.channels["quotes"]) == 1 for client in tuple(clients)))
        venue.quote(CALL_300, 3.0, 3.3)
        venue.quote(CALL_305, 3.0, 3.3)
        venue.until(lambda: len(seen) == 2)
    assert [(message.symbol, message.bid_size, message.conditions) for message in seen] == [
        (CALL_300, 7, "A"), (CALL_305, 10, "A"),
    ]  # fmt: skip


def test_a_second_connection_is_refused_and_wrong_keys_too() -> None:
    venue = LiveVenue()
    try:
        first = StockDataStream(KEY, SECRET, url_override=f"{venue.ws}/v2/sip")
        second = StockDataStream(KEY, "wrong", url_override=f"{venue.ws}/v2/sip")

        async def note(_: Any) -> None: ...

        first.subscribe_quotes(note, "IBM")
        with venue.running(first):
            import asyncio

            third = StockDataStream(KEY, SECRET, url_override=f"{venue.ws}/v2/sip")
            for stream, words in ((third, "connection limit exceeded"), (second, "auth failed")):

                async def enter(stream: StockDataStream = stream) -> None:
                    try:
                        await stream._start_ws()
                    finally:
                        await stream.close()

                with pytest.raises(ValueError, match=words):
                    asyncio.run(enter())
    finally:
        venue.close()


def test_a_stream_goes_on_after_a_restart_of_the_connection(venue: LiveVenue) -> None:
    stream = StockDataStream(KEY, SECRET, url_override=f"{venue.ws}/v2/sip")
    stream._reconnect_min_backoff = 0.05
    seen: list[Quote] = []

    async def note(message: Any) -> None:
        seen.append(message)

    stream.subscribe_quotes(note, "IBM")
    with venue.running(stream):
        streams = venue.market.server.streams["sip"]
        venue.until(lambda: any(client.channels["quotes"] for client in tuple(streams._clients)))
        venue.quote("IBM", 300.01, 300.11)
        venue.until(lambda: len(seen) == 1)
        venue.do(streams.withdraw)
        venue.until(lambda: not streams._clients)
        venue.until(lambda: any(client.channels["quotes"] for client in tuple(streams._clients)), 20)
        venue.quote("IBM", 300.02, 300.12)
        venue.until(lambda: len(seen) == 2)
