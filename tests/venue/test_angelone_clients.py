"""What clients other than smartapi-python 1.5.5 asked of Angel One's server, request by request as they send it."""

import asyncio
from typing import Any

import msgspec
import pytest

from angelx.app.venue import BROKERS, server_of
from angelx.domain.scalars import NS
from angelx.domain.wire import Request
from angelx.venue.angelone.orders import OrderRules
from angelx.venue.angelone.server import SCRIP_MASTER, AngelOneServer
from tests.venue.angelone_floor import CALL, INDEX, RENEW, SECURE, AngelFloor
from tests.venue.test_angelone_server import opened


async def test_a_profile_names_segments_as_the_stream_does() -> None:
    floor = await opened()
    assert (await floor.get("user/v1/getProfile"))["data"]["exchanges"] == ["nse_cm", "nse_fo"]


async def test_pages_of_rules_may_be_text() -> None:
    """smartapi-javascript 1.0.27 says page and count are strings."""
    floor = await opened()
    floor.quote(99, 101)
    rule = floor.order() | {"qty": "75", "triggerprice": "90", "disclosedqty": "75"}
    made = [(await floor.post("gtt/v1/createRule", rule))["data"]["id"] for _ in range(3)]
    for page, count, found in (("1", "2", made[:0:-1]), ("2", "2", made[:1]), (1, 10, made[::-1])):
        answer = await floor.post("gtt/v1/ruleList", {"status": ["NEW"], "page": page, "count": count})
        assert [row["id"] for row in answer["data"]] == found
    for bad in ({"page": "x", "count": "1"}, {"page": "1", "count": "0"}, {"page": 1, "count": -1}, {"count": 1}):
        answer = await floor.post("gtt/v1/ruleList", {"status": ["NEW"], **bad})
        assert answer["errorcode"] == "AB9001"


async def test_a_rule_is_changed_in_part() -> None:
    """The README of smartapi-javascript changes the quantity alone."""
    floor = await opened()
    floor.quote(99, 101)
    rule = floor.order(price=95) | {"qty": 75, "triggerprice": 90, "disclosedqty": 75}
    made = (await floor.post("gtt/v1/createRule", rule))["data"]["id"]
    assert (await floor.post("gtt/v1/modifyRule", {"id": int(made), "qty": 150}))["status"]
    row = (await floor.post("gtt/v1/ruleDetails", {"id": made}))["data"]
    assert (row["qty"], row["price"], row["triggerprice"]) == ("150", "95.00", "90.00")
    refused = await floor.post("gtt/v1/modifyRule", {"id": made, "qty": "-1"})
    assert refused["errorcode"] == "AB9001"


async def test_a_position_is_converted_by_its_trading_symbol() -> None:
    floor = await opened()
    floor.quote(99, 101)
    await floor.place(101, producttype="INTRADAY")
    symbol = floor.server.contracts.by_id[CALL.id].symbol
    wish = {"exchange": "NFO", "oldproducttype": "INTRADAY", "newproducttype": "CARRYFORWARD", "tradingsymbol": symbol,
            "transactiontype": "BUY", "quantity": 75, "type": "DAY"}  # fmt: skip
    assert (await floor.post("order/v1/convertPosition", wish))["status"]
    floor.wait(NS + 1)
    rows = (await floor.get("order/v1/getPosition"))["data"]
    assert {row["producttype"]: row["netqty"] for row in rows if row["netqty"] != "0"} == {"CARRYFORWARD": "75"}
    assert (await floor.post("order/v1/convertPosition", wish | {"tradingsymbol": ""}))["errorcode"] == "AB1009"


@pytest.mark.parametrize("name", ["verifyDis", "generateTPIN", "getTranStatus"])
async def test_delivery_slips_are_refused_in_words(name: str) -> None:
    floor = await opened()
    answer = await floor.post(f"edis/v1/{name}", {"isin": "INE242A01010", "quantity": "1"})
    assert (answer["status"], answer["errorcode"], answer["message"][:4]) == (False, "AB2000", "eDIS")


async def test_the_head_of_the_scrip_master_says_its_size() -> None:
    floor = await opened()
    whole = await floor.raw("GET", SCRIP_MASTER)
    assert (await floor.raw("HEAD", SCRIP_MASTER)).body == whole.body  # The socket leaves it out and keeps the length.


class Ear:
    """A stream that is closed by hand."""

    def __init__(self) -> None:
        self.heard: list[str | bytes] = []
        self.coming: asyncio.Queue[str | bytes] = asyncio.Queue()

    async def send(self, message: str | bytes) -> None:
        self.heard.append(message)

    async def receive(self) -> str | bytes:
        return await self.coming.get()

    async def close(self, code: int = 1000) -> None: ...


@pytest.mark.parametrize(
    "correlation", [{}, {"correlationID": None}, {"correlationID": "abc123"}, {"correlationID": "correlation_id"}]
)
async def test_tokens_may_be_numbers_and_the_correlation_may_be_nothing(correlation: dict[str, Any]) -> None:
    floor = await opened()
    floor.quote(99, 101)
    token = int(floor.server.contracts.by_id[CALL.id].token)
    ear = Ear()
    ask = {"action": 1, "params": {"mode": 1, "tokenList": [{"exchangeType": 2, "tokens": [token]}]}, **correlation}
    ear.coming.put_nowait(msgspec.json.encode(ask).decode())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await floor.server.market_stream.serve(ear, "A1", lambda: True)
    assert [len(packet) for packet in ear.heard] == [51]


