"""Angel One's server: sessions, envelopes, limits, orders in its own words."""

from typing import Any

import msgspec
import pytest

from angelx.domain.scalars import NS
from angelx.venue.angelone.limits import ORDERS, RateWindows
from angelx.venue.angelone.orders import ANYTHING_GOES
from angelx.venue.exchange import Policy
from tests.venue.angelone_floor import CALL, CREDENTIALS, EXPIRY, INDEX, LOGIN, PUT, RENEW, SHARE, START, AngelFloor

HOUR = 3600 * NS


async def opened(**options: Any) -> AngelFloor:
    floor = AngelFloor(**options)
    await floor.log_in()
    floor.quote(100, 101)
    return floor


# ---------------------------------------------------------------- sessions
async def test_a_login_needs_client_pin_and_a_present_one_time_password() -> None:
    floor = AngelFloor()
    good = {"clientcode": "A1", "password": "1234", "totp": floor.totp()}
    for wrong, code in (
        ({"clientcode": "B2"}, "AB1000"),
        ({"password": "0"}, "AB1000"),
        ({"totp": "000000"}, "AB1050"),
    ):
        floor.wait(NS + 1)
        answer = await floor.post(LOGIN, good | wrong)
        assert (answer["status"], answer["errorcode"], answer["data"]) == (False, code, None)
    floor.wait(30 * NS)
    assert (await floor.post(LOGIN, good))["status"]
    floor.wait(40 * NS)
    assert (await floor.post(LOGIN, good))["errorcode"] == "AB1050"


async def test_the_gateway_refuses_in_its_own_envelope() -> None:
    floor = await opened()
    for headers, code in (
        ({"authorization": "Bearer nonsense"}, "AG8001"),
        ({"authorization": ""}, "AG8003"),
        ({"x-privatekey": "other"}, "AG8004"),
    ):
        answer = await floor.get("user/v1/getProfile", headers=headers)
        assert (answer["success"], answer["errorCode"], answer["data"]) == (False, code, "")


async def test_tokens_expire_are_renewed_and_end_at_midnight_in_india() -> None:
    floor = AngelFloor()
    floor.server.logins.jwt_life = HOUR
    await floor.log_in()
    floor.wait(HOUR)
    assert (await floor.get("user/v1/getProfile"))["errorCode"] == "AG8002"
    answer = await floor.post(RENEW, {"refreshToken": floor.tokens["refreshToken"]})
    floor.tokens = answer["data"]
    assert (await floor.get("user/v1/getProfile"))["status"]
    floor.wait(NS + 1)
    assert (await floor.post(RENEW, {"refreshToken": "other"}))["errorcode"] == "AB8050"
    floor.server.logins.jwt_life = 24 * HOUR
    floor.wait(12 * HOUR + 59 * 60 * NS)  # 23:59 in India
    answer = await floor.post(RENEW, {"refreshToken": floor.tokens["refreshToken"]})
    floor.tokens = answer["data"]
    assert (await floor.get("user/v1/getProfile"))["status"]
    floor.wait(60 * NS)
    assert (await floor.get("user/v1/getProfile"))["errorCode"] == "AG8002"
    assert (await floor.post(RENEW, {"refreshToken": floor.tokens["refreshToken"]}))["errorcode"] == "AB8051"


async def test_logging_out_ends_the_session_and_a_second_login_does_not() -> None:
    floor = await opened()
    first = dict(floor.tokens)
    floor.wait(2 * NS)
    await floor.log_in()
    assert (await floor.get("user/v1/getProfile"))["status"]
    floor.tokens = first
    assert (await floor.get("user/v1/getProfile"))["data"]["clientcode"] == "A1"
    assert (await floor.post("user/v1/logout", {"clientcode": "A1"}))["data"] == ""
    assert (await floor.get("user/v1/getProfile"))["errorCode"] == "AG8001"


# ---------------------------------------------------------------- limits
async def test_the_tenth_order_call_of_a_second_gets_plain_text() -> None:
    floor = await opened()
    numbers = [await floor.place(90) for _ in range(8)]
    assert (await floor.post("order/v1/cancelOrder", {"variety": "NORMAL", "orderid": numbers[0]}))["status"]
    answer = await floor.raw("POST", "/rest/secure/angelbroking/order/v1/placeOrder", b"{}")
    assert (answer.status, answer.body) == (403, b"Access denied because of exceeding access rate")
    assert answer.headers["content-type"] == "text/plain"
    floor.wait(NS)
    await floor.place(90)


