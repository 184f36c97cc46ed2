"""What servers keep beside their exchange, in the next process: combinations, settings, rules, conversions."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from angelx.adapters.venue_log import VenueLog
from angelx.domain.scalars import NS
from angelx.venue.keeping import Keeper, Kept
from angelx.venue.requests import AnyCall, Submit
from angelx.venue.runner import Noted
from tests.venue.alpaca.alpaca_market import CALL_300, CALL_305
from tests.venue.alpaca.test_alpaca_clients import Caller, _spread
from tests.venue.angelone_floor import CALL, AngelFloor
from tests.venue.test_angelone_server import opened


class Book:
    """What a venue's log has of one lane, by the way of its text."""

    def __init__(self, kept: Keeper) -> None:
        self.calls: list[AnyCall] = []
        self.history: list[bytes] = []
        kept.on_change.append(lambda one: self.history.append(msgspec.json.encode(one)))

    def kept(self, count: int | None = None) -> dict[str, Any]:
        found = [msgspec.json.decode(line, type=Kept) for line in self.history[:count]]
        return {one.name: one.value for one in found if one.value is not None}


def followed(caller: Caller) -> Book:
    book = Book(caller.market.server.kept)
    caller.market.exchange.on_call.append(book.calls.append)
    return book


def again(calls: list[AnyCall], kept: dict[str, Any]) -> Caller:
    """The next process: the same rows, the same requests, and what was kept."""
    caller = Caller()
    for call in calls:
        caller.market.exchange.call(call)
    caller.market.server.restore(kept)
    return caller


def held(caller: Caller) -> dict[str, str]:
    return {one["symbol"]: one["qty"] for one in caller.ask("GET", "/v2/positions")}


def test_a_combination_that_waits_goes_on_waiting_and_trades() -> None:
    caller = Caller()
    book = followed(caller)
    form = _spread(CALL_300, CALL_305, type="limit", limit_price="0.1", client_order_id="mine")
    made = caller.ask("POST", "/v2/orders", form)
    after = again(book.calls, book.kept())
    assert after.ask("GET", f"/v2/orders/{made['id']}") == made | {"status": "new"}
    assert [one["id"] for one in after.ask("GET", "/v2/orders")] == [made["id"]]
    assert after.refused("POST", "/v2/orders", form) == (422, 40010001, "client_order_id must be unique")
    after.market.quote(CALL_305, 3.15, 3.25, size=5_000)
    assert after.ask("GET", f"/v2/orders/{made['id']}")["status"] == "filled"
    assert held(after) == {CALL_300: "1", CALL_305: "-1"}


def test_a_combination_that_traded_has_traded_once() -> None:
    caller = Caller()
    book = followed(caller)
    made = caller.ask("POST", "/v2/orders", _spread(CALL_300, CALL_305))
    shown, listed = caller.ask("GET", f"/v2/orders/{made['id']}"), caller.ask("GET", "/v2/orders", status="all")
    after = again(book.calls, book.kept())
    after.market.server._combos.look()
    assert after.ask("GET", f"/v2/orders/{made['id']}") == shown
    assert after.ask("GET", "/v2/orders", status="all") == listed
    assert held(after) == {CALL_300: "1", CALL_305: "-1"}


@pytest.mark.parametrize("sent", [0, 1, 2])
def test_a_kill_between_two_legs_sends_the_rest(sent: int) -> None:
    """The log ends after so many legs, and before it says that the combination was filled."""
    caller = Caller()
    book = followed(caller)
    made = caller.ask("POST", "/v2/orders", _spread(CALL_300, CALL_305))
    assert [type(call) for call in book.calls] == [Submit, Submit]
    after = again(book.calls[:sent], book.kept(1))
    after.market.server._combos.look()
    assert after.ask("GET", f"/v2/orders/{made['id']}")["status"] == "filled"
    assert held(after) == {CALL_300: "1", CALL_305: "-1"}
    assert len(after.market.exchange.orders()) == 2


