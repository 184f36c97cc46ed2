"""Good-till-triggered rules: an order that is placed when the last price reaches a level."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from angelx.domain.scalars import NS, SCALE, price_of
from angelx.domain.ticks import LAST
from angelx.venue.angelone import words
from angelx.venue.angelone.contracts import Contract, Contracts
from angelx.venue.angelone.day import india_text
from angelx.venue.angelone.orders import OrderDesk
from angelx.venue.angelone.replies import Refusal
from angelx.venue.exchange import Exchange
from angelx.venue.keeping import Keeper

NEW: Final = "NEW"
TRIGGERED: Final = "SENTTOEXCHANGE"
CANCELLED: Final = "CANCELLED"
INVALID: Final = "INVALID"
KEPT: Final = "rule/"
"""Begins the name under which one is kept."""
_LIFE: Final = 365 * 86_400 * NS
_STAMP: Final = "%Y-%m-%dT%H:%M:%S+05:30"


class Rule(msgspec.Struct):
    """One rule."""

    id: int
    contract: str
    """Id of its instrument."""
    side: str
    product: str
    price: str
    quantity: str
    disclosed: str
    trigger: int
    """Price, 1/10,000."""
    is_above: bool
    """Triggers when the last price is at or above it; else at or below."""
    status: str
    created_at: int
    updated_at: int


class Rules:
    """All rules of an account."""

    def __init__(
        self,
        exchange: Exchange,
        contracts: Contracts,
        desk: OrderDesk,
        *,
        client_code: str,
        now: Callable[[], int],
        keeper: Keeper,
    ) -> None:
        self._keeper = keeper
        self._exchange = exchange
        self._contracts = contracts
        self._desk = desk
        self._client_code = client_code
        self._now = now
        self._rules: dict[int, Rule] = {}
        self._waiting = 0

    def create(self, body: Mapping[str, Any]) -> dict[str, str]:
        """A new rule.

        Raises
        ------
        Refusal
            AB1009, AB1012 or AB9001.
        """
        contract = self._contracts.of(
            _text(body, "exchange"), _text(body, "symboltoken"), _text(body, "tradingsymbol")
        )  # fmt: skip
        side, product = _text(body, "transactiontype"), _text(body, "producttype")
        if side not in {"BUY", "SELL"}:
            raise Refusal("AB9001", "Invalid transactiontype")
        if product == "BO" or _carried(product, contract) not in words.products(contract):
            raise Refusal("AB1012")
        trigger = _positive(body, "triggerprice")
        _positive(body, "price")
        _whole(body)
        last, at = self._last(contract.instrument.id), self._now()
        rule = Rule(
            len(self._rules) + 1, contract.instrument.id, side, product, _text(body, "price"), _text(body, "qty"),
            _text(body, "disclosedqty") or "0", trigger, trigger >= last, NEW, at, at,
        )  # fmt: skip
        self._rules[rule.id] = rule
        self._waiting += 1
        self._keep(rule)
        return {"id": str(rule.id)}

    def modify(self, body: Mapping[str, Any]) -> dict[str, str]:
        """Change price, quantity or level of a rule that waits; what is not said stays.

        Raises
        ------
        Refusal
            AB9013 or AB9001.
        """
        rule = self._waiting_rule(body)
        said = {name for name in ("triggerprice", "price", "qty") if _text(body, name) and _positive(body, name)}
        if "qty" in said:
            _whole(body)
        if "triggerprice" in said:
            rule.trigger = _positive(body, "triggerprice")
        rule.price = _text(body, "price") if "price" in said else rule.price
        rule.quantity = _text(body, "qty") if "qty" in said else rule.quantity
        rule.updated_at = self._now()
        rule.is_above = rule.trigger >= self._last(rule.contract)
        self._keep(rule)
        return {"id": str(rule.id)}

    def cancel(self, body: Mapping[str, Any]) -> dict[str, str]:
        """End a rule that waits.

        Raises
        ------
        Refusal
            AB9013.
        """
        rule = self._waiting_rule(body)
        self._end(rule, CANCELLED)
        return {"id": str(rule.id)}

    def details(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """One rule.

        Raises
        ------
        Refusal
            AB9013.
        """
        return self._row(self._rule(body))

    def list(self, body: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """Rules of some statuses by page, newest first; `None` where there is none.

        Raises
        ------
        Refusal
            AB9001.
        """
        statuses, page, count = body.get("status"), _text(body, "page"), _text(body, "count")
        if not isinstance(statuses, list) or not _is_count(page) or not _is_count(count) or int(count) < 1:
            raise Refusal("AB9001")
        mine = [rule for rule in reversed(self._rules.values()) if "FORALL" in statuses or rule.status in statuses]
        begin = max(int(page) - 1, 0) * int(count)
        return [self._row(rule) for rule in mine[begin : begin + int(count)]] or None

    def look(self) -> None:
        """After rows came in: send the orders of rules whose level was reached."""
        if not self._waiting:
            return
        for rule in [rule for rule in self._rules.values() if rule.status == NEW]:
            last = self._last(rule.contract)
            if self._now() >= rule.created_at + _LIFE:
                self._end(rule, INVALID)
            elif last > 0 and (last >= rule.trigger if rule.is_above else last <= rule.trigger):
                self._send(rule)

    def _last(self, instrument: str) -> int:
        return int(self._exchange.market.of(self._contracts.by_id[instrument].place)[LAST])

    def _send(self, rule: Rule) -> None:
        self._end(rule, TRIGGERED)
        contract = self._contracts.by_id[rule.contract]
        try:
            self._desk.place(
                {
                    "variety": "NORMAL",
                    "tradingsymbol": contract.symbol,
                    "symboltoken": contract.token,
                    "exchange": contract.exchange,
                    "transactiontype": rule.side,
                    "ordertype": "LIMIT",
                    "producttype": _carried(rule.product, contract),
                    "duration": "DAY",
                    "price": rule.price,
                    "quantity": rule.quantity,
                    "disclosedquantity": rule.disclosed,
                }
            )  # fmt: skip
        except Refusal:
            rule.status = INVALID
            self._keep(rule)

    def _end(self, rule: Rule, status: str) -> None:
        """Written down before its order is sent: after a kill it is not sent twice."""
        rule.status, rule.updated_at = status, self._now()
        self._waiting -= 1
        self._keep(rule)

    def _keep(self, rule: Rule) -> None:
        self._keeper.put(KEPT + str(rule.id), rule)

    def restore(self, value: Any) -> None:
        """Take up a rule of an earlier process."""
        rule = msgspec.convert(value, Rule)
        self._rules[rule.id] = rule
        self._waiting += rule.status == NEW

    def _rule(self, body: Mapping[str, Any]) -> Rule:
        text = _text(body, "id")
        rule = self._rules.get(int(text)) if _is_count(text) else None
        if rule is None:
            raise Refusal("AB9013")
        return rule

    def _waiting_rule(self, body: Mapping[str, Any]) -> Rule:
        rule = self._rule(body)
        if rule.status != NEW:
            raise Refusal("AB9013")
        return rule

    def _row(self, rule: Rule) -> dict[str, Any]:
        contract = self._contracts.by_id[rule.contract]
        return {
            "clientid": self._client_code, "createddate": india_text(rule.created_at, _STAMP),
            "exchange": contract.exchange, "producttype": rule.product, "transactiontype": rule.side,
            "expirydate": india_text(rule.created_at + _LIFE, _STAMP), "id": str(rule.id), "qty": rule.quantity,
            "price": rule.price, "status": rule.status, "symboltoken": contract.token,
            "tradingsymbol": contract.symbol, "triggerprice": f"{rule.trigger / 10_000:.2f}",
            "disclosedqty": rule.disclosed, "updateddate": india_text(rule.updated_at, _STAMP),
        }  # fmt: skip


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    return "" if value is None else str(value)


def _carried(product: str, contract: Contract) -> str:
    """The service of rules knows DELIVERY and MARGIN: an option that is carried is MARGIN there."""
    return "CARRYFORWARD" if product == "MARGIN" and contract.option_type else product


def _whole(body: Mapping[str, Any]) -> None:
    if _positive(body, "qty") % SCALE:
        raise Refusal("AB9001", f"Invalid qty: {_text(body, 'qty')!r}")


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _positive(body: Mapping[str, Any], key: str) -> int:
    try:
        value = price_of(_text(body, key) or "0")
    except ValueError:
        value = 0
    if not 0 < value < 1 << 53:
        raise Refusal("AB9001", f"Invalid {key}: {_text(body, key)!r}")
    return value
