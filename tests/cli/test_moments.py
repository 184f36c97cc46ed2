"""What people write for a moment: days, times, and times of day alone."""

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.app.config import load_config
from angelx.cli.moments import day_bounds, day_of, is_day, is_time, moment_of, shown
from angelx.cli.play import _bounds
from angelx.domain.errors import InputInvalid
from angelx.domain.scalars import NS
from tests.adapters.recorded_files import CHAIN, NSE_OPEN, QUOTE_TICKS, US_OPEN, at, chain_row, write

DAY = 86_400
KOLKATA, NEW_YORK = ZoneInfo("Asia/Kolkata"), ZoneInfo("America/New_York")
DAYS = st.dates(date(1990, 1, 1), date(2100, 1, 1))
ZONES = st.sampled_from([KOLKATA, NEW_YORK])


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * NS


@given(DAYS, st.integers(0, 1439), ZONES)
def test_a_time_alone_is_that_time_of_the_day_it_is_of(day: date, minute: int, zone: ZoneInfo) -> None:
    clock = f"{minute // 60:02}:{minute % 60:02}"
    assert is_time(clock)
    assert not is_day(clock)
    found = moment_of(clock, zone, option="--at", day=day)
    assert found == moment_of(f"{day} {clock}", zone, option="--at")
    assert found == ns(datetime.combine(day, time.fromisoformat(clock), zone))


@given(DAYS, ZONES)
def test_a_bare_date_is_its_start_or_its_end(day: date, zone: ZoneInfo) -> None:
    assert is_day(str(day))
    assert not is_time(str(day))
    begin, end = day_bounds(day, zone)
    assert tuple(moment_of(str(day), zone, option="--at", last=last) for last in (False, True)) == (begin, end)
    assert day_of(begin, zone) == day == day_of(end - 1, zone) != day_of(end, zone)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)), ZONES)  # noqa: DTZ001
def test_a_zone_that_is_written_counts(moment: datetime, zone: ZoneInfo) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert moment_of(moment.isoformat(), zone, option="--at") == ns(moment)
    assert shown(ns(moment), zone) == moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize("text", ["yesterday", "25:00", "2025-13-01", "0001-01-01", "9999-12-31", "", "11", "2025"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InputInvalid, match=r"--from: .* is no moment"):
        moment_of(text, KOLKATA, option="--from", day=date(2025, 8, 29), last=True)


def test_a_time_of_no_day_says_how_to_write_it() -> None:
    with pytest.raises(InputInvalid, match="'2025-08-29 10:00'"):
        moment_of("10:00", KOLKATA, option="--at")


# ---------------------------------------------------------------- of a recording
def quote(second: float) -> dict[str, Any]:
    return {"ts": at(second), "seq": 0, "symbol": "IBM", "bid": 1.0, "bid_size": 100, "ask": 1.01, "ask_size": 100}


def bounds(path: Path, begin: str | None, end: str | None) -> tuple[int | None, int | None]:
    found = _bounds(load_config(None, {"market.source": str(path)}), begin, end)
    return found.begin, found.end


def test_times_are_of_the_first_and_the_last_day_of_the_recording(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", CHAIN, [chain_row(), chain_row(NSE_OPEN + 3 * DAY)])
    first, last = (day_of(second * NS, KOLKATA) for second in (NSE_OPEN, NSE_OPEN + 3 * DAY))
    assert bounds(path, "09:30", "11:00") == (
        ns(datetime.combine(first, time(9, 30), KOLKATA)),
        ns(datetime.combine(last, time(11), KOLKATA)),
    )
    assert bounds(path, str(last), "11:00") == (
        ns(datetime.combine(last, time(), KOLKATA)),
        ns(datetime.combine(last, time(11), KOLKATA)),
    )
    assert bounds(path, None, None) == (None, None)


def test_times_are_those_of_the_market_of_the_recording(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", QUOTE_TICKS, [quote(US_OPEN), quote(US_OPEN + 60)])
    day = day_of(US_OPEN * NS, NEW_YORK)
    assert bounds(path, "09:30", None) == (ns(datetime.combine(day, time(9, 30), NEW_YORK)), None)


def test_the_wrong_way_round_is_said_in_times(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", CHAIN, [chain_row(), chain_row(NSE_OPEN + 60)])
    with pytest.raises(InputInvalid, match=r"--from .* 11:00:00 is not before --to .* 09:30:00 \(Asia/Kolkata\)"):
        bounds(path, "11:00", "09:30")
