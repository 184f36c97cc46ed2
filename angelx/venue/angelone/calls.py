"""The calls of a client who is logged in, by path: their rate category and who answers."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from angelx.venue.angelone.contracts import Contracts
from angelx.venue.angelone.gtt import Rules
from angelx.venue.angelone.limits import GTT, ORDERS
from angelx.venue.angelone.orders import OrderDesk
from angelx.venue.angelone.portfolio import Portfolio
from angelx.venue.angelone.quotes import Quotes
from angelx.venue.angelone.replies import Refusal

AUTH: Final = "/rest/auth/angelbroking"
SECURE: Final = "/rest/secure/angelbroking"

Body = Mapping[str, Any]
Get = tuple[str, Callable[[], Any]]
Post = tuple[str, Callable[[Body], Any]]
"""Rate category, empty where there is no limit; and the answer's `data`."""


def gets(desk: OrderDesk, quotes: Quotes, portfolio: Portfolio) -> dict[str, Get]:
    """Calls without a body."""
    calls: dict[str, Get] = {
        "user/v1/getRMS": ("getRMS", portfolio.funds),
        "order/v1/getOrderBook": ("getOrderBook", desk.book),
        "order/v1/getTradeBook": ("getTradeBook", desk.trades),
        "order/v1/getPosition": ("getPosition", portfolio.positions),
        "portfolio/v1/getHolding": ("getHolding", portfolio.holdings),
        "portfolio/v1/getAllHolding": ("getAllHolding", portfolio.all_holdings),
        "marketData/v1/putCallRatio": ("", quotes.put_call_ratio),
        "marketData/v1/nseIntraday": ("", lambda: quotes.intraday("NSE")),
        "marketData/v1/bseIntraday": ("", lambda: quotes.intraday("BSE")),
        "securities/v1/cautionaryScrips": ("", list),
    }
    return {f"{SECURE}/{path}": call for path, call in calls.items()}


def posts(desk: OrderDesk, quotes: Quotes, portfolio: Portfolio, rules: Rules, contracts: Contracts) -> dict[str, Post]:
    """Calls with a body. Rules of the GTT service answer with and without its own prefix."""
    calls: dict[str, Post] = {
        "order/v1/placeOrder": (ORDERS, desk.place),
        "order/v1/modifyOrder": (ORDERS, desk.modify),
        "order/v1/cancelOrder": (ORDERS, desk.cancel),
        "order/v1/convertPosition": ("convertPosition", portfolio.convert),
        "order/v1/getLtpData": ("getLtpData", quotes.ltp),
        "order/v1/searchScrip": ("searchScrip", contracts.search),
        "margin/v1/batch": ("marginBatch", portfolio.margin),
        "brokerage/v1/estimateCharges": ("", portfolio.charges),
        "market/v1/quote": ("quote", quotes.batch),
        "historical/v1/getCandleData": ("getCandleData", quotes.candles),
        "historical/v1/getOIData": ("getCandleData", quotes.open_interest),
        "marketData/v1/optionGreek": ("optionGreek", quotes.greeks),
        "marketData/v1/gainersLosers": ("", quotes.movers),
        "marketData/v1/OIBuildup": ("", quotes.build_up),
        **{f"edis/v1/{name}": ("", _no_edis) for name in ("verifyDis", "generateTPIN", "getTranStatus")},
    }
    gtt: dict[str, Post] = {
        "gtt/v1/createRule": (GTT, rules.create),
        "gtt/v1/modifyRule": (GTT, rules.modify),
        "gtt/v1/cancelRule": (GTT, rules.cancel),
        "gtt/v1/ruleDetails": ("ruleDetails", rules.details),
        "gtt/v1/ruleList": ("ruleList", rules.list),
    }
    answers = {f"{SECURE}/{path}": call for path, call in (calls | gtt).items()}
    return answers | {f"/gtt-service{SECURE}/{path}": call for path, call in gtt.items()}


def _no_edis(_: Body) -> Any:
    raise Refusal("AB2000", "eDIS is not needed here: holdings are sold without it")
