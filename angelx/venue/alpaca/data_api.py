"""Market data over REST: bars, quotes and trades in pages, the latest of each, snapshots, option chains with Greeks."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from typing import Final

import msgspec
import numpy as np

from angelx.domain.instruments import Instrument, Kind, Right
from angelx.domain.scalars import NS, SCALE, price_of
from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, EXCHANGE_AT, LAST, Table, TickBatch
from angelx.domain.timestamps import rfc3339
from angelx.venue.alpaca.account_api import day_of
from angelx.venue.alpaca.call import NEW_YORK, Answer, Call, Routes
from angelx.venue.alpaca.greeks import greeks, implied_volatility
from angelx.venue.alpaca.lines import Lines, bare, bars, history, quote_line, quotes, trade_line, trades
from angelx.venue.alpaca.names import Symbols
from angelx.venue.alpaca.refusals import UNPROCESSABLE, Refusal, invalid
from angelx.venue.alpaca.tape import Tape
from angelx.venue.alpaca.views import Json
from angelx.venue.exchange import Exchange

PAGE: Final = 1_000
MOST: Final = 10_000
CHAIN_PAGE: Final = 100
MOST_CHAIN: Final = 1_000
FRAME: Final = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)", re.ASCII)
UNITS: Final = {"Min": "T", "Hour": "H", "Day": "D", "Week": "W", "Month": "M"}
COUNTS: Final = {"T": range(1, 60), "H": range(1, 24), "D": (1,), "W": (1,), "M": (1, 2, 3, 4, 6, 12)}
SORTS: Final = ("asc", "desc")
ADJUSTMENTS: Final = frozenset(("raw", "split", "dividend", "spin-off", "all"))
YEAR_S: Final = 365 * 86_400
FEEDS: Final = frozenset(("iex", "sip", "delayed_sip", "boats", "overnight", "otc", "opra", "indicative"))
VENUE: Final = "V"
"""Exchange code of everything here."""
TAPE: Final = "A"
EXCHANGE_CODES: Final = {"V": "angelx simulated venue"}
CONDITIONS: Final = {
    ("/v2", "trade"): {"@": "Regular Sale"}, ("/v2", "quote"): {"R": "Regular, Two-Sided Open"},
    ("/v1beta1", "trade"): {"a": "Single Leg Auction Non ISO"}, ("/v1beta1", "quote"): {"A": "Regular"},
}  # fmt: skip
"""Those that are used here, by version of the API and kind of tick."""
CORPORATE_ACTIONS: Final = (
    "forward_splits", "reverse_splits", "unit_splits", "cash_dividends", "stock_dividends", "spin_offs",
    "cash_mergers", "stock_mergers", "stock_and_cash_mergers", "redemptions", "name_changes", "worthless_removals",
    "rights_distributions",
)  # fmt: skip

Make = Callable[[Instrument, int, Call], Lines]
"""Lines of an instrument and its place."""
NO_ROWS: Final = TickBatch.empty().table
NOTHING: Final = Lines(np.zeros(0, np.int64), lambda _: [])


class DataApi:
    """Questions about prices.

    Parameters
    ----------
    feeds
        What the subscription has; another feed is refused.
    """

    def __init__(
        self, exchange: Exchange, symbols: Symbols, tape: Tape, feeds: frozenset[str], now: Callable[[], int]
    ) -> None:
        self._exchange, self._symbols, self._tape, self._feeds, self._now = exchange, symbols, tape, feeds, now

    def routes(self, routes: Routes) -> None:
        """What this answers."""
        past: tuple[tuple[str, Make], ...] = (("bars", self._bars), ("quotes", self._quotes), ("trades", self._trades))
        for family in ("/v2/stocks", "/v1beta1/options"):
            for name, make in past:
                routes.add("GET", f"{family}/{name}", self._many(name, make))
                routes.add("GET", f"{family}/{name}/latest", self._latest(name))
            routes.add("GET", f"{family}/meta/conditions/{{}}", self.conditions)
            routes.add("GET", f"{family}/meta/exchanges", lambda _: (200, EXCHANGE_CODES))
        for name, make in past:
            routes.add("GET", f"/v2/stocks/{{}}/{name}", self._single(name, make))
            routes.add("GET", f"/v2/stocks/{{}}/{name}/latest", self._single_latest(name))
        routes.add("GET", "/v2/stocks/auctions", self._many("auctions", lambda *_: NOTHING))
        routes.add("GET", "/v2/stocks/{}/auctions", self._single("auctions", lambda *_: NOTHING))
        routes.add("GET", "/v2/stocks/snapshots", self.snapshots)
        routes.add("GET", "/v2/stocks/{}/snapshot", self.snapshot)
        routes.add("GET", "/v1beta1/options/snapshots", self.option_snapshots)
        routes.add("GET", "/v1beta1/options/snapshots/{}", self.chain)
        nothing: Json = {"corporate_actions": {name: [] for name in CORPORATE_ACTIONS}, "next_page_token": None}
        for version in ("v1", "v1beta1"):
            routes.add("GET", f"/{version}/corporate-actions", lambda _: (200, nothing))
        routes.add("GET", "/v1beta1/news", lambda _: (200, {"news": [], "next_page_token": None}))

    # ------------------------------------------------------------ history
    def _many(self, name: str, make: Make) -> Callable[[Call], Answer]:
        def answer(call: Call) -> Answer:
            found, token = self._history(call, self._asked(call), make)
            return 200, {name: found, "next_page_token": token}

        return answer

    def _single(self, name: str, make: Make) -> Callable[[Call], Answer]:
        def answer(call: Call) -> Answer:
            symbol = call.where[0]
            found, token = self._history(call, [symbol], make)
            return 200, {"symbol": symbol, name: found.get(symbol), "next_page_token": token}

        return answer

    def _history(self, call: Call, asked: Sequence[str], make: Make) -> tuple[dict[str, list[Json]], str | None]:
        """One page: symbol by symbol, then by time; the limit counts rows over all symbols."""
        self._check_feed(call)
        if call.text("sort", "asc") not in SORTS:
            raise invalid(f"invalid sort: {call.text('sort')[:20]}")
        if not ADJUSTMENTS.issuperset(call.names("adjustment")):
            raise invalid(f"invalid adjustment: {call.text('adjustment')[:20]}")
        limit = call.count("limit", PAGE, MOST)
        first, skip = _token(call.text("page_token"))
        begin = datetime.combine(day_of(self._now()), time(), UTC)
        span = call.edge("start", int(begin.timestamp()) * NS), call.edge("end", 2**62, is_end=True)
        chosen = [one for one in sorted(set(asked)) if one >= first and one in self._symbols.by_symbol]
        found: dict[str, list[Json]] = {}
        left = limit
        for symbol in chosen:
            lines = make(self._symbols.by_symbol[symbol], self._place(symbol), call)
            inside = np.flatnonzero((lines.at >= span[0]) & (lines.at <= span[1]))
            if call.text("sort", "asc") == "desc":
                inside = inside[::-1]
            start = skip if symbol == first else 0
            page = inside[start : start + left]
            if len(page):
                found[symbol] = lines.write(page)
            left -= len(page)
            if start + len(page) < len(inside):
                return found, _write_token(symbol, start + len(page))
        return found, None

    def _quotes(self, instrument: Instrument, place: int, _: Call) -> Lines:
        return quotes(instrument, self._rows(place))

    def _trades(self, instrument: Instrument, place: int, _: Call) -> Lines:
        return trades(instrument, self._rows(place), int(self._tape.count[place]))

    def _rows(self, place: int) -> Table:
        return self._tape.rows([place]).get(place, NO_ROWS)

    def _bars(self, instrument: Instrument, place: int, call: Call) -> Lines:
        frame = FRAME.fullmatch(call.text("timeframe", "1Min"))
        unit = UNITS.get(frame[2], frame[2]) if frame is not None else ""
        if frame is None or int(frame[1]) not in COUNTS[unit]:
            raise invalid(f"invalid timeframe: {call.text('timeframe')[:20]}")
        return history(instrument, self._tape.minutes.of(place), int(frame[1]), unit)

    # ------------------------------------------------------------ the latest
    def _latest(self, name: str) -> Callable[[Call], Answer]:
        def answer(call: Call) -> Answer:
            _check_said(call)
            self._check_feed(call)
            found = {symbol: self._last(name, symbol) for symbol in self._asked(call)}
            return 200, {name: {symbol: line for symbol, line in found.items() if line is not None}}

        return answer

    def _single_latest(self, name: str) -> Callable[[Call], Answer]:
        def answer(call: Call) -> Answer:
            _check_said(call)
            self._check_feed(call)
            return 200, {"symbol": call.where[0], name.removesuffix("s"): self._last(name, call.where[0])}

        return answer

    def _last(self, name: str, symbol: str) -> Json | None:
        instrument = self._symbols.by_symbol.get(symbol)
        if instrument is None:
            return None
        if name == "quotes":
            return self._quote(instrument)
        if name == "trades":
            return self._trade(instrument)
        found = bars(instrument, self._tape.minutes.of(self._place(symbol))[-1:], 1, "T")
        return bare(found[0]) if found else None

    def _quote(self, instrument: Instrument) -> Json | None:
        cells = self._exchange.market.of(self._exchange.table.index[instrument.id])
        if cells[BID] <= 0 and cells[ASK] <= 0:
            return None
        at = cells[EXCHANGE_AT] or cells[AT]
        return quote_line(instrument, rfc3339(at), cells[BID], cells[ASK], cells[BID_SIZE], cells[ASK_SIZE])

    def _trade(self, instrument: Instrument) -> Json | None:
        place = self._exchange.table.index[instrument.id]
        price, at = self._exchange.market.of(place)[LAST], int(self._tape.traded_at[place])
        if price <= 0 or not at:
            return None
        return trade_line(instrument, rfc3339(at), price, int(self._tape.size[place]), int(self._tape.count[place]))

    # ------------------------------------------------------------ snapshots
    def snapshots(self, call: Call) -> Answer:
        """GET /v2/stocks/snapshots: keyed by symbol, without a wrapper."""
        self._check_feed(call)
        known = [symbol for symbol in self._asked(call) if symbol in self._symbols.by_symbol]
        return 200, {symbol: self._snapshot(self._symbols.by_symbol[symbol]) for symbol in known}

    def snapshot(self, call: Call) -> Answer:
        """GET /v2/stocks/{symbol}/snapshot."""
        self._check_feed(call)
        instrument = self._symbols.by_symbol.get(call.where[0])
        if instrument is None:
            raise invalid(f"invalid symbol: {call.where[0][:40]}")
        return 200, {"symbol": call.where[0], **self._snapshot(instrument)}

    def _snapshot(self, instrument: Instrument) -> Json:
        place = self._exchange.table.index[instrument.id]
        past = self._tape.minutes.of(place)
        minutes, days = bars(instrument, past[-1:], 1, "T"), bars(instrument, past, 1, "D")
        return {
            "latestTrade": self._trade(instrument),
            "latestQuote": self._quote(instrument),
            "minuteBar": bare(minutes[-1]) if minutes else None,
            "dailyBar": bare(days[-1]) if days else None,
            "prevDailyBar": bare(days[-2]) if len(days) > 1 else None,
        }

    @staticmethod
    def conditions(call: Call) -> Answer:
        """GET /v2/stocks/meta/conditions/{trade or quote}, and options' own."""
        found = CONDITIONS.get((call.path[: call.path.index("/", 1)], call.where[0]))
        if found is None:
            raise Refusal(400, None, f"invalid ticktype: {call.where[0][:20]}")
        return 200, found

    # ------------------------------------------------------------ options
    def option_snapshots(self, call: Call) -> Answer:
        """GET /v1beta1/options/snapshots."""
        self._check_feed(call)
        asked = self._asked(call)
        if len(asked) > CHAIN_PAGE:
            raise invalid(f"at most {CHAIN_PAGE} symbols")
        known = [self._symbols.by_symbol[symbol] for symbol in sorted(asked) if symbol in self._symbols.by_symbol]
        return self._option_page(call, [one for one in known if one.kind is Kind.OPTION])

    def chain(self, call: Call) -> Answer:
        """GET /v1beta1/options/snapshots/{underlying}."""
        self._check_feed(call)
        below = self._symbols.by_symbol.get(call.where[0])
        chosen = [
            option
            for option in self._symbols.options
            if below is not None
            and option.underlying == below.id
            and call.text("root_symbol", self._symbols.roots[option.id]) == self._symbols.roots[option.id]
            and self._in_chain(call, option)
        ]
        return self._option_page(call, chosen)

    def _option_page(self, call: Call, chosen: Sequence[Instrument]) -> Answer:
        limit = call.count("limit", CHAIN_PAGE, MOST_CHAIN)
        first, _ = _token(call.text("page_token"))
        since = call.instant("updated_since", -1)
        left = [one for one in chosen if self._symbols.of[one.id] >= first and self._updated_at(one) > since]
        token = _write_token(self._symbols.of[left[limit].id], 0) if len(left) > limit else None
        shown = {self._symbols.of[option.id]: self._option(option) for option in left[:limit]}
        return 200, {"snapshots": shown, "next_page_token": token}

    @staticmethod
    def _in_chain(call: Call, option: Instrument) -> bool:
        assert option.expiry is not None
        on = call.text("expiration_date")
        right = "call" if option.right is Right.CALL else "put"
        try:
            low, high = (price_of(call.text(name) or "0") for name in ("strike_price_gte", "strike_price_lte"))
        except ValueError as error:
            raise invalid(f"invalid strike price: {error}") from error
        return (
            (not on or on == str(option.expiry))
            and call.day("expiration_date_gte", date.min) <= option.expiry <= call.day("expiration_date_lte", date.max)
            and call.text("type", right) == right
            and option.strike >= low
            and (not high or option.strike <= high)
        )

    def _updated_at(self, option: Instrument) -> int:
        cells = self._exchange.market.of(self._exchange.table.index[option.id])
        at: int = cells[EXCHANGE_AT] or cells[AT]
        return at

    def _option(self, option: Instrument) -> Json:
        found = {"latestQuote": self._quote(option), "latestTrade": self._trade(option)}
        shown: Json = {name: line for name, line in found.items() if line is not None}
        volatility = self._volatility(option)
        if volatility is not None:
            spot, strike, years, is_call = self._terms(option)
            shown["impliedVolatility"] = round(volatility, 4)
            shown["greeks"] = {
                name: round(value, 4)
                for name, value in msgspec.to_builtins(greeks(volatility, spot, strike, years, is_call=is_call)).items()
            }
        return shown

    def _volatility(self, option: Instrument) -> float | None:
        cells = self._exchange.market.of(self._exchange.table.index[option.id])
        if cells[BID] <= 0 or cells[ASK] < cells[BID]:
            return None
        spot, strike, years, is_call = self._terms(option)
        return implied_volatility((cells[BID] + cells[ASK]) / 2 / SCALE, spot, strike, years, is_call=is_call)

    def _terms(self, option: Instrument) -> tuple[float, float, float, bool]:
        """Spot, strike, years to the close of the last day, and whether it is a call; spot 0 where it is not known."""
        assert option.expiry is not None
        place = self._exchange.table.index.get(option.underlying, -1)
        spot = 0
        if place >= 0:
            cells = self._exchange.market.of(place)
            spot = (cells[BID] + cells[ASK]) // 2 if cells[BID] > 0 and cells[ASK] > 0 else max(cells[LAST], 0)
        ends = datetime.combine(option.expiry, time(16), NEW_YORK).timestamp()
        years = (ends - (self._exchange.now or self._now()) / NS) / YEAR_S
        return spot / SCALE, option.strike / SCALE, years, option.right is Right.CALL

    # ------------------------------------------------------------ small things
    @staticmethod
    def _asked(call: Call) -> list[str]:
        symbols = call.names("symbols")
        if not symbols:
            raise Refusal(400, None, "symbols is required")
        return symbols

    def _check_feed(self, call: Call) -> None:
        feed = call.text("feed")
        if feed and feed not in FEEDS:
            raise Refusal(400, None, f"invalid feed: {feed[:20]}")
        if feed and feed not in self._feeds:
            shown = feed.upper() if feed != "sip" else "recent SIP"
            raise Refusal(403, UNPROCESSABLE, f"subscription does not permit querying {shown} data")

    def _place(self, symbol: str) -> int:
        return self._exchange.table.index[self._symbols.by_symbol[symbol].id]


def _check_said(call: Call) -> None:
    """Alpaca names what it does not expect where the latest is asked for (alpaca-py issue 581)."""
    unknown = sorted(set(call.query) - {"symbols", "feed", "currency"})
    if unknown:
        raise Refusal(400, None, f"unexpected query parameter(s): {', '.join(unknown)}")


# ---------------------------------------------------------------- page tokens
def _write_token(symbol: str, skip: int) -> str:
    return urlsafe_b64encode(f"{symbol}|{skip}".encode()).decode()


def _token(text: str) -> tuple[str, int]:
    """Symbol to begin with and rows of it to leave out.

    Raises
    ------
    Refusal
        It is none of ours.
    """
    if not text:
        return "", 0
    try:
        symbol, _, skip = urlsafe_b64decode(text).decode().partition("|")
        return symbol, int(skip)
    except (ValueError, UnicodeError) as error:
        raise invalid("invalid page_token") from error
