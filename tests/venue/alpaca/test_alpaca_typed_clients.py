"""What clients in Go, Rust, C# and Java send, field by field, and what their types demand of the answers.

alpaca-trade-api-go 3, apca (Rust), Alpaca.Markets (C#) and alpaca-java (made from Alpaca's own OpenAPI file) refuse an
answer that lacks a field they require or has a word they do not know; here their types are rebuilt as structs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from random import Random
from typing import Any, Literal
from uuid import UUID

import aiohttp
import msgspec
import pytest

from angelx.adapters.http_server import HttpServer
from angelx.domain.wire import Request, Response, Stream, StreamClosed
from angelx.sim.loop import simulate
from angelx.venue.alpaca import events
from angelx.venue.alpaca.events import ulid
from angelx.venue.faults import Fault, FaultyServer
from tests.venue.alpaca.alpaca_market import CALL_300, CALL_305, KEY, OPEN, SECRET, Market
from tests.venue.alpaca.test_alpaca_clients import KEYS, Caller, _spread

Text = str | None
Amount = Decimal
Date = date
Status = Literal[
    "new", "partially_filled", "filled", "done_for_day", "canceled", "expired", "replaced", "pending_cancel",
    "pending_replace", "accepted", "pending_new", "accepted_for_bidding", "stopped", "rejected", "suspended",
    "calculated", "held",
]  # fmt: skip
Kind = Literal["market", "limit", "stop", "stop_limit", "trailing_stop"]
Exchange = Literal["AMEX", "ARCA", "BATS", "NYSE", "NASDAQ", "NYSEARCA", "OTC"]


class Order(msgspec.Struct):
    """What one of the four requires; `position_intent` may be null, where it is there it is one of four."""

    id: UUID
    client_order_id: str
    created_at: datetime
    updated_at: datetime
    submitted_at: datetime
    filled_at: datetime | None
    expired_at: datetime | None
    canceled_at: datetime | None
    failed_at: datetime | None
    replaced_at: datetime | None
    replaced_by: UUID | None
    replaces: UUID | None
    asset_id: UUID
    symbol: str
    asset_class: Literal["us_equity", "us_option"]
    notional: None
    qty: Amount
    filled_qty: Amount
    filled_avg_price: Amount | None
    order_class: Literal["", "simple", "bracket", "oco", "oto", "mleg"]
    type: Kind
    order_type: Kind
    side: Literal["buy", "sell"]
    time_in_force: Literal["day", "gtc", "opg", "cls", "ioc", "fok"]
    limit_price: Amount | None
    stop_price: Amount | None
    status: Status
    extended_hours: bool
    legs: list["Order"] | None
    trail_percent: Amount | None
    trail_price: Amount | None
    hwm: Amount | None
    position_intent: Literal["buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close"] | None


class Combination(msgspec.Struct):
    """A multi-leg order as Alpaca's OpenAPI file shows one: empty where legs differ."""

    id: UUID
    asset_id: Literal[""]
    symbol: Literal[""]
    asset_class: Literal[""]
    side: Literal[""]
    type: Kind
    order_class: Literal["mleg"]
    qty: Amount
    legs: list[Order]


class Position(msgspec.Struct):
    asset_id: UUID
    symbol: str
    exchange: Exchange | Literal[""]
    asset_class: str
    asset_marginable: bool
    qty: Amount
    qty_available: Amount
    avg_entry_price: Amount
    side: Literal["long", "short"]
    market_value: Amount
    cost_basis: Amount
    unrealized_pl: Amount
    unrealized_plpc: Amount
    unrealized_intraday_pl: Amount
    unrealized_intraday_plpc: Amount
    current_price: Amount
    lastday_price: Amount
    change_today: Amount


