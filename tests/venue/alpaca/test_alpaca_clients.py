"""What clients other than Alpaca's own for Python asked of the venue, request by request as they send it."""

import asyncio
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from angelx.domain.wire import Request, Response
from angelx.sim.loop import simulate
from angelx.sim.memory_transport import MemoryTransport
from tests.venue.alpaca.alpaca_market import CALL_300, CALL_305, KEY, PUT_300, SECRET, Market

KEYS = {"apca-api-key-id": KEY, "apca-api-secret-key": SECRET}
MINUTE_S = 60


class Caller:
    """A market, and somebody who asks."""

    def __init__(self) -> None:
        self.market = Market()
        self.market.open_for_business()

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] = KEYS, **query: Any) -> Response:
        target = path + (f"?{urlencode(query)}" if query else "")
        content = b"" if body is None else msgspec.json.encode(body)
        return asyncio.run(self.market.server.handle(Request(method, target, headers, content)))

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        response = self.send(method, path, body, **query)
        assert response.status < 300, response.body
        return msgspec.json.decode(response.body) if response.body else None

    def refused(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, int | None, str]:
        response = self.send(method, path, body, **query)
        found = msgspec.json.decode(response.body)
        return response.status, found.get("code"), found["message"]

    def order(self, **form: Any) -> Any:
        return self.ask("POST", "/v2/orders", {"symbol": "IBM", "side": "buy", "time_in_force": "day", **form})

    def statuses(self) -> dict[str, str]:
        orders = self.ask("GET", "/v2/orders", status="all", limit=500)
        return {order["id"]: order["status"] for order in orders}


@pytest.fixture
def caller() -> Caller:
    return Caller()


def test_cancelling_everything_ends_exits_of_filled_entries_too(caller: Caller) -> None:
    """alpaca-trade-api 3.2.0, @alpacahq/alpaca-trade-api 4.0.2: `DELETE /v2/orders` left them, and they sold short."""
    exits = {"take_profit": {"limit_price": "310"}, "stop_loss": {"stop_price": "290"}}
    caller.order(qty="5", type="market", order_class="bracket", **exits)
    caller.order(qty="5", type="limit", limit_price="280", order_class="bracket", take_profit={"limit_price": "310"},
                 stop_loss={"stop_price": "270"})  # fmt: skip
    answers = caller.ask("DELETE", "/v2/orders")
    assert [answer["status"] for answer in answers] == [200, 200, 200]
    assert sorted(caller.statuses().values()) == ["canceled"] * 5 + ["filled"]
    assert caller.ask("GET", "/v2/orders") == []


def test_the_exits_of_a_part_do_not_stay_either(caller: Caller) -> None:
    caller.market.quote("IBM", 299.95, 300.05, size=3)
    exits = {"take_profit": {"limit_price": "310"}, "stop_loss": {"stop_price": "290"}}
    caller.order(qty="5", type="limit", limit_price="300.05", order_class="bracket", **exits)
    assert "partially_filled" in caller.statuses().values()
    caller.ask("DELETE", "/v2/orders")
    assert set(caller.statuses().values()) == {"canceled"}


def test_a_date_as_the_end_is_the_whole_day_in_new_york(caller: Caller) -> None:
    """alpaca-trade-api's own example: `get_bars("AAPL", TimeFrame.Hour, "2021-06-08", "2021-06-08")`."""
    for frame in ("1Min", "1Hour", "1Day"):
        page = caller.ask(
            "GET", "/v2/stocks/bars", symbols="IBM", timeframe=frame, start="2026-01-05", end="2026-01-05"
        )
        assert len(page["bars"]["IBM"]) == 1, frame
    assert caller.ask("GET", "/v2/stocks/bars", symbols="IBM", start="2026-01-04", end="2026-01-04")["bars"] == {}
    assert caller.ask("GET", "/v2/stocks/bars", symbols="IBM", start="2026-01-06", end="2026-01-06")["bars"] == {}
    assert caller.refused("GET", "/v2/stocks/bars", symbols="IBM", end="9999-12-31")[0] == 400
    assert caller.refused("GET", "/v2/stocks/bars", symbols="IBM", end="2026-13-01")[0] == 400


@pytest.mark.parametrize("frame", ["1Min", "59T", "1Hour", "23H", "1Day", "1D", "1Week", "1W", "12Month", "3M"])
def test_frames_of_bars(caller: Caller, frame: str) -> None:
    page = caller.ask("GET", "/v2/stocks/bars", symbols="IBM", timeframe=frame, start="2025-12-29")
    assert [bar["v"] for bar in page["bars"]["IBM"]] == [100]