@pytest.mark.parametrize("algo_rules", [True, False])
def test_the_rules_for_algorithms_are_switched_where_a_venue_is_made(*, algo_rules: bool) -> None:
    floor = AngelFloor()
    login = {"client_code": "A1", "pin": "1", "totp_secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "api_key": "k"}
    made = server_of(
        BROKERS["angelone"], floor.exchange, login, now=lambda: floor.now, random=floor.server.logins._random,
        algo_rules=algo_rules,
    )  # fmt: skip
    assert isinstance(made, AngelOneServer)
    assert (made.desk.rules == OrderRules()) == algo_rules
    assert made.desk.rules.market != algo_rules


async def test_first_tokens_go_on_after_new_ones_were_asked_for() -> None:
    """The example of smartapi-python: log in, `generateToken` at once, and then streams with what the login gave."""
    floor = await opened()
    first = dict(floor.tokens)
    floor.tokens = (await floor.post(RENEW, {"refreshToken": first["refreshToken"]}))["data"]
    assert set(first.values()).isdisjoint(floor.tokens.values())
    for tokens in (first, floor.tokens):
        headers = {"authorization": f"Bearer {tokens['jwtToken']}", "x-feed-token": tokens["feedToken"],
                   "x-client-code": "A1", "x-api-key": "key1"}  # fmt: skip
        assert floor.server.admits(Request("GET", "/smart-stream", headers, b"", "")) is None
        assert (await floor.get("user/v1/getProfile", headers=headers))["status"]
    floor.wait(NS + 1)
    again = await floor.post(RENEW, {"refreshToken": first["refreshToken"], "jwtToken": first["jwtToken"]})
    assert again["status"]  # `renewAccessToken` has the refresh token of the login still.
    assert (await floor.post("user/v1/logout", {"clientcode": "A1"}))["status"]
    for tokens in (first, floor.tokens, again["data"]):
        answer = await floor.get("user/v1/getProfile", headers={"authorization": f"Bearer {tokens['jwtToken']}"})
        assert answer["errorCode"] == "AG8001"
    floor.wait(NS + 1)
    assert (await floor.post(RENEW, {"refreshToken": first["refreshToken"]}))["errorcode"] == "AB8050"


async def test_a_scheme_may_be_small() -> None:
    floor = await opened()
    for scheme in ("bearer ", "BEARER  ", ""):
        answer = await floor.get("user/v1/getProfile", headers={"authorization": scheme + floor.tokens["jwtToken"]})
        assert answer["status"]
        floor.wait(NS)


@pytest.mark.parametrize("symbol", ["Nifty 50", "NIFTY 50", "NIFTY", ""])
async def test_an_index_has_a_symbol_of_its_own_and_is_priced_by_its_token(symbol: str) -> None:
    """Programs look for `Nifty 50` in the scrip master, and ask its price under many symbols."""
    floor = await opened()
    floor.quote(0, 0, name=INDEX.id, last=24500)
    master = msgspec.json.decode((await floor.raw("GET", SCRIP_MASTER)).body)
    row = next(row for row in master if row["instrumenttype"] == "AMXIDX")
    assert (row["symbol"], row["name"], row["token"]) == ("Nifty 50", "NIFTY", "99926000")
    ask = {"exchange": "NSE", "tradingsymbol": symbol, "symboltoken": "99926000"}
    found = (await floor.post("order/v1/getLtpData", ask))["data"]
    assert (found["ltp"], found["tradingsymbol"]) == (24500, "Nifty 50")


@pytest.mark.parametrize(
    "path", ["//rest//secure/angelbroking/user/v1/getProfile/", f"/{SECURE}/user/v1/getProfile?%7B%7D"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_slashes_that_are_too_many_are_left_out(method: str, path: str) -> None:
    """A base address that ends with a slash, joined with a path that begins with one."""
    floor = await opened()
    answer = await floor.raw(method, path)
    assert (answer.status, msgspec.json.decode(answer.body)["data"]["clientcode"]) == (200, "A1")


@pytest.mark.parametrize("path", ["/smart-stream/", "//smart-stream", "/smart-order-update/?clientCode=A1"])
async def test_streams_open_with_slashes_too(path: str) -> None:
    floor = await opened()
    headers = {"authorization": f"Bearer {floor.tokens['jwtToken']}"}
    assert floor.server.admits(Request("GET", path, headers, b"", "")) is None


@pytest.mark.parametrize("ping", ["ping", b"ping"])
async def test_pings_may_be_of_either_kind(ping: str | bytes) -> None:
    floor = await opened()
    ear = Ear()
    ear.coming.put_nowait(ping)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await floor.server.market_stream.serve(ear, "A1", lambda: True)
    assert ear.heard == ["pong"]
