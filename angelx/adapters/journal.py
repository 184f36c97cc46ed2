"""The journal in SQLite: WAL, synchronous=FULL, blocks of records committed together (docs/adr/0003)."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from angelx.bus.bus import Bus
from angelx.bus.records import GENESIS, HASH_BYTES, SCHEMA, Block, Fault, Record, decode, encode, faults, link
from angelx.domain.errors import JournalBroken, JournalFull
from angelx.domain.events import RECORDED, Event

BLOCK_RECORDS: Final = 256
BLOCKS_PER_COMMIT: Final = 16
LOG_PAGES: Final = 1000
"""Pages that the write-ahead log gathers before SQLite folds them into the file and begins the log anew."""
PRAGMAS: Final = ("journal_mode=wal", "synchronous=full", f"wal_autocheckpoint={LOG_PAGES}")
TABLES: Final = """
begin immediate;
create table if not exists meta(key text primary key, value text not null) strict;
create table if not exists block(first integer primary key, last integer not null, records text not null,
                                 hashes blob not null) strict;
create table if not exists head(only integer primary key check (only = 1), last integer not null,
                                hash blob not null) strict;
create table if not exists field(kind text not null, place integer not null, name text not null,
                                 primary key (kind, place)) strict;
create view if not exists record as
    select json_extract(r.value, '$[0]') as number, json_extract(r.value, '$[1]') as seq,
           json_extract(r.value, '$[2]') as row, json_extract(r.value, '$[3][0]') as kind,
           json_extract(r.value, '$[3][1]') as at, json_extract(r.value, '$[3]') as body
    from block, json_each('[' || replace(block.records, char(10), ',') || ']') as r order by number;
"""
"""Begins the transaction that makes a journal what it is, or leaves nothing of it."""
UNREADABLE: Final = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What reading a damaged file raises: SQLite quotes its bytes in messages, and not all of them are text."""


class Head(msgspec.Struct, frozen=True):
    """The last record: kept in the journal and in a file beside it, so that a cut tail is seen."""

    last: int
    hash: str


