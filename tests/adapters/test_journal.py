"""The journal's writer alone: what is durable when, what survives a crash, and what an unwritable disk does."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.adapters.journal import BLOCKS_PER_COMMIT, LOG_PAGES, Head, JournalReader, MemoryJournal, SqliteJournal
from angelx.adapters.journal_names import rebuilt
from angelx.bus.bus import Bus
from angelx.bus.records import SCHEMA
from angelx.domain.errors import JournalBroken, JournalFull
from angelx.domain.events import Event, IncidentReported

BLOCK = 4
KEY = b"0123456789abcdef"


def fact(number: int) -> Event:
    return IncidentReported(number, "test", f"fact {number}")


OPENED: list[SqliteJournal] = []


def journal(path: Path, *, durable: bool = True, key: bytes = b"") -> SqliteJournal:
    OPENED.append(SqliteJournal(Bus(), path, durable=durable, block_records=BLOCK, key=key))
    return OPENED[-1]


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop()._db.close()


def seen(path: Path, start: int = 1) -> list[int]:
    """What another process would read, by the facts' numbers."""
    reader = JournalReader(path)
    try:
        return [record.event.at for record in reader.records(start)]
    finally:
        reader.close()


def edit(path: Path, statement: str, *values: object) -> None:
    """Somebody changes the file behind the journal's back."""
    db = sqlite3.connect(path)
    with db:
        db.execute(statement, values)
    db.close()


def faults(path: Path, head: Head | None = None, key: bytes = b"") -> list[str]:
    reader = JournalReader(path)
    try:
        return [fault.what for fault in reader.faults(head, key)]
    finally:
        reader.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


# ---------------------------------------------------------------- durable when
def test_an_intent_is_on_disk_with_everything_before_it_when_the_call_returns(path: Path) -> None:
    one = journal(path)
    one.record(fact(1))
    assert (seen(path), one.pending) == ([], True)
    one.intent(fact(2))
    assert (seen(path), one.pending) == ([1, 2], False)
    assert one.head.last == 2


def test_spooled_an_intent_waits_for_its_commit(path: Path) -> None:
    one = journal(path, durable=False)
    most = BLOCK * BLOCKS_PER_COMMIT
    for number in range(1, most):
        one.intent(fact(number))
    assert seen(path) == [] and one.pending
    one.intent(fact(most))
    assert seen(path) == list(range(1, most + 1)) and not one.pending


def test_a_commit_waits_for_the_disk(path: Path) -> None:
    one = journal(path)
    asked = ("journal_mode", "synchronous", "wal_autocheckpoint")
    assert [one._db.execute(f"pragma {name}").fetchone()[0] for name in asked] == ["wal", 2, 1000]


