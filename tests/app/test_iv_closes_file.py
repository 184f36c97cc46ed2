"""Volatilities at closes are kept in the state directory; a session knows those of days before it."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from angelx.app.session import IV_CLOSES, iv_closes_before, keep_iv_closes, kept_iv_closes
from angelx.domain.errors import InputInvalid
from angelx.domain.scalars import NS
from angelx.market.iv_closes import IvCloses
from angelx.market.smile import SESSIONS, IvHistory

FIRST = date(2026, 1, 5)
DAYS = [FIRST + timedelta(days) for days in range(70)]
CLOSES = [(day, 0.10 + 0.001 * number) for number, day in enumerate(DAYS)]


def opening_of(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, 3, 45, tzinfo=UTC).timestamp()) * NS


def test_nothing_kept_is_no_closes(tmp_path: Path) -> None:
    assert kept_iv_closes(tmp_path) == iv_closes_before(tmp_path, opening_of(FIRST)) == IvCloses()
    keep_iv_closes(tmp_path, {"NSE:X": IvHistory()})
    assert not (tmp_path / IV_CLOSES).exists()


def test_they_are_kept_private_and_ranked(tmp_path: Path) -> None:
    keep_iv_closes(tmp_path, {"NSE:X": IvHistory(CLOSES)})
    assert (tmp_path / IV_CLOSES).stat().st_mode & 0o777 == 0o600
    history = iv_closes_before(tmp_path, opening_of(DAYS[-1] + timedelta(1))).histories()["NSE:X"]
    assert history.closes == tuple(CLOSES)
    assert history.rank(0.10) == 0.0


def test_a_session_knows_only_closes_of_days_before_it(tmp_path: Path) -> None:
    keep_iv_closes(tmp_path, {"NSE:X": IvHistory(CLOSES)})
    assert iv_closes_before(tmp_path, opening_of(DAYS[3])).closes == {"NSE:X": CLOSES[:3]}
    assert iv_closes_before(tmp_path, opening_of(FIRST)) == IvCloses()


def test_runs_add_to_each_other_and_the_last_says_what_a_session_was(tmp_path: Path) -> None:
    keep_iv_closes(tmp_path, {"NSE:X": IvHistory(CLOSES[:2]), "NSE:Y": IvHistory(CLOSES[:1])})
    keep_iv_closes(tmp_path, {"NSE:X": IvHistory([(DAYS[1], 0.5), CLOSES[2]])})
    assert kept_iv_closes(tmp_path).closes == {
        "NSE:X": [CLOSES[0], (DAYS[1], 0.5), CLOSES[2]], "NSE:Y": CLOSES[:1]
    }  # fmt: skip
    many = [(FIRST + timedelta(days), 0.2) for days in range(SESSIONS)]
    keep_iv_closes(tmp_path, {"NSE:X": IvHistory([(many[-1][0] + timedelta(1), 0.3)])})
    keep_iv_closes(tmp_path, {"NSE:X": IvHistory(many)})
    assert len(kept_iv_closes(tmp_path).closes["NSE:X"]) == SESSIONS


@pytest.mark.parametrize(("text", "why"), [
    ('{"form": 2}', "form must be 1, was 2"),
    ('{"closes": {"NSE:X": [["2026-01-05", -0.1]]}}', "must be positive numbers"),
    ('{"closes": {"NSE:X": [["2026-01-06", 0.1], ["2026-01-05", 0.1]]}}', "ascending"),
    ("nothing", "malformed"),
])  # fmt: skip
def test_a_broken_file_is_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / IV_CLOSES).write_text(text)
    with pytest.raises(InputInvalid, match=rf"iv_closes\.json: no volatilities of closes: .*{why}"):
        kept_iv_closes(tmp_path)