class Account(msgspec.Struct):
    id: UUID
    account_number: str
    status: Literal["ACTIVE"]
    crypto_status: Literal["ACTIVE", "INACTIVE"]
    currency: Literal["USD"]
    cash: Amount
    buying_power: Amount
    regt_buying_power: Amount
    daytrading_buying_power: Amount
    options_buying_power: Amount
    equity: Amount
    last_equity: Amount
    long_market_value: Amount
    short_market_value: Amount
    initial_margin: Amount
    maintenance_margin: Amount
    last_maintenance_margin: Amount
    sma: Amount
    multiplier: Literal["1", "2", "4"]
    daytrade_count: int
    pattern_day_trader: bool
    trading_blocked: bool
    transfers_blocked: bool
    account_blocked: bool
    trade_suspended_by_user: bool
    shorting_enabled: bool
    created_at: datetime


class Configuration(msgspec.Struct):
    dtbp_check: Literal["both", "entry", "exit"]
    trade_confirm_email: Literal["all", "none"]
    suspend_trade: bool
    no_shorting: bool
    fractional_trading: bool


class Asset(msgspec.Struct):
    id: UUID
    asset_class: Literal["us_equity"] = msgspec.field(name="class")
    exchange: Exchange
    symbol: str
    name: str
    status: Literal["active", "inactive"]
    tradable: bool
    marginable: bool
    shortable: bool
    easy_to_borrow: bool
    fractionable: bool
    maintenance_margin_requirement: int
    attributes: list[str]


class Contract(msgspec.Struct):
    id: UUID
    symbol: str
    name: str
    status: Literal["active"]
    tradable: bool
    size: Amount
    multiplier: Amount
    type: Literal["call", "put"]
    strike_price: Amount
    expiration_date: date
    style: Literal["american"]
    root_symbol: str
    underlying_symbol: str
    underlying_asset_id: UUID
    open_interest: Amount | None
    open_interest_date: date | None
    close_price: Amount | None
    close_price_date: date | None


class Fill(msgspec.Struct):
    id: str
    activity_type: Literal["FILL"]
    transaction_time: datetime
    type: Literal["fill", "partial_fill"]
    price: Amount
    qty: Amount
    side: Literal["buy", "sell", "sell_short"]
    symbol: str
    leaves_qty: Amount
    cum_qty: Amount
    order_id: UUID
    order_status: str


class History(msgspec.Struct):
    timestamp: list[int]
    equity: list[float]
    profit_loss: list[float]
    profit_loss_pct: list[float]
    base_value: float
    timeframe: Literal["1Min", "5Min", "15Min", "1H", "1D"]


class Day(msgspec.Struct):
    date: Date
    open: str
    close: str
    session_open: str
    session_close: str
    settlement_date: Date


class Clock(msgspec.Struct):
    timestamp: datetime
    is_open: bool
    next_open: datetime
    next_close: datetime


class Watchlist(msgspec.Struct):
    id: UUID
    account_id: UUID
    created_at: datetime
    updated_at: datetime
    name: str
    assets: list[Asset]


class PublicMarket(msgspec.Struct):
    acronym: str
    name: str
    timezone: str


class MarketClock(msgspec.Struct):
    market: PublicMarket
    timestamp: datetime
    is_market_day: bool
    next_market_open: datetime
    next_market_close: datetime
    phase: Literal["closed", "pre", "core", "lunch", "post"]
    phase_until: datetime


class Clocks(msgspec.Struct):
    clocks: list[MarketClock]


class MarketDay(msgspec.Struct):
    date: Date
    core_start: datetime
    core_end: datetime
    pre_start: datetime | None = None
    pre_end: datetime | None = None
    settlement_date: Date | None = None


class Days(msgspec.Struct):
    market: PublicMarket
    calendar: list[MarketDay]


class Update(msgspec.Struct):
    """Of the order stream, in Go."""

    at: datetime
    event: str
    event_id: str
    execution_id: UUID
    order: Order
    timestamp: datetime
    price: Amount | None = None
    qty: Amount | None = None
    position_qty: Amount | None = None


@pytest.fixture
def caller() -> Caller:
    return Caller()


