"""Positions, holdings, money, margin and charges in Angel One's words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from angelx.domain.instruments import Kind
from angelx.domain.scalars import BUY, SELL, price_of
from angelx.domain.ticks import LAST
from angelx.orders.fees import FeeSchedule, FeesUnknown
from angelx.venue.angelone import words
from angelx.venue.angelone.contracts import Contract, Contracts
from angelx.venue.angelone.day import CLOSE, DayBook
from angelx.venue.angelone.logins import india_date
from angelx.venue.angelone.replies import Refusal
from angelx.venue.angelone.words import rupee_text, rupees
from angelx.venue.exchange import Exchange
from angelx.venue.keeping import Keeper

CONVERSIONS: Final = "conversions"
"""Name under which they are kept."""
MOST_POSITIONS: Final = 50
"""In one question for margin."""


class Side(msgspec.Struct):
    """Units and money of one side."""

    quantity: int = 0
    amount: int = 0

    @property
    def price(self) -> int:
        """Average, 1/10,000."""
        return words.average(self.amount, self.quantity)


class Held(msgspec.Struct):
    """One position by product: today's fills, and those carried from the days before."""

    contract: Contract
    product: str
    buys: Side
    sells: Side
    carried_buys: Side
    carried_sells: Side

    @property
    def net(self) -> int:
        """Signed units."""
        today = self.buys.quantity - self.sells.quantity
        return today + self.carried_buys.quantity - self.carried_sells.quantity


