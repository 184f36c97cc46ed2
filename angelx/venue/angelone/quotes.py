"""Market data by REST: quotes, candles, open interest, option Greeks, put-call ratio, gainers and losers."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from angelx.domain.instruments import Kind, Right
from angelx.domain.scalars import NS, SCALE
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, EXCHANGE_AT, LAST, OI, VOLUME
from angelx.market.state import Cells
from angelx.venue.angelone.contracts import EXCHANGE_TYPES, Contract, Contracts
from angelx.venue.angelone.day import (
    BAR_CLOSE,
    BAR_HIGH,
    BAR_LOW,
    BAR_OI,
    BAR_OPEN,
    BAR_VOLUME,
    CLOSE,
    HIGH,
    LAST_QUANTITY,
    LOW,
    MINUTE,
    OPEN,
    TRADED_AT,
    DayBook,
    india_text,
)
from angelx.venue.angelone.greeks import greeks_of
from angelx.venue.angelone.logins import INDIA, india_date
from angelx.venue.angelone.packets import Quote
from angelx.venue.angelone.replies import Refusal
from angelx.venue.angelone.words import rupees
from angelx.venue.exchange import Exchange

MOST_TOKENS: Final = 50
MODES: Final = ("LTP", "OHLC", "FULL")
DAY: Final = 86_400 * NS
INTERVALS: Final[Mapping[str, tuple[int, int]]] = {
    "ONE_MINUTE": (MINUTE, 30), "THREE_MINUTE": (3 * MINUTE, 60), "FIVE_MINUTE": (5 * MINUTE, 100),
    "TEN_MINUTE": (10 * MINUTE, 100), "FIFTEEN_MINUTE": (15 * MINUTE, 200), "THIRTY_MINUTE": (30 * MINUTE, 200),
    "ONE_HOUR": (60 * MINUTE, 400), "ONE_DAY": (DAY, 2000),
}  # fmt: skip
"""Length of a bar and the most days that one question may span."""
_STAMP: Final = "%d-%b-%Y %H:%M:%S"
_YEAR_NS: Final = 365 * DAY
_INDIA_AHEAD: Final = 19_800 * NS
_MOST_MOVERS: Final = 10
_PAISE: Final = SCALE // 100


class Quotes:
    """What is known of the market now and since the venue began.

    Parameters
    ----------
    expires_at
        When a contract ends, ns.
    """

    def __init__(
        self,
        exchange: Exchange,
        contracts: Contracts,
        days: DayBook,
        *,
        now: Callable[[], int],
        expires_at: Callable[[Contract], int],
    ) -> None:
        self._exchange = exchange
        self._contracts = contracts
        self._days = days
        self._now = now
        self._expires_at = expires_at

    def _cells(self, contract: Contract) -> Cells:
        return self._exchange.market.of(contract.place)

    def _last(self, contract: Contract) -> int:
        return self._days.last(contract.place, self._cells(contract)[LAST])

    # ------------------------------------------------------------ the stream's quote
    def stream_quote(self, contract: Contract) -> Quote:
        """All fields of a packet, in paise."""
        cells, day = self._cells(contract), self._days.cells(contract.place)
        bid, ask = cells[BID], cells[ASK]
        low, high = self._exchange.band(contract.instrument.id)
        return Quote(
            EXCHANGE_TYPES[contract.exchange], contract.token.encode(),
            last=self._last(contract) // _PAISE, last_quantity=day[LAST_QUANTITY],
            average=self._days.average(contract.place) // _PAISE, volume=cells[VOLUME], total_buy=cells[BID_SIZE],
            total_sell=cells[ASK_SIZE], open=day[OPEN] // _PAISE, high=day[HIGH] // _PAISE,
            low=day[LOW] // _PAISE, close=day[CLOSE] // _PAISE, traded_s=day[TRADED_AT] // NS,
            at_ms=cells[EXCHANGE_AT] // 1_000_000, interest=cells[OI],
            buys=((bid // _PAISE, cells[BID_SIZE], 1),) if bid > 0 else (),
            sells=((ask // _PAISE, cells[ASK_SIZE], 1),) if ask > 0 else (),
            upper=high // _PAISE, lower=max(low, 0) // _PAISE, year_high=day[HIGH] // _PAISE,
            year_low=day[LOW] // _PAISE,
        )  # fmt: skip

    # ------------------------------------------------------------ quotes
    def ltp(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """One instrument's last price and day. The token says which: an index goes by many symbols among clients.

        Raises
        ------
        Refusal
            AB1018.
        """
        try:
            contract = self._contracts.of(str(body.get("exchange")), str(body.get("symboltoken")))
        except Refusal as refusal:
            raise Refusal("AB1018") from refusal
        return {
            "exchange": contract.exchange, "tradingsymbol": contract.symbol, "symboltoken": contract.token,
            **self._ohlc(contract), "ltp": rupees(self._last(contract)),
        }  # fmt: skip

    def batch(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Quotes of up to 50 tokens.

        Raises
        ------
        Refusal
            AB9001.
        """
        mode, wanted = body.get("mode"), body.get("exchangeTokens")
        if (
            mode not in MODES
            or not isinstance(wanted, dict)
            or not all(isinstance(one, list) for one in wanted.values())
        ):
            raise Refusal("AB9001", "mode is one of LTP, OHLC, FULL; exchangeTokens are lists by exchange")
        asked = [(exchange, str(token)) for exchange, tokens in wanted.items() for token in tokens]
        if not 0 < len(asked) <= MOST_TOKENS:
            raise Refusal("AB9001", f"1 to {MOST_TOKENS} tokens, were {len(asked)}")
        fetched, unfetched = [], []
        for exchange, token in asked:
            contract = self._contracts.by_token.get((exchange, token))
            if contract is None:
                why = {"message": "Symbol token not found", "errorCode": "AB4018"}
                unfetched.append({"exchange": exchange, "symbolToken": token, **why})
            else:
                fetched.append(self._quote(contract, mode))
        return {"fetched": fetched, "unfetched": unfetched}

    def _ohlc(self, contract: Contract) -> dict[str, float]:
        day = self._days.cells(contract.place)
        fields = (("open", OPEN), ("high", HIGH), ("low", LOW), ("close", CLOSE))
        return {name: rupees(day[field]) for name, field in fields}

    def _quote(self, contract: Contract, mode: str) -> dict[str, Any]:
        cells, day = self._cells(contract), self._days.cells(contract.place)
        last = self._last(contract)
        row = {
            "exchange": contract.exchange, "tradingSymbol": contract.symbol, "symbolToken": contract.token,
            "ltp": rupees(last),
        }  # fmt: skip
        if mode == "LTP":
            return row
        row |= self._ohlc(contract)
        if mode == "OHLC":
            return row
        close = day[CLOSE]
        change = last - close if close else 0
        low, high = self._exchange.band(contract.instrument.id)
        return row | {
            "lastTradeQty": day[LAST_QUANTITY],
            "exchFeedTime": india_text(cells[EXCHANGE_AT], _STAMP),
            "exchTradeTime": india_text(day[TRADED_AT], _STAMP),
            "netChange": rupees(change),
            "percentChange": round(100 * change / close, 2) if close else 0.0,
            "avgPrice": rupees(self._days.average(contract.place)),
            "tradeVolume": cells[VOLUME],
            "opnInterest": cells[OI],
            "lowerCircuit": rupees(max(low, 0)),
            "upperCircuit": rupees(high),
            "totBuyQuan": cells[BID_SIZE],
            "totSellQuan": cells[ASK_SIZE],
            "52WeekLow": rupees(day[LOW]),
            "52WeekHigh": rupees(day[HIGH]),
            "depth": {"buy": _depth(cells[BID], cells[BID_SIZE]), "sell": _depth(cells[ASK], cells[ASK_SIZE])},
        }

    # ------------------------------------------------------------ history
    def candles(self, body: Mapping[str, Any]) -> list[list[Any]]:
        """Bars since the venue began, ascending, labelled by their start.

        Raises
        ------
        Refusal
            AB1009 or AB9001.
        """
        return [
            [
                _iso(at), rupees(int(bar[BAR_OPEN])), rupees(int(bar[BAR_HIGH])), rupees(int(bar[BAR_LOW])),
                rupees(int(bar[BAR_CLOSE])), int(bar[BAR_VOLUME]),
            ]
            for at, bar in self._bars(body)
        ]  # fmt: skip

    def open_interest(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Open interest at the end of each bar.

        Raises
        ------
        Refusal
            AB1009 or AB9001.
        """
        return [{"time": _iso(at), "oi": int(bar[BAR_OI])} for at, bar in self._bars(body)]

    def _bars(self, body: Mapping[str, Any]) -> list[tuple[int, Any]]:
        contract = self._contracts.of(str(body.get("exchange")), str(body.get("symboltoken")))
        interval = INTERVALS.get(str(body.get("interval")))
        if interval is None:
            raise Refusal("AB9001", f"interval must be one of {', '.join(INTERVALS)}")
        step, most_days = interval
        begins_at, ends_at = _minute(body, "fromdate"), _minute(body, "todate")
        if step == DAY:  # Labelled by midnight: asking from 09:15 is meant to have that day.
            begins_at = begins_at - (begins_at + _INDIA_AHEAD) % DAY
        if begins_at > ends_at or ends_at - begins_at > most_days * DAY:
            raise Refusal("AB9001", f"fromdate to todate: 0 to {most_days} days of this interval")
        if contract.option_type and self._expires_at(contract) <= self._now():
            return []
        return self._days.bars(contract.place, step, begins_at, ends_at)

    # ------------------------------------------------------------ options
    def greeks(self, body: Mapping[str, Any]) -> list[dict[str, str]]:
        """The whole chain of a name and an expiry, every value a string.

        Raises
        ------
        Refusal
            AB9001 where there is no such chain.
        """
        chain = self._contracts.chain(str(body.get("name")), str(body.get("expirydate")))
        if not chain:
            raise Refusal("AB9001", "No data available for this name and expirydate")
        forward = self._forward(chain)
        years = max(self._expires_at(chain[0]) - self._now(), 0) / _YEAR_NS
        return [self._greeks_row(contract, forward, years) for contract in chain]

    def _mid(self, contract: Contract) -> float:
        cells = self._cells(contract)
        bid, ask, last = cells[BID], cells[ASK], cells[LAST]
        return ((bid + ask) / 2 if 0 < bid <= ask else float(max(last, 0))) / SCALE

    def _forward(self, chain: Sequence[Contract]) -> float:
        """By put-call parity at the strike where call and put are nearest; 0 where no strike has both."""
        mids: dict[int, dict[Right | None, float]] = {}
        for contract in chain:
            mids.setdefault(contract.instrument.strike, {})[contract.instrument.right] = self._mid(contract)
        both = [
            (strike / SCALE, sides[Right.CALL] - sides[Right.PUT])
            for strike, sides in mids.items()
            if sides.get(Right.CALL) and sides.get(Right.PUT)
        ]
        if not both:
            return 0.0
        strike, difference = min(both, key=lambda pair: abs(pair[1]))
        return strike + difference

    def _greeks_row(self, contract: Contract, forward: float, years: float) -> dict[str, str]:
        instrument = contract.instrument
        sign = 1 if instrument.right is Right.CALL else -1
        found = greeks_of(self._mid(contract), forward, instrument.strike / SCALE, years, sign)
        values = (found.delta, found.gamma, found.theta, found.vega, found.iv_pct) if found else (0.0,) * 5
        names = ("delta", "gamma", "theta", "vega", "impliedVolatility")
        return {
            "name": contract.name,
            "expiry": contract.expiry,
            "strikePrice": f"{instrument.strike / SCALE:.6f}",
            "optionType": contract.option_type,
            **{name: f"{value:.4f}" for name, value in zip(names, values, strict=True)},
            "tradeVolume": f"{self._cells(contract)[VOLUME]:.2f}",
        }

    # ------------------------------------------------------------ rankings
    def put_call_ratio(self) -> list[dict[str, Any]]:
        """Of open interest, by underlying."""
        interest: dict[str, list[int]] = {}
        for contract in self._contracts.all:
            if contract.option_type:
                sums = interest.setdefault(contract.name, [0, 0])
                sums[contract.option_type == "PE"] += self._cells(contract)[OI]
        return [
            {"pcr": round(puts / calls, 2), "tradingSymbol": name} for name, (calls, puts) in interest.items() if calls
        ]

    def movers(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Gainers and losers of price or open interest among derivatives of the nearest, next or far expiry.

        Raises
        ------
        Refusal
            AB9001.
        """
        kinds = ("PercPriceGainers", "PercPriceLosers", "PercOIGainers", "PercOILosers")
        kind, rows = str(body.get("datatype")), self._moves(body)
        if kind not in kinds:
            raise Refusal("AB9001", f"datatype is one of {', '.join(kinds)}")
        field = "percentChange" if "Price" in kind else "percentOiChange"
        ranked = sorted(rows, key=lambda row: row[field], reverse=kind.endswith("Gainers"))
        keep = [row for row in ranked if (row[field] > 0) == kind.endswith("Gainers") and row[field] != 0]
        return [{**row, "percentChange": row[field]} for row in keep[:_MOST_MOVERS]]

    def build_up(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Contracts by the signs of their changes in price and open interest.

        Raises
        ------
        Refusal
            AB9001.
        """
        signs = {
            "Long Built Up": (1, 1), "Short Built Up": (-1, 1), "Short Covering": (1, -1), "Long Unwinding": (-1, -1),
        }  # fmt: skip
        wanted = signs.get(str(body.get("datatype")))
        if wanted is None:
            raise Refusal("AB9001", f"datatype is one of {', '.join(signs)}")
        price, interest = wanted
        rows = self._moves(body)
        mine = [row for row in rows if row["netChange"] * price > 0 and row["netChangeOpnInterest"] * interest > 0]
        return sorted(mine, key=lambda row: -abs(row["netChangeOpnInterest"]))[:_MOST_MOVERS]

    def _moves(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        which = {"NEAR": 0, "NEXT": 1, "FAR": 2}.get(str(body.get("expirytype")))
        if which is None:
            raise Refusal("AB9001", "expirytype is one of NEAR, NEXT, FAR")
        today = india_date(self._now())
        expiries: dict[str, set[date]] = {}
        for contract in self._contracts.all:
            day = contract.instrument.expiry
            if day is not None and day >= today:
                expiries.setdefault(contract.name, set()).add(day)
        wanted = {name: sorted(days)[which] for name, days in expiries.items() if which < len(days)}
        return [
            self._move(contract)
            for contract in self._contracts.all
            if contract.option_type and contract.instrument.expiry == wanted.get(contract.name)
        ]

    def _move(self, contract: Contract) -> dict[str, Any]:
        cells, day = self._cells(contract), self._days.cells(contract.place)
        last, close = self._last(contract), day[CLOSE]
        first = self._days.first_interest(contract.place)
        gained = cells[OI] - first
        return {
            "tradingSymbol": contract.symbol,
            "symbolToken": int(contract.token),
            "ltp": rupees(last),
            "netChange": rupees(last - close),
            "percentChange": round(100 * (last - close) / close, 2) if close else 0.0,
            "opnInterest": cells[OI],
            "netChangeOpnInterest": gained,
            "percentOiChange": round(100 * gained / first, 2) if first else 0.0,
        }

    def intraday(self, exchange: str) -> list[dict[str, Any]]:
        """Shares that may be traded intraday on margin."""
        return [
            {"Exchange": exchange, "SymbolName": contract.name, "Multiplier": "5.0"}
            for contract in self._contracts.all
            if contract.exchange == exchange and contract.instrument.kind is Kind.EQUITY
        ]


def _depth(price: int, size: int) -> list[dict[str, Any]]:
    """Five levels, of which the venue knows the first."""
    first = {"price": rupees(price), "quantity": size, "orders": 1} if price > 0 else None
    empty = {"price": 0.0, "quantity": 0, "orders": 0}
    return [first or empty, *[empty] * 4]


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at // NS, INDIA).isoformat()


def _minute(body: Mapping[str, Any], key: str) -> int:
    try:
        day = datetime.strptime(str(body.get(key)), "%Y-%m-%d %H:%M").replace(tzinfo=INDIA)
    except ValueError:
        raise Refusal("AB9001", f"Invalid {key}: {body.get(key)!r}, must be YYYY-MM-DD HH:MM") from None
    return int(day.timestamp()) * NS