@pytest.mark.parametrize(
    ("name", "value"),
    [("timeframe", value) for value in ("60Min", "0Min", "24Hour", "2Day", "2W", "5Month", "Min", "1min", "1Year")]
    + [("sort", "up"), ("adjustment", "none"), ("adjustment", "split,none")],
)
def test_what_history_cannot_be_asked(caller: Caller, name: str, value: str) -> None:
    asked = {"symbols": "IBM", "timeframe": "1Min", name: value}
    assert caller.refused("GET", "/v2/stocks/bars", **asked) == (400, None, f"invalid {name}: {value}")


def test_orders_are_listed_by_known_sides_and_directions(caller: Caller) -> None:
    for name in ("side", "direction"):
        assert caller.refused("GET", "/v2/orders", **{name: "up"}) == (422, 40010001, f"invalid {name}: up")


def test_orders_are_listed_around_one_of_them(caller: Caller) -> None:
    """`before_order_id`, `after_order_id` and `asset_class` of @alpacahq/alpaca-trade-api 4.0.2."""
    made = []
    for price in range(200, 204):
        made.append(caller.order(qty="1", type="limit", limit_price=str(price))["id"])
        caller.market.wait(price % 2)
    option = caller.order(symbol=CALL_300, qty="1", type="limit", limit_price="1")["id"]

    def listed(**query: Any) -> list[str]:
        return [order["id"] for order in caller.ask("GET", "/v2/orders", direction="asc", **query)]

    assert listed(after_order_id=made[1]) == [*made[2:], option]
    assert listed(before_order_id=made[1]) == made[:1]
    assert listed(before_order_id=option, limit=2) == made[:2]
    assert listed(asset_class="us_option") == [option]
    assert listed(asset_class="us_equity") == made
    assert listed(asset_class="all") == [*made, option]
    assert caller.refused("GET", "/v2/orders", before_order_id="x")[0] == 422
    assert caller.refused("GET", "/v2/orders", before_order_id=option, after_order_id=option)[0] == 422


def test_activities_of_a_category(caller: Caller) -> None:
    caller.order(qty="1", type="market")
    for category, count in (("trade_activity", 1), ("non_trade_activity", 0)):
        assert len(caller.ask("GET", "/v2/account/activities", category=category)) == count
    assert caller.refused("GET", "/v2/account/activities", category="any")[0] == 422
    assert caller.refused("GET", "/v2/account/activities/FILL", category="trade_activity")[0] == 422


def test_a_chain_of_what_changed_since(caller: Caller) -> None:
    caller.market.wait(10)
    caller.market.quote(CALL_305, 3.1, 3.3, size=500)
    path = "/v1beta1/options/snapshots/IBM"
    assert list(caller.ask("GET", path, updated_since="2026-01-05T14:31:05Z")["snapshots"]) == [CALL_305]
    assert len(caller.ask("GET", path, root_symbol="IBM")["snapshots"]) == 10
    assert caller.ask("GET", path, root_symbol="IBM1")["snapshots"] == {}


def test_markets_that_are_closed_take_no_market_orders_for_options(caller: Caller) -> None:
    for segment in ("US", "OPRA"):
        caller.market.exchange.halt(segment)
    form = {"symbol": CALL_300, "side": "buy", "qty": "1", "type": "market", "time_in_force": "day"}
    refused = (422, 42210000, "options market orders are only allowed during market hours")
    assert caller.refused("POST", "/v2/orders", form) == refused


def test_refusals_of_the_exchange_are_worded_for_clients(caller: Caller) -> None:
    """ccxt 4.5 shows the message as it is: no prices in 1/10,000, no bands that are not there."""
    form = {"symbol": "IBM", "side": "buy", "type": "limit", "limit_price": "1", "time_in_force": "day"}
    too_many = (422, 40010001, "qty is more than one order may have")
    assert caller.refused("POST", "/v2/orders", {**form, "qty": "10000000"}) == too_many


def test_the_account_is_as_old_as_the_market(caller: Caller) -> None:
    assert caller.ask("GET", "/v2/account")["created_at"].startswith("2026-01-05T")


