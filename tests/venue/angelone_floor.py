"""A small Indian market, and Angel One's server on it."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from random import Random
from typing import Any

import msgspec
import numpy as np
import pyotp

from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, EXCHANGE_AT, INSTRUMENT, LAST, OI, VOLUME, batch_of
from angelx.domain.wire import Request, Response
from angelx.orders.fees import FeeSchedule
from angelx.venue.account import Margin
from angelx.venue.admission import Bands
from angelx.venue.angelone.logins import Credentials
from angelx.venue.angelone.orders import OrderRules
from angelx.venue.angelone.server import AngelOneServer
from angelx.venue.exchange import Exchange, Policy
from angelx.venue.hours import Hours

EXPIRY = date(2025, 9, 2)
START = int(datetime(2025, 8, 29, 4, 30, tzinfo=UTC).timestamp()) * NS
"""10:00 in India on a Friday."""
RUPEE = 10_000
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
CREDENTIALS = Credentials(client_code="A1", pin="1234", totp_secret=SECRET, api_key="key1")
SECURE = "/rest/secure/angelbroking"
LOGIN = "/rest/auth/angelbroking/user/v1/loginByPassword"
RENEW = "/rest/auth/angelbroking/jwt/v1/generateTokens"


def option(strike: int, right: Right, underlying: str = "NIFTY", freeze: int = 1800) -> Instrument:
    side = "CE" if right is Right.CALL else "PE"
    return Instrument(
        id=f"NFO:{underlying}:{EXPIRY}:{strike}:{side}", symbol=f"{underlying} {EXPIRY} {strike} {side}", segment="NFO",
        kind=Kind.OPTION, currency="INR", tick_size=500, lot_size=75, freeze_quantity=freeze,
        underlying=f"NSE:{underlying}", expiry=EXPIRY, strike=strike * RUPEE, right=right,
    )  # fmt: skip


INDEX = Instrument(
    id="NSE:NIFTY", symbol="NIFTY", segment="NSE", kind=Kind.INDEX, currency="INR", tick_size=500, tradable=False
)
SHARE = Instrument(id="NSE:SBIN", symbol="SBIN", segment="NSE", kind=Kind.EQUITY, currency="INR", tick_size=500)
CALL = option(24500, Right.CALL)
PUT = option(24500, Right.PUT)
FAR = option(24600, Right.CALL)
TABLE = InstrumentTable([INDEX, SHARE, CALL, PUT, FAR])


class AngelFloor:
    """Server, exchange, and a clock that stands still until it is moved; calls go straight in."""

    def __init__(
        self, *, rules: OrderRules | None = None, credentials: Credentials = CREDENTIALS, policy: Policy | None = None,
        table: InstrumentTable = TABLE, cash: int = 10**6 * RUPEE, seed: int = 1, hours: Hours | None = None,
    ) -> None:  # fmt: skip
        self.now = START
        self.exchange = Exchange(
            table, cash=cash, fee=lambda *_: 0, policy=policy, seed=seed, bands=Bands(), margin=Margin(),
            hours=hours,
        )  # fmt: skip
        self.server = AngelOneServer(
            self.exchange, credentials=credentials, now=lambda: self.now, random=Random(seed), rules=rules,
            fees=FeeSchedule.load(),
        )  # fmt: skip
        self.exchange.advance(self.now)
        self.tokens: dict[str, str] = {}
        self.volume = 0

    # ------------------------------------------------------------ the market
    def quote(
        self, bid: float, ask: float, *, name: str = CALL.id, last: float | None = None, size: int = 750,
        traded: int = 0, oi: int = 0, pass_ns: int = 1_000_000,
    ) -> None:  # fmt: skip
        """Prices in rupees; a last price of 0 is none."""
        self.wait(pass_ns)
        self.volume += traded
        row = {
            INSTRUMENT: self.exchange.table.index[name], AT: self.now, EXCHANGE_AT: self.now, BID: bid * RUPEE,
            ASK: ask * RUPEE, BID_SIZE: size, ASK_SIZE: size, LAST: ((bid + ask) / 2 if last is None else last) * RUPEE,
            VOLUME: self.volume, OI: oi,
        }  # fmt: skip
        self.exchange.feed(batch_of({field: np.array([int(value)]) for field, value in row.items()}), 0, 1)

    def wait(self, ns: int) -> None:
        self.now += ns
        self.exchange.advance(self.now)

    # ------------------------------------------------------------ calls
    def totp(self, offset_s: int = 0) -> str:
        return pyotp.TOTP(SECRET).at(self.now // NS + offset_s)

    async def log_in(self) -> None:
        answer = await self.post(LOGIN, {"clientcode": "A1", "password": "1234", "totp": self.totp()})
        self.tokens = answer["data"]

    async def raw(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        peer: str = "127.0.0.1",
    ) -> Response:
        sent = {"x-privatekey": "key1", "x-usertype": "USER"}
        if self.tokens:
            sent["authorization"] = f"Bearer {self.tokens['jwtToken']}"
        return await self.server.handle(Request(method, path, {**sent, **(headers or {})}, body, peer))

    async def post(self, path: str, body: Any, **more: Any) -> Any:
        path = path if path.startswith("/") else f"{SECURE}/{path}"
        return msgspec.json.decode((await self.raw("POST", path, msgspec.json.encode(body), **more)).body)

    async def get(self, path: str, **more: Any) -> Any:
        path = path if path.startswith("/") else f"{SECURE}/{path}"
        return msgspec.json.decode((await self.raw("GET", path, **more)).body)

    def order(self, price: float = 100, quantity: int = 75, **more: Any) -> dict[str, Any]:
        contract = self.server.contracts.by_id[more.pop("name", CALL.id)]
        return {
            "variety": "NORMAL", "tradingsymbol": contract.symbol, "symboltoken": contract.token,
            "transactiontype": "BUY", "exchange": contract.exchange, "ordertype": "LIMIT",
            "producttype": "CARRYFORWARD" if contract.option_type else "DELIVERY", "duration": "DAY",
            "price": f"{price:.2f}", "triggerprice": "0", "quantity": str(quantity), "ordertag": "axTEST",
        } | more  # fmt: skip

    async def place(self, price: float = 100, quantity: int = 75, **more: Any) -> str:
        answer = await self.post("order/v1/placeOrder", self.order(price, quantity, **more))
        assert answer["status"], answer
        return str(answer["data"]["orderid"])

    async def row(self, order_id: str) -> dict[str, Any]:
        """The order's line; a second passes first, for the rate limit."""
        self.wait(NS + 1)
        rows = (await self.get("order/v1/getOrderBook"))["data"]
        return next(row for row in rows if row["orderid"] == order_id)