def test_minutes_and_hours_count_too() -> None:
    windows, now, admitted = RateWindows(), 0, 0
    while windows.admits("A1", ORDERS, now):
        now, admitted = now + NS // 9 + 1, admitted + 1
    assert admitted == 500
    assert windows.admits("B2", ORDERS, now)
    assert windows.admits("A1", "quote", now)
    now += 60 * NS
    while windows.admits("A1", ORDERS, now):
        now, admitted = now + NS // 9 + 1, admitted + 1
    assert admitted == 1000
    assert not windows.admits("A1", ORDERS, now + 55 * 60 * NS)


# ---------------------------------------------------------------- orders
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"variety": "ROBO"}, "AB2002"),
        ({"variety": "BEST"}, "AB1008"),
        ({"variety": "STOPLOSS"}, "AB1008"),
        ({"symboltoken": "1"}, "AB1009"),
        ({"tradingsymbol": "OTHER"}, "AB1009"),
        ({"producttype": "DELIVERY"}, "AB1012"),
        ({"ordertag": "x" * 20}, "AB4008"),
        ({"ordertype": "MARKET"}, "AB9001"),
        ({"duration": "IOC"}, "AB9001"),
        ({"price": "ten"}, "AB9001"),
        ({"quantity": "1.5"}, "AB9001"),
        ({"transactiontype": "HOLD"}, "AB9001"),
        ({"variety": "STOPLOSS", "ordertype": "STOPLOSS_MARKET", "triggerprice": "110"}, "AB9001"),
        ({"variety": "STOPLOSS", "ordertype": "STOPLOSS_LIMIT"}, "AB9001"),
    ],
)
async def test_what_is_wrong_with_an_orders_form_is_refused_at_once(change: dict[str, str], code: str) -> None:
    floor = await opened()
    answer = await floor.post("order/v1/placeOrder", floor.order() | change)
    assert (answer["status"], answer["errorcode"], answer["data"]) == (False, code, None)
    assert floor.exchange.orders() == []


async def test_without_the_rules_for_algorithms_market_and_ioc_orders_are_taken() -> None:
    floor = await opened(rules=ANYTHING_GOES)
    bought = await floor.row(await floor.place(ordertype="MARKET", price=0))
    assert (bought["status"], bought["filledshares"], bought["averageprice"]) == ("complete", "75", 101.0)
    floor.quote(100, 101, size=75, traded=75)
    rest = await floor.row(await floor.place(101, 150, duration="IOC"))
    assert (rest["status"], rest["filledshares"], rest["cancelsize"]) == ("cancelled", "75", "75")


async def test_only_registered_addresses_may_order() -> None:
    credentials = CREDENTIALS.__class__(
        client_code="A1", pin="1234", totp_secret=CREDENTIALS.totp_secret, api_key="key1",
        static_ips=frozenset({"10.0.0.1"}),
    )  # fmt: skip
    floor = await opened(credentials=credentials)
    answer = await floor.post("order/v1/placeOrder", floor.order(), peer="10.0.0.2")
    assert answer["errorCode"] == "AG7002"
    assert (await floor.get("order/v1/getOrderBook", peer="10.0.0.2"))["status"]
    assert (await floor.post("order/v1/placeOrder", floor.order(), peer="10.0.0.1"))["status"]


async def test_what_risk_refuses_shows_in_the_order_only() -> None:
    floor = await opened()
    row = await floor.row(await floor.place(100, 74))
    assert (row["status"], row["text"].partition(":")[0]) == ("rejected", "off_lot")


async def test_a_stop_waits_triggers_and_fills() -> None:
    floor = await opened()
    placed = await floor.place(
        108, variety="STOPLOSS", ordertype="STOPLOSS_LIMIT", triggerprice="105", transactiontype="BUY"
    )
    assert (await floor.row(placed))["status"] == "trigger pending"
    answer = await floor.post(
        "order/v1/modifyOrder",
        floor.order(109, variety="STOPLOSS", ordertype="STOPLOSS_LIMIT", triggerprice="106", orderid=placed),
    )
    assert answer["data"]["orderid"] == placed
    row = await floor.row(placed)
    assert (row["status"], row["orderstatus"], row["price"], row["triggerprice"]) == (
        "modified",
        "trigger pending",
        109.0,
        106.0,
    )
    floor.quote(106, 107, last=106, traded=75)
    floor.quote(106, 107, last=106, traded=75)
    assert (await floor.row(placed))["status"] == "complete"


class Opening:
    """Hours of a market that opens at a time."""

    def __init__(self, opens_at: int) -> None:
        self.opens_at = opens_at

    def phase(self, segment: str, at: int) -> str:
        return "open" if at >= self.opens_at else "closed"

    def next_change(self, segment: str, at: int) -> int:
        return self.opens_at if at < self.opens_at else 1 << 62

    def is_over(self, segment: str, at: int) -> bool:
        return False