class MemoryJournal:
    """Keeps records in a list: for tests, benchmarks and the re-run of a journal."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.records: list[tuple[int, int, Event]] = []

    def record(self, event: Event) -> None:
        """Keep the event."""
        bus = self._bus
        self.records.append((bus.seq, bus.row, event))

    intent = record


class SqliteJournal:
    """One file, append only. `record` gathers; `intent` makes everything gathered durable before it returns.

    Parameters
    ----------
    path
        The file; made where it is missing, continued where it is not.
    durable
        False spools: intents are committed with their block (replay, where the broker is a fold of this journal).
    key
        Keys the hash chain (SPEC 8.3).

    Raises
    ------
    JournalBroken
        The file is not a journal, or of another schema.
    """

    def __init__(
        self,
        bus: Bus,
        path: Path,
        *,
        durable: bool = True,
        block_records: int = BLOCK_RECORDS,
        key: bytes = b"",
    ) -> None:
        self._bus, self.path, self.durable, self._key = bus, path, durable, key
        self._block_records = block_records
        self._pending: list[tuple[int, int, int, Event]] = []
        self._blocks: list[tuple[int, int, str, bytes]] = []
        with ExitStack() as unopened:
            try:
                self._db = sqlite3.connect(path, isolation_level=None, cached_statements=16)
                unopened.callback(self._db.close)
                self._make_tables()
                head = self._db.execute("select last, hash from head").fetchone()
                if durable:
                    self._lay_out_log()
            except sqlite3.OperationalError as error:
                raise JournalFull(f"{path}: cannot be written: {error}") from error
            except UNREADABLE as error:
                raise _broken(path, error) from error
            unopened.pop_all()
        self.last: int = head[0] if head else 0
        self._number = self.last
        self._full_at = self.last + block_records
        """Number of the record that fills the block."""
        self._hash: bytes = head[1] if head else GENESIS

    def _make_tables(self) -> None:
        db = self._db
        for pragma in PRAGMAS:
            db.execute(f"pragma {pragma}")
        db.executescript(TABLES)
        schema = db.execute("select value from meta where key = 'schema'").fetchone()
        if schema is None:
            db.executemany("insert or replace into field values (?, ?, ?)", field_names())
            db.execute("insert into meta values ('schema', ?)", (str(SCHEMA),))
        elif schema[0] != str(SCHEMA):
            raise JournalBroken(f"{self.path}: schema {schema[0]}, this program writes schema {SCHEMA}")
        db.execute("commit")

    def _lay_out_log(self) -> None:
        """Give the write-ahead log its whole length, so that no commit has to make the file longer.

        A commit that writes over blocks the file has already takes half the time to reach the disk, and a disk without
        room for the log is found here. The pages say nothing (each is one more version of the header); they need not
        be durable, but whatever is folded into the file is first.
        """
        db = self._db
        db.execute("pragma wal_checkpoint(passive)")
        db.execute("pragma wal_autocheckpoint=0")
        db.execute("pragma synchronous=off")
        for number in range(LOG_PAGES + LOG_PAGES // 8):
            db.execute(f"pragma user_version={number}")
        for pragma in PRAGMAS:
            db.execute(f"pragma {pragma}")
        db.execute("pragma wal_checkpoint(passive)")

    @property
    def pending(self) -> bool:
        """True where records wait to become durable."""
        return bool(self._pending or self._blocks)

    @property
    def head(self) -> Head:
        """The last sealed record; durable after `flush`."""
        return Head(self.last, self._hash.hex())

    def record(self, event: Event) -> None:
        """Keep the event; it becomes durable with its block, at the next intent, or at `flush`."""
        bus = self._bus
        self._number = number = self._number + 1
        self._pending.append((number, bus.seq, bus.row, event))
        if number >= self._full_at:
            self._seal()
            if len(self._blocks) >= BLOCKS_PER_COMMIT:
                self._commit()

    def intent(self, event: Event) -> None:
        """Keep the event; with `durable`, it and everything before it is on disk when this returns.

        Raises
        ------
        JournalFull
            It could not be written.
        """
        self.record(event)
        if self.durable:
            self.flush()

    def flush(self) -> None:
        """Make everything kept so far durable.

        Raises
        ------
        JournalFull
            It could not be written; nothing of it is lost from memory, and nothing may be sent.
        """
        if self._pending:
            self._seal()
        if self._blocks:
            self._commit()

    def _seal(self) -> None:
        text = encode(self._pending)[:-1]
        hashes = link(self._hash, text.split(b"\n"), self._key)
        self._blocks.append((self.last + 1, self._number, text.decode(), b"".join(hashes)))
        self._pending.clear()
        self.last, self._hash = self._number, hashes[-1]
        self._full_at = self.last + self._block_records

    def _commit(self) -> None:
        db = self._db
        try:
            db.execute("begin immediate")
            db.executemany("insert into block values (?, ?, ?, ?)", self._blocks)
            db.execute("insert or replace into head values (1, ?, ?)", (self.last, self._hash))
            db.execute("commit")
        except sqlite3.DatabaseError as error:
            if db.in_transaction:
                db.execute("rollback")
            raise JournalFull(f"{self.path}: {error}") from error
        self._blocks.clear()

    def close(self) -> None:
        """Make everything durable, fold the write-ahead log into the file, and let it go."""
        try:
            self.flush()
            with suppress(sqlite3.OperationalError):  # On a full disk they stay in the log, where they are as durable.
                self._db.execute("pragma wal_checkpoint(truncate)")
        finally:
            self._db.close()


class JournalReader:
    """Reads a journal, also while another process writes it.

    Raises
    ------
    JournalBroken
        The file is missing, unreadable or not a journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise JournalBroken(f"{path}: no such journal")
        with ExitStack() as unopened:
            try:
                self._db = read_only(path)
                unopened.callback(self._db.close)
                schema = self._db.execute("select value from meta where key = 'schema'").fetchone()
            except UNREADABLE as error:
                raise _broken(path, error) from error
            if schema is None or schema[0] != str(SCHEMA):
                raise JournalBroken(f"{path}: schema {schema and schema[0]}, this program reads schema {SCHEMA}")
            unopened.pop_all()

    @property
    def head(self) -> Head | None:
        """The last record as the journal itself keeps it; `None` where it is lost."""
        found = self._rows("select last, hash from head")
        for last, digest in found:
            if not (type(last) is int and type(digest) is bytes):
                raise JournalBroken(f"{self.path}: the journal's own head was edited: {_types(last, digest)}")
            return Head(last, digest.hex())
        return None

    def _rows(self, query: str) -> Iterator[tuple[Any, Any]]:
        try:
            yield from self._db.execute(query)
        except UNREADABLE as error:
            raise _broken(self.path, error) from error

    def blocks(self) -> Iterator[Block]:
        """Blocks in order of their first record."""
        try:
            for first, last, records, hashes in self._db.execute(
                "select first, last, cast(records as blob), hashes from block order by first"  # may be no UTF-8
            ):
                if not (type(first) is type(last) is int and type(records) is type(hashes) is bytes):
                    edited = _types(first, last, records, hashes)
                    raise JournalBroken(f"{self.path}: the block of record {first} was edited: {edited}")
                yield Block(first, last, records.split(b"\n"), hashes)
        except UNREADABLE as error:
            raise _broken(self.path, error) from error

    def records(self, start: int = 1) -> Iterator[Record]:
        """Records from number `start` on."""
        for block in self.blocks():
            if block.last < start:
                continue
            for line in block.lines:
                record = decode(line)
                if record.number >= start:
                    yield record

    def faults(self, head: Head | None = None, key: bytes = b"") -> Iterator[Fault]:
        """Everything wrong with it; `head` is one kept outside, checked besides its own."""
        own = kept = self.head
        if head is not None and not head.last:  # Kept before there was a record: it says nothing.
            head = None
        if kept is None and (head is not None or any(True for _ in self.blocks())):
            yield Fault(0, "the journal's own head is missing")
        elif kept is not None and len(kept.hash) != 2 * HASH_BYTES:
            yield Fault(kept.last, "the journal's own head was edited")
            kept = None
        if head is not None and (kept is None or head.last >= kept.last):
            kept = head
        seen = False
        for fault in faults(self.blocks(), None if kept is None else (kept.last, bytes.fromhex(kept.hash)), key):
            seen = True
            yield fault
        if head is not None and kept is not head and not seen:
            yield from self._holds(head)
        if own is not None and kept is head and not seen:
            yield from self._ends(own)

    def _holds(self, head: Head) -> Iterator[Fault]:
        for block in self.blocks():
            if block.first <= head.last <= block.last:
                place = (head.last - block.first) * HASH_BYTES
                if block.hashes[place : place + HASH_BYTES].hex() != head.hash:
                    yield Fault(head.last, f"record {head.last}: not the record whose hash the head file keeps")
                return

    def _ends(self, own: Head) -> Iterator[Fault]:
        """A journal is continued from its own head: a head kept outside that fits is not enough."""
        for last, hashes in self._rows("select last, hashes from block order by first desc limit 1"):
            if (last, bytes(hashes)[-HASH_BYTES:].hex()) != (own.last, own.hash):
                yield Fault(last, f"the journal's own head, record {own.last}, is not its last record, {last}")

    def close(self) -> None:
        """Let the file go."""
        self._db.close()


def read_only(path: Path) -> sqlite3.Connection:
    """The file as it is, never made or changed by looking."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)


def field_names() -> Iterator[tuple[str, int, str]]:
    """What the places of a record's array mean, for those who read the file with SQL."""
    for kind in RECORDED:
        for place, name in enumerate(kind.__struct_fields__, 1):
            yield kind.__name__, place, name


def _types(*values: object) -> str:
    return f"it holds {', '.join(type(value).__name__ for value in values)}"


def _broken(path: Path, error: Exception) -> JournalBroken:
    return JournalBroken(f"{path}: cannot be read as a journal: {error}")
