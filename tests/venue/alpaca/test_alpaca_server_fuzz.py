"""Whatever is asked, the server answers in Alpaca's form, and never fails."""

import asyncio
import os
from typing import Any
from urllib.parse import urlencode

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from angelx.domain.wire import Request
from angelx.venue.alpaca.server import Plan
from tests.venue.alpaca.alpaca_market import CALL_300, KEY, SECRET, Market

CASES = int(os.environ.get("ANGELX_FUZZ_CASES", "400"))
MARKET = Market(Plan(trading_per_minute=10**9, data_per_minute=10**9))
MARKET.open_for_business()
HEADERS = {"apca-api-key-id": KEY, "apca-api-secret-key": SECRET}
PATHS = (
    "/v2/orders", "/v2/orders:by_client_order_id", "/v2/orders/x", "/v2/account", "/v2/account/configurations",
    "/v2/account/activities", "/v2/account/activities/FILL", "/v2/account/portfolio/history", "/v2/positions",
    "/v2/positions/IBM", "/v2/positions/IBM/exercise", "/v2/clock", "/v2/calendar", "/v2/assets", "/v2/assets/IBM",
    "/v2/options/contracts", f"/v2/options/contracts/{CALL_300}", "/v2/stocks/bars", "/v2/stocks/quotes",
    "/v2/stocks/trades", "/v2/stocks/snapshots", "/v2/stocks/IBM/bars", "/v2/stocks/IBM/trades/latest",
    "/v1beta1/options/snapshots", "/v1beta1/options/snapshots/IBM", "/v1beta1/options/bars", "/v2/watchlists",
    "/v1/corporate-actions", "/nowhere", "/v2/orders/%00", "//",
)  # fmt: skip
QUERIES = (
    "symbols", "start", "end", "limit", "page_token", "timeframe", "after", "until", "status", "side", "direction",
    "nested", "date", "period", "qty", "percentage", "strike_price_gte", "expiration_date", "expiration_date_gte",
    "feed", "sort", "client_order_id", "page_size", "asset_class", "cancel_orders", "underlying_symbols",
)  # fmt: skip
FIELDS = (
    "symbol", "qty", "notional", "side", "type", "time_in_force", "limit_price", "stop_price", "trail_price",
    "trail_percent", "extended_hours", "client_order_id", "order_class", "position_intent", "take_profit",
    "stop_loss", "legs", "name", "symbols", "trail",
)  # fmt: skip
words = st.sampled_from(
    ["IBM", CALL_300, "buy", "sell", "limit", "market", "stop", "stop_limit", "trailing_stop", "day", "gtc", "ioc",
     "bracket", "oco", "oto", "mleg", "1", "10", "-1", "0", "1e400", "NaN", "300.05", "0.00001", "2026-01-05",
     "2026-01-05T14:30:00Z", "1Min", "99Week", "0Min", "all", "closed", "asc", "true", "1D", "0D", "", "é", "IBM,AAPL",
     "9999-12-31", "0001-01-01", "buy_to_open", "SUJNfDE=", "sip"]
)  # fmt: skip
scalars = (
    words | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()
)
bodies = st.dictionaries(
    st.sampled_from(FIELDS),
    scalars
    | st.dictionaries(st.sampled_from(["limit_price", "stop_price"]), scalars, max_size=2)
    | st.lists(st.dictionaries(st.sampled_from(["symbol", "ratio_qty", "side"]), scalars, max_size=3), max_size=3),
    max_size=10,
)
ORDER = {"symbol": "IBM", "qty": 1, "side": "buy", "type": "limit", "time_in_force": "day", "limit_price": 290}


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT"]),
    path=st.sampled_from(PATHS),
    query=st.dictionaries(st.sampled_from(QUERIES), words | st.text(max_size=5), max_size=4),
    body=bodies | st.binary(max_size=20),
    is_order=st.booleans(),
)
def test_every_answer_is_one(method: str, path: str, query: dict[str, str], body: Any, is_order: bool) -> None:
    if isinstance(body, dict):
        body = msgspec.json.encode(ORDER | body if is_order else body)
    request = Request(method, f"{path}?{urlencode(query)}", HEADERS, body)
    response = asyncio.run(MARKET.server.handle(request))
    assert response.status < 500
    if response.body:
        answer = msgspec.json.decode(response.body)
        if response.status >= 400:
            assert isinstance(answer["message"], str)
    assert response.headers["x-ratelimit-limit"]