@pytest.mark.parametrize("symbol", [{"symbol": "IBM"}, ["IBM"], None, 1, "NOPE"])
def test_a_watchlist_of_what_is_no_symbol_is_refused_and_nothing_changes(caller: Caller, symbol: Any) -> None:
    made = caller.ask("POST", "/v2/watchlists", {"name": "one", "symbols": ["IBM"]})
    for method, path, form in (
        ("POST", "/v2/watchlists", {"name": "two", "symbols": [symbol]}),
        ("PUT", f"/v2/watchlists/{made['id']}", {"name": "two", "symbols": [symbol]}),
        ("POST", f"/v2/watchlists/{made['id']}", {"symbol": symbol}),
    ):
        assert caller.refused(method, path, form)[0] == 404
    assert [one["name"] for one in caller.ask("GET", "/v2/watchlists")] == ["one"]


def test_watchlists_by_name(caller: Caller) -> None:
    """`get_watchlist_by_name`, and the three others of @alpacahq/alpaca-trade-api 4.0.2."""
    made = caller.ask("POST", "/v2/watchlists", {"name": "my list", "symbols": ["IBM"]})
    where = "/v2/watchlists:by_name"
    assert caller.ask("GET", where, name="my list") == made
    both = caller.ask("POST", where, {"symbol": "AAPL"}, name="my list")
    assert [asset["symbol"] for asset in both["assets"]] == ["IBM", "AAPL"]
    assert caller.ask("PUT", where, {"name": "other", "symbols": []}, name="my list")["assets"] == []
    assert caller.refused("GET", where, name="my list") == (404, 40410000, "watchlist not found")
    assert caller.ask("DELETE", where, name="other") is None
    assert caller.ask("GET", "/v2/watchlists") == []


def test_screeners_rank_shares(caller: Caller) -> None:
    """alpaca-py's `ScreenerClient`."""
    caller.market.quote("IBM", 302.95, 303.05, last=303.0, traded=10)
    caller.market.quote("AAPL", 197.99, 198.01, last=198.0, traded=500)
    actives = caller.ask("GET", "/v1beta1/screener/stocks/most-actives", by="volume", top=1)
    assert actives["most_actives"] == [{"symbol": "AAPL", "volume": 550, "trade_count": 2}]
    movers = caller.ask("GET", "/v1beta1/screener/stocks/movers", top=5)
    assert movers["gainers"] == [{"symbol": "IBM", "percent_change": 1.0, "change": 3.0, "price": 303.0}]
    assert movers["losers"] == [{"symbol": "AAPL", "percent_change": -1.0, "change": -2.0, "price": 198.0}]
    assert caller.ask("GET", "/v1beta1/screener/crypto/movers")["gainers"] == []
    assert caller.refused("GET", "/v1beta1/screener/stocks/most-actives", by="name")[0] == 400
    assert caller.refused("GET", "/v1beta1/screener/bonds/movers")[0] == 400


def test_conditions_auctions_and_exercise(caller: Caller) -> None:
    for path in ("/v2/stocks/meta/conditions/trade?tape=A", "/v1beta1/options/meta/conditions/quote"):
        assert all(isinstance(text, str) for text in caller.ask("GET", path).values())
    assert caller.refused("GET", "/v2/stocks/meta/conditions/bar")[0] == 400
    auctions = caller.ask("GET", "/v2/stocks/IBM/auctions")
    assert auctions == {"symbol": "IBM", "auctions": None, "next_page_token": None}
    assert caller.refused("POST", "/v2/positions/IBM/do-not-exercise") == (404, 40410000, "position does not exist")


def test_ways_to_say_who_one_is(caller: Caller) -> None:
    """`oauth=` of alpaca-trade-api, `accessToken` of its sister: the secret key is a token here."""
    basic = b64encode(f"{KEY}:{SECRET}".encode()).decode()
    for good in (f"Bearer {SECRET}", f"Basic {basic}"):
        assert caller.send("GET", "/v2/clock", headers={"authorization": good}).status == 200
    for bad, status in ((f"Bearer {KEY}", 401), ("Bearer ", 401), ("Basic !", 403), ("Digest x", 403)):
        response = caller.send("GET", "/v2/clock", headers={"authorization": bad})
        assert (response.status, b"code" in response.body) == (status, False)


def test_head_is_a_get_and_other_methods_are_refused_by_name(caller: Caller) -> None:
    assert caller.send("HEAD", "/v2/clock").status == 200
    assert caller.refused("PUT", "/v2/orders") == (405, 40510000, "method not allowed")
    assert caller.refused("OPTIONS", "/v2/account") == (405, 40510000, "method not allowed")
    assert caller.refused("GET", "/v2/nothing") == (404, 40410000, "endpoint not found.")