async def test_an_order_after_hours_waits_for_the_market() -> None:
    floor = AngelFloor(hours=Opening(START + HOUR))
    frames: list[dict[str, Any]] = []
    floor.server.desk.on_frame.append(lambda frame: frames.append(msgspec.json.decode(frame)))
    await floor.log_in()
    refused = await floor.row(await floor.place(95))
    assert (refused["status"], refused["text"].partition(":")[0]) == ("rejected", "market_closed")
    waits, goes = await floor.place(95, variety="AMO"), await floor.place(95, variety="AMO")
    assert (await floor.row(waits))["status"] == "after market order req received"
    changed = floor.order(96, variety="AMO", orderid=waits)
    assert (await floor.post("order/v1/modifyOrder", changed))["status"]
    assert (await floor.post("order/v1/cancelOrder", {"variety": "AMO", "orderid": goes}))["status"]
    assert (await floor.row(goes))["status"] == "cancelled after market order"
    floor.wait(HOUR)
    floor.quote(100, 101)
    assert (await floor.row(waits))["status"] == "open"
    told = [(frame["orderData"]["orderid"], frame["order-status"]) for frame in frames]
    assert [code for order, code in told if order == waits] == ["AB09", "AB06", "AB08", "AB01"]
    assert [code for order, code in told if order == goes] == ["AB09", "AB06", "AB07"]


async def test_an_order_under_way_goes_through_its_statuses() -> None:
    floor = await opened(policy=Policy(latency_ns=5_000_000))
    placed = await floor.place(95)
    seen = []
    for wait in (500_000, 1_000_000, 1_000_000, 5_000_000, 5_000_000):
        floor.wait(wait)
        seen.append(floor.server.desk.book()[0]["status"])  # type: ignore[index]
    assert seen == ["put order req received", "validation pending", "open pending", "open pending", "open"]
    assert (await floor.post("order/v1/cancelOrder", {"variety": "STOPLOSS", "orderid": placed}))[
        "errorcode"
    ] == "AB1008"
    assert (await floor.post("order/v1/cancelOrder", {"variety": "NORMAL", "orderid": placed}))["status"]
    assert floor.server.desk.book()[0]["status"] == "cancel pending"  # type: ignore[index]
    assert (await floor.row(placed))["status"] == "cancelled"
    assert (await floor.post("order/v1/cancelOrder", {"variety": "NORMAL", "orderid": placed}))["errorcode"] == "AB1013"


async def test_one_order_is_asked_for_by_its_unique_id() -> None:
    floor = await opened()
    answer = await floor.post("order/v1/placeOrder", floor.order(95))
    data = answer["data"]
    assert (await floor.get(f"order/v1/details/{data['uniqueorderid']}"))["data"]["orderid"] == data["orderid"]
    assert (await floor.get(f"order/v1/details/{data['orderid']}"))["errorcode"] == "AB1013"


async def test_the_order_book_is_typed_as_the_real_one() -> None:
    floor = await opened()
    row = await floor.row(await floor.place(101))
    numbers = {name for name, value in row.items() if isinstance(value, float)}
    assert numbers == {
        "price",
        "triggerprice",
        "averageprice",
        "strikeprice",
        "squareoff",
        "stoploss",
        "trailingstoploss",
    }
    assert all(isinstance(value, str) for name, value in row.items() if name not in numbers)
    assert row["orderid"] == "250829000000001"
    assert (row["expirydate"], row["updatetime"]) == ("02SEP2025", "29-Aug-2025 10:00:00")


async def test_empty_books_are_null() -> None:
    floor = await opened()
    for path in ("order/v1/getOrderBook", "order/v1/getTradeBook", "order/v1/getPosition", "portfolio/v1/getHolding"):
        answer = await floor.get(path)
        assert answer["status"]
        assert answer["data"] is None


async def test_positions_stay_when_closed_and_money_adds_up() -> None:
    floor = await opened()
    await floor.place(101)
    floor.quote(104, 105)
    await floor.place(104, transactiontype="SELL")
    row = (await floor.get("order/v1/getPosition"))["data"][0]
    assert all(isinstance(value, str) for value in row.values())
    assert (row["netqty"], row["buyqty"], row["sellqty"], row["realised"], row["netvalue"]) == (
        "0",
        "75",
        "75",
        "225.00",
        "225.00",
    )
    money = (await floor.get("user/v1/getRMS"))["data"]
    assert (money["net"], money["m2mrealized"]) == ("1000225.00", "225.00")
    await floor.place(105)
    floor.wait(NS + 1)
    row = (await floor.get("order/v1/getPosition"))["data"][0]
    assert (row["netqty"], row["netvalue"]) == ("75", "- 7650.00")