def typed(kind: type[Any], found: Any) -> Any:
    return msgspec.convert(found, kind)


GO = {
    "symbol": "IBM", "qty": "2", "notional": None, "side": "buy", "type": "limit", "time_in_force": "day",
    "limit_price": "280", "extended_hours": False, "stop_price": None, "client_order_id": "", "order_class": "",
    "take_profit": None, "stop_loss": None, "trail_price": None, "trail_percent": None, "position_intent": "",
    "legs": None,
}  # fmt: skip
RUST = {
    "symbol": "IBM", "qty": "2", "side": "buy", "order_class": "simple", "type": "limit", "time_in_force": "gtc",
    "limit_price": "280.00", "stop_price": None, "trail_price": None, "trail_percent": None, "take_profit": None,
    "stop_loss": None, "extended_hours": False, "client_order_id": None,
}  # fmt: skip
CSHARP = {
    "symbol": "IBM", "qty": 2.0, "side": "buy", "type": "limit", "time_in_force": "day", "limit_price": 280.0,
    "order_class": "bracket", "take_profit": {"limit_price": 310.0}, "stop_loss": {"stop_price": 270.0},
}  # fmt: skip
JAVA = {
    "symbol": "IBM", "qty": "2", "side": "buy", "type": "limit", "time_in_force": "day", "limit_price": "280",
    "extended_hours": False, "client_order_id": "java-1", "position_intent": "buy_to_open",
}  # fmt: skip


@pytest.mark.parametrize("form", [GO, RUST, CSHARP, JAVA], ids=["go", "rust", "csharp", "java"])
def test_an_order_is_placed_seen_changed_and_cancelled(caller: Caller, form: dict[str, Any]) -> None:
    made = typed(Order, caller.ask("POST", "/v2/orders", form))
    assert (made.qty, made.limit_price, made.status) == (Decimal(2), Decimal(280), "pending_new")
    for found in (
        caller.ask("GET", f"/v2/orders/{made.id.hex}"),  # Rust writes ids without hyphens.
        caller.ask("GET", "/v2/orders:by_client_order_id", client_order_id=made.client_order_id),
        *caller.ask("GET", "/v2/orders", status="open", nested="true"),
    ):
        assert typed(Order, found).id == made.id
    if form is not CSHARP:
        change = {"qty": None, "limit_price": "281", "stop_price": None, "trail": None, "time_in_force": "",
                  "client_order_id": ""}  # fmt: skip
        made = typed(Order, caller.ask("PATCH", f"/v2/orders/{made.id}", change))
        assert made.limit_price == Decimal(281)
    assert caller.send("DELETE", f"/v2/orders/{made.id}").body == b""
    assert all(
        typed(Order, one).status in ("canceled", "replaced") for one in caller.ask("GET", "/v2/orders", status="all")
    )


def test_every_answer_has_what_typed_clients_require(caller: Caller) -> None:
    caller.order(qty="2", type="market")
    caller.order(symbol=CALL_300, qty="1", type="market", position_intent="buy_to_open")
    made = caller.ask("POST", "/v2/watchlists", {"name": "mine", "symbols": ["IBM"]})
    for kind, path in (
        (Account, "/v2/account"), (Configuration, "/v2/account/configurations"), (list[Position], "/v2/positions"),
        (Position, f"/v2/positions/{CALL_300}"), (list[Order], "/v2/orders?status=all"),
        (list[Fill], "/v2/account/activities/FILL"), (History, "/v2/account/portfolio/history"),
        (list[Asset], "/v2/assets?status=active"), (Asset, "/v2/assets/IBM"), (Clock, "/v2/clock"),
        (list[Day], "/v2/calendar?start=2026-01-05&end=2026-01-09"), (Watchlist, f"/v2/watchlists/{made['id']}"),
        (dict[str, list[Contract]], "/v2/options/contracts?show_deliverables=false&expiration_date=2026-01-16"),
        (Contract, f"/v2/options/contracts/{CALL_300}"), (Clocks, "/v3/clock"), (Days, "/v3/calendar/XNYS"),
    ):  # fmt: skip
        found = caller.ask("GET", path)
        if kind == dict[str, list[Contract]]:
            assert found.pop("next_page_token") is None
        assert typed(kind, found), path