def test_settings_and_watchlists_outlive_the_process() -> None:
    caller = Caller()
    book = followed(caller)
    caller.ask("PATCH", "/v2/account/configurations", {"no_shorting": True})
    made = [caller.ask("POST", "/v2/watchlists", {"name": name, "symbols": ["IBM"]}) for name in "ab"]
    more = caller.ask("POST", f"/v2/watchlists/{made[0]['id']}", {"symbol": "AAPL"})
    caller.ask("DELETE", f"/v2/watchlists/{made[1]['id']}")
    kept = {name: value for name, value in book.kept().items() if name != f"watchlist/{made[1]['id']}"}
    after = again([], kept)
    assert after.ask("GET", "/v2/watchlists") == [more]
    sale = {"symbol": "IBM", "side": "sell", "qty": "1", "type": "market", "time_in_force": "day"}
    assert after.refused("POST", "/v2/orders", sale)[2] == "account is not allowed to short"


async def test_rules_and_conversions_outlive_the_process() -> None:
    before = await opened()
    book = Book(before.server.kept)
    calls: list[AnyCall] = []
    before.exchange.on_call.append(calls.append)
    before.quote(99, 101)
    rule = before.order(price=95) | {"qty": "75", "triggerprice": "90", "disclosedqty": "75"}
    waits, gone = [(await before.post("gtt/v1/createRule", rule))["data"]["id"] for _ in range(2)]
    far = (await before.post("gtt/v1/createRule", rule | {"triggerprice": "50"}))["data"]["id"]
    await before.post("gtt/v1/modifyRule", {"id": waits, "qty": "150"})
    await before.post("gtt/v1/cancelRule", {"id": gone})
    await before.place(101, producttype="INTRADAY")
    symbol = before.server.contracts.by_id[CALL.id].symbol
    wish = {"exchange": "NFO", "oldproducttype": "INTRADAY", "newproducttype": "CARRYFORWARD", "tradingsymbol": symbol,
            "transactiontype": "BUY", "quantity": 75, "type": "DAY"}  # fmt: skip
    assert (await before.post("order/v1/convertPosition", wish))["status"]
    rows = (await before.post("gtt/v1/ruleList", {"status": ["FORALL"], "page": 1, "count": 10}))["data"]

    after = AngelFloor()
    after.quote(99, 101)
    for call in calls:
        after.exchange.call(call)
    after.server.restore(book.kept())
    await after.log_in()
    assert (await after.post("gtt/v1/ruleList", {"status": ["FORALL"], "page": 1, "count": 10}))["data"] == rows
    held = (await after.get("order/v1/getPosition"))["data"]
    assert {row["producttype"]: row["netqty"] for row in held if row["netqty"] != "0"} == {"CARRYFORWARD": "75"}
    after.wait(NS + 1)
    after.quote(89, 91, last=90)
    states = {row["id"]: row["status"] for row in _rules(after)}
    assert states == {waits: "SENTTOEXCHANGE", gone: "CANCELLED", far: "NEW"}
    assert [order.request.quantity for order in after.exchange.orders()] == [75, 150]


def _rules(floor: AngelFloor) -> list[dict[str, Any]]:
    rules = floor.server._rules
    return [rules._row(rule) for rule in rules._rules.values()]


def test_the_log_gives_back_what_was_kept_last(tmp_path: Path) -> None:
    class Lane:
        name = "alpaca"

        class exchange:  # noqa: N801
            rows, now = 7, 9

    path = tmp_path / "venue.jsonl"
    with VenueLog(path, {"alpaca": "d"}) as log:
        for kept in (Kept("a", {"x": 1}), Kept("b", [1]), Kept("a", {"x": 2}), Kept("b", None)):
            log.keep(Lane, kept)  # type: ignore[arg-type]
    with VenueLog(path, {"alpaca": "d"}) as log:
        assert log.kept("alpaca") == {"a": {"x": 2}}
        assert log.kept("angelone") == {}
        assert log.notes[0] == Noted("alpaca", 7, 9, kept=Kept("a", {"x": 1}))
