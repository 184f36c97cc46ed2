"""What a start finds of the session before it."""

import sqlite3
from pathlib import Path

import pytest

from angelx.adapters.journal import PRAGMAS, SqliteJournal
from angelx.app.session import HEAD, JOURNAL, left_in, verify
from angelx.bus.bus import Bus
from angelx.domain.errors import JournalBroken


def killed_at_once(path: Path) -> None:
    """What is left of a process that was killed before it had made its tables."""
    database = sqlite3.connect(path)
    database.execute(f"pragma {PRAGMAS[0]}")
    database.close()


def test_a_journal_that_was_never_begun_is_none(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    assert left_in(path) is None
    killed_at_once(path)
    assert path.exists()
    assert left_in(path) is None
    SqliteJournal(Bus(), path).close()
    assert left_in(path) is None


def test_a_journal_that_lost_everything_is_broken(tmp_path: Path) -> None:
    """Beside a head there was something: it must not be forgotten that orders may be out."""
    path = tmp_path / JOURNAL
    killed_at_once(path)
    (tmp_path / HEAD).write_bytes(b"{}")
    with pytest.raises(JournalBroken):
        left_in(path)


@pytest.mark.parametrize(
    "text", [b"", b"\xff\x00", b'{"last": 3', b"[]", b'{"last": "three", "hash": "ab"}', b'"\xff"']
)
def test_a_head_file_that_is_none_is_a_fault_with_its_name(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / JOURNAL
    SqliteJournal(Bus(), path).close()
    assert verify(path, b"").faults == ()
    (tmp_path / HEAD).write_bytes(text)
    found = verify(path, b"")
    assert found.head_file
    (fault,) = found.faults
    assert fault.what.startswith("journal.head, the head kept beside it, was edited or is damaged: ")