async def _entered(transport: MemoryTransport, channels: dict[str, list[str]]) -> Any:
    stream = await transport.open("/v2/sip", headers=KEYS, timeout_s=1)
    for message in ("connected", "authenticated"):
        assert msgspec.json.decode(await stream.receive()) == [{"T": "success", "msg": message}]
    await stream.send(msgspec.json.encode({"action": "subscribe", **channels}).decode())
    await stream.receive()
    return stream


def test_bars_are_of_the_minute_before_whoever_was_there(caller: Caller) -> None:
    """A client that came back after a while was sent the bar of the minute when the last one had left."""
    market = caller.market

    async def heard(stream: Any) -> list[tuple[str, str, str]]:
        messages = msgspec.json.decode(await asyncio.wait_for(stream.receive(), 5))
        return [(message["T"], message["S"], message["t"]) for message in messages]

    async def story() -> None:
        transport = MemoryTransport(market.server)
        first = await _entered(transport, {"bars": ["*"]})
        market.quote("IBM", 299.95, 300.05, last=300.0, traded=10)
        await first.close()
        await asyncio.sleep(1)
        market.wait(5 * MINUTE_S)
        market.quote("IBM", 299.95, 300.05, last=300.0, traded=10)
        market.quote("AAPL", 199.99, 200.01, last=200.0, traded=10)
        second = await _entered(transport, {"bars": ["IBM", "AAPL"], "dailyBars": ["IBM"]})
        market.wait(MINUTE_S)
        market.quote("IBM", 299.95, 300.05, last=300.0, traded=10)
        market.wait(MINUTE_S)
        market.quote("AAPL", 199.99, 200.01, last=200.0)
        assert await heard(second) == [
            ("b", "AAPL", "2026-01-05T14:36:00Z"),
            ("b", "IBM", "2026-01-05T14:36:00Z"),
            ("d", "IBM", "2026-01-05T05:00:00Z"),
            ("b", "IBM", "2026-01-05T14:37:00Z"),
            ("d", "IBM", "2026-01-05T05:00:00Z"),
        ]
        await second.close()

    simulate(story)


def test_answers_are_arrays_of_their_own(caller: Caller) -> None:
    """@alpacahq/alpaca-trade-api 3.1.3 takes an array for what its first message is: data, or an answer."""
    market = caller.market

    async def story() -> None:
        stream = await _entered(MemoryTransport(market.server), {"trades": ["IBM"]})
        await stream.send(msgspec.json.encode({"action": "subscribe", "quotes": ["IBM"]}).decode())
        for _ in range(3):
            market.quote("IBM", 299.95, 300.05, last=300.0, traded=10)
        seen = [msgspec.json.decode(await asyncio.wait_for(stream.receive(), 5)) for _ in range(2)]
        assert [[message["T"] for message in array] for array in seen] == [["t"] * 3, ["subscription"]]
        await stream.close()

    simulate(story)


def test_the_news_stream_is_there_and_silent(caller: Caller) -> None:
    """Clients that subscribe news tried to connect to it again, without a pause, for as long as they lived."""

    async def story() -> None:
        stream = await MemoryTransport(caller.market.server).open("/v1beta1/news", headers=KEYS, timeout_s=1)
        for _ in range(2):
            await stream.receive()
        said = {"action": "subscribe", "news": ["*"], "trades": [], "cancelErrors": []}
        for message, answer in ((said, {"T": "subscription", "news": ["*"]}), ({**said, "trades": ["IBM"]}, 410)):
            await stream.send(msgspec.json.encode(message).decode())
            (heard,) = msgspec.json.decode(await asyncio.wait_for(stream.receive(), 5))
            assert answer in (heard, heard.get("code"))
        await stream.close()

    simulate(story)
    assert caller.ask("GET", "/v1beta1/corporate-actions", symbols="IBM")["next_page_token"] is None


@pytest.mark.parametrize(
    "login",
    [
        {"action": "authenticate", "data": {"oauth_token": SECRET}},
        {"action": "authenticate", "data": {"key_id": "oauth", "secret_key": SECRET}},
    ],
)
def test_the_order_stream_takes_tokens(caller: Caller, login: Any) -> None:
    async def story() -> None:
        stream = await MemoryTransport(caller.market.server).open("/stream", headers={}, timeout_s=1)
        await stream.send(msgspec.json.encode(login).decode())
        answer = msgspec.json.decode(await asyncio.wait_for(stream.receive(), 5))
        assert answer["data"]["status"] == "authorized"
        await stream.close()

    simulate(story)


