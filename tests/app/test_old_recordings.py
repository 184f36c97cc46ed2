"""Recordings of days that the dated tables do not know are refused before a session begins, and say what to do."""

from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from structlog.testing import capture_logs

from angelx.adapters.capture import CaptureWriter
from angelx.app.config import load_config
from angelx.app.session import check_fees
from angelx.app.sources import Bounds, open_source
from angelx.domain.errors import InputInvalid
from angelx.domain.instruments import Instrument, InstrumentTable, Kind
from angelx.domain.ports import TickSource
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, AT, BID, batch_of
from angelx.market.expiry_time import Settlements
from angelx.market.sessions import Sessions
from tests.adapters.recorded_files import BARS, CHAIN, bar, chain_row, write

SESSIONS = Sessions.load()
KOLKATA = ZoneInfo("Asia/Kolkata")


def opened(path: Path) -> TickSource:
    return open_source(load_config(None, {"market.source": str(path)}, environ={}), SESSIONS, Bounds())


def chain_of(path: Path, *days: date, expiry: date) -> Path:
    opens = [datetime(day.year, day.month, day.day, 9, 15, tzinfo=KOLKATA).timestamp() for day in days]
    return write(path, CHAIN, [chain_row(second, expiry=expiry) for second in opens])


@pytest.mark.parametrize("year", [2000, 2014, 2016])
def test_an_expiry_before_all_sessions_is_named(tmp_path: Path, year: int) -> None:
    path = chain_of(tmp_path / "old.parquet", date(year, 3, 3), expiry=date(year, 3, 10))
    with pytest.raises(InputInvalid, match=rf"old.parquet: options that expire on {year}-03-10: the sessions of NFO"):
        opened(path)


def test_the_first_expiries_that_are_known_settle() -> None:
    first = SESSIONS.first_verified("NFO")
    with pytest.raises(InputInvalid, match="are known from"):
        Settlements(SESSIONS).of("NFO", date.fromordinal(first.toordinal() - 1))
    assert Settlements(SESSIONS).of("NFO", date.fromordinal(first.toordinal() + 31)).at > 0


def checked(path: Path, *, fees: bool = True, broker: str = "paper") -> None:
    config = load_config(None, {"market.source": str(path), "paper.fees": fees, "broker": broker}, environ={})
    check_fees(config, opened(path), SESSIONS)


def test_fees_that_do_not_go_back_so_far_are_named_with_the_remedy(tmp_path: Path) -> None:
    path = chain_of(tmp_path / "old.parquet", date(2018, 3, 5), expiry=date(2018, 3, 8))
    with pytest.raises(InputInvalid, match=r"old.parquet: .* on 2018-03-05, .*2023-04-01; --set paper.fees=false"):
        checked(path)
    checked(path, fees=False)
    checked(path, broker="angelone")


def test_days_without_a_session_and_days_before_an_option_was_listed_do_not_count(tmp_path: Path) -> None:
    checked(chain_of(tmp_path / "a.parquet", date(2025, 8, 28), date(2025, 8, 29), expiry=date(2025, 9, 2)))
    checked(chain_of(tmp_path / "b.parquet", date(2018, 3, 4), expiry=date(2018, 3, 8)))  # A Sunday.
    checked(chain_of(tmp_path / "c.parquet", date(2022, 3, 1), date(2025, 8, 29), expiry=date(2025, 9, 2)))


def test_kinds_that_have_fees_may_be_traded_beside_those_that_have_none(tmp_path: Path) -> None:
    chain_of(tmp_path / "chain.parquet", date(2018, 3, 5), expiry=date(2018, 3, 8))
    begin = datetime(2018, 3, 5, 9, 30, tzinfo=ZoneInfo("America/New_York")).timestamp()
    write(tmp_path / "stock.parquet", BARS, [bar(begin + 60 * n, "IBM", 100.0, 10) for n in range(3)])
    with capture_logs() as logs:
        checked(tmp_path)
    assert [(line["event"], line["log_level"]) for line in logs] == [("fees_unknown", "warning")]
    assert "2023-04-01" in logs[0]["why"]


# ---------------------------------------------------------------- captures
def test_rows_that_a_capture_lost_are_told(tmp_path: Path) -> None:
    share = Instrument(id="US:X", symbol="X", segment="US", kind=Kind.EQUITY, currency="USD", tick_size=100)
    table = InstrumentTable([share])
    for first in (0, 20):
        rows = batch_of({AT: np.arange(first, first + 10) + 1_756_800_000 * NS, BID: 100_0000, ASK: 100_0100})
        writer = CaptureWriter(tmp_path, table)
        writer.append(rows, 0, 10, first)
        writer.flush()
    with capture_logs() as told:
        opened(tmp_path)
    (line,) = told
    assert (line["event"], line["missing_rows"], line["torn"]) == ("capture_incomplete", [[10, 19]], [])