def test_settings_that_are_sent_empty_stay_as_they_are(caller: Caller) -> None:
    """Go sends all five, empty text where nothing was chosen."""
    change = {"dtbp_check": "", "trade_confirm_email": "none", "suspend_trade": False, "no_shorting": True,
              "fractional_trading": False}  # fmt: skip
    found = caller.ask("PATCH", "/v2/account/configurations", change)
    assert (found["dtbp_check"], found["trade_confirm_email"], found["no_shorting"]) == ("entry", "none", True)


def test_a_combination_is_what_the_openapi_file_shows(caller: Caller) -> None:
    made = typed(
        Combination, caller.ask("POST", "/v2/orders", _spread(CALL_300, CALL_305, type="limit", limit_price="9"))
    )
    assert (made.type, [leg.side for leg in made.legs]) == ("limit", ["buy", "sell"])


@pytest.mark.parametrize("amount", [{"notional": "100"}, {"notional": 100.0}, {"qty": "0.5"}, {"qty": 1.25}])
def test_fractions_are_refused_and_the_asset_says_so(caller: Caller, amount: dict[str, Any]) -> None:
    form = {"symbol": "IBM", "side": "buy", "type": "market", "time_in_force": "day", **amount}
    refused = (403, 40310000, 'asset "IBM" is not fractionable')
    assert caller.refused("POST", "/v2/orders", form) == refused
    assert caller.ask("GET", "/v2/assets/IBM")["fractionable"] is False
    caller.order(qty="2", type="market")
    assert caller.refused("DELETE", "/v2/positions/IBM", qty="1.5") == refused
    assert caller.ask("DELETE", "/v2/positions/IBM", qty="1.0")["qty"] == "1"


def test_a_history_ends_on_a_date(caller: Caller) -> None:
    """`date_end`, of the clients for Go and of older ones."""
    caller.market.wait(90)
    caller.market.quote("IBM", 299.95, 300.05, last=300.0)
    path = "/v2/account/portfolio/history"
    asked = {"period": "5D", "timeframe": "1Min", "extended_hours": "false"}
    assert len(caller.ask("GET", path, date_end="2026-01-05", **asked)["equity"]) == 2
    assert caller.ask("GET", path, date_end="2026-01-04", **asked)["equity"] == []


def test_clocks_of_markets(caller: Caller) -> None:
    (nyse,) = caller.ask("GET", "/v3/clock", markets="NYSE")["clocks"]
    assert (nyse["phase"], nyse["is_market_day"]) == ("core", True)
    assert (nyse["phase_until"], nyse["next_market_open"]) == ("2026-01-05T16:00:00-05:00", "2026-01-06T09:30:00-05:00")
    for at, phase, until in (
        ("2026-01-05T12:00:00Z", "pre", "2026-01-05T09:30:00-05:00"),
        ("2026-01-05T21:00:00Z", "closed", "2026-01-06T04:00:00-05:00"),
        ("2026-01-10T15:00:00Z", "closed", "2026-01-12T04:00:00-05:00"),
    ):
        (found,) = caller.ask("GET", "/v3/clock", markets="XNAS", time=at)["clocks"]
        assert (found["phase"], found["phase_until"]) == (phase, until)
    assert caller.refused("GET", "/v3/clock", markets="NYSE,LSE")[0] == 400
    assert caller.refused("GET", "/v3/clock", time="soon")[0] == 422


