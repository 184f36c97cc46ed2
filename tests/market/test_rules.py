"""Exchange rules against the recorded data, and against their own definition."""

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.domain.scalars import price_of
from angelx.market import rules, tables
from angelx.market.sessions import Closed, Session, Sessions

SESSIONS = Sessions.load()
DATA = Path(os.environ.get("ANGELX_DATA", Path(__file__).parents[3] / "shared" / "data"))
TABLE = rules.table()


def recorded(file: str, columns: list[str]) -> Any:
    """Columns of a recorded file, skipped where there is none."""
    path = DATA / file
    if not path.exists():
        pytest.skip(f"no recorded data at {path}")
    return pytest.importorskip("pyarrow.parquet", reason="recorded data are Parquet").read_table(path, columns=columns)


@pytest.mark.parametrize(
    ("underlying", "on", "expiry", "lot"),
    [
        ("NIFTY", "2025-08-29", None, 75),
        ("NIFTY", "2026-08-17", None, 65),
        ("NIFTY", "2025-11-03", None, None),
        ("NIFTY", "2025-11-03", "2025-12-30", 75),
        ("NIFTY", "2025-11-03", "2026-01-06", 65),
        ("NIFTY", "2025-11-03", "2026-03-31", 75),
        ("NIFTY", "2025-12-31", "2026-03-31", 65),
        ("NIFTY", "2024-12-01", None, None),
        ("NIFTY", "2027-01-04", None, None),
        ("BANKNIFTY", "2025-06-02", "2025-06-26", 30),
        ("BANKNIFTY", "2025-06-02", "2025-07-31", 35),
        ("BANKNIFTY", "2026-08-17", None, 30),
        ("MIDCPNIFTY", "2025-08-29", None, 140),
        ("FINNIFTY", "2026-08-17", None, 60),
        ("NIFTYNXT50", "2025-08-29", None, 25),
        ("SENSEX", "2025-08-29", None, 20),
        ("CRUDEOIL", "2025-08-29", None, None),
    ],
)
def test_lot_sizes(underlying: str, on: str, expiry: str | None, lot: int | None) -> None:
    assert rules.lot_size(underlying, date.fromisoformat(on), date.fromisoformat(expiry) if expiry else None) == lot


@pytest.mark.parametrize(
    ("underlying", "on", "units"),
    [
        ("NIFTY", "2025-08-29", 1800),
        ("NIFTY", "2026-08-17", 1800),
        ("BANKNIFTY", "2025-08-29", 600),
        ("BANKNIFTY", "2025-09-01", 900),
        ("BANKNIFTY", "2025-10-15", None),
        ("FINNIFTY", "2026-02-02", 1800),
        ("FINNIFTY", "2026-03-02", 1200),
        ("FINNIFTY", "2026-08-17", None),
        ("RELIANCE", "2026-08-17", None),
    ],
)
def test_freeze_quantities(underlying: str, on: str, units: int | None) -> None:
    assert rules.freeze_quantity(underlying, date.fromisoformat(on)) == units


@pytest.mark.parametrize(
    ("segment", "underlying", "on", "price", "tick"),
    [
        ("NFO", "NIFTY", "2025-08-29", "123.45", "0.05"),
        ("US", "IBM", "2013-10-07", "0.9999", "0.0001"),
        ("US", "IBM", "2013-10-07", "1", "0.01"),
        ("US", "SPY", "2026-11-20", "600", "0.01"),
        ("OPRA", "SPY", "2026-11-20", "3.5", "0.01"),
        ("OPRA", "AAPL", "2014-06-06", "2.99", "0.01"),
        ("OPRA", "AAPL", "2014-06-06", "3", "0.05"),
        ("OPRA", "GOOG", "2015-12-24", "3", "0.10"),
        ("OPRA", "GOOG", "2026-11-20", "3", None),
        ("OPRA", "XYZ", "2026-11-20", "3", None),
        ("NSE", "NIFTY", "2025-08-29", "1", None),
    ],
)
def test_ticks(segment: str, underlying: str, on: str, price: str, tick: str | None) -> None:
    expected = None if tick is None else price_of(tick)
    assert rules.tick_size(segment, underlying, date.fromisoformat(on), price_of(price)) == expected


@pytest.mark.parametrize(
    ("on", "price", "shares"),
    [
        ("2025-11-02", "5000", 100),
        ("2025-11-03", "250", 100),
        ("2025-11-03", "250.01", 40),
        ("2025-11-03", "1000.01", 10),
        ("2025-11-03", "10000.01", 1),
        ("2007-06-01", "100", None),
    ],
)
def test_round_lots(on: str, price: str, shares: int | None) -> None:
    assert rules.round_lot(date.fromisoformat(on), price_of(price)) == shares


def test_the_recorded_chain_of_august_2025_has_the_listed_expiries_and_the_lot() -> None:
    data = recorded("nifty-options/chain_quotes_20250829_NIFTY.parquet", ["expiry", "lot_size", "bid_qty"])
    on = date(2025, 8, 29)
    assert rules.listed_expiries("NIFTY", on, SESSIONS) == tuple(sorted(data["expiry"].unique().to_pylist()))
    assert data["lot_size"].unique().to_pylist() == [rules.lot_size("NIFTY", on)]
    assert all(quantity % 75 == 0 for quantity in data["bid_qty"].unique().to_pylist() if quantity is not None)