def _spread(first: str, second: str, **form: Any) -> Any:
    legs = [
        {"symbol": first, "ratio_qty": "1", "side": "buy", "position_intent": "buy_to_open"},
        {"symbol": second, "ratio_qty": "1", "side": "sell", "position_intent": "sell_to_open"},
    ]
    return {"order_class": "mleg", "qty": "1", "type": "market", "time_in_force": "day", "legs": legs, **form}


def test_options_are_sold_covered_or_not_at_all(caller: Caller) -> None:
    """An account of level 3: spreads, covered calls, cash-secured puts."""
    sale = {"symbol": CALL_305, "side": "sell", "type": "market", "qty": "1"}
    naked = (403, 40310000, "account not eligible to trade uncovered option contracts")
    assert caller.refused("POST", "/v2/orders", {**sale, "time_in_force": "day"}) == naked
    assert caller.ask("POST", "/v2/orders", _spread(CALL_300, CALL_305))["status"] == "pending_new"
    assert {one["symbol"]: one["qty"] for one in caller.ask("GET", "/v2/positions")} == {CALL_300: "1", CALL_305: "-1"}
    assert caller.refused("POST", "/v2/orders", {**sale, "time_in_force": "day"}) == naked
    caller.order(qty="100", type="market")
    caller.order(**sale)
    assert caller.refused("POST", "/v2/orders", {**sale, "time_in_force": "day"}) == naked
    put = {**sale, "symbol": PUT_300}
    caller.order(**put)
    status, code, message = caller.refused("POST", "/v2/orders", {**put, "qty": "9", "time_in_force": "day"})
    assert (status, code) == (403, 40310000)
    assert message.startswith("insufficient options buying power for cash-secured put (required: 300000, available: 7")
    caller.order(symbol=PUT_300, qty="1", type="market")
    assert PUT_300 not in {one["symbol"] for one in caller.ask("GET", "/v2/positions")}


def test_two_exits_need_something_to_leave(caller: Caller) -> None:
    form = {"symbol": "IBM", "side": "sell", "qty": "1", "type": "limit", "time_in_force": "day", "order_class": "oco",
            "take_profit": {"limit_price": "310"}, "stop_loss": {"stop_price": "290"}}  # fmt: skip
    assert caller.refused("POST", "/v2/orders", form) == (422, 42210000, "oco orders must be exit orders")
    caller.order(qty="1", type="market")
    assert caller.ask("POST", "/v2/orders", form)["order_class"] == "oco"


@pytest.mark.parametrize("path", ["//v2/clock", "/v2/clock/", "/v2//clock", "/v2/%63lock"])
def test_slashes_that_are_too_many_are_left_out(caller: Caller, path: str) -> None:
    """A base address that ends with a slash, joined with a path that begins with one."""
    assert caller.ask("GET", path)["is_open"]
    admits = caller.market.server.admits
    assert admits(Request("GET", "//stream/?x=1", {}, b"")) is None
    assert admits(Request("GET", "//v2//iex", {}, b"")) is None
    assert caller.refused("GET", "/v2/assets/BTC%2FUSD") == (404, 40410000, "asset not found for BTC/USD")


@pytest.mark.parametrize("query", ["symbols=IBM,AAPL", "symbols=IBM&symbols=AAPL", "symbols=IBM%2CAAPL&feed=iex"])
def test_lists_are_parted_by_commas_or_said_again(caller: Caller, query: str) -> None:
    """Generators of clients write arrays in either way."""
    assert set(caller.ask("GET", f"/v2/stocks/quotes/latest?{query}")["quotes"]) == {"IBM", "AAPL"}


@pytest.mark.parametrize("scheme", ["bearer", "BASIC"])
def test_schemes_may_be_of_any_case(caller: Caller, scheme: str) -> None:
    word = SECRET if scheme == "bearer" else b64encode(f"{KEY}:{SECRET}".encode()).decode()
    assert caller.send("GET", "/v2/clock", headers={"authorization": f"{scheme} {word}"}).status == 200


@pytest.mark.parametrize("body", [[], "x", 1, None])
def test_a_body_that_is_no_object_is_malformed(caller: Caller, body: Any) -> None:
    content = msgspec.json.encode(body)
    for method, path in (("POST", "/v2/orders"), ("PATCH", "/v2/account/configurations")):
        response = asyncio.run(caller.market.server.handle(Request(method, path, KEYS, content)))
        assert (response.status, msgspec.json.decode(response.body)["code"]) == (400, 40010000)


