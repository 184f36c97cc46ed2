"""A real SQLite journal: whatever is done to any record is found, and the record is named."""

import sqlite3
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.adapters.journal import Head, JournalReader, SqliteJournal
from angelx.bus.bus import Bus
from angelx.bus.records import HASH_BYTES, Fault
from angelx.domain.events import IncidentReported

COUNT = 23
BLOCK = 5


def written(directory: str) -> Path:
    path = Path(directory) / "journal.db"
    bus = Bus()
    journal = SqliteJournal(bus, path, block_records=BLOCK)
    for number in range(COUNT):
        journal.record(IncidentReported(number, "test", f"fact {number}"))
    journal.close()
    return path


def faults(path: Path, *, outside: bool = True) -> list[Fault]:
    reader = JournalReader(path)
    try:
        return list(reader.faults(HEAD if outside else None))
    finally:
        reader.close()


def made() -> tuple[bytes, Head | None]:
    with tempfile.TemporaryDirectory() as directory:
        path = written(directory)
        reader = JournalReader(path)
        try:
            return path.read_bytes(), reader.head
        finally:
            reader.close()


FILE, HEAD = made()

edits = st.one_of(
    st.tuples(st.just("edit"), st.integers(1, COUNT), st.integers(0, 60), st.integers(1, 255)),
    st.tuples(st.just("remove"), st.integers(1, COUNT), st.just(0), st.just(0)),
    st.tuples(st.just("swap"), st.integers(1, COUNT - 1), st.just(0), st.just(0)),
    st.tuples(st.just("cut"), st.integers(1, COUNT), st.just(0), st.just(0)),
    st.tuples(st.just("hash"), st.integers(1, COUNT), st.integers(0, HASH_BYTES - 1), st.integers(1, 255)),
)


@settings(max_examples=60)
@given(edits)
def test_any_damage_is_found_and_named(edit: tuple[str, int, int, int]) -> None:
    what, record, byte, flip = edit
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal.db"
        path.write_bytes(FILE)
        assert faults(path) == []
        db = sqlite3.connect(path)
        db.execute("pragma synchronous=off")
        blocks = db.execute("select first, last, cast(records as blob), hashes from block order by first").fetchall()
        lines = [line for _, _, records, _ in blocks for line in records.split(b"\n")]
        hashes = [chain[at : at + HASH_BYTES] for *_, chain in blocks for at in range(0, len(chain), HASH_BYTES)]
        place = record - 1
        if what == "edit":
            line = bytearray(lines[place])
            line[byte % len(line)] ^= flip
            lines[place] = bytes(line)
        elif what == "hash":
            broken = bytearray(hashes[place])
            broken[byte] ^= flip
            hashes[place] = bytes(broken)
        elif what == "swap":
            for kept in (lines, hashes):
                kept[place], kept[place + 1] = kept[place + 1], kept[place]
        elif what == "remove":
            del lines[place], hashes[place]
        else:
            del lines[place:], hashes[place:]
        db.execute("delete from block")
        for start in range(0, len(lines), BLOCK):
            part = b"\n".join(lines[start : start + BLOCK])
            last = min(start + BLOCK, len(lines))
            chain = b"".join(hashes[start:last])
            db.execute("insert into block values (?, ?, cast(? as text), ?)", (start + 1, last, part, chain))
        if what == "cut":
            if place:
                db.execute("update head set last = ?, hash = ?", (place, hashes[-1]))
            else:
                db.execute("delete from head")
        db.commit()
        db.close()
        found = faults(path)
    assert found
    assert record in [fault.record for fault in found][:2], (what, record, found)
    assert all(str(record) in fault.what for fault in found if fault.record == record)
