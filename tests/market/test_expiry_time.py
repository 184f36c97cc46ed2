"""When options end, against the exchanges' published hours."""

from datetime import UTC, date, datetime

import pytest

from angelx.domain.errors import InputInvalid
from angelx.domain.scalars import NS
from angelx.market.expiry_time import Settlements, years_until
from angelx.market.sessions import Sessions


@pytest.fixture(scope="module")
def settlements() -> Settlements:
    return Settlements(Sessions.load())


def utc(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * NS  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("segment", "expiry", "at", "averaging_from"),
    [
        ("NFO", date(2025, 9, 2), utc(2025, 9, 2, 10, 0), utc(2025, 9, 2, 9, 30)),  # 15:30 and 15:00 in India
        ("NFO", date(2026, 8, 25), utc(2026, 8, 25, 10, 10), utc(2026, 8, 25, 9, 45)),  # 15:40; auction from 15:15
        ("OPRA", date(2025, 8, 29), utc(2025, 8, 29, 20, 0), 0),  # 16:00 in New York, summer
        ("OPRA", date(2026, 11, 27), utc(2026, 11, 27, 18, 0), 0),  # half day, winter
    ],
)
def test_an_option_ends_with_its_segments_own_close(
    settlements: Settlements, segment: str, expiry: date, at: int, averaging_from: int
) -> None:
    found = settlements.of(segment, expiry)

    assert (found.at, found.averaging_from, found.note) == (at, averaging_from, "")


def test_beyond_the_verified_days_the_last_clock_time_holds_and_says_so(settlements: Settlements) -> None:
    far = settlements.of("NFO", date(2030, 6, 25))
    assert (far.at, far.averaging_from) == (utc(2030, 6, 25, 10, 10), utc(2030, 6, 25, 9, 45))
    assert far.note == "after 2026-12-31, the last verified day in sessions.json: taken as on 2026-12-30"

    summer = settlements.of("OPRA", date(2029, 6, 15))
    assert summer.at == utc(2029, 6, 15, 20, 0)  # The last session known is one of winter.


def test_a_master_that_names_a_holiday_gets_that_days_usual_close(settlements: Settlements) -> None:
    found = settlements.of("NFO", date(2025, 8, 27))

    assert found.at == utc(2025, 8, 27, 10, 0)
    assert found.note == "exchange holiday: taken as on 2025-08-26"


def test_an_unknown_segment_is_refused(settlements: Settlements) -> None:
    with pytest.raises(InputInvalid, match="no segment 'MCX'"):
        settlements.of("MCX", date(2026, 8, 25))


def test_years_are_counted_to_the_second() -> None:
    settles = utc(2025, 9, 2, 10, 0)

    assert years_until(settles, utc(2024, 9, 2, 10, 0)) == 1.0
    assert years_until(settles, settles - NS) == 1.0 / (365 * 86_400)
    assert years_until(settles, settles - NS // 2) == 1.0 / (365 * 86_400)
    assert years_until(settles, settles) == 0.0
    assert years_until(settles, settles + 5 * NS) == 0.0