def test_market_data_refuses_without_a_code(caller: Caller) -> None:
    """`{"message":"unexpected query parameter(s): limit"}` in issue 581 of alpaca-py."""
    refused = caller.refused
    for path in ("/v2/stocks/trades/latest", "/v2/stocks/IBM/quotes/latest"):
        found = refused("GET", path, symbols="IBM", limit=1, asof="-")
        assert found == (400, None, "unexpected query parameter(s): asof, limit")
    assert refused("GET", "/v2/stocks/bars", symbols="IBM", timeframe="1x") == (400, None, "invalid timeframe: 1x")
    assert refused("GET", "/v2/stocks/trades", symbols="IBM", limit=0)[:2] == (400, None)
    assert refused("GET", "/v2/orders", limit=0)[:2] == (422, 40010001)


def test_what_was_bought_today_made_its_profit_since_then(caller: Caller) -> None:
    """Positions of live accounts: on yesterday's price only for what was held over night."""
    market = caller.market

    def profits(symbol: str = "IBM") -> tuple[str, str, str, str]:
        found = caller.ask("GET", f"/v2/positions/{symbol}")
        names = ("unrealized_pl", "unrealized_plpc", "unrealized_intraday_pl", "unrealized_intraday_plpc")
        return found[names[0]], found[names[1]], found[names[2]], found[names[3]]

    market.quote("IBM", 301.99, 302.0, last=302)
    caller.order(qty="10", type="market")
    market.quote("IBM", 303.99, 304.01, last=304)
    whole, part, today, share = profits()
    assert (whole, part) == (today, share)
    assert whole == "20"
    caller.ask("POST", "/v2/orders", {"symbol": "AAPL", "side": "sell", "qty": "5", "type": "market",
                                      "time_in_force": "day"})  # fmt: skip
    market.quote("AAPL", 197.99, 198.01, last=198)
    assert profits("AAPL")[0] == profits("AAPL")[2] == "9.95"
    market.wait(24 * 3600)
    market.quote("IBM", 305.99, 306.0, last=306)
    before = float(caller.ask("GET", "/v2/positions/IBM")["lastday_price"])
    whole, _, today, _ = profits()
    assert float(whole) == 40
    assert float(today) == pytest.approx(10 * (306 - before))
    caller.order(qty="5", type="market")
    market.quote("IBM", 306.99, 307.0, last=307)
    assert float(profits()[2]) == pytest.approx(10 * (307 - before) + 5)
    caller.ask("POST", "/v2/orders", {"symbol": "IBM", "side": "sell", "qty": "9", "type": "market",
                                      "time_in_force": "day"})  # fmt: skip
    assert float(profits()[2]) == pytest.approx(6 * (307 - before))


def test_the_account_has_what_live_accounts_have(caller: Caller) -> None:
    """Fields that structs of clients in Rust, C++ and TypeScript require."""
    account = caller.ask("GET", "/v2/account")
    assert account["effective_buying_power"] == account["buying_power"]
    assert account["balance_asof"] == "2026-01-02"  # The Friday before.
    assert (account["crypto_tier"], account["bod_dtbp"], account["admin_configurations"]) == (0, "0", {})
    assert {account[name] for name in ("intraday_adjustments", "pending_reg_taf_fees")} == {"0"}
    asset = caller.ask("GET", "/v2/assets/IBM")
    assert asset["margin_requirement_long"] == asset["margin_requirement_short"] == "30"
    assert caller.ask("GET", "/v2/account/configurations")["disable_overnight_trading"] is False


def test_the_order_stream_can_be_left(caller: Caller) -> None:
    """`unlisten`, of @master-chief/alpaca."""

    async def story() -> None:
        stream = await MemoryTransport(caller.market.server).open("/stream", headers={}, timeout_s=1)

        async def said(action: str, data: Any) -> Any:
            await stream.send(msgspec.json.encode({"action": action, "data": data}).decode())
            return msgspec.json.decode(await asyncio.wait_for(stream.receive(), 5))["data"]

        wanted = {"streams": ["trade_updates"]}
        assert await said("unlisten", wanted) == {"status": "unauthorized", "action": "listen"}
        await said("authenticate", {"key_id": KEY, "secret_key": SECRET})
        assert await said("listen", wanted) == wanted
        assert await said("unlisten", {"streams": ["other"]}) == wanted
        assert await said("unlisten", wanted) == {"streams": []}
        await stream.close()

    simulate(story)


