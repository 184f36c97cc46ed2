"""The official smartapi-python against the venue, over real sockets: every call that it has and the factsheet lists."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.conformance.angelone_sockets import Sockets, served
from tests.conformance.smartapi import feed_class, order_class, sdk
from tests.venue.angelone_floor import CALL, INDEX, PUT, SHARE, AngelFloor

PATIENCE_S = 5.0
pytestmark = pytest.mark.filterwarnings("ignore")  # the official client's own


@pytest.fixture
def venue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sockets]:
    monkeypatch.chdir(tmp_path)  # the client writes ./logs
    with served(AngelFloor()) as sockets:
        sockets.quote(100, 101, oi=7500)
        sockets.quote(90, 91, name=PUT.id, oi=15000)
        sockets.quote(24490, 24490, name=INDEX.id)
        sockets.quote(800, 800.05, name=SHARE.id)
        monkeypatch.setattr(sdk().SmartConnect, "_rootUrl", sockets.url)
        yield sockets


@pytest.fixture
def client(venue: Sockets) -> Any:
    made = sdk().SmartConnect(api_key="key1", root=venue.url)
    session = made.generateSession("A1", "1234", venue.floor.totp())
    assert session["status"], session
    assert session["data"]["jwtToken"].startswith("Bearer ")
    venue.wait()
    return made


def until(condition: Callable[[], Any]) -> Any:
    ends = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < ends, "waited too long"
        time.sleep(0.01)  # noqa: TID251  (the official client is a thread of its own)
    return found


def order(venue: Sockets, price: float = 101, quantity: int = 75, **more: Any) -> dict[str, Any]:
    return venue.floor.order(price, quantity, **more)


# ---------------------------------------------------------------- session
def test_session(venue: Sockets, client: Any) -> None:
    assert client.userId == "A1"
    profile = client.getProfile(client.refresh_token)["data"]
    assert profile["clientcode"] == "A1"
    assert set(profile) >= {"name", "email", "mobileno", "exchanges", "products", "lastlogintime", "brokerid"}
    old = client.access_token
    assert client.generateToken(client.refresh_token)["status"]
    assert client.access_token != old
    venue.wait()
    assert client.terminateSession("A1")["status"]
    assert client.getProfile("")["errorCode"] == "AG8001"


def test_renewing(venue: Sockets, client: Any) -> None:
    assert client.renewAccessToken()["clientcode"] == "A1"


def test_wrong_credentials(venue: Sockets) -> None:
    made = sdk().SmartConnect(api_key="key1", root=venue.url)
    assert made.generateSession("A1", "1234", "000000")["errorcode"] == "AB1050"
    venue.wait()
    assert made.generateSession("A1", "9999", venue.floor.totp())["errorcode"] == "AB1000"
    assert made.orderBook()["errorCode"] == "AG8003"
    other = sdk().SmartConnect(api_key="key2", root=venue.url)
    with pytest.raises(KeyError, match="status"):  # the gateway's envelope has none, which the client does not expect
        other.generateSession("A1", "1234", venue.floor.totp())


def test_expired_in_the_middle(venue: Sockets, client: Any) -> None:
    venue.do(venue.floor.server.expire_tokens)
    assert client.orderBook()["errorCode"] == "AG8001"


# ---------------------------------------------------------------- orders
def test_orders(venue: Sockets, client: Any) -> None:
    assert client.orderBook()["data"] is None
    number = client.placeOrder(order(venue, 95, ordertag="mytag"))
    assert len(number) == 15
    answer = client.placeOrderFullResponse(order(venue))
    assert set(answer["data"]) == {"script", "orderid", "uniqueorderid"}
    venue.wait()
    rows = {row["orderid"]: row for row in client.orderBook()["data"]}
    assert (rows[number]["status"], rows[number]["ordertag"]) == ("open", "mytag")
    assert rows[answer["data"]["orderid"]]["status"] == "complete"
    details = client.individual_order_details(answer["data"]["uniqueorderid"])
    assert details["data"]["averageprice"] == 101.0
    changed = client.modifyOrder(order(venue, 96, 150, orderid=number))
    assert changed["data"]["orderid"] == number
    assert client.cancelOrder(number, "NORMAL")["data"]["orderid"] == number
    assert client.cancelOrder("1", "NORMAL")["errorcode"] == "AB1013"
    venue.wait()
    row = next(row for row in client.orderBook()["data"] if row["orderid"] == number)
    assert (row["status"], row["price"], row["quantity"], row["cancelsize"]) == ("cancelled", 96.0, "150", "150")
    [trade] = client.tradeBook()["data"]
    assert (trade["fillprice"], trade["fillsize"], trade["strikeprice"]) == (101.0, "75", 24500.0)


def test_refused_orders(venue: Sockets, client: Any) -> None:
    assert client.placeOrder(order(venue, ordertype="MARKET")) is None
    assert client.placeOrderFullResponse(order(venue, ordertag="x" * 20))["errorcode"] == "AB4008"
    number = client.placeOrder(order(venue, 100.02))
    venue.wait()
    row = client.orderBook()["data"][-1]
    assert (row["orderid"], row["status"]) == (number, "rejected")


def test_the_tenth_order_of_a_second(venue: Sockets, client: Any) -> None:
    assert all(client.placeOrder(order(venue, 90)) for _ in range(9))
    with pytest.raises(Exception, match="exceeding access rate"):
        client.placeOrder(order(venue, 90))
    venue.wait()
    assert client.placeOrder(order(venue, 90))


def test_portfolio(venue: Sockets, client: Any) -> None:
    client.placeOrder(order(venue))
    client.placeOrder(order(venue, 800.05, 10, name=SHARE.id))
    rows = {row["tradingsymbol"]: row for row in client.position()["data"]}
    call = venue.floor.server.contracts.by_id[CALL.id]
    assert rows[call.symbol]["netqty"] == "75"
    assert client.holding()["data"][0]["tradingsymbol"] == "SBIN-EQ"
    assert client.allholding()["data"]["totalholding"]["totalinvvalue"] == 8000.5
    assert float(client.rmsLimit()["data"]["net"]) == pytest.approx(10**6 - 75 * 101 - 8000.5)
    ask = {
        "exchange": "NFO", "symboltoken": call.token, "oldproducttype": "CARRYFORWARD", "newproducttype": "INTRADAY",
        "tradingsymbol": call.symbol, "transactiontype": "BUY", "quantity": 75, "type": "DAY",
    }  # fmt: skip
    assert client.convertPosition(ask)["status"]


def test_margin_and_charges(venue: Sockets, client: Any) -> None:
    token = venue.floor.server.contracts.by_id[CALL.id].token
    position = {
        "exchange": "NFO", "qty": 75, "price": 100, "productType": "CARRYFORWARD", "token": token, "tradeType": "BUY",
    }  # fmt: skip
    assert client.getMarginApi({"positions": [position]})["data"]["totalMarginRequired"] == 7500.0
    one = {
        "product_type": "CARRYFORWARD", "transaction_type": "BUY", "quantity": "75", "price": "100", "exchange": "NFO",
        "symbol_name": "X", "token": token,
    }  # fmt: skip
    assert client.estimateCharges({"orders": [one]})["data"]["summary"]["trade_value"] == 7500.0


def test_rules(venue: Sockets, client: Any) -> None:
    contract = venue.floor.server.contracts.by_id[CALL.id]
    rule = {
        "tradingsymbol": contract.symbol, "symboltoken": contract.token, "exchange": "NFO", "producttype": "MARGIN",
        "transactiontype": "BUY", "price": 110, "qty": 75, "disclosedqty": 75, "triggerprice": 109, "timeperiod": 365,
    }  # fmt: skip
    number = client.gttCreateRule(rule)
    assert client.gttModifyRule(rule | {"id": number, "triggerprice": 111}) == number
    assert client.gttDetails(number)["data"]["triggerprice"] == "111.00"
    assert [row["id"] for row in client.gttLists(["NEW"], 1, 10)["data"]] == [number]
    assert client.gttCancelRule({"id": number, "symboltoken": contract.token, "exchange": "NFO"})["status"]
    venue.wait()
    assert client.gttLists(["NEW"], 1, 10)["data"] is None


# ---------------------------------------------------------------- market data
def test_market_data(venue: Sockets, client: Any) -> None:
    contract = venue.floor.server.contracts.by_id[CALL.id]
    ltp = client.ltpData("NFO", contract.symbol, contract.token)["data"]
    assert (ltp["ltp"], ltp["open"]) == (100.5, 100.5)
    found = client.searchScrip("NFO", "24500CE")
    assert found["data"] == [{"exchange": "NFO", "tradingsymbol": contract.symbol, "symboltoken": contract.token}]
    for mode in ("LTP", "OHLC", "FULL"):
        data = client.getMarketData(mode, {"NFO": [contract.token], "NSE": ["99926000", "1"]})["data"]
        assert {row["symbolToken"] for row in data["fetched"]} == {contract.token, "99926000"}
        assert [row["symbolToken"] for row in data["unfetched"]] == ["1"]
    ask = {
        "exchange": "NFO", "symboltoken": contract.token, "interval": "ONE_MINUTE", "fromdate": "2025-08-29 09:15",
        "todate": "2025-08-29 15:30",
    }  # fmt: skip
    assert client.getCandleData(ask)["data"] == [["2025-08-29T10:00:00+05:30", 100.5, 100.5, 100.5, 100.5, 0]]
    assert client.getOIData(ask)["data"] == [{"time": "2025-08-29T10:00:00+05:30", "oi": 7500}]


def test_derivatives_data(venue: Sockets, client: Any) -> None:
    chain = client.optionGreek({"name": "NIFTY", "expirydate": "02SEP2025"})["data"]
    assert {row["optionType"] for row in chain} == {"CE", "PE"}
    assert client.putCallRatio()["data"] == [{"pcr": 2.0, "tradingSymbol": "NIFTY"}]
    venue.quote(110, 111, oi=9000)
    gained = client.gainersLosers({"datatype": "PercPriceGainers", "expirytype": "NEAR"})["data"]
    assert gained[0]["netChange"] == 10.0
    built = client.oIBuildup({"datatype": "Long Built Up", "expirytype": "NEAR"})["data"]
    assert built[0]["netChangeOpnInterest"] == 1500
    assert client.nseIntraday()["data"][0]["SymbolName"] == "SBIN"
    assert client.bseIntraday()["data"] == []


def test_the_scrip_master_needs_no_login(venue: Sockets) -> None:
    import requests

    answer = requests.get(f"{venue.url}/OpenAPI_File/files/OpenAPIScripMaster.json", timeout=5)
    rows = answer.json()
    assert all(isinstance(value, str) for row in rows for value in row.values())
    option = next(row for row in rows if row["instrumenttype"] == "OPTIDX")
    assert (option["strike"], option["tick_size"], option["expiry"]) == ("2450000.000000", "5.000000", "02SEP2025")


# ---------------------------------------------------------------- streams
class Watched:
    """A stream client of the official package in its thread."""

    def __init__(self, kind: Any, uri: str, client: Any, **options: Any) -> None:
        self.data: list[Any] = []
        self.errors: list[Any] = []
        self.is_open = threading.Event()
        self.stream = kind(client.access_token, "key1", "A1", client.feed_token, **options)
        for name in ("ROOT_URI", "WEBSOCKET_URI"):
            if hasattr(kind, name):
                setattr(self.stream, name, uri)
        self.stream.on_open = lambda *_: self.is_open.set()
        self.stream.on_data = lambda *message: self.data.append(message[1])
        self.stream.on_error = lambda *error: self.errors.append(error)
        self.stream.on_close = lambda *_: None
        self._thread = threading.Thread(target=self.stream.connect, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self.is_open.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close_connection()
        self._thread.join(0.5)  # the order client's thread may be asleep; it is a daemon


def modes_asked(venue: Sockets) -> set[int]:
    listeners = venue.floor.server.market_stream._listeners
    return venue.do(lambda: {mode for modes in listeners.values() for mode in modes})


def feed(venue: Sockets, client: Any) -> Watched:
    kind = feed_class()
    kind.input_request_dict = {}  # shared by all instances
    return Watched(kind, venue.url.replace("http", "ws") + "/smart-stream", client, max_retry_attempt=0)


def test_the_market_stream_in_all_modes(venue: Sockets, client: Any) -> None:
    contracts = venue.floor.server.contracts
    call, share = contracts.by_id[CALL.id], contracts.by_id[SHARE.id]
    with feed(venue, client) as watched:
        first: dict[str, Any] = {}
        for mode in (1, 2, 3):
            watched.data.clear()
            watched.stream.subscribe("abc", mode, [{"exchangeType": 2, "tokens": [call.token]}])
            first = until(lambda: watched.data)[0]
            assert first["subscription_mode"] == mode
            assert (first["token"], first["last_traded_price"]) == (call.token, 10050)
        assert first["best_5_buy_data"][0]["price"] == 10000
        assert first["best_5_sell_data"][0]["price"] == 10100
        assert first["open_interest"] == 7500
        watched.stream.subscribe("abc", 4, [{"exchangeType": 1, "tokens": [share.token]}])
        deep = until(lambda: [one for one in watched.data if one["subscription_mode"] == 4])[0]
        assert deep["depth_20_buy_data"][0]["price"] == 80000
        watched.data.clear()
        venue.quote(102, 103)
        until(lambda: len(watched.data) >= 3)
        assert {one["last_traded_price"] for one in watched.data} == {10250}
        watched.stream.unsubscribe("abc", 1, [{"exchangeType": 2, "tokens": [call.token]}])
        watched.stream.unsubscribe("abc", 2, [{"exchangeType": 2, "tokens": [call.token]}])
        watched.stream.wsapp.send("ping")
        venue.wait()
        until(lambda: modes_asked(venue) == {3, 4})
        watched.data.clear()
        venue.quote(103, 104)
        until(lambda: watched.data)
        assert {one["subscription_mode"] for one in watched.data} == {3}


def test_the_thousand_and_first_token_and_nonsense(tmp_path: Path) -> None:
    """By plain websocket-client: the official one cannot show text messages."""
    import websocket

    from tests.venue.angelone_many import many

    with served(many(1001)) as venue:
        tokens = [contract.token for contract in venue.floor.server.contracts.all]
        floor = venue.floor
        jwt = venue.do(lambda: floor.server.logins.log_in("A1", "1234", floor.totp(), floor.now, 0).jwt)
        uri = venue.url.replace("http", "ws") + "/smart-stream"
        socket = websocket.create_connection(uri, header={"Authorization": f"Bearer {jwt}"}, timeout=PATIENCE_S)
        group = {"exchangeType": 2, "tokens": tokens}
        ask: dict[str, Any] = {"correlationID": "a1", "action": 1, "params": {"mode": 1, "tokenList": [group]}}
        socket.send(json.dumps(ask))
        assert json.loads(socket.recv())["errorCode"] == "E1002"
        group["tokens"] = tokens[:1000]
        socket.send(json.dumps(ask))
        assert all(len(socket.recv()) == 51 for _ in range(1000))
        for nonsense in ("{", json.dumps(ask | {"action": 7}), json.dumps(ask | {"correlationID": "much too long"})):
            socket.send(nonsense)
            assert json.loads(socket.recv())["errorCode"] == "E1001"
        socket.send("ping")
        assert socket.recv() == "pong"
        others = [websocket.create_connection(uri, header={"Authorization": f"Bearer {jwt}"}) for _ in range(2)]
        with pytest.raises(websocket.WebSocketBadStatusException, match="429"):
            websocket.create_connection(uri, header={"Authorization": f"Bearer {jwt}"})
        for refused in ({"Authorization": "Bearer nonsense"}, {"Authorization": f"Bearer {jwt}", "x-api-key": "other"}):
            with pytest.raises(websocket.WebSocketBadStatusException, match="401"):
                websocket.create_connection(uri, header=refused)
        others.pop().close()
        until(lambda: venue.do(lambda: floor.server.market_stream.count("A1")) == 2)
        token = venue.do(lambda: floor.server.logins._by_jwt[jwt].feed)
        others.append(websocket.create_connection(f"{uri}?clientCode=A1&feedToken={token}&apiKey=key1"))
        for one in (socket, *others):
            one.close()


def test_the_order_stream(venue: Sockets, client: Any) -> None:
    uri = venue.url.replace("http", "ws") + "/smart-order-update"
    with Watched(order_class(), uri, client) as watched:
        watched.stream.RETRY_DELAY_SECONDS = 0
        watched.stream.MAX_CONNECTION_RETRY_ATTEMPTS = 0
        hello = json.loads(until(lambda: watched.data)[0])
        assert (hello["user-id"], hello["status-code"], hello["order-status"]) == ("A1", "200", "AB00")
        assert not any(hello["orderData"].values())
        number = client.placeOrder(order(venue, 95, 150))
        until(lambda: len(watched.data) >= 3)
        venue.quote(94, 95, size=75)
        venue.quote(94, 94.5, size=75)
        until(lambda: len(watched.data) >= 5)
        frames = [json.loads(one) for one in watched.data[1:]]
        assert [one["order-status"] for one in frames] == ["AB09", "AB01", "AB01", "AB05"]
        assert [one["orderData"]["filledshares"] for one in frames] == ["0", "0", "75", "150"]
        assert {one["orderData"]["orderid"] for one in frames} == {number}
        assert frames[-1]["orderData"]["averageprice"] == 94.75
        assert "exchangeorderid" not in frames[-1]["orderData"]