class Portfolio:
    """What an account holds."""

    def __init__(
        self,
        exchange: Exchange,
        contracts: Contracts,
        days: DayBook,
        *,
        now: Callable[[], int],
        fees: FeeSchedule,
        keeper: Keeper,
    ) -> None:
        self._keeper = keeper
        self._exchange = exchange
        self._contracts = contracts
        self._days = days
        self._now = now
        self._fees = fees
        self._conversions: list[tuple[Contract, str, str, int]] = []

    def _held(self) -> list[Held]:
        orders = {order.id: order for order in self._exchange.orders()}
        today = india_date(self._now())
        held: dict[tuple[int, str], Held] = {}
        for fill in self._exchange.fills():
            contract = self._contracts.by_id.get(fill.instrument)
            if contract is None:
                continue
            product = words.words_of(orders[fill.order]).product
            position = _of(held, contract, product)
            if india_date(fill.at) == today:
                side = position.buys if fill.side > 0 else position.sells
            else:
                side = position.carried_buys if fill.side > 0 else position.carried_sells
            side.quantity += fill.quantity
            side.amount += fill.quantity * fill.price
        for contract, old, new, quantity in self._conversions:
            _move(_of(held, contract, old), _of(held, contract, new), quantity)
        return list(held.values())

    def _last(self, contract: Contract) -> int:
        return self._days.last(contract.place, self._exchange.market.of(contract.place)[LAST])

    # ------------------------------------------------------------ positions and holdings
    def positions(self) -> list[dict[str, str]] | None:
        """Of the day, closed ones too; `None` where there is none."""
        return [self._position(held) for held in self._held() if self._is_of_today(held)] or None

    @staticmethod
    def _is_of_today(held: Held) -> bool:
        return bool(held.buys.quantity or held.sells.quantity or (held.net and not _is_holding(held)))

    def _position(self, held: Held) -> dict[str, str]:
        contract, instrument = held.contract, held.contract.instrument
        buys, sells, net, last = held.buys, held.sells, held.net, self._last(held.contract)
        carried_buys, carried_sells = _carried(held)
        bought = Side(buys.quantity + carried_buys.quantity, buys.amount + carried_buys.amount)
        sold = Side(sells.quantity + carried_sells.quantity, sells.amount + carried_sells.amount)
        value = sold.amount - bought.amount
        price = bought.price if net > 0 else sold.price if net < 0 else 0
        closed = min(bought.quantity, sold.quantity)
        realised = closed * (sold.price - bought.price)
        unrealised = net * (last - price)
        return {
            "exchange": contract.exchange,
            "symboltoken": contract.token,
            "producttype": held.product,
            "tradingsymbol": contract.symbol,
            "symbolname": contract.name,
            "instrumenttype": contract.type,
            "priceden": "1",
            "pricenum": "1",
            "genden": "1",
            "gennum": "1",
            "precision": "2",
            "multiplier": "-1",
            "boardlotsize": "1",
            "buyqty": str(buys.quantity),
            "sellqty": str(sells.quantity),
            "buyamount": rupee_text(buys.amount),
            "sellamount": rupee_text(sells.amount),
            "symbolgroup": "XX" if contract.option_type else "EQ",
            "strikeprice": rupee_text(instrument.strike) if instrument.strike else "-1",
            "optiontype": contract.option_type,
            "expirydate": contract.expiry,
            "lotsize": str(instrument.lot_size),
            "cfbuyqty": str(carried_buys.quantity),
            "cfsellqty": str(carried_sells.quantity),
            "cfbuyamount": rupee_text(carried_buys.amount),
            "cfsellamount": rupee_text(carried_sells.amount),
            "buyavgprice": rupee_text(buys.price),
            "sellavgprice": rupee_text(sells.price),
            "avgnetprice": rupee_text(price),
            "netvalue": rupee_text(value).replace("-", "- "),
            "netqty": str(net),
            "totalbuyvalue": rupee_text(bought.amount),
            "totalsellvalue": rupee_text(sold.amount),
            "cfbuyavgprice": rupee_text(carried_buys.price),
            "cfsellavgprice": rupee_text(carried_sells.price),
            "totalbuyavgprice": rupee_text(bought.price),
            "totalsellavgprice": rupee_text(sold.price),
            "netprice": rupee_text(price),
            "ltp": rupee_text(last),
            "pnl": rupee_text(realised + unrealised),
            "realised": rupee_text(realised),
            "unrealised": rupee_text(unrealised),
            "close": rupee_text(self._days.cells(contract.place)[CLOSE]),
        }

    def holdings(self) -> list[dict[str, Any]] | None:
        """Shares for delivery; `None` where there is none."""
        return [self._holding(held) for held in self._held() if _is_holding(held) and held.net > 0] or None

    def all_holdings(self) -> dict[str, Any]:
        """Holdings with their totals."""
        rows = self.holdings() or []
        value = sum(row["quantity"] * row["ltp"] for row in rows)
        cost = sum(row["quantity"] * row["averageprice"] for row in rows)
        gain = value - cost
        total = {
            "totalholdingvalue": round(value, 2), "totalinvvalue": round(cost, 2),
            "totalprofitandloss": round(gain, 2), "totalpnlpercentage": round(100 * gain / cost, 2) if cost else 0,
        }  # fmt: skip
        return {"holdings": rows, "totalholding": total}

    def _holding(self, held: Held) -> dict[str, Any]:
        contract, net, last = held.contract, held.net, self._last(held.contract)
        carried = held.carried_buys.quantity - held.carried_sells.quantity
        cost = Side(
            held.buys.quantity + held.carried_buys.quantity, held.buys.amount + held.carried_buys.amount
        ).price  # fmt: skip
        gain = net * (last - cost)
        return {
            "tradingsymbol": contract.symbol, "exchange": contract.exchange, "isin": "",
            "t1quantity": max(net - max(carried, 0), 0), "realisedquantity": min(max(carried, 0), net),
            "quantity": net, "authorisedquantity": 0, "product": "DELIVERY", "collateralquantity": None,
            "collateraltype": None, "haircut": 0, "averageprice": rupees(cost), "ltp": rupees(last),
            "symboltoken": contract.token, "close": rupees(self._days.cells(contract.place)[CLOSE]),
            "profitandloss": round(rupees(gain), 2),
            "pnlpercentage": round(100 * (last - cost) / cost, 2) if cost else 0,
        }  # fmt: skip

    def convert(self, body: Mapping[str, Any]) -> None:
        """Turn units of a position into another product; the exchange knows of none.

        Raises
        ------
        Refusal
            AB1009, AB1012, AB1016 or AB1017.
        """
        exchange, symbol = str(body.get("exchange") or ""), str(body.get("tradingsymbol") or "")
        named = self._contracts.by_symbol.get((exchange, symbol))  # The official examples leave the token out.
        token = str(body.get("symboltoken") or (named.token if named is not None else ""))
        contract = self._contracts.of(exchange, token, symbol)
        old, new = str(body.get("oldproducttype") or ""), str(body.get("newproducttype") or "")
        quantity = _number(body, "quantity") // 10_000
        is_option = contract.instrument.kind is Kind.OPTION
        if new not in (words.DERIVATIVE_PRODUCTS if is_option else words.CASH_PRODUCTS):
            raise Refusal("AB1012")
        mine = [held for held in self._held() if held.contract is contract and held.product == old and held.net]
        if not mine:
            raise Refusal("AB1016")
        if not 0 < quantity <= abs(mine[0].net) or old == new:
            raise Refusal("AB1017")
        self._conversions.append((contract, old, new, quantity))
        rows = [(one.instrument.id, *others) for one, *others in self._conversions]
        self._keeper.put(CONVERSIONS, rows)

    def restore(self, value: Any) -> None:
        """Take up the conversions of an earlier process."""
        rows = msgspec.convert(value, list[tuple[str, str, str, int]])
        self._conversions = [(self._contracts.by_id[name], old, new, count) for name, old, new, count in rows]

    # ------------------------------------------------------------ money
    def funds(self) -> dict[str, str]:
        """RMS limits: `net` and `availablecash` are what is free (the quirk of the real one)."""
        funds = self._exchange.funds()
        premium = sum(position.cost for position in self._exchange.positions() if position.quantity > 0)
        own = funds.cash + premium
        used = own - funds.available
        realised = sum(
            min(held.buys.quantity, held.sells.quantity) * (held.sells.price - held.buys.price) for held in self._held()
        )
        return {
            "net": rupee_text(funds.available),
            "availablecash": rupee_text(funds.available),
            "availableintradaypayin": "0.00",
            "availablelimitmargin": "0.00",
            "collateral": "0.00",
            "m2munrealized": rupee_text(funds.equity - own),
            "m2mrealized": rupee_text(realised),
            "utiliseddebits": rupee_text(used),
            "utilisedspan": rupee_text(funds.locked),
            "utilisedoptionpremium": rupee_text(premium),
            "utilisedholdingsales": "0.00",
            "utilisedexposure": rupee_text(funds.held),
            "utilisedturnover": "0.00",
            "utilisedpayout": "0.00",
        }

    def margin(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What positions would lock or cost.

        Raises
        ------
        Refusal
            AB9001 for more than 50 positions or a bad number, AB1009.
        """
        rows = _rows(body, "positions")
        if not 0 < len(rows) <= MOST_POSITIONS:
            raise Refusal("AB9001", f"positions: 1 to {MOST_POSITIONS}, were {len(rows)}")
        premium = span = delivery = 0
        for row in rows:
            contract = self._contracts.of(str(row.get("exchange")), str(row.get("token")))
            quantity, price = _number(row, "qty"), _number(row, "price")
            amount = price * quantity // 10_000 if price else self._last(contract) * (quantity // 10_000)
            if contract.instrument.kind is not Kind.OPTION:
                delivery += amount
            elif row.get("tradeType") == "SELL":
                span += amount + contract.instrument.strike * (quantity // 10_000) * SHORT_OPTION_PCT // 100
            else:
                premium += amount
        return {
            "totalMarginRequired": rupees(premium + span + delivery),
            "marginComponents": {
                "netPremium": rupees(premium), "spanMargin": rupees(span), "marginBenefit": 0.0,
                "deliveryMargin": rupees(delivery), "nonNFOMargin": 0.0, "totOptionsPremium": rupees(premium),
            },
        }  # fmt: skip

    def charges(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What orders would cost in fees, by the dated table.

        Raises
        ------
        Refusal
            AB9001 or AB1009.
        """
        rows = _rows(body, "orders")
        if not rows:
            raise Refusal("AB9001", "orders: none")
        charges = [self._charge(row) for row in rows]
        total = sum(charge["total_charges"] for charge in charges)
        value = sum(charge["trade_value"] for charge in charges)
        parts: dict[str, float] = {}
        for charge in charges:
            for part in charge["breakup"]:
                parts[part["name"]] = parts.get(part["name"], 0.0) + part["amount"]
        breakup = [
            {"name": name, "amount": round(amount, 4), "msg": "", "breakup": []} for name, amount in parts.items()
        ]
        summary = {"total_charges": round(total, 4), "trade_value": round(value, 2), "breakup": breakup}
        return {"summary": summary, "charges": charges}

    def _charge(self, row: Mapping[str, Any]) -> dict[str, Any]:
        contract = self._contracts.of(str(row.get("exchange")), str(row.get("token")))
        quantity, price = _number(row, "quantity") // 10_000, _number(row, "price")
        side = {"BUY": BUY, "SELL": SELL}.get(str(row.get("transaction_type")))
        if side is None:
            raise Refusal("AB9001", "Invalid transaction_type")
        try:
            day = india_date(self._now())
            fees = self._fees.charge(contract.instrument, side, quantity, quantity * price, day)
        except (FeesUnknown, ValueError) as error:
            raise Refusal("AB9001", str(error)) from error
        parts = (
            ("Angel One Brokerage", fees.brokerage), ("STT", fees.stt),
            ("External Charges", fees.exchange + fees.sebi + fees.stamp + fees.ipft), ("Taxes", fees.gst),
        )  # fmt: skip
        return {
            "total_charges": rupees(fees.total),
            "trade_value": rupees(quantity * price),
            "breakup": [{"name": name, "amount": rupees(fee), "msg": "", "breakup": []} for name, fee in parts],
        }


SHORT_OPTION_PCT: Final = 12
"""Share of strike x units named for a short option: a flat stand-in for SPAN and exposure."""


def _of(held: dict[tuple[int, str], Held], contract: Contract, product: str) -> Held:
    position = held.get((contract.place, product))
    if position is None:
        position = held[contract.place, product] = Held(contract, product, Side(), Side(), Side(), Side())
    return position


def _move(old: Held, new: Held, quantity: int) -> None:
    """Units of the side that is open go from one product to the other at their average."""
    pairs = ((old.buys, new.buys), (old.carried_buys, new.carried_buys))
    if old.net < 0:
        pairs = ((old.sells, new.sells), (old.carried_sells, new.carried_sells))
    for source, target in pairs:
        units = min(quantity, source.quantity)
        money = source.amount * units // source.quantity if units else 0
        source.quantity, source.amount = source.quantity - units, source.amount - money
        target.quantity, target.amount = target.quantity + units, target.amount + money
        quantity -= units


def _is_holding(held: Held) -> bool:
    return held.contract.instrument.kind is Kind.EQUITY and held.product == "DELIVERY"


def _carried(held: Held) -> tuple[Side, Side]:
    """What was carried into the day: net of what the days before had closed, at its average."""
    net = held.carried_buys.quantity - held.carried_sells.quantity
    if net > 0:
        return Side(net, net * held.carried_buys.price), Side()
    return Side(), Side(-net, -net * held.carried_sells.price)


def _rows(body: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    rows = body.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refusal("AB9001", f"{key}: a list of objects is needed")
    return rows


def _number(row: Mapping[str, Any], key: str) -> int:
    """A number as an integer of 1/10,000."""
    try:
        number = price_of(str(row.get(key) or 0))
    except ValueError:
        raise Refusal("AB9001", f"Invalid {key}: {row.get(key)!r}") from None
    if not 0 <= number < 1 << 60:
        raise Refusal("AB9001", f"Invalid {key}: {row.get(key)!r}")
    return number
