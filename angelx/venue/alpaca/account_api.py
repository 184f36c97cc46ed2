"""The account over REST: money, configuration, positions, activities, history."""

from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from angelx.domain.scalars import NS
from angelx.domain.timestamps import rfc3339
from angelx.venue.alpaca.call import NEW_YORK, Answer, Call, Routes
from angelx.venue.alpaca.minutes import MINUTE
from angelx.venue.alpaca.names import Symbols, each, number, text, wire_id
from angelx.venue.alpaca.orders_api import OrdersApi
from angelx.venue.alpaca.refusals import invalid, malformed, not_found, unprocessable
from angelx.venue.alpaca.views import Json, Views, account
from angelx.venue.exchange import Exchange
from angelx.venue.keeping import Keeper
from angelx.venue.requests import Fill

PAGE: Final = 100
FRAMES: Final = {"1Min": 1, "5Min": 5, "15Min": 15, "1H": 60, "1D": 1440}
"""Minutes between two points of the history."""
USUAL_FRAMES: Final = {"1Min": 7, "15Min": 30}
"""Where none is said: for periods of fewer days."""
UNITS: Final = {"D": 1, "W": 7, "M": 30, "A": 365}
CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "dtbp_check": ("both", "entry", "exit"),
    "fractional_trading": (True, False),
    "max_margin_multiplier": ("1", "2", "4"),
    "no_shorting": (True, False),
    "pdt_check": ("both", "entry", "exit"),
    "suspend_trade": (True, False),
    "trade_confirm_email": ("all", "none"),
    "ptp_no_exception_entry": (True, False),
    "max_options_trading_level": (None, 0, 1, 2, 3),
    "disable_overnight_trading": (True, False),
}
SETTINGS: Final = "configuration"
WATCHLIST: Final = "watchlist/"
"""Names under which they are kept."""
DAY_TRADE_DAYS: Final = 5
CATEGORIES: Final = {"trade_activity": ["FILL"], "non_trade_activity": ["FEE"]}
"""Of activities: the kinds that there are here."""