async def test_a_delivered_share_is_a_holding() -> None:
    floor = await opened()
    floor.quote(800, 800.05, name=SHARE.id)
    await floor.place(800.05, 10, name=SHARE.id)
    row = (await floor.get("portfolio/v1/getHolding"))["data"][0]
    assert (row["tradingsymbol"], row["quantity"], row["t1quantity"]) == ("SBIN-EQ", 10, 10)
    assert (await floor.get("portfolio/v1/getAllHolding"))["data"]["totalholding"]["totalinvvalue"] == 8000.5


async def test_positions_are_converted() -> None:
    floor = await opened()
    await floor.place(101)
    contract = floor.server.contracts.by_id[CALL.id]
    ask = {
        "exchange": "NFO", "symboltoken": contract.token, "oldproducttype": "CARRYFORWARD",
        "newproducttype": "INTRADAY", "quantity": "75", "type": "DAY", "transactiontype": "BUY",
    }  # fmt: skip
    assert (await floor.post("order/v1/convertPosition", ask))["status"]
    assert (await floor.post("order/v1/convertPosition", ask))["errorcode"] == "AB1016"
    rows = (await floor.get("order/v1/getPosition"))["data"]
    assert [(row["producttype"], row["netqty"]) for row in rows if row["netqty"] != "0"] == [("INTRADAY", "75")]


# ---------------------------------------------------------------- market data
async def test_a_batch_of_quotes_names_what_it_does_not_know() -> None:
    floor = await opened()
    token = floor.server.contracts.by_id[CALL.id].token
    answer = await floor.post("market/v1/quote/", {"mode": "FULL", "exchangeTokens": {"NFO": [token, "1"]}})
    row = answer["data"]["fetched"][0]
    assert (row["ltp"], row["depth"]["buy"][0]["price"], row["depth"]["sell"][0]["price"]) == (100.5, 100.0, 101.0)
    assert answer["data"]["unfetched"][0]["symbolToken"] == "1"
    answer = await floor.post(
        "market/v1/quote", {"mode": "LTP", "exchangeTokens": {"NFO": [str(n) for n in range(51)]}}
    )
    assert answer["errorcode"] == "AB9001"


async def test_a_close_that_nobody_knows_is_the_first_price() -> None:
    """Clients divide by it."""
    floor = await opened()
    floor.quote(102.5, 103.5, traded=75)
    token = floor.server.contracts.by_id[CALL.id].token
    answer = await floor.post("market/v1/quote", {"mode": "FULL", "exchangeTokens": {"NFO": [token]}})
    row = answer["data"]["fetched"][0]
    assert (row["ltp"], row["close"], row["netChange"], row["percentChange"]) == (103.0, 100.5, 2.5, 2.49)


async def test_before_its_first_trade_an_instrument_has_its_previous_close() -> None:
    """Clients order at the last price, and margin is asked for at it."""
    floor = await opened()
    token = floor.server.contracts.by_id[PUT.id].token
    floor.quote(50.0, 51.0, last=0, name=PUT.id)
    ask = {"exchange": "NFO", "tradingsymbol": "", "symboltoken": token}
    found = (await floor.post("order/v1/getLtpData", ask))["data"]
    assert (found["ltp"], found["close"], found["open"]) == (50.0, 50.0, 0.0)
    position = {"exchange": "NFO", "qty": 75, "price": 0, "productType": "INTRADAY", "token": token, "tradeType": "BUY"}
    margin = (await floor.post("margin/v1/batch", {"positions": [position]}))["data"]
    assert margin["totalMarginRequired"] == 75 * 50.0
    floor.quote(51.0, 52.0, last=51.5, name=PUT.id)
    found = (await floor.post("order/v1/getLtpData", ask))["data"]
    assert (found["ltp"], found["close"], found["open"]) == (51.5, 50.0, 51.5)


