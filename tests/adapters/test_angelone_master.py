"""The scrip master: instruments like the recorded ones, cached by trading date."""

import asyncio
from datetime import date
from pathlib import Path

import msgspec
import pytest

from angelx.adapters.angelone.capabilities import TABLE as CAPABILITIES
from angelx.adapters.angelone.capabilities import capabilities
from angelx.adapters.angelone.master import MasterStore, read_master
from angelx.domain.errors import BrokerUnreachable
from angelx.domain.instruments import Kind, Right
from angelx.domain.scalars import NS
from angelx.domain.wire import NoAnswer, Response
from angelx.market import rules
from angelx.venue.angelone.contracts import Contracts
from tests.adapters.angelone_pair import Pair, play
from tests.venue.angelone_floor import CALL, PUT, TABLE

DAY = date(2025, 10, 1)
OPTION = {
    "token": "58784", "symbol": "NIFTY28OCT2524400CE", "name": "NIFTY", "expiry": "28OCT2025",
    "strike": "2440000.000000", "lotsize": "75", "instrumenttype": "OPTIDX", "exch_seg": "NFO", "tick_size": "5.000000",
}  # fmt: skip
INDEX = OPTION | {
    "token": "99926000", "symbol": "Nifty 50", "expiry": "", "strike": "0.000000", "lotsize": "1",
    "instrumenttype": "AMXIDX", "exch_seg": "NSE", "tick_size": "0.000000",
}  # fmt: skip
SHARE = INDEX | {
    "token": "3045", "symbol": "SBIN-EQ", "name": "SBIN", "instrumenttype": "", "tick_size": "5.000000",
    "strike": "-1.000000",
}  # fmt: skip


def files(directory: Path) -> list[str]:
    return [file.name for file in directory.iterdir()]


def read(*rows: dict[str, str], day: date = DAY) -> dict[str, object]:
    master = read_master(msgspec.json.encode(rows), day, rules.freeze_quantity)
    return {**master.by_id, "refused": master.refused}


def test_a_live_line_becomes_the_instrument_it_is() -> None:
    master = read_master(msgspec.json.encode([OPTION, INDEX, SHARE]), DAY, rules.freeze_quantity)
    assert list(master.by_id) == ["NFO:NIFTY:2025-10-28:24400:CE", "NSE:NIFTY", "NSE:SBIN"]
    contract = master.by_id["NFO:NIFTY:2025-10-28:24400:CE"]
    option = contract.instrument
    assert (contract.exchange, contract.token, contract.symbol) == ("NFO", "58784", "NIFTY28OCT2524400CE")
    assert (option.kind, option.right, option.strike, option.tick_size) == (Kind.OPTION, Right.CALL, 244_000_000, 500)
    assert (option.lot_size, option.underlying, option.expiry) == (75, "NSE:NIFTY", date(2025, 10, 28))
    assert option.freeze_quantity == rules.freeze_quantity("NIFTY", DAY) == 1800
    assert not master.by_id["NSE:NIFTY"].instrument.tradable
    assert master.by_id["NSE:SBIN"].instrument.kind is Kind.EQUITY
    assert master.by_token["NSE", "3045"].instrument.id == "NSE:SBIN"


def test_the_venues_master_gives_back_the_venues_instruments() -> None:
    master = read_master(Contracts(TABLE).master(), date(2025, 8, 29), lambda name, day: 1800)
    for instrument in TABLE:
        ours = master.by_id[instrument.id].instrument
        assert (ours.kind, ours.strike, ours.right, ours.expiry, ours.lot_size, ours.underlying) == (
            instrument.kind, instrument.strike, instrument.right, instrument.expiry, instrument.lot_size,
            instrument.underlying,
        )  # fmt: skip
    assert {CALL.id, PUT.id} <= set(master.by_id)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"exch_seg": "MCX"}, "other segment or kind"),
        ({"instrumenttype": "FUTIDX", "strike": "-1.000000"}, "other segment or kind"),
        ({"expiry": "30SEP2025"}, "other segment or kind"),
        ({"symbol": "NIFTY28OCT2524400"}, "bad line: symbol"),
        ({"expiry": "28-10-2025"}, "bad line: expiry"),
        ({"lotsize": "0"}, "bad line: lotsize"),
        ({"strike": "x"}, "bad line: not a finite decimal number"),
        ({"token": "2"}, "same instrument twice"),
    ],
)
def test_lines_that_are_not_taken_are_counted(change: dict[str, str], reason: str) -> None:
    found = read(OPTION, OPTION | {"token": "1"} | change, SHARE)
    assert found["refused"] == {reason: 1}


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"<html>", b'[{"token":"1"}]', b"[" * 10_000])
def test_what_is_no_master_is_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match="scrip master of 2025-10-01"):
        read_master(raw, DAY, rules.freeze_quantity)


def test_it_is_fetched_once_a_day_and_replaced_whole(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        part = "OpenAPIScripMaster"
        await pair.client.instruments()
        await pair.client.instruments()
        await pair.new_client().instruments()
        assert pair.line.count(part) == 1
        assert files(tmp_path) == ["angelone-scrips-2025-08-29.json"]
        pair.clock.wrong = 72 * 3600 * NS
        await pair.client.instruments()
        assert pair.line.count(part) == 2
        assert files(tmp_path) == ["angelone-scrips-2025-09-01.json"]

    play(tmp_path, scenario)


def test_a_torn_file_is_fetched_again_and_a_bad_answer_is_not_kept(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        store = MasterStore(tmp_path)
        store.store(date(2025, 8, 29), b"[{")
        pair.line.faults.append(("OpenAPIScripMaster", NoAnswer("lost")))
        assert len(await pair.client.instruments()) == len(TABLE)
        second = pair.new_client()
        store.path(date(2025, 8, 29)).unlink()
        pair.line.faults.append(("OpenAPIScripMaster", Response(200, {}, b"<html>")))
        with pytest.raises(BrokerUnreachable):
            await second.instruments()
        assert files(tmp_path) == []
        pair.line.faults.extend([("OpenAPIScripMaster", Response(503, {}, b""))] * 3)
        with pytest.raises(BrokerUnreachable, match="503"):
            await second.instruments()
        await asyncio.sleep(0)

    play(tmp_path, scenario)


def test_capabilities_go_by_date() -> None:
    before, after = capabilities(date(2025, 9, 30)), capabilities(date(2025, 10, 1))
    assert "market" in before.order_types
    assert after.order_types == {"limit", "stop_limit"}
    assert after.times_in_force == {"DAY"}
    assert (after.orders_per_s, after.needs_static_ip, after.client_ids, after.replaces_keep_id) == (
        8,
        True,
        False,
        True,
    )
    assert capabilities(date(2000, 1, 1)) == before
    assert [row.since for row in CAPABILITIES] == sorted(row.since for row in CAPABILITIES)
