"""Clients of Angel One in Java, Go, C# and OpenAlgo's adapter: orders and rules as they send them, answers in the types
that they decode into. No such client is needed here.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pytest

from angelx.domain.scalars import NS
from angelx.domain.wire import Request
from angelx.venue.angelone.orders import ANYTHING_GOES
from angelx.venue.angelone.server import MARKET_STREAM, ORDER_STREAM
from tests.venue.angelone_floor import CALL, LOGIN, PUT, SHARE, AngelFloor
from tests.venue.test_angelone_server import opened

Shape = Callable[[dict[str, Any]], dict[str, Any]]


def java(order: dict[str, Any]) -> dict[str, Any]:
    """Gson: a whole number of units, a price in floating point, what is null is left out."""
    keys = ("variety", "exchange", "symboltoken", "transactiontype", "producttype", "ordertype", "duration",
            "tradingsymbol", "orderid")  # fmt: skip
    said = {key: order[key] for key in keys if key in order}
    numbers = {"quantity": int(order["quantity"]), "price": float(order["price"])}
    trigger = {"triggerprice": order["triggerprice"]} if float(order.get("triggerprice") or 0) else {}
    return said | numbers | trigger | {"squareoff": "0", "stoploss": "0"}


def go(order: dict[str, Any]) -> dict[str, Any]:
    """Text throughout, and what was left out is empty."""
    return {"squareoff": "", "stoploss": "", **{key: str(value) for key, value in order.items()}}


def csharp(order: dict[str, Any]) -> dict[str, Any]:
    """Newtonsoft: text, and null for what was left out."""
    nothing = dict.fromkeys(("orderid", "trailingStopLoss", "squareoff", "stoploss", "disclosedquantity", "ordertag"))
    return nothing | {key: str(value) for key, value in order.items()}


def openalgo(order: dict[str, Any]) -> dict[str, Any]:
    """Its own key rides along, prices and quantities are numbers, and a changed trigger is called stoploss."""
    said = order | {"price": float(order["price"]), "quantity": int(order["quantity"]), "disclosedquantity": "0"}
    if "orderid" in order:
        said["stoploss"] = said.pop("triggerprice")
        return said
    return {"apikey": "secret", "squareoff": "0", "stoploss": order["triggerprice"], **said}


SHAPES: list[Shape] = [java, go, csharp, openalgo]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
async def test_an_order_is_placed_changed_and_cancelled(shape: Shape) -> None:
    floor = await opened()
    floor.quote(99, 101)
    placed = await floor.post("order/v1/placeOrder", shape(floor.order(90)))
    assert placed["status"] is True
    number = placed["data"]["orderid"]
    assert isinstance(number, str) and 0 < int(number) < 1 << 63
    floor.wait(NS)
    wish = floor.order(91, 150) | {"orderid": number}
    assert (await floor.post("order/v1/modifyOrder", shape(wish)))["data"]["orderid"] == number
    row = await floor.row(number)
    assert (row["price"], row["quantity"], row["orderstatus"]) == (91, "150", "open")
    assert (await floor.post("order/v1/cancelOrder", {"variety": "NORMAL", "orderid": number}))["status"] is True
    assert (await floor.row(number))["orderstatus"] == "cancelled"


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
async def test_a_stop_keeps_its_trigger_where_the_change_does_not_say_one(shape: Shape) -> None:
    floor = await opened(rules=ANYTHING_GOES)
    floor.quote(99, 101)
    stop = floor.order(106, variety="STOPLOSS", ordertype="STOPLOSS_LIMIT", triggerprice="105")
    number = (await floor.post("order/v1/placeOrder", shape(stop)))["data"]["orderid"]
    floor.wait(NS)
    wish = shape(stop | {"orderid": number, "price": "107"})
    wish.pop("triggerprice", None)
    assert (await floor.post("order/v1/modifyOrder", wish))["status"] is True
    row = await floor.row(number)
    assert (row["price"], row["triggerprice"], row["orderstatus"]) == (107, 105, "trigger pending")


async def test_books_decode_into_decimals_and_whole_numbers() -> None:
    """C# has `decimal`, `long` and `DateTime` that are never null."""
    floor = await opened()
    floor.quote(99, 101, name=SHARE.id)
    await floor.place(101, 10, name=SHARE.id)
    floor.wait(NS)
    [holding] = (await floor.get("portfolio/v1/getHolding"))["data"]
    for key in ("profitandloss", "haircut", "averageprice", "ltp", "close"):
        assert isinstance(holding[key], int | float), key
    for key in ("t1quantity", "realisedquantity", "quantity", "authorisedquantity"):
        assert isinstance(holding[key], int), key