def test_a_commit_leaves_the_size_of_the_log_alone(path: Path) -> None:
    one, log = journal(path), path.with_name("journal.db-wal")
    sizes = [log.stat().st_size]
    for number in range(LOG_PAGES // 2):  # Three pages each: the log begins anew on the way.
        one.intent(fact(number))
        sizes.append(log.stat().st_size)
    assert sizes[0] > LOG_PAGES * 4096
    assert set(sizes) == {sizes[0]}
    assert seen(path) == list(range(LOG_PAGES // 2))
    one.close()


def test_a_log_that_a_crash_left_behind_is_folded_in_before_it_is_written_over(path: Path, tmp_path: Path) -> None:
    one = journal(path)
    for number in range(5):
        one.intent(fact(number))
    there = tmp_path / "there"
    there.mkdir()
    for name in ("journal.db", "journal.db-wal"):  # As a kill leaves it.
        shutil.copy(path.with_name(name), there / name)
    one.close()
    again = journal(there / "journal.db")
    again.intent(fact(5))
    assert seen(there / "journal.db") == [0, 1, 2, 3, 4, 5]
    assert faults(there / "journal.db") == []
    again.close()


def test_closed_all_of_it_is_in_the_file_even_while_somebody_reads(path: Path, tmp_path: Path) -> None:
    one = journal(path)
    one.record(fact(1))
    reader = JournalReader(path)
    one.close()
    copy = tmp_path / "copy.db"
    copy.write_bytes(path.read_bytes())
    reader.close()
    assert seen(copy) == [1]


def test_a_flush_without_anything_to_write_writes_nothing(path: Path) -> None:
    one = journal(path)
    one.flush()
    assert seen(path) == [] and one.head == Head(0, "00" * 32)
    assert faults(path) == []


def test_records_are_numbered_by_the_stream_and_read_from_any_number_on(path: Path) -> None:
    bus = Bus()
    one = SqliteJournal(bus, path, block_records=BLOCK)
    bus.resume(7, 3, 100)
    for number in range(1, 11):
        one.record(fact(number))
    one.close()
    reader = JournalReader(path)
    assert [(r.number, r.seq, r.row, r.kind) for r in reader.records(10)] == [(10, 7, 3, "IncidentReported")]
    assert [block.first for block in reader.blocks()] == [1, 5, 9]
    reader.close()
    assert seen(path, 5) == list(range(5, 11))


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["record", "intent", "flush", "crash", "close"]), max_size=60), st.booleans())
def test_what_is_on_disk_is_always_a_prefix_of_what_was_kept(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], durable: bool
) -> None:
    """However it ends, the next start goes on behind the last durable record, and the chain holds."""
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    one = journal(path, durable=durable, key=KEY)
    kept: list[int] = []
    written = 0
    for number, step in enumerate(steps, 1):
        if step in ("record", "intent"):
            (one.record if step == "record" else one.intent)(fact(number))
            kept.append(number)
            written = len(kept) if step == "intent" and durable else written
        elif step == "flush":
            one.flush()
            written = len(kept)
        elif step == "close":
            one.close()
            written = len(kept)
            one = journal(path, durable=durable, key=KEY)
        else:
            one._db.close()  # The process is gone: what was only in memory with it.
            kept = kept[: len(seen(path))]
            assert len(kept) >= written
            one = journal(path, durable=durable, key=KEY)
        on_disk = seen(path)
        assert on_disk == kept[: len(on_disk)] and len(on_disk) >= written
        assert one.pending == (len(on_disk) < len(kept))
        assert faults(path, key=KEY) == []
    one.close()
    assert not path.with_name("journal.db-wal").exists()  # Folded into the file.
    assert seen(path) == kept
    assert faults(path, one.head, KEY) == []


# ---------------------------------------------------------------- a disk that takes nothing
def test_what_could_not_be_written_is_kept_and_written_later(path: Path) -> None:
    one = journal(path)
    one.intent(fact(1))
    blocker = sqlite3.connect(path, isolation_level=None)
    one._db.execute("pragma busy_timeout=1")
    blocker.execute("begin immediate")
    for _ in range(2):
        with pytest.raises(JournalFull, match=r"journal\.db: .*locked"):
            one.intent(fact(2))
    assert seen(path) == [1] and one.pending
    blocker.execute("rollback")
    blocker.close()
    one.flush()
    assert seen(path) == [1, 2, 2] and faults(path, one.head) == []


def test_a_commit_that_fails_half_way_leaves_nothing_of_itself(path: Path) -> None:
    one = journal(path)
    one.intent(fact(1))
    one._db.execute("create trigger full before insert on head begin select raise(abort, 'disk is full'); end")
    with pytest.raises(JournalFull, match="disk is full"):
        one.intent(fact(2))
    assert not one._db.in_transaction
    assert seen(path) == [1]
    one._db.execute("drop trigger full")
    one.flush()
    assert seen(path) == [1, 2] and faults(path, one.head) == []


def test_a_full_file_system_is_named_and_nothing_is_lost(path: Path) -> None:
    one = journal(path)
    pages = one._db.execute("pragma page_count").fetchone()[0]
    one._db.execute(f"pragma max_page_count={pages + 1}")
    number = 0

    def fill() -> None:
        nonlocal number
        while number < 200:
            number += 1
            one.intent(IncidentReported(number, "test", "x" * 500))

    with pytest.raises(JournalFull, match="full"):
        fill()
    on_disk = seen(path)
    one._db.execute("pragma max_page_count=1000")
    one.flush()
    assert seen(path) == [*on_disk, len(on_disk) + 1] and faults(path, one.head) == []