def test_calendars_of_markets(caller: Caller) -> None:
    week = typed(Days, caller.ask("GET", "/v3/calendar/NYSE"))
    assert [day.date.day for day in week.calendar] == [5, 6, 7, 8, 9, 12]
    short = caller.ask("GET", "/v3/calendar/OPRA", start="2026-11-27", end="2026-11-27", timezone="UTC")["calendar"]
    assert [(day["core_start"], day["core_end"]) for day in short] == [("2026-11-27T14:30:00Z", "2026-11-27T18:00:00Z")]
    assert caller.ask("GET", "/v3/calendar/NYSE", start="9999-12-31")["calendar"] == []
    assert caller.refused("GET", "/v3/calendar/TADAWUL")[0] == 400
    assert caller.refused("GET", "/v3/calendar/NYSE", timezone="CET")[0] == 400


@pytest.mark.parametrize(
    "path",
    ["/v1beta3/crypto/us/latest/quotes", "/v1beta3/crypto/us/bars", "/v1beta1/logos/IBM", "/v1beta1/forex/rates",
     "/v1/locates", "/v2/wallets"],
)  # fmt: skip
def test_what_this_venue_has_not_is_not_found_by_name(caller: Caller, path: str) -> None:
    status, code, message = caller.refused("GET", path)
    assert (status, code) == (404, 40410000)
    assert message.startswith("this venue has no ")


# ---------------------------------------------------------------- server-sent events
class Reader:
    """Reads an answer that goes on, as the client for Go does: lines that begin with `data: `, so many of them."""

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self.parts: list[bytes] = []
        self.is_lost = False

    @property
    def found(self) -> list[Update]:
        lines = [line for part in self.parts for line in part.split(b"\n") if line.startswith(b"data: ")]
        return [msgspec.json.decode(line.removeprefix(b"data: "), type=Update) for line in lines]

    async def send(self, message: str | bytes) -> None:
        assert isinstance(message, bytes)
        if self.is_lost:
            raise StreamClosed(1006)
        self.parts.append(message)
        if len(self.found) >= self.most:
            raise StreamClosed(1006)

    async def receive(self) -> str | bytes:
        raise StreamClosed(1006)

    async def close(self, code: int = 1000) -> None:
        self.is_lost = code == 1006

    def lose(self) -> None:
        self.is_lost = True


More = Callable[[Stream], Awaitable[None]]


async def _told(more: More | None, count: int) -> list[Update]:
    """So many events."""
    assert more is not None
    reader = Reader(count)
    with suppress(StreamClosed):
        await more(reader)
    return reader.found


def test_orders_are_told_over_http_from_when_one_asks() -> None:
    async def story() -> None:
        market = Market()
        market.open_for_business()

        async def ask(query: str = "") -> More | None:
            path = f"/v2/events/trades{query}"
            response = await market.server.handle(Request("GET", path, KEYS))
            assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
            return response.more

        async def buy(name: str) -> None:
            form = msgspec.json.encode(GO | {"client_order_id": name, "type": "market", "limit_price": None})
            assert (await market.server.handle(Request("POST", "/v2/orders", KEYS, form))).status == 200

        async with asyncio.TaskGroup() as group:
            listening = group.create_task(_told(await ask(), 3))
            await asyncio.sleep(0)
            await buy("a")
        first = listening.result()
        assert [one.event for one in first] == ["pending_new", "new", "fill"]
        assert (first[-1].qty, first[-1].price) == (Decimal(2), Decimal("300.05"))
        ids = [one.event_id for one in first]
        again = await _told(await ask(f"?since_id={ids[0]}"), len(first))
        assert [one.event_id for one in again] == ids
        assert [one.event_id for one in await _told(await ask("?since=2026-01-05T00:00:00Z"), len(first))] == ids
        assert await _told(await ask("?since=2026-01-05T00:00:00Z&until=2026-01-05T00:00:01Z"), 1) == []
        assert await _told(await ask(f"?since_id={ids[0]}&until_id={ids[0]}"), 9) == first[:1]
        await buy("b")
        assert {one.order.client_order_id for one in await _told(await ask(f"?since_id={ids[-1]}"), 2)} >= {"b"}
        quiet, reader = await ask(), Reader()
        assert quiet is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(25):
                await quiet(reader)
        assert reader.parts == [b": heartbeat\n\n"] * 2
        assert (await market.server.handle(Request("GET", "/v2/events/trades?since=x", KEYS))).status == 422
        assert (await market.server.handle(Request("GET", "/v2/events/trades", {}))).status == 403

    simulate(story)


