"""Sessions against the calendars of two other projects, the recorded data and their own definition."""

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.domain.errors import InputInvalid
from angelx.domain.scalars import NS
from angelx.market import tables
from angelx.market.sessions import MINUTE, Closed, Session, Sessions, SessionsTable, Window

SESSIONS = Sessions.load()
ALL = Sessions.load(trade_special_sessions=True)
ZONES = {"NSE": "Asia/Kolkata", "NFO": "Asia/Kolkata", "US": "America/New_York", "OPRA": "America/New_York"}
DATA = Path(os.environ.get("ANGELX_DATA", Path(__file__).parents[3] / "shared" / "data"))
LEAN = DATA / "reference" / "market_hours_lean.json"

segments = st.sampled_from(sorted(ZONES))
days = st.dates(date(2016, 6, 1), date(2028, 6, 30))


def at(segment: str, text: str) -> int:
    """Exchange time as ns UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONES[segment])).timestamp()) * NS


def session(sessions: Sessions, segment: str, day: str) -> Session:
    found = sessions.on(segment, date.fromisoformat(day))
    assert isinstance(found, Session), found
    return found


def hours(sessions: Sessions, segment: str, day: str) -> str:
    found = session(sessions, segment, day)
    zone = ZoneInfo(ZONES[segment])
    ends = [datetime.fromtimestamp(ns // NS, zone) for ns in (found.opens_at, found.closes_at)]
    return f"{ends[0]:%Y-%m-%d %H:%M}-{ends[1]:%H:%M}"


@pytest.mark.parametrize(
    ("segment", "day", "expected"),
    [
        ("NFO", "2019-01-02", "09:15-15:30"),
        ("NFO", "2026-07-31", "09:15-15:30"),
        ("NFO", "2026-08-03", "09:15-15:40"),
        ("NSE", "2026-07-31", "09:15-15:30"),
        ("NSE", "2026-08-03", "09:15-15:15"),
        ("US", "2013-10-07", "09:30-16:00"),
        ("US", "2015-12-24", "09:30-13:00"),
        ("OPRA", "2015-12-24", "09:30-13:00"),
        ("US", "2026-11-27", "09:30-13:00"),
        ("US", "2027-12-31", "09:30-16:00"),
    ],
)
def test_regular_sessions_and_half_days(segment: str, day: str, expected: str) -> None:
    assert hours(SESSIONS, segment, day) == f"{day} {expected}"
    assert not session(SESSIONS, segment, day).special


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2024-01-20", "09:15-15:30"),
        ("2024-03-02", "09:15-12:30"),
        ("2024-05-18", "09:15-12:30"),
        ("2024-11-01", "18:00-19:00"),
        ("2025-02-01", "09:15-15:30"),
        ("2025-10-21", "13:45-14:45"),
        ("2026-02-01", "09:15-15:30"),
    ],
)
def test_special_sessions_trade_only_when_asked_for(day: str, expected: str) -> None:
    assert hours(ALL, "NFO", day) == f"{day} {expected}"
    assert session(ALL, "NFO", day).special
    refused = SESSIONS.on("NFO", date.fromisoformat(day))
    assert isinstance(refused, Closed)
    assert "trade_special_sessions" in refused.reason


@pytest.mark.parametrize(
    ("segment", "day", "reason"),
    [
        ("NFO", "2025-08-27", "exchange holiday"),
        ("NFO", "2026-08-15", "weekend"),
        ("NFO", "2026-11-08", "could not be verified"),
        ("NFO", "2027-01-04", "after 2026-12-31, the last verified day"),
        ("NFO", "2016-12-30", "before 2017-01-01"),
        ("US", "2025-01-09", "exchange holiday"),
        ("US", "2012-10-29", "exchange holiday"),
        ("US", "2028-01-03", "after 2027-12-31"),
    ],
)
def test_closed_says_why(segment: str, day: str, reason: str) -> None:
    closed = ALL.on(segment, date.fromisoformat(day))
    assert isinstance(closed, Closed)
    assert (closed.segment, str(closed.day)) == (segment, day)
    assert reason in closed.reason


@pytest.mark.parametrize(
    ("segment", "moment", "phase", "reason"),
    [
        ("NSE", "2026-08-19 08:59:59", "closed", "before the open at 09:15"),
        ("NSE", "2026-08-19 09:00:00", "pre_open", "before the open at 09:15"),
        ("NSE", "2026-08-19 09:15:00", "open", ""),
        ("NSE", "2026-08-19 15:14:59", "open", ""),
        ("NSE", "2026-08-19 15:15:00", "closing_auction", "closing auction until 15:35"),
        ("NSE", "2026-08-19 15:35:00", "closed", "after the close at 15:15"),
        ("NFO", "2026-08-19 15:39:59", "open", ""),
        ("NFO", "2026-08-19 15:40:00", "closed", "after the close at 15:40"),
        ("NFO", "2025-08-29 15:30:00", "closed", "after the close at 15:30"),
        ("NFO", "2024-03-02 10:00:00", "closed", "between two sittings, the next opens at 11:30"),
        ("NFO", "2021-02-24 12:00:00", "closed", "between two sittings, the next opens at 15:45"),
        ("NFO", "2021-02-24 16:59:59", "open", ""),
        ("US", "2015-12-24 12:59:59", "open", ""),
        ("US", "2015-12-24 13:00:00", "closed", "after the close at 13:00"),
        ("US", "2026-11-26 12:00:00", "closed", "exchange holiday"),
    ],
)
def test_phase_and_session_of_an_instant(segment: str, moment: str, phase: str, reason: str) -> None:
    now = at(segment, moment)
    assert ALL.phase(segment, now) == phase
    answer = ALL.at(segment, now)
    if phase == "open":
        assert answer == ALL.on(segment, ALL.day_of(segment, now))
    else:
        assert isinstance(answer, Closed)
        assert reason in answer.reason


def test_new_york_crosses_midnight_in_india() -> None:
    evening = int(datetime(2026, 3, 6, 20, 59, tzinfo=UTC).timestamp()) * NS  # 15:59 EST, 02:29 IST the next day.
    assert SESSIONS.day_of("US", evening) == date(2026, 3, 6)
    assert SESSIONS.day_of("NFO", evening) == date(2026, 3, 7)
    assert SESSIONS.phase("US", evening) == "open"


def test_daylight_saving_moves_the_open_in_utc_only() -> None:
    winter, summer = session(SESSIONS, "US", "2026-03-06"), session(SESSIONS, "US", "2026-03-09")
    assert (winter.opens_at // NS % 86_400, summer.opens_at // NS % 86_400) == (14.5 * 3600, 13.5 * 3600)


@given(sessions=st.sampled_from([SESSIONS, ALL]), segment=segments, day=days, offset=st.integers(-3600, 90_000))
def test_an_answer_depends_on_the_instant_alone(sessions: Sessions, segment: str, day: date, offset: int) -> None:
    """What was asked before does not matter, although answers are remembered."""
    now = at(segment, f"{day} 00:00:00") + offset * NS
    own_day = datetime.fromtimestamp(now // NS, ZoneInfo(ZONES[segment])).date()
    assert sessions.day_of(segment, now) == own_day
    found = sessions.on(segment, own_day)
    spans = found.phases if isinstance(found, Session) else ()
    expected = [span.phase for span in spans if span.begins_at <= now < span.ends_at]
    assert sessions.phase(segment, now) == (expected[0] if expected else "closed")
    assert isinstance(sessions.at(segment, now), Session) == (expected == ["open"])


def test_a_remembered_answer_does_not_reach_back_over_the_session() -> None:
    """Replay may ask about an earlier instant of the same day."""
    sessions = Sessions.load()
    clocks = ["23:00", "10:00", "08:00", "16:00", "15:20", "09:05", "15:39"]
    phases = [sessions.phase("NSE", at("NSE", f"2026-08-19 {clock}:00")) for clock in clocks]
    assert phases == ["closed", "open", "closed", "closed", "closing_auction", "pre_open", "closed"]


@pytest.mark.parametrize(
    ("now", "opening"),
    [
        ("2026-08-19 09:14:59", "2026-08-19 09:15:00"),
        ("2026-08-19 09:15:00", "2026-08-19 09:15:00"),
        ("2026-08-19 09:15:01", "2026-08-20 09:15:00"),
        ("2026-08-14 15:40:00", "2026-08-17 09:15:00"),
        ("2024-03-02 09:15:01", "2024-03-02 11:30:00"),
        ("2016-05-01 00:00:00", "2017-01-02 09:15:00"),
    ],
)
def test_next_open_of_known_moments(now: str, opening: str) -> None:
    assert ALL.next_open("NFO", at("NFO", now)) == at("NFO", opening)


@given(segment=segments, day=days, offset=st.integers(0, 86_399))
def test_the_next_open_is_the_first_instant_that_is_open_after_a_closed_one(
    segment: str, day: date, offset: int
) -> None:
    now = at(segment, f"{day} 00:00:00") + offset * NS
    opening = ALL.next_open(segment, now)
    if isinstance(opening, Closed):
        assert "last verified" in opening.reason
        return
    assert opening >= now
    assert ALL.phase(segment, opening) == "open"
    assert ALL.phase(segment, opening - 1) != "open"
    between = [ALL.on(segment, day + timedelta(n)) for n in range((ALL.day_of(segment, opening) - day).days)]
    for found in between:
        if not isinstance(found, Closed):  # its last sitting had begun: an auction after it is no opening
            assert max(span.begins_at for span in found.phases if span.phase == "open") < now


@given(segment=segments, day=days)
def test_windows_divide_every_session_and_keep_its_last_quarter_hour(segment: str, day: date) -> None:
    found = ALL.on(segment, day)
    if isinstance(found, Closed):
        return
    windows = ALL.windows(segment, found)
    assert windows[0].begins_at == found.opens_at
    assert windows[-1] == Window("closing", found.closes_at - 15 * MINUTE, found.closes_at)
    assert all(before.ends_at == after.begins_at for before, after in pairwise(windows))
    names = [window.name for window in windows]
    assert names == [n for n in ("opening", "morning", "midday", "afternoon", "closing") if n in names]


@pytest.mark.parametrize(
    ("segment", "day", "expected"),
    [
        ("NFO", "2025-08-29", "opening 10:30 morning 12:00 midday 14:00 afternoon 15:15 closing 15:30"),
        ("NFO", "2026-08-19", "opening 10:30 morning 12:00 midday 14:00 afternoon 15:25 closing 15:40"),
        ("US", "2026-08-19", "opening 10:45 morning 12:15 midday 14:15 afternoon 15:45 closing 16:00"),
        ("US", "2026-11-27", "opening 10:45 morning 12:15 midday 12:45 closing 13:00"),
        ("NFO", "2024-11-01", "opening 18:45 closing 19:00"),
    ],
)
def test_windows_of_known_days(segment: str, day: str, expected: str) -> None:
    zone = ZoneInfo(ZONES[segment])
    windows = ALL.windows(segment, session(ALL, segment, day))
    assert expected == " ".join(f"{w.name} {datetime.fromtimestamp(w.ends_at // NS, zone):%H:%M}" for w in windows)


def test_a_foreign_session_has_no_windows() -> None:
    with pytest.raises(ValueError, match="a session of US has no windows in NFO"):
        SESSIONS.windows("NFO", session(SESSIONS, "US", "2026-08-19"))


def test_an_unknown_segment_is_named() -> None:
    with pytest.raises(InputInvalid, match="no segment 'MCX', only NFO, NSE, OPRA, US"):
        SESSIONS.phase("MCX", 0)


@pytest.mark.parametrize(
    ("hours", "complaint"),
    [
        ([["open", "09:15", "09:15"]], "overlap"),
        ([["open", "09:15", "15:30"], ["closing_auction", "15:15", "15:35"]], "overlap"),
        ([["open", "9:15", "15:30"]], "overlap"),
        ([["pre_open", "09:00", "09:15"]], "never open"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(hours: list[list[str]], complaint: str) -> None:
    table = json.loads((Path(tables.__file__).parent / "sessions.json").read_text("utf-8"))
    table["segments"]["NFO"]["hours"][1]["phases"] = hours
    with pytest.raises(InputInvalid, match=f"NFO: hours from 2025-12-08.*{complaint}"):
        Sessions(tables.parse("sessions.json", json.dumps(table).encode(), SessionsTable))


def test_a_table_without_a_calendar_names_it() -> None:
    table = json.loads((Path(tables.__file__).parent / "sessions.json").read_text("utf-8"))
    del table["calendars"]["IN"]
    with pytest.raises(InputInvalid, match="NFO: no calendar 'IN'"):
        Sessions(tables.parse("sessions.json", json.dumps(table).encode(), SessionsTable))


def test_a_missing_table_is_named() -> None:
    with pytest.raises(InputInvalid, match=r"no table holidays\.json in angelx\.market\.tables"):
        tables.read("holidays.json", SessionsTable)


def test_a_table_with_a_wrong_value_names_the_place() -> None:
    table = json.loads((Path(tables.__file__).parent / "sessions.json").read_text("utf-8"))
    table["segments"]["NFO"]["hours"][1]["phases"][0][0] = "lunch"
    with pytest.raises(InputInvalid, match=r"sessions\.json: Invalid enum value 'lunch' - at `\$\.segments"):
        tables.parse("sessions.json", json.dumps(table).encode(), SessionsTable)


def test_starting_does_not_import_pandas() -> None:
    check = "import sys, angelx.market.sessions as s; s.Sessions.load(); sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


# ---------------------------------------------------------------- other people's calendars
def test_the_table_is_what_the_tool_makes() -> None:
    pytest.importorskip("pandas_market_calendars", reason="the table can only be remade with pandas_market_calendars")
    tool = Path(__file__).parents[2] / "tools" / "make_sessions.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("segment", "key", "since"), [("US", "Equity-usa-[*]", 2008), ("NSE", "Equity-india-[*]", 2017)]
)
def test_holidays_and_early_closes_agree_with_lean(segment: str, key: str, since: int) -> None:
    """LEAN lists only fixed-date Indian holidays after 2021: ours must hold all of its, and equal it until then."""
    if not LEAN.exists():
        pytest.skip(f"no recorded reference data at {LEAN}")
    lean = json.loads(LEAN.read_text())[key]
    theirs = {datetime.strptime(text, "%m/%d/%Y").date() for text in lean["holidays"]}  # noqa: DTZ007
    last = SESSIONS.last_verified(segment)
    theirs = {day for day in theirs if since <= day.year and day <= last and day.weekday() < 5}
    span = [date(since, 1, 1) + timedelta(n) for n in range((last - date(since, 1, 1)).days + 1)]
    ours = {day for day in span if day.weekday() < 5 and "holiday" in getattr(ALL.on(segment, day), "reason", "")}
    complete = 2027 if segment == "US" else 2021
    assert theirs <= ours
    assert {day for day in ours if day.year <= complete} == {day for day in theirs if day.year <= complete}
    early = {datetime.strptime(text, "%m/%d/%Y").date() for text in lean["earlyCloses"]}  # noqa: DTZ007
    halves = {day for day in span if getattr(ALL.on(segment, day), "note", "") == "half day"}
    weekdays = {day for day in early if since <= day.year and day <= last and day.weekday() < 5}
    assert halves == weekdays - theirs


@pytest.mark.parametrize(
    ("segment", "file"), [("NFO", "nifty-options/chain_quotes_20250829_NIFTY"), ("OPRA", "us-options/quotes_1m")]
)
def test_recorded_quotes_lie_inside_their_sessions(segment: str, file: str) -> None:
    path = DATA / f"{file}.parquet"
    if not path.exists():
        pytest.skip(f"no recorded data at {path}")
    parquet = pytest.importorskip("pyarrow.parquet", reason="recorded data are Parquet")
    columns = ["ts", "underlying"] if segment == "OPRA" else ["ts"]
    table = parquet.read_table(path, columns=columns)
    if segment == "OPRA":  # Index options trade 15 minutes longer, which the table leaves out (docs/tables.md).
        table = table.filter([name != "SPX" for name in table["underlying"].to_pylist()])
    stamps = {int(stamp) * 1000 for stamp in table["ts"].cast("int64").unique().to_pylist()}
    outside = {stamp for stamp in stamps if SESSIONS.phase(segment, stamp) != "open"}
    closings = {answer.closes_at for stamp in stamps if isinstance(answer := SESSIONS.at(segment, stamp - NS), Session)}
    assert outside <= closings  # LEAN stamps the closing print with the minute that begins at the close.