# ---------------------------------------------------------------- what is no journal
def test_another_schema_is_refused_by_writer_and_reader(path: Path) -> None:
    journal(path).close()
    edit(path, "update meta set value = '99'")
    with pytest.raises(JournalBroken, match=rf"schema 99, this program writes schema {SCHEMA}"):
        journal(path)
    with pytest.raises(JournalBroken, match=rf"schema 99, this program reads schema {SCHEMA}"):
        JournalReader(path)


def test_what_is_no_database_is_refused_by_name(path: Path) -> None:
    with pytest.raises(JournalBroken, match=r"journal\.db: no such journal"):
        JournalReader(path)
    path.write_bytes(b"no database at all" * 100)
    for opened in (journal, JournalReader):
        with pytest.raises(JournalBroken, match=r"journal\.db: cannot be read as a journal"):
            opened(path)


def test_a_journal_of_no_schema_is_refused(path: Path) -> None:
    journal(path).close()
    edit(path, "delete from meta")
    with pytest.raises(JournalBroken, match=r"schema None, this program reads"):
        JournalReader(path)


def test_a_directory_that_is_not_there_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(JournalFull, match="cannot be written"):
        journal(tmp_path / "missing" / "journal.db")


# ---------------------------------------------------------------- heads
def test_a_head_kept_outside_shows_a_cut_tail_and_another_journal(path: Path, tmp_path: Path) -> None:
    one = journal(path)
    for number in range(1, 7):
        one.intent(fact(number))
    middle = one.head
    one.intent(fact(7))
    one.close()
    assert faults(path, middle) == []  # An older head still lies on the chain.
    assert faults(path, Head(9, middle.hash)) == ["records 8 to 9 are cut off at the end"]
    other = Head(3, "ab" * 32)
    assert faults(path, other) == ["record 3: not the record whose hash the head file keeps"]


def test_a_head_in_the_midst_of_a_block_is_compared_with_its_own_record(path: Path) -> None:
    one = journal(path)
    for number in range(1, 2 * BLOCK + 1):
        one.record(fact(number))
    one.close()
    reader = JournalReader(path)
    hashes = [block.hashes for block in reader.blocks()]
    reader.close()
    for number in range(1, 2 * BLOCK + 1):
        block, place = divmod(number - 1, BLOCK)
        digest = hashes[block][32 * place : 32 * (place + 1)].hex()
        assert faults(path, Head(number, digest)) == []
        assert len(faults(path, Head(number, digest[::-1]))) == 1


def test_an_edited_record_is_told_once(path: Path) -> None:
    one = journal(path)
    one.intent(fact(1))
    first = one.head
    one.intent(fact(2))
    one.close()
    edit(path, "update block set records = replace(records, 'fact 1', 'fact 9')")
    for head in (None, first, one.head):
        assert [what.split(":")[1] for what in faults(path, head)] == [
            " edited, or a record before it was removed or moved"
        ]


def test_missing_and_moved_blocks_are_named(path: Path) -> None:
    one = journal(path)
    for number in range(1, 3 * BLOCK + 1):
        one.record(fact(number))
    one.close()
    db = sqlite3.connect(path)
    with db:
        db.execute("update block set first = 3, last = 6 where first = 5")
    assert "record 3 comes where record 5 should be: moved or repeated" in faults(path)
    with db:
        db.execute("delete from block where first = 3")
    assert faults(path)[0] == "records 5 to 8 are missing"
    db.close()


def test_a_lost_or_foreign_own_head_is_a_fault(path: Path) -> None:
    one = journal(path)
    one.intent(fact(1))
    first = one.head
    one.intent(fact(2))
    one.close()
    db = sqlite3.connect(path)
    with db:
        db.execute("update head set last = 1, hash = ?", (bytes.fromhex(first.hash),))
    assert faults(path, Head(2, one.head.hash)) == ["the journal's own head, record 1, is not its last record, 2"]
    with db:
        db.execute("update head set hash = ?", (b"short",))
    assert faults(path)[0] == "the journal's own head was edited"
    with db:
        db.execute("delete from head")
    assert faults(path)[0] == "the journal's own head is missing"
    db.close()