def test_orders_say_what_they_do_to_the_position(caller: Caller) -> None:
    """Alpaca's OpenAPI file of 2026 has one of four words in every order, and those of its exits in a bracket."""
    exits = {"take_profit": {"limit_price": "310"}, "stop_loss": {"stop_price": "290"}}
    bracket = caller.order(qty="5", type="market", order_class="bracket", **exits)
    assert bracket["position_intent"] == "buy_to_open"
    assert {leg["position_intent"] for leg in bracket["legs"]} == {"sell_to_close"}
    listed = caller.ask("GET", "/v2/orders", status="all", nested="true")
    assert {leg["position_intent"] for order in listed for leg in order["legs"] or ()} == {"sell_to_close"}
    caller.ask("DELETE", "/v2/orders")
    words = [("sell", "sell_to_close", "5"), ("sell", "sell_to_open", "3"), ("buy", "buy_to_close", "3")]
    for side, word, qty in words:
        form = {"symbol": "IBM", "side": side, "qty": qty, "type": "market", "time_in_force": "day"}
        assert caller.ask("POST", "/v2/orders", form)["position_intent"] == word
    legs = [
        {"symbol": CALL_300, "ratio_qty": "1", "side": "buy"},
        {"symbol": CALL_305, "ratio_qty": "1", "side": "sell"},
    ]
    combo = caller.ask("POST", "/v2/orders", _spread(CALL_300, CALL_305, legs=legs))
    assert [leg["position_intent"] for leg in combo["legs"]] == ["buy_to_open", "sell_to_open"]
    assert combo["expires_at"] == "2026-01-05T21:00:00Z"


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_order_id_has_to_be_one(caller: Caller, method: str) -> None:
    """Alpaca-API issue 135."""
    assert caller.refused(method, "/v2/orders/some_order_id") == (422, 40010001, "order_id is missing")
    unknown = "/v2/orders/61e69015-8549-4bfd-b9c3-01e75843f47d"
    assert caller.refused(method, unknown)[:2] == (404, 40410000)