RULES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "java": ("/gtt-service/rest/secure/angelbroking/gtt/v1", {
        "price": 95.5, "qty": 75, "triggerprice": 105.0, "disclosedqty": 75, "timeperiod": 365}),
    "csharp": ("gtt/v1", {
        "id": None, "price": "95.5", "qty": "75", "triggerprice": "105", "disclosedqty": "75", "timeperiod": "365"}),
    "openalgo": ("gtt/v1", {
        "price": "95.5", "qty": "75", "triggerprice": "105", "disclosedqty": "0", "timeperiod": 365,
        "producttype": "MARGIN"}),
}  # fmt: skip


@pytest.mark.parametrize("client", RULES)
async def test_a_rule_is_made_changed_and_fires(client: str) -> None:
    floor = await opened()
    floor.quote(99, 101)
    path, shape = RULES[client]
    made = await floor.post(f"{path}/createRule", floor.order() | shape)
    number = int(made["data"]["id"])
    assert made["status"] is True and number < 1 << 31
    for name in ("ruleDetails", "modifyRule"):
        assert (await floor.post(f"{path}/{name}", shape | {"id": number}))["status"] is True
    row = (await floor.post("gtt/v1/ruleDetails", {"id": str(number)}))["data"]
    for key in ("createddate", "updateddate", "expirydate"):
        assert datetime.fromisoformat(row[key]).year >= 2025
    assert (int(row["qty"]), float(row["price"]), float(row["triggerprice"])) == (75, 95.5, 105)
    floor.quote(105, 107)
    floor.wait(NS + 1)
    [order] = (await floor.get("order/v1/getOrderBook"))["data"]
    assert (order["price"], order["producttype"], order["orderstatus"]) == (95.5, "CARRYFORWARD", "open")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"producttype": "DELIVERY"}, "AB1012"), ({"producttype": "BO"}, "AB1012"), ({"qty": "1.5"}, "AB9001"),
     ({"transactiontype": "HOLD"}, "AB9001")],
)  # fmt: skip
async def test_a_rule_that_could_never_fire_is_refused_at_once(wrong: dict[str, str], code: str) -> None:
    floor = await opened()
    floor.quote(99, 101)
    rule = floor.order() | RULES["csharp"][1] | wrong
    assert (await floor.post("gtt/v1/createRule", rule))["errorcode"] == code


async def test_answers_say_that_they_are_json_even_in_refusal() -> None:
    """Java looks for `json` in the content type before anything else."""
    floor = AngelFloor()
    for path in (LOGIN, "/rest/secure/angelbroking/order/v1/getOrderBook", "/rest/nowhere"):
        answer = await floor.raw("POST", path, b"{}")
        assert "json" in {name.lower(): value for name, value in answer.headers.items()}["content-type"]


def streams(floor: AngelFloor) -> Mapping[str, tuple[str, dict[str, str]]]:
    jwt, feed = floor.tokens["jwtToken"], floor.tokens["feedToken"]
    return {
        "java": (MARKET_STREAM, {"x-client-code": "A1", "x-feed-token": feed, "x-client-lib": "JAVA"}),
        "go": (MARKET_STREAM, {"authorization": jwt, "x-api-key": "key1", "x-client-code": "A1", "x-feed-token": feed}),
        "openalgo": (MARKET_STREAM, {
            "authorization": f"Bearer {jwt}", "x-api-key": "key1", "x-client-code": "A1", "x-feed-token": feed}),
        "openalgo orders": (ORDER_STREAM, {"authorization": f"Bearer {jwt}"}),
        "browser": (f"{MARKET_STREAM}?clientCode=A1&feedToken={feed}&apiKey=key1", {}),
    }  # fmt: skip


async def test_streams_open_for_the_headers_of_every_client() -> None:
    floor = await opened()
    for name, (path, headers) in streams(floor).items():
        assert floor.server.admits(Request("GET", path, headers, b"")) is None, name


@pytest.mark.parametrize("path", ["market/v1/quote", "market/v1/quote/"])
async def test_quotes_come_with_and_without_a_slash(path: str) -> None:
    floor = await opened()
    floor.quote(99, 101)
    tokens = [floor.server.contracts.by_id[one.id].token for one in (CALL, PUT)]
    answer = await floor.post(path, {"mode": "FULL", "exchangeTokens": {"NFO": tokens}})
    assert [row["symbolToken"] for row in answer["data"]["fetched"]] == tokens