def test_an_empty_journal_needs_no_head(path: Path) -> None:
    journal(path).close()
    assert faults(path) == []
    assert faults(path, Head(1, "00" * 32))[0] == "the journal's own head is missing"


# ---------------------------------------------------------------- for people who use SQL
def test_the_file_can_be_read_with_sql_alone(path: Path) -> None:
    one = journal(path)
    for number in range(1, 7):
        one.intent(fact(number))
    one.close()
    db = sqlite3.connect(path)
    assert db.execute("select number, kind, at from record where number > 4").fetchall() == [
        (5, "IncidentReported", 5),
        (6, "IncidentReported", 6),
    ]
    place = db.execute("select place from field where kind = 'IncidentReported' and name = 'what'").fetchone()[0]
    assert db.execute(f"select body ->> {place} from record where number = 2").fetchone() == ("fact 2",)
    db.close()


def test_in_memory_records_carry_the_streams_numbers() -> None:
    bus = Bus()
    bus.resume(5, 2, 0)
    one = MemoryJournal(bus)
    one.intent(fact(1))
    assert one.records == [(5, 2, fact(1))]


def test_a_disk_too_full_to_fold_the_log_loses_nothing(path: Path) -> None:
    """The records are durable in the log: that it cannot be folded into the file is no failure of the session."""
    one = journal(path)
    one.intent(fact(1))

    class Full:
        def __init__(self, db: sqlite3.Connection) -> None:
            self._db = db
            self.close = db.close

        def execute(self, statement: str, *values: Any) -> Any:
            if "wal_checkpoint" in statement:
                raise sqlite3.OperationalError("database or disk is full")
            return self._db.execute(statement, *values)

    one._db = cast("sqlite3.Connection", Full(one._db))
    one.close()
    assert seen(path) == [1]


def whole(tmp_path: Path) -> Path:
    one = journal(tmp_path / "journal.db")
    for number in range(6):
        one.record(fact(number))
    one.close()
    return one.path


def test_the_view_that_people_read_is_looked_at(tmp_path: Path) -> None:
    path = whole(tmp_path)
    assert list(rebuilt(path)) == []
    with closing(sqlite3.connect(path)) as database:
        (view,) = database.execute("select sql from sqlite_master where name = 'record'").fetchone()
    edit(path, "drop view record")
    assert [fault.what for fault in rebuilt(path)] == ["view record was removed"]
    edit(path, view.replace("order by number", "where number <> 3 order by number"))
    assert [fault.what for fault in rebuilt(path)] == ["view record was changed: it is not as a journal has it"]
    edit(path, "drop view record")
    edit(path, view.replace(" from block", "\n\tfrom block"))  # Layout is no change.
    edit(path, "create trigger later after insert on block begin delete from block; end")
    assert [fault.what for fault in rebuilt(path)] == ["trigger later is none of ours: it was added"]


@pytest.mark.parametrize("values", ["null, hashes", "'abc', null", "5, 'abc'", "'abc', 5"])
def test_a_table_made_again_with_other_types_is_no_traceback(tmp_path: Path, values: str) -> None:
    path = whole(tmp_path)
    edit(path, "create table other(first, last, records, hashes)")
    edit(path, f"insert into other select first, last, {values} from block")
    for statement in ("drop view record", "drop table block", "alter table other rename to block"):
        edit(path, statement)
    with pytest.raises(JournalBroken, match="the block of record 1 was edited: it holds int, int, "):
        faults(path)


def test_a_damaged_schema_that_is_no_text_is_no_traceback(tmp_path: Path) -> None:
    """SQLite quotes the name of what it cannot read in its message, and Python cannot decode that."""
    path = whole(tmp_path)
    data = path.read_bytes()
    place = data.index(b"tableblockblock")
    path.write_bytes(data[: place + 6] + b"\xee" + data[place + 7 :].replace(b"first integer", b"first\xeein(eger", 1))
    with pytest.raises(JournalBroken, match="cannot be read as a journal"):
        faults(path)
    assert "cannot be listed" in next(rebuilt(path)).what
