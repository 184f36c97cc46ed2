"""What was learned is kept in the state directory, and never known before it was learned."""

from pathlib import Path

import pytest

from angelx.app.session import TUNING, keep_tuning, kept_tuning, tuning_before
from angelx.domain.errors import InputInvalid
from angelx.signals.tuning import FilterTuning, Tuning

LEARNED = Tuning(version=2, learned_at=1_000, filters={"trap": FilterTuning(0.02)})


def test_nothing_kept_is_the_priors(tmp_path: Path) -> None:
    assert kept_tuning(tmp_path) == tuning_before(tmp_path, 5, applies=True) == Tuning()


def test_it_is_kept_whole_and_private(tmp_path: Path) -> None:
    keep_tuning(tmp_path, LEARNED)
    assert kept_tuning(tmp_path) == LEARNED
    assert (tmp_path / TUNING).stat().st_mode & 0o777 == 0o600


def test_a_session_knows_only_what_was_learned_before_it(tmp_path: Path) -> None:
    keep_tuning(tmp_path, LEARNED)
    assert tuning_before(tmp_path, 1_001, applies=True) == LEARNED
    assert tuning_before(tmp_path, 1_000, applies=True) == Tuning()
    assert tuning_before(tmp_path, 1_001, applies=False) == Tuning()


def test_an_old_recording_does_not_undo_what_later_sessions_taught(tmp_path: Path) -> None:
    keep_tuning(tmp_path, LEARNED)
    keep_tuning(tmp_path, Tuning(version=1, learned_at=999))
    assert kept_tuning(tmp_path) == LEARNED


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / TUNING).write_text('{"form": 1, "filters": {"trap": {"shift": 9}}}')
    with pytest.raises(InputInvalid, match=r"tuning\.json: not a tuning state: shift must be within 0\.1 of 0, was 9"):
        kept_tuning(tmp_path)