class Spelling:
    """A server whose only answer goes on with three parts."""

    async def handle(self, request: Request) -> Response:
        return Response(200, {}, b"", self.spell)

    async def spell(self, stream: Stream) -> None:
        for letter in (b"a", b"b", b"c"):
            await stream.send(letter)

    def admits(self, request: Request) -> Response | None:
        return None

    async def serve(self, request: Request, stream: Stream) -> None: ...


@pytest.mark.parametrize(
    ("fault", "heard"),
    [(Fault(what="duplicate"), b"aabbcc"), (Fault(what="lost_event", after=1, times=1), b"ac"),
     (Fault(what="mute", after=1), b""), (Fault(what="reorder", times=1), b"bac"), (Fault(what="slow_event"), b"abc")],
)  # fmt: skip
def test_what_happens_to_messages_of_streams_happens_to_events_too(fault: Fault, heard: bytes) -> None:
    async def story() -> None:
        server, reader = FaultyServer(Spelling(), random=Random(1)), Reader()
        server.add(fault)
        response = await server.handle(Request("GET", "/events", {}))
        assert response.more is not None
        await response.more(reader)
        assert b"".join(reader.parts) == heard

    simulate(story)


async def test_a_line_that_breaks_is_taken_up_where_it_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.02)
    market = Market()
    market.open_for_business()
    faulty = FaultyServer(market.server, random=Random(1))
    server = HttpServer(faulty)
    await server.start()
    keys = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    url = f"{server.url}/v2/events/trades"
    async with aiohttp.ClientSession(headers=keys) as session, asyncio.timeout(10):
        async with session.get(url) as answer:
            assert await answer.content.readline() == b": connected\n"
            faulty.add(Fault(what="disconnect", for_s=0.3))
            with pytest.raises(aiohttp.ClientError):
                await answer.content.read()
        with pytest.raises(aiohttp.ClientError):
            async with session.get(url) as answer:
                await answer.content.read()
        async with session.post(f"{server.url}/v2/orders", json=GO) as made:
            order = (await made.json())["id"]
        await asyncio.sleep(0.4)
        async with session.get(f"{url}?since=2026-01-01T00:00:00Z") as answer:
            seen = b""
            while order.encode() not in seen:
                seen = await answer.content.readline()
    await server.stop()


async def test_events_go_over_a_socket_as_they_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.02)
    market = Market()
    market.open_for_business()
    server = HttpServer(market.server)
    await server.start()
    keys = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    async with aiohttp.ClientSession(headers=keys) as session:
        async with session.get(f"{server.url}/v2/events/trades") as answer:
            assert await answer.content.readline() == b": connected\n"
            async with session.post(f"{server.url}/v2/orders", json=GO) as made:
                order = (await made.json())["id"]
            seen = b""
            while order.encode() not in seen:
                seen = await asyncio.wait_for(answer.content.readline(), 2)
            assert seen.startswith(b"data: {")
        for _ in range(100):  # The server notices at a heartbeat that nobody reads any more.
            if not market.server._events._listeners:
                break
            await asyncio.sleep(0.01)
        assert not market.server._events._listeners
    await server.stop()


def test_event_ids_are_in_order_of_time() -> None:
    made = [ulid(OPEN + count * 1_000_000, "x") for count in range(100)]
    assert made == sorted(made)
    assert len({len(one) for one in made}) == 1 and len(made[0]) == 26
    assert ulid(OPEN, "x") != ulid(OPEN, "y")
