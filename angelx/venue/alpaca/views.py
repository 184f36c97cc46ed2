"""What the exchange knows, as Alpaca writes it: money and quantities are text, absent things are null."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.reports import PositionReport
from angelx.domain.scalars import NS, SCALE, decimal_of
from angelx.domain.ticks import ASK, BID, LAST
from angelx.domain.timestamps import rfc3339
from angelx.market.state import MarketState
from angelx.venue.account import Funds
from angelx.venue.alpaca.names import Symbols, asset_id, each, plain, text, wire_id
from angelx.venue.requests import TRAILING_STOP, VenueOrder

Json = dict[str, Any]

STATUSES: Final = {
    "pending": "pending_new", "accepted": "accepted", "held": "held", "trigger_pending": "new", "working": "new",
    "partially_filled": "partially_filled", "pending_cancel": "pending_cancel", "pending_replace": "pending_replace",
    "filled": "filled", "cancelled": "canceled", "rejected": "rejected", "expired": "expired", "replaced": "replaced",
}  # fmt: skip
TIFS: Final = {"DAY": "day", "GTC": "gtc", "IOC": "ioc", "FOK": "fok", "OPG": "opg", "CLS": "cls"}
GTC_DAYS: Final = timedelta(days=90)
PENNY: Final = SCALE // 100
"""Price step of option classes in the Penny Program."""
AVERAGE: Final = Decimal("0.000001")
EXCHANGES: Final = ("NASDAQ", "NYSE", "ARCA", "BATS")


class Views:
    """Writes orders, positions, assets and contracts of one exchange.

    Parameters
    ----------
    closes_at
        When the session of an instant (ns) in a segment ends, ns.
    """

    def __init__(
        self, table: InstrumentTable, market: MarketState, symbols: Symbols, closes_at: Callable[[str, int], int]
    ) -> None:
        self._table, self._market, self._symbols, self._closes_at = table, market, symbols, closes_at

    # ------------------------------------------------------------ orders
    def order(self, order: VenueOrder, legs: Sequence[Json] | None = None) -> Json:
        """One order; `legs` are its exits where they were asked for."""
        request = order.request
        instrument = self._table.get(request.instrument)
        assert instrument is not None
        unit = each(instrument)
        filled = order.filled + order.carried
        return {
            **self._stamps(order, instrument),
            "asset_id": asset_id(instrument),
            "symbol": self._symbols.of[instrument.id],
            "asset_class": asset_class(instrument),
            "notional": None,
            "qty": str((request.quantity + order.carried) // unit),
            "filled_qty": str(filled // unit),
            "filled_avg_price": average(order.notional, order.filled) if order.filled else None,
            "order_class": request.product or "",
            "order_type": request.kind,
            "type": request.kind,
            "side": "buy" if request.side > 0 else "sell",
            "position_intent": _intent(order),
            "time_in_force": TIFS[request.tif],
            "limit_price": text(request.limit) if request.limit else None,
            "stop_price": text(order.stop) if order.stop else None,
            "status": STATUSES[order.status],
            "extended_hours": request.extended_hours,
            "legs": list(legs) if legs else None,
            "trail_percent": plain(Decimal(str(request.trail_pct))) if request.trail_pct else None,
            "trail_price": text(request.trail) if request.trail else None,
            "hwm": text(order.best) if request.kind == TRAILING_STOP and order.best else None,
            "subtag": None,
            "source": None,
            "ratio_qty": None,
            **({"reject_reason": f"{order.code}: {order.detail}"} if order.status == "rejected" else {}),
        }

    def _stamps(self, order: VenueOrder, instrument: Instrument) -> Json:
        created, ended = rfc3339(order.created_at), rfc3339(order.ended_at) if order.ended_at else None
        is_gtc = order.request.tif == "GTC"

        def when(status: str) -> str | None:
            return ended if order.status == status else None

        return {
            "id": wire_id("order", order.id),
            "client_order_id": order.request.client_id,
            "created_at": created,
            "updated_at": rfc3339(order.updated_at),
            "submitted_at": created,
            "filled_at": when("filled"),
            "expired_at": when("expired"),
            "expires_at": self.expires(instrument, order.created_at, is_gtc=is_gtc),
            "canceled_at": when("cancelled"),
            "failed_at": when("rejected"),
            "replaced_at": when("replaced"),
            "replaced_by": wire_id("order", order.replaced_by) if order.replaced_by else None,
            "replaces": wire_id("order", order.replaces) if order.replaces else None,
        }

    def expires(self, instrument: Instrument, created: int, *, is_gtc: bool = False) -> str | None:
        """When an order ends if nothing else ends it."""
        lasts = int(GTC_DAYS.total_seconds()) * NS
        at = created + lasts if is_gtc else self._closes_at(instrument.segment, created)
        return rfc3339(at) if at else None

    # ------------------------------------------------------------ positions
    def position(self, held: PositionReport, working: int, kept: int, added: int) -> Json:
        """One position; `working` are the units that orders to close it hold, `kept` those held since before today,
        `added` is what the others cost: today's profit is on yesterday's price for the former only.
        """
        instrument = self._table.get(held.instrument)
        assert instrument is not None
        unit, sign = each(instrument), 1 if held.quantity > 0 else -1
        now, before = self.price(instrument, held.quantity), self.reference(instrument)
        value, profit = now * held.quantity, now * held.quantity - held.cost
        base = before * kept + added
        quantity = held.quantity // unit
        return {
            "asset_id": asset_id(instrument),
            "symbol": self._symbols.of[instrument.id],
            "exchange": exchange_of(instrument),
            "asset_class": asset_class(instrument),
            "asset_marginable": instrument.kind is Kind.EQUITY,
            "qty": str(quantity),
            "qty_available": str(quantity - sign * (working // unit)),
            "avg_entry_price": average(held.cost, held.quantity),
            "side": "long" if sign > 0 else "short",
            "market_value": text(value),
            "cost_basis": text(held.cost),
            "unrealized_pl": text(profit),
            "unrealized_plpc": ratio(profit, abs(held.cost)),
            "unrealized_intraday_pl": text(value - base),
            "unrealized_intraday_plpc": ratio(value - base, abs(base)),
            "current_price": text(now),
            "lastday_price": text(before),
            "change_today": ratio(now - before, before),
        }

    def price(self, instrument: Instrument, side: int) -> int:
        """The last price; without one the touch that closes a position of that side, else the other."""
        cells = self._market.of(self._table.index[instrument.id])
        ladder = (cells[LAST], cells[BID if side > 0 else ASK], cells[ASK if side > 0 else BID])
        return next((price for price in ladder if price > 0), 0)

    def reference(self, instrument: Instrument) -> int:
        """The first price of this session, where yesterday's close is not known."""
        from angelx.market.state import FIRST

        first: int = self._market.of(self._table.index[instrument.id])[FIRST]
        return first or self.price(instrument, 1)

    # ------------------------------------------------------------ lists
    def asset(self, instrument: Instrument) -> Json:
        """One share."""
        return {
            "id": asset_id(instrument),
            "class": "us_equity",
            "exchange": exchange_of(instrument),
            "symbol": self._symbols.of[instrument.id],
            "name": f"{instrument.symbol} Common Stock",
            "status": "active",
            "tradable": instrument.tradable,
            "marginable": True,
            "maintenance_margin_requirement": 30,
            "margin_requirement_long": "30",
            "margin_requirement_short": "30",
            "shortable": True,
            "easy_to_borrow": True,
            "fractionable": False,
            "attributes": ["has_options"] if self._has_options(instrument) else [],
        }

    def _has_options(self, instrument: Instrument) -> bool:
        return bool(self._table.options(instrument.id))

    def contract(self, instrument: Instrument, interest: int, day: str) -> Json:
        """One option contract."""
        assert instrument.expiry is not None
        below = self._table.get(instrument.underlying)
        under = below.symbol if below is not None else ""
        close = self.price(instrument, 1)
        right = "call" if instrument.right is Right.CALL else "put"
        return {
            "id": asset_id(instrument),
            "symbol": self._symbols.of[instrument.id],
            "name": f"{under} {instrument.expiry:%b %d %Y} {text(instrument.strike)} {right.capitalize()}",
            "status": "active",
            "tradable": instrument.tradable,
            "expiration_date": str(instrument.expiry),
            "root_symbol": self._symbols.roots[instrument.id],
            "underlying_symbol": under,
            "underlying_asset_id": asset_id(below) if below is not None else wire_id("asset", instrument.underlying),
            "type": right,
            "style": "american",
            "strike_price": text(instrument.strike),
            "multiplier": str(instrument.lot_size),
            "size": str(instrument.lot_size),
            "ppind": instrument.tick_size <= PENNY,
            "open_interest": str(interest // instrument.lot_size) if interest else None,
            "open_interest_date": day if interest else None,
            "close_price": text(close) if close else None,
            "close_price_date": day if close else None,
        }


def account(
    name: str, funds: Funds, values: tuple[int, int], opening: int, created: int, trades: int, before: date
) -> Json:
    """The account; `values` are of long and short positions, `opening` is the equity the day began with, `before` the
    date of that.
    """
    long, short = values
    power = max(funds.available, 0)
    return {
        "id": wire_id("account", name),
        "admin_configurations": {},
        "user_configurations": None,
        "account_number": name,
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "crypto_tier": 0,
        "currency": "USD",
        "cash": text(funds.cash),
        "buying_power": text(power),
        "regt_buying_power": text(power),
        "daytrading_buying_power": "0",
        "effective_buying_power": text(power),
        "bod_dtbp": "0",
        "non_marginable_buying_power": text(power),
        "options_buying_power": text(power),
        "options_approved_level": 3,
        "options_trading_level": 3,
        "equity": text(funds.equity),
        "last_equity": text(opening),
        "portfolio_value": text(funds.equity),
        "long_market_value": text(long),
        "short_market_value": text(short),
        "position_market_value": text(long + short),
        "initial_margin": text(funds.held + funds.locked + long),
        "maintenance_margin": text(funds.locked + long),
        "last_maintenance_margin": "0",
        "sma": "0",
        "multiplier": "1",
        "daytrade_count": trades,
        "pattern_day_trader": False,
        "shorting_enabled": True,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
        "accrued_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "pending_reg_taf_fees": "0",
        "intraday_adjustments": "0",
        "balance_asof": str(before),
        "created_at": rfc3339(created),
    }


def _intent(order: VenueOrder) -> str | None:
    """What was said or worked out when it came; exits of an entry close what it opens."""
    if order.parent:
        return "buy_to_close" if order.request.side > 0 else "sell_to_close"
    return order.request.tag or None


def asset_class(instrument: Instrument) -> str:
    """Of shares and options."""
    return "us_option" if instrument.kind is Kind.OPTION else "us_equity"


def exchange_of(instrument: Instrument) -> str:
    """Where a share is listed: this venue has to name one; options have none."""
    if instrument.kind is Kind.OPTION:
        return ""
    return EXCHANGES[sum(instrument.symbol.encode()) % len(EXCHANGES)]


def average(money: int, units: int) -> str:
    """Money per unit as text, to six decimals."""
    return plain((decimal_of(money) / units).quantize(AVERAGE, ROUND_HALF_EVEN))


def ratio(part: int, whole: int) -> str:
    """A fraction as text."""
    if not whole:
        return "0"
    return plain((Decimal(part) / Decimal(whole)).quantize(Decimal("1e-10"), ROUND_HALF_EVEN))


def dollars(amount: int) -> float:
    """Money where the API has a number."""
    return amount / SCALE