async def test_candles_are_bars_of_the_last_price() -> None:
    floor = await opened()
    for last, pause in ((103, 1), (99, 20), (101, 70)):
        floor.quote(last - 0.5, last + 0.5, traded=75, oi=750, pass_ns=pause * NS)
    token = floor.server.contracts.by_id[CALL.id].token
    ask = {
        "exchange": "NFO",
        "symboltoken": token,
        "interval": "ONE_MINUTE",
        "fromdate": "2025-08-29 09:15",
        "todate": "2025-08-29 15:30",
    }
    assert (await floor.post("historical/v1/getCandleData", ask))["data"] == [
        ["2025-08-29T10:00:00+05:30", 100.5, 103.0, 99.0, 99.0, 150],
        ["2025-08-29T10:01:00+05:30", 101.0, 101.0, 101.0, 101.0, 75],
    ]
    assert (await floor.post("historical/v1/getCandleData", ask | {"interval": "ONE_DAY"}))["data"] == [
        ["2025-08-29T00:00:00+05:30", 100.5, 103.0, 99.0, 101.0, 225]
    ]
    assert (await floor.post("historical/v1/getOIData", ask))["data"][-1] == {
        "time": "2025-08-29T10:01:00+05:30",
        "oi": 750,
    }


async def test_greeks_of_a_chain_are_strings_and_agree_with_parity() -> None:
    floor = await opened()
    floor.quote(90, 91, name=PUT.id)
    chain = (
        await floor.post("marketData/v1/optionGreek", {"name": "NIFTY", "expirydate": f"{EXPIRY:%d%b%Y}".upper()})
    )["data"]
    rows = {(row["strikePrice"], row["optionType"]): row for row in chain}
    call, put = rows["24500.000000", "CE"], rows["24500.000000", "PE"]
    assert all(isinstance(value, str) for value in call.values())
    assert float(call["delta"]) - float(put["delta"]) == pytest.approx(1, abs=1e-3)
    assert call["impliedVolatility"] == put["impliedVolatility"]


async def test_margin_and_charges() -> None:
    floor = await opened()
    token = floor.server.contracts.by_id[CALL.id].token
    row = {"exchange": "NFO", "qty": 75, "price": 100, "productType": "INTRADAY", "token": token, "tradeType": "BUY"}
    assert (await floor.post("margin/v1/batch", {"positions": [row]}))["data"]["totalMarginRequired"] == 7500.0
    assert (await floor.post("margin/v1/batch", {"positions": [row] * 51}))["errorcode"] == "AB9001"
    order = {
        "product_type": "INTRADAY",
        "transaction_type": "BUY",
        "quantity": "75",
        "price": "100",
        "exchange": "NFO",
        "symbol_name": "",
        "token": token,
    }
    summary = (await floor.post("brokerage/v1/estimateCharges", {"orders": [order]}))["data"]["summary"]
    assert summary["trade_value"] == 7500.0
    assert summary["total_charges"] == pytest.approx(sum(part["amount"] for part in summary["breakup"]))


async def test_a_rule_sends_its_order_when_its_level_is_reached() -> None:
    floor = await opened()
    contract = floor.server.contracts.by_id[CALL.id]
    rule = {
        "tradingsymbol": contract.symbol, "symboltoken": contract.token, "exchange": "NFO", "transactiontype": "BUY",
        "producttype": "CARRYFORWARD", "price": "112", "qty": "75", "disclosedqty": "0", "triggerprice": "110",
        "timeperiod": "365",
    }  # fmt: skip
    created = await floor.post("/gtt-service/rest/secure/angelbroking/gtt/v1/createRule", rule)
    floor.quote(109.5, 110.5, last=110)
    listed = await floor.post("gtt/v1/ruleList", {"status": ["FORALL"], "page": 1, "count": 10})
    assert (listed["data"][0]["id"], listed["data"][0]["status"]) == (created["data"]["id"], "SENTTOEXCHANGE")
    assert floor.exchange.orders()[0].status == "filled"
    gone = await floor.post("/gtt-service/rest/secure/angelbroking/gtt/v1/cancelRule", {"id": created["data"]["id"]})
    assert gone["errorcode"] == "AB9013"


async def test_search_and_unknown_paths() -> None:
    floor = await opened()
    found = await floor.post("order/v1/searchScrip", {"exchange": "NFO", "searchscrip": "24500"})
    assert [row["tradingsymbol"] for row in found["data"]] == ["NIFTY02SEP2524500CE", "NIFTY02SEP2524500PE"]
    assert (await floor.raw("GET", "/rest/secure/angelbroking/nothing")).status == 404
    ltp = await floor.post(
        "order/v1/getLtpData", {"exchange": "NSE", "tradingsymbol": "NIFTY", "symboltoken": "99926000"}
    )
    assert ltp["data"]["ltp"] == 0
    assert (await floor.post("order/v1/getLtpData", {"exchange": "NSE", "tradingsymbol": "X", "symboltoken": "1"}))[
        "errorcode"
    ] == "AB1018"
    assert INDEX.id in floor.server.contracts.by_id