class AccountApi:
    """What the account is, holds and did.

    Parameters
    ----------
    name
        The account number.
    """

    def __init__(
        self,
        exchange: Exchange,
        symbols: Symbols,
        views: Views,
        orders: OrdersApi,
        name: str,
        now: Callable[[], int],
        keeper: Keeper,
    ) -> None:
        self._keeper = keeper
        self._exchange, self._symbols, self._views, self._orders = exchange, symbols, views, orders
        self._name, self._now = name, now
        self._opened_at = 0
        """When the account was first looked at or its equity noted: the venue's clock does not run before it serves."""
        self._first = exchange.funds().equity
        self._minutes: list[int] = []
        """Minutes since the epoch at which the equity was looked at, and what it was."""
        self._equity: list[int] = []
        self.configuration = orders.configuration
        self._watchlists: dict[str, Json] = {}
        self._counted = 0
        """Fills that `_count` has looked at, what they came to each day, and the orders that closed it again."""
        self._opened: dict[tuple[str, date], int] = {}
        self._closers: dict[str, date] = {}
        self._added: dict[tuple[str, date, int], tuple[int, int]] = {}
        """Units and money of a day's fills on one side."""

    def routes(self, routes: Routes) -> None:
        """What this answers."""
        routes.add("GET", "/v2/account", self.account)
        routes.add("GET", "/v2/account/configurations", lambda _: (200, self.configuration))
        routes.add("PATCH", "/v2/account/configurations", self.configure)
        routes.add("GET", "/v2/account/activities", self.activities)
        routes.add("GET", "/v2/account/activities/{}", self.activities)
        routes.add("GET", "/v2/account/portfolio/history", self.history)
        routes.add("GET", "/v2/positions", self.positions)
        routes.add("GET", "/v2/positions/{}", self.position)
        routes.add("POST", "/v2/positions/{}/exercise", self.exercise)
        routes.add("POST", "/v2/positions/{}/do-not-exercise", self.exercise)
        routes.add("GET", "/v2/watchlists", lambda _: (200, list(self._watchlists.values())))
        routes.add("POST", "/v2/watchlists", self.watch)
        for one in ("/v2/watchlists/{}", "/v2/watchlists:by_name"):
            routes.add("GET", one, lambda call: (200, self._watchlist(call)))
            routes.add("PUT", one, self.rewatch)
            routes.add("POST", one, self.watch_more)
            routes.add("DELETE", one, self.unwatch)
        routes.add("DELETE", "/v2/watchlists/{}/{}", self.watch_less)

    # ------------------------------------------------------------ money
    def account(self, _: Call) -> Answer:
        """GET /account."""
        long = short = 0
        for held in self._exchange.positions():
            instrument = self._exchange.table.get(held.instrument)
            assert instrument is not None
            value = self._views.price(instrument, held.quantity) * held.quantity
            long, short = (long + value, short) if value > 0 else (long, short + value)
        funds = self._exchange.funds()
        self._opened_at = self._opened_at or self._exchange.now or self._now()
        shown = account(
            self._name, funds, (long, short), self._opening(), self._opened_at, self._day_trades(), self._day_before()
        )
        suspended = self.configuration["suspend_trade"]
        return 200, shown | {
            "trade_suspended_by_user": suspended,
            "shorting_enabled": not self.configuration["no_shorting"],
        }

    def sample(self) -> None:
        """Note the equity, once a minute of the exchange's time."""
        minute = self._exchange.now // MINUTE
        self._opened_at = self._opened_at or self._exchange.now
        if not self._minutes or minute > self._minutes[-1]:
            self._minutes.append(minute)
            self._equity.append(self._exchange.funds().equity)

    def _opening(self) -> int:
        """Equity at the end of the day before, as far as it was seen."""
        begins = datetime.combine(self._today(), datetime.min.time(), NEW_YORK)
        place = bisect_left(self._minutes, int(begins.timestamp()) // 60)
        return self._equity[place - 1] if place else self._first

    def _today(self) -> date:
        return day_of(self._exchange.now or self._now())

    def _day_before(self) -> date:
        """The weekday before today."""
        return self._today() - timedelta(days=max(1, (self._today().weekday() + 6) % 7 - 3))

    def _day_trades(self) -> int:
        """Orders of the last five days that closed what was opened on the same day."""
        self._count()
        first = self._today() - timedelta(days=DAY_TRADE_DAYS + 2)
        return sum(day >= first for day in self._closers.values())

    def _count(self) -> None:
        """Look at the fills since the last time."""
        fills = self._exchange.fills()
        for fill in fills[self._counted :]:
            key = (fill.instrument, day_of(fill.at))
            before = fill.position - fill.side * fill.quantity
            opened = self._opened.get(key, 0)
            if before * fill.side < 0 and opened * fill.side < 0:
                self._closers[fill.order] = key[1]
            self._opened[key] = opened + fill.side * fill.quantity
            units, money = self._added.get((*key, fill.side), (0, 0))
            self._added[*key, fill.side] = units + fill.quantity, money + fill.quantity * fill.price
        self._counted = len(fills)

    def configure(self, call: Call) -> Answer:
        """PATCH /account/configurations."""
        changes = {name: value for name, value in call.json().items() if name in CHOICES and value != ""}
        for name, value in changes.items():
            if value not in CHOICES[name]:
                raise invalid(f"invalid {name}: {value}")
        self.configuration |= changes
        self._keeper.put(SETTINGS, self.configuration)
        return 200, self.configuration

    def history(self, call: Call) -> Answer:
        """GET /account/portfolio/history."""
        period = self._period(call.text("period", "1M"))
        usual = next((frame for frame, days in USUAL_FRAMES.items() if period < days * 1440 * MINUTE), "1D")
        frame = call.text("timeframe", usual)
        if frame not in FRAMES:
            raise invalid(f"invalid timeframe: {frame}")
        end = call.edge("date_end", call.instant("end", self._exchange.now), is_end=True)
        begin = call.instant("start", end - period)
        step = FRAMES[frame]
        points: dict[int, int] = {}
        for minute, equity in zip(self._minutes, self._equity, strict=True):
            if begin <= minute * MINUTE <= end:
                points[minute // step * step * 60] = equity
        base = next(iter(points.values()), self._first)
        shown: Json = {
            "timestamp": list(points),
            "equity": [number(equity) for equity in points.values()],
            "profit_loss": [number(equity - base) for equity in points.values()],
            "profit_loss_pct": [(equity - base) / base if base else 0.0 for equity in points.values()],
            "base_value": number(base),
            "base_value_asof": str(self._today()),
            "timeframe": frame,
        }
        kinds = call.names("cashflow_types")
        return 200, shown | ({"cashflow": {kind: [0.0] * len(points) for kind in kinds}} if kinds else {})

    @staticmethod
    def _period(value: str) -> int:
        if not value[:-1].isdecimal() or value[-1] not in UNITS or len(value) > 5:
            raise invalid(f"invalid period: {value[:20]}")
        return int(value[:-1]) * UNITS[value[-1]] * 1440 * MINUTE

    # ------------------------------------------------------------ positions
    def positions(self, _: Call) -> Answer:
        """GET /positions."""
        return 200, [self._position(held) for held in self._exchange.positions() if held.instrument in self._symbols.of]

    def position(self, call: Call) -> Answer:
        """GET /positions/{symbol or id}."""
        instrument = self._symbols.by_symbol.get(call.where[0])
        for held in self._exchange.positions():
            if instrument is not None and held.instrument == instrument.id:
                return 200, self._position(held)
        raise not_found("position does not exist")

    def _position(self, held: Any) -> Json:
        working = self._orders.closing(held.instrument, -1 if held.quantity > 0 else 1)
        return self._views.position(held, working, *self._since_before(held))

    def _since_before(self, held: Any) -> tuple[int, int]:
        """Units of a position that were held before today, and what the others cost."""
        self._count()
        key, side = (held.instrument, self._today()), 1 if held.quantity > 0 else -1
        before = held.quantity - self._opened.get(key, 0)
        if before * side <= 0:
            return 0, held.cost
        kept = side * min(before * side, held.quantity * side)
        units, money = self._added.get((*key, side), (0, 0))
        return kept, (held.quantity - kept) * money // units if units else 0

    def exercise(self, call: Call) -> Answer:
        """POST /positions/{symbol or id}/exercise, /do-not-exercise: the exchange settles nothing before its time."""
        instrument = self._symbols.by_symbol.get(call.where[0])
        if instrument is None or self._exchange.position(instrument.id) <= 0:
            raise not_found("position does not exist")
        raise unprocessable("exercise instructions are not accepted at this venue")

    # ------------------------------------------------------------ activities
    def activities(self, call: Call) -> Answer:
        """GET /account/activities, all or of some types."""
        kinds = call.where[0].split(",") if call.where else call.names("activity_types")
        category = call.text("category")
        if category not in ("", *CATEGORIES) or (category and kinds):
            raise invalid("category is trade_activity or non_trade_activity, and does not go with activity types")
        kinds = CATEGORIES.get(category, kinds)
        after, until = call.instant("after", -1), call.instant("until", 2**62)
        on, order = call.text("date")[:10], call.text("order_id")
        rows: list[tuple[int, str, Callable[[], Json]]] = []
        if not kinds or "FILL" in kinds:
            rows += [
                (fill.at, _activity_id(fill.at, wire_id("fill", fill.execution)), partial(self._fill, fill, done))
                for fill, done in self._fills()
                if after < fill.at <= until
                and (not on or str(day_of(fill.at)) == on)
                and (not order or wire_id("order", fill.order) == order)
            ]
        if not order and (not kinds or "FEE" in kinds):
            rows += [
                (at, row["id"], partial(dict, row))
                for at, row in self._fees()
                if after < at <= until and (not on or str(day_of(at)) == on)
            ]
        rows.sort(key=lambda row: row[:2])
        if call.text("direction", "desc") != "asc":
            rows.reverse()
        start, token = 0, call.text("page_token")
        if token:
            start = next((place + 1 for place, row in enumerate(rows) if row[1] == token), 0)
            if not start:
                raise unprocessable("invalid page_token")
        return 200, [make() for _, _, make in rows[start : start + call.count("page_size", PAGE, PAGE)]]

    def _fills(self) -> list[tuple[Fill, int]]:
        """Fills in dollars, each with what its order had filled by then, units."""
        done: dict[str, int] = {}
        found = []
        for fill in self._exchange.fills():
            if fill.instrument in self._symbols.of:
                order = self._exchange.order(fill.order)
                carried = order.carried if order is not None else 0
                done[fill.order] = done.get(fill.order, carried) + fill.quantity
                found.append((fill, done[fill.order]))
        return found

    def _fill(self, fill: Fill, done: int) -> Json:
        order = self._exchange.order(fill.order)
        instrument = self._exchange.table.get(fill.instrument)
        assert order is not None
        assert instrument is not None
        unit, whole = each(instrument), order.request.quantity + order.carried
        return {
            "id": _activity_id(fill.at, wire_id("fill", fill.execution)),
            "account_id": wire_id("account", self._name),
            "activity_type": "FILL",
            "transaction_time": rfc3339(fill.at),
            "type": "fill" if done >= whole else "partial_fill",
            "price": text(fill.price),
            "qty": str(fill.quantity // unit),
            "side": "buy" if fill.side > 0 else "sell",
            "symbol": self._symbols.of[fill.instrument],
            "leaves_qty": str((whole - done) // unit),
            "order_id": wire_id("order", fill.order),
            "cum_qty": str(done // unit),
            "order_status": "filled" if done >= whole else "partially_filled",
        }

    def _fees(self) -> list[tuple[int, Json]]:
        """Regulatory fees, one row a day; this day's come tomorrow."""
        days: dict[date, tuple[int, int]] = {}
        for fill in self._exchange.fills():
            if fill.fee:
                day = day_of(fill.at)
                days[day] = (max(days.get(day, (0, 0))[0], fill.at), days.get(day, (0, 0))[1] + fill.fee)
        return [
            (
                at,
                {
                    "id": _activity_id(at, wire_id("fee", str(day))),
                    "account_id": wire_id("account", self._name),
                    "activity_type": "FEE",
                    "date": str(day),
                    "net_amount": text(-fee),
                    "description": f"regulatory fees of {day}",
                    "status": "executed",
                },
            )
            for day, (at, fee) in days.items()
            if day < self._today()
        ]

    # ------------------------------------------------------------ watchlists
    def watch(self, call: Call) -> Answer:
        """POST /watchlists."""
        form = call.json()
        name, symbols = form.get("name"), form.get("symbols", [])
        if not isinstance(name, str) or not isinstance(symbols, list):
            raise malformed()
        if any(one["name"] == name for one in self._watchlists.values()):
            raise invalid("watchlist name must be unique")
        now = rfc3339(self._now())
        key = wire_id("watchlist", f"{name}:{now}")
        made: Json = {
            "id": key, "account_id": wire_id("account", self._name), "created_at": now, "updated_at": now,
            "name": name, "assets": self._assets(symbols),
        }  # fmt: skip
        self._watchlists[key] = made
        self._keeper.put(WATCHLIST + key, made)
        return 200, made

    def rewatch(self, call: Call) -> Answer:
        """PUT /watchlists/{id}."""
        found, form = self._watchlist(call), call.json()
        symbols = form.get("symbols")
        assets = self._assets(symbols) if isinstance(symbols, list) else found["assets"]
        found |= {"name": str(form.get("name") or found["name"]), "assets": assets}
        return 200, self._touched(found)

    def watch_more(self, call: Call) -> Answer:
        """POST /watchlists/{id}."""
        found = self._watchlist(call)
        found["assets"] += self._assets([call.json().get("symbol")])
        return 200, self._touched(found)

    def watch_less(self, call: Call) -> Answer:
        """DELETE /watchlists/{id}/{symbol}."""
        found = self._watchlist(call)
        found["assets"] = [asset for asset in found["assets"] if asset["symbol"] != call.where[1]]
        return 200, self._touched(found)

    def unwatch(self, call: Call) -> Answer:
        """DELETE /watchlists/{id}."""
        key = self._watchlist(call)["id"]
        del self._watchlists[key]
        self._keeper.put(WATCHLIST + key, None)
        return 204, None

    def _touched(self, found: Json) -> Json:
        found["updated_at"] = rfc3339(self._now())
        self._keeper.put(WATCHLIST + found["id"], found)
        return found

    def restore(self, name: str, value: Any) -> None:
        """Take up a watchlist or the settings of an earlier process."""
        if name == SETTINGS:
            self.configuration |= value
        elif name.startswith(WATCHLIST):
            self._watchlists[name.removeprefix(WATCHLIST)] = value

    def _watchlist(self, call: Call) -> Json:
        try:
            if call.where:
                found = self._watchlists.get(str(UUID(call.where[0])))
            else:
                found = next((one for one in self._watchlists.values() if one["name"] == call.text("name")), None)
        except ValueError:
            found = None
        if found is None:
            raise not_found("watchlist not found")
        return found

    def _assets(self, symbols: list[Any]) -> list[Json]:
        for symbol in symbols:
            if not isinstance(symbol, str) or symbol not in self._symbols.by_symbol:
                raise not_found(f"asset not found for {symbol}")
        return [self._views.asset(self._symbols.by_symbol[symbol]) for symbol in symbols]


def day_of(at: int) -> date:
    """New York's date at an instant, ns."""
    return datetime.fromtimestamp(at // NS, NEW_YORK).date()


def _activity_id(at: int, name: str) -> str:
    moment = datetime.fromtimestamp(at // NS, UTC)
    return f"{moment:%Y%m%d%H%M%S}{at % NS // 1_000_000:03d}::{name}"