def test_the_recorded_chain_of_august_2026_has_the_nearest_expiries_and_the_lot() -> None:
    data = recorded("nifty-options/chain_spot_oi_202608_NIFTY.parquet", ["ts", "expiry", "lot_size"])
    assert data["lot_size"].unique().to_pylist() == [rules.lot_size("NIFTY", date(2026, 8, 17))]
    compute = pytest.importorskip("pyarrow.compute")
    days = compute.cast(data["ts"], "date32")
    for on in days.unique().to_pylist():
        nearest = sorted(data.filter(compute.equal(days, on))["expiry"].unique().to_pylist())
        listed = rules.listed_expiries("NIFTY", on, SESSIONS)
        assert listed is not None
        assert list(listed[: len(nearest)]) == nearest


@pytest.mark.parametrize(
    ("segment", "file", "underlying", "day"),
    [
        ("NFO", "nifty-options/chain_quotes_20250829_NIFTY.parquet", "NIFTY", date(2025, 8, 29)),
        ("OPRA", "us-options/quotes_1m.parquet", "TWX", date(2014, 6, 5)),
        ("OPRA", "us-options/quotes_1m.parquet", "GOOG", date(2015, 12, 24)),
        ("OPRA", "us-options/quotes_1m.parquet", "SPX", date(2021, 1, 4)),
    ],
)
def test_every_recorded_quote_is_on_its_tick(segment: str, file: str, underlying: str, day: date) -> None:
    bid, name = ("bid", "symbol") if segment == "NFO" else ("bid_close", "underlying")
    data = recorded(file, ["ts", name, bid])
    compute = pytest.importorskip("pyarrow.compute")
    same_day = compute.equal(compute.cast(data["ts"], "date32"), day)
    rows = data.filter(compute.and_(same_day, compute.equal(data[name], underlying)))
    quoted = {round(price * 10_000) for price in rows[bid].unique().to_pylist() if price is not None}
    assert len(quoted) > 50
    for price in quoted:
        tick = rules.tick_size(segment, underlying, day, price)
        assert tick is not None
        assert price % tick == 0


@given(
    underlying=st.sampled_from(["NIFTY", "BANKNIFTY", "FINNIFTY", "MIDCPNIFTY", "NIFTYNXT50"]),
    on=st.dates(date(2025, 1, 1), date(2026, 12, 31)),
)
def test_contracts_expire_on_trading_days_from_today_on(underlying: str, on: date) -> None:
    rule = rules.expiry_rule(underlying, on)
    listed = rules.listed_expiries(underlying, on, SESSIONS)
    assert rule is not None
    assert listed is not None
    assert len(set(listed)) == len(listed) == rule.weekly + rule.monthly + rule.quarterly + rule.half_yearly
    assert all(on <= day for day in listed)
    for day in listed:
        if day.year == on.year:
            assert isinstance(SESSIONS.on("NFO", day), Session)
            moved = (rules.WEEKDAYS.index(rule.weekday) - day.weekday()) % 7
            between = [date.fromordinal(day.toordinal() + n) for n in range(1, moved + 1)]
            assert all(isinstance(SESSIONS.on("NFO", holiday), Closed) for holiday in between)


def test_a_muhurat_tuesday_moves_the_expiry_to_monday_even_when_it_is_traded() -> None:
    every = Sessions.load(trade_special_sessions=True)
    listed = rules.listed_expiries("NIFTY", date(2025, 10, 16), every)
    assert listed is not None
    assert listed[0] == date(2025, 10, 20)


@given(on=st.dates(date(2024, 1, 1), date(2027, 12, 31)), data=st.data())
def test_a_lot_given_without_expiry_is_the_lot_of_every_expiry(on: date, data: st.DataObject) -> None:
    underlying = data.draw(st.sampled_from(sorted({row.underlying for row in TABLE.lots})))
    expiry = data.draw(st.dates(on, date(2031, 12, 31)))
    lot = rules.lot_size(underlying, on)
    assert lot is None or rules.lot_size(underlying, on, expiry) == lot


def test_rows_of_one_fact_never_overlap_and_ladders_climb_from_zero() -> None:
    last = TABLE.last_verified
    for rows in (TABLE.freeze, TABLE.expiries):
        for row in rows:
            rivals = [r for r in rows if r is not row and r.underlying == row.underlying]
            assert not [r for r in rivals if r.since <= (row.until or last) and row.since <= (r.until or last)]
    ladders = [[step.at_least for step in ticks.ladder] for ticks in TABLE.ticks]
    ladders += [[step.at_least for step in sizes.ladder] for sizes in TABLE.round_lots]
    for floors in ladders:
        assert floors[0] == 0
        assert floors == sorted(set(floors))


def test_every_row_names_its_source() -> None:
    groups = (TABLE.lots, TABLE.freeze, TABLE.ticks, TABLE.round_lots, TABLE.expiries)
    assert all(row.source for rows in groups for row in rows)


def test_what_is_not_verified_is_confessed_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "tables.md").read_text("utf-8")
    confessed = " ".join(part.split("\n\n")[0] for part in text.split("Not verified")[1:])
    doubtful: list[tuple[str, str]] = []
    for name in ("sessions.json", "rules.json", "fees.json"):
        doubtful += _unverified(json.loads((Path(tables.__file__).parent / name).read_text("utf-8")), "")
    assert len(doubtful) > 10
    for what, since in doubtful:
        line = next((line for line in confessed.split("\n- ") if what in line and since in line), None)
        assert line is not None, f"{what} from {since} is not verified and docs/tables.md does not say so"


def _unverified(value: Any, name: str) -> list[tuple[str, str]]:
    """What each unverified row is of (index, fee or note) and since when."""
    if isinstance(value, list):
        return [found for item in value for found in _unverified(item, name)]
    if not isinstance(value, dict):
        return []
    if value.get("verified") is False:
        return [(value.get("underlying") or value.get("note", name).split()[0], value.get("from", name))]
    name = value.get("name", name)
    return [found for key, item in value.items() for found in _unverified(item, key if "-" in key else name)]