def test_an_order_for_what_is_not_there_is_invalid(caller: Caller) -> None:
    """Alpaca-API issue 184; the OpenAPI file knows no 404 of this call."""
    form = {"symbol": "NOPE", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
    assert caller.refused("POST", "/v2/orders", form) == (422, 40010001, "could not find us_equity 'NOPE'")
    share = caller.ask("GET", "/v2/assets/IBM")["id"]
    assert caller.ask("POST", "/v2/orders", {**form, "symbol": share})["symbol"] == "IBM"


@pytest.mark.parametrize(
    ("period", "frame"), [("1D", "1Min"), ("6D", "1Min"), ("1W", "15Min"), ("29D", "15Min"), ("1M", "1D"), ("1A", "1D")]
)
def test_a_history_is_as_fine_as_its_period_is_short(caller: Caller, period: str, frame: str) -> None:
    assert caller.ask("GET", "/v2/account/portfolio/history", period=period)["timeframe"] == frame


def test_contracts_say_whether_they_are_in_the_penny_program(caller: Caller) -> None:
    everything = caller.ask("GET", "/v2/options/contracts", underlying_symbols="IBM", limit=1000)["option_contracts"]
    assert {contract["ppind"] for contract in everything} == {True}
    for wanted, count in (("true", len(everything)), ("false", 0)):
        found = caller.ask("GET", "/v2/options/contracts", underlying_symbols="IBM", ppind=wanted, limit=1000)
        assert len(found["option_contracts"]) == count


def test_the_calendar_has_every_day_that_is_known(caller: Caller) -> None:
    """Without dates Alpaca tells all; three years were the most here, and nobody was told that there is more."""
    whole = caller.ask("GET", "/v2/calendar")
    assert len(whole) > 4_500
    assert (whole[0]["date"], whole[-1]["date"][:4] >= "2026") == ("2008-01-02", True)
    past = caller.ask("GET", "/v2/calendar", start="2016-01-01", end="2025-12-31T00:00:00Z")
    assert past == [day for day in whole if "2016" <= day["date"] < "2026"]
    assert caller.ask("GET", "/v2/calendar", start="1970-01-01", end="2008-01-03") == whole[:2]
    settled = caller.ask("GET", "/v2/calendar", start="2026-01-05", end="2026-01-06", date_type="SETTLEMENT")
    assert [(day["date"], day["settlement_date"]) for day in settled] == [
        ("2026-01-02", "2026-01-05"), ("2026-01-05", "2026-01-06"),
    ]  # fmt: skip
    assert caller.refused("GET", "/v2/calendar", date_type="X") == (422, 40010001, "invalid date_type: X")


def test_fills_of_one_order(caller: Caller) -> None:
    """`order_id`, of Alpaca's OpenAPI file."""
    first, second = (caller.order(qty=qty, type="market") for qty in ("2", "3"))
    for path in ("/v2/account/activities", "/v2/account/activities/FILL"):
        rows = caller.ask("GET", path, order_id=first["id"])
        assert [(row["order_id"], row["qty"]) for row in rows] == [(first["id"], "2")]
    assert len(caller.ask("GET", "/v2/account/activities")) == 2
    assert second["id"] not in str(caller.ask("GET", "/v2/account/activities", order_id=first["id"]))


def test_assets_with_any_of_some_attributes(caller: Caller) -> None:
    for wanted, found in (("has_options", {"IBM"}), ("ptp_no_exception,has_options", {"IBM"}), ("ipo", set())):
        assert {asset["symbol"] for asset in caller.ask("GET", "/v2/assets", attributes=wanted)} == found
    assert len(caller.ask("GET", "/v2/assets", attributes="")) == 3


def test_imbalances_can_be_subscribed(caller: Caller) -> None:
    """A channel of the stock streams since 2026, in @alpacahq/alpaca-trade-api 4.0.2."""

    async def story() -> None:
        stream = await MemoryTransport(caller.market.server).open("/v2/sip", headers=KEYS, timeout_s=1)
        for _ in range(2):
            await stream.receive()
        for action, names in (("subscribe", ["*"]), ("unsubscribe", ["*"])):
            message = {"action": action, "imbalances": names, "bars": []}
            await stream.send(msgspec.json.encode(message).decode())
            (heard,) = msgspec.json.decode(await asyncio.wait_for(stream.receive(), 5))
            assert heard["T"] == "subscription"
            assert heard.get("imbalances") == (["*"] if action == "subscribe" else None)
        await stream.close()

    simulate(story)


BUYS: dict[str, dict[str, Any]] = {
    "limit": {"type": "limit", "limit_price": "290"},
    "stop": {"type": "stop", "stop_price": "310"},
    "stop_limit": {"type": "stop_limit", "stop_price": "310", "limit_price": "311"},
    "trailing": {"type": "trailing_stop", "trail_price": "50"},
    "bracket": {"type": "limit", "limit_price": "290", "order_class": "bracket", "take_profit": {"limit_price": "320"},
                "stop_loss": {"stop_price": "250"}},
}  # fmt: skip
SELLS: dict[str, dict[str, Any]] = {
    "market": {"type": "market"},
    "limit far": {"type": "limit", "limit_price": "315"},
    "limit near": {"type": "limit", "limit_price": "290"},
    "stop": {"type": "stop", "stop_price": "295"},
    "stop_limit far": {"type": "stop_limit", "stop_price": "295", "limit_price": "291"},
    "stop_limit near": {"type": "stop_limit", "stop_price": "295", "limit_price": "289"},
    "trailing": {"type": "trailing_stop", "trail_price": "50"},
    "oco": {"type": "limit", "order_class": "oco", "take_profit": {"limit_price": "320"},
            "stop_loss": {"stop_price": "250"}},
}  # fmt: skip
WASH = {
    "limit": {"market", "limit near", "stop", "stop_limit near"},
    "stop": {"market", "limit far", "limit near", "stop", "stop_limit far", "stop_limit near"},
    "stop_limit": {"market", "limit near", "stop", "stop_limit far", "stop_limit near"},
    "trailing": set[str](),
    "bracket": set[str](),
}
"""Sells that Alpaca's table of user protection refuses, by the buy that is there."""


@pytest.mark.parametrize("new", SELLS)
@pytest.mark.parametrize("there", BUYS)
def test_wash_trades_are_looked_for_by_the_table(caller: Caller, there: str, new: str) -> None:
    caller.order(qty="10", type="market")
    waits = caller.order(qty="1", **BUYS[there])
    form = {"symbol": "IBM", "side": "sell", "qty": "1", "time_in_force": "day", **SELLS[new]}
    response = caller.send("POST", "/v2/orders", form)
    found = msgspec.json.decode(response.body)
    if new not in WASH[there]:
        assert response.status == 200, found
        return
    assert (response.status, found["code"], found["existing_order_id"]) == (403, 40310000, waits["id"])
    assert found["message"] == "potential wash trade detected. use complex orders"
    assert found["reject_reason"] == f"opposite side {there} order exists"
