"""Somebody changes a journal with the tools everybody has: `angelx journal verify` names what was done to it."""

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.program import SMALL, UNREPORTED, Ran, angelx


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("honest")
    small = ("--set", "journal.block_records=16")
    angelx("paper", "--json", "--state-dir", cwd / "state", *SMALL, *UNREPORTED, *small, cwd=cwd).succeeded()
    return cwd / "state"


Change = Callable[[sqlite3.Connection], None]


def tampered(honest: Path, tmp_path: Path, change: Change) -> Ran:
    state = tmp_path / "state"
    shutil.copytree(honest, state)
    with closing(sqlite3.connect(state / "journal.db")) as database:
        change(database)
        database.commit()
    return angelx("journal", "verify", state, "--json", cwd=tmp_path)


def block_of(database: sqlite3.Connection, number: int) -> tuple[int, list[str], bytes]:
    """First record of the block that holds a record, its lines, its hashes."""
    first, text, hashes = database.execute(
        "select first, records, hashes from block where ? between first and last", (number,)
    ).fetchone()
    return first, text.split("\n"), hashes


def put(database: sqlite3.Connection, first: int, lines: list[str], hashes: bytes) -> None:
    database.execute("update block set records = ?, hashes = ? where first = ?", ("\n".join(lines), hashes, first))


def edit(database: sqlite3.Connection, number: int) -> None:
    first, lines, hashes = block_of(database, number)
    line = json.loads(lines[number - first])
    line[1] += 1
    lines[number - first] = json.dumps(line, separators=(",", ":"))
    put(database, first, lines, hashes)


def remove(database: sqlite3.Connection, number: int) -> None:
    """A record with its hash."""
    first, lines, hashes = block_of(database, number)
    place = number - first
    del lines[place]
    put(database, first, lines, hashes[: 32 * place] + hashes[32 * place + 32 :])


def swap(database: sqlite3.Connection, number: int) -> None:
    """A record with its neighbour, hashes too."""
    first, lines, hashes = block_of(database, number)
    place = min(number - first, len(lines) - 2)
    lines[place], lines[place + 1] = lines[place + 1], lines[place]
    parts = [hashes[start : start + 32] for start in range(0, len(hashes), 32)]
    parts[place], parts[place + 1] = parts[place + 1], parts[place]
    put(database, first, lines, b"".join(parts))


def bend(database: sqlite3.Connection, number: int) -> None:
    """A bit of a record's hash."""
    first, lines, hashes = block_of(database, number)
    at = 32 * (number - first) + number % 32
    put(database, first, lines, hashes[:at] + bytes([hashes[at] ^ 1]) + hashes[at + 1 :])


def remove_block(database: sqlite3.Connection, number: int) -> None:
    database.execute("delete from block where ? between first and last", (number,))


def cut(database: sqlite3.Connection, number: int) -> None:
    """Everything from a block on, and the journal's own head set to what is left."""
    first, _, _ = block_of(database, number)
    database.execute("delete from block where first >= ?", (first,))
    last, hashes = database.execute("select last, hashes from block order by first desc limit 1").fetchone() or (0, b"")
    database.execute("update head set last = ?, hash = ?", (last, hashes[-32:]))


def _changed(change: Callable[[sqlite3.Connection, int], None], number: int, database: sqlite3.Connection) -> None:
    change(database, number)


def _executed(statement: str, database: sqlite3.Connection) -> None:
    database.execute(statement)


@pytest.mark.parametrize("change", [edit, remove, swap, bend, remove_block, cut])
def test_what_was_done_to_a_record_is_named(
    change: Callable[[sqlite3.Connection, int], None], honest: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(honest / "journal.db")) as database:
        (last,) = database.execute("select last from head").fetchone()
    rng = random.Random(change.__name__)
    for number in (1, last, *(rng.randrange(1, last) for _ in range(3))):
        ran = tampered(honest, tmp_path / str(number), partial(_changed, change, number))
        assert ran.code == 1
        answer = ran.answer
        assert answer["ok"] is False
        named = [fault["record"] for fault in answer["faults"]]
        assert min(abs(record - number) for record in named) <= 16, (number, answer["faults"])
        assert all(str(fault["record"]) in fault["what"] or "head" in fault["what"] for fault in answer["faults"])


@pytest.mark.parametrize(
    "statement",
    [
        "delete from head",
        "delete from block",
        "update head set hash = zeroblob(32)",
        "update head set hash = x'00'",
        "update head set last = last - 1",
        "update head set last = last + 1",
        "update block set first = first + 1 where first = (select max(first) from block)",
        "update block set last = last + 1 where first = 1",
        "update block set records = '' where first = 1",
        "update block set records = 'null' where first = 1",
        "update block set hashes = x'' where first = 1",
        "update meta set value = '999'",
        "delete from meta",
        "drop table block",
        "drop table field",
        "delete from field",
        "delete from field where kind = 'OrderFilled' and place = 2",
        "update field set name = 'bid' where name = 'ask'",
        "update field set name = 'price' where kind = 'OrderFilled' and place = 3",
        "update field set kind = 'OrderFiled' where kind = 'OrderFilled'",
        "drop view record",
        "create trigger later after insert on block begin delete from block where first = new.first; end",
    ],
)
def test_no_statement_goes_unseen(statement: str, honest: Path, tmp_path: Path) -> None:
    ran = tampered(honest, tmp_path, partial(_executed, statement))
    assert ran.code == 1
    assert ran.answer["ok"] is False
    assert "Traceback" not in ran.err


def test_without_its_head_a_cut_cannot_be_seen_and_that_is_said(honest: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    shutil.copytree(honest, state)
    assert "warning" not in angelx("journal", "verify", state, cwd=tmp_path).succeeded().out
    (state / "journal.head").unlink()
    assert (
        "journal.head is missing: records cut off" in angelx("journal", "verify", state, cwd=tmp_path).succeeded().out
    )
    found = angelx("journal", "verify", state, "--json", cwd=tmp_path).succeeded()
    assert found.answer["head_file"] is False
    assert "warning" in found.err


def test_a_kind_that_there_is_not_is_named(honest: Path, tmp_path: Path) -> None:
    ran = angelx("journal", "show", honest, "--kind", "Nope", "--json", cwd=tmp_path)
    assert ran.code == 2
    assert "--kind Nope: there are " in ran.answer["error"]
    assert "OrderFilled" in ran.answer["error"]
    assert angelx("journal", "show", honest, "--kind", "SessionStarted", "--json", cwd=tmp_path).code == 0


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_file_is_seen(share: float, honest: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    shutil.copytree(honest, state)
    journal = state / "journal.db"
    os.truncate(journal, int(journal.stat().st_size * share))
    ran = angelx("journal", "verify", state, "--json", cwd=tmp_path)
    assert ran.code == 1
    assert ran.answer["ok"] is False
    assert "Traceback" not in ran.err


def test_bytes_overwritten_anywhere_are_seen_or_mean_nothing(honest: Path, tmp_path: Path) -> None:
    """Where the file still verifies, what it says is what it said."""
    rng = random.Random(8)
    size = (honest / "journal.db").stat().st_size
    text = angelx("journal", "show", honest, "--json", cwd=honest).succeeded().out
    seen = 0
    for trial in range(10):
        state = tmp_path / str(trial)
        shutil.copytree(honest, state)
        with (state / "journal.db").open("r+b") as file:
            file.seek(rng.randrange(size))
            file.write(rng.randbytes(4))
        ran = angelx("journal", "verify", state, "--json", cwd=tmp_path)
        assert "Traceback" not in ran.err, ran.err
        seen += ran.code
        if ran.code == 0:
            assert angelx("journal", "show", state, "--json", cwd=tmp_path).succeeded().out == text
        else:
            assert ran.answer["ok"] is False
    assert seen > 3


def test_a_tampered_session_is_not_continued(honest: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    shutil.copytree(honest, state)
    with closing(sqlite3.connect(state / "journal.db")) as database:
        cut(database, 200)
        edit(database, 50)
        database.commit()
    (state / "journal.head").unlink()
    before = (state / "journal.db").read_bytes()
    small = ("--set", "journal.block_records=16")
    ran = angelx("paper", "--json", "--state-dir", state, *SMALL, *UNREPORTED, *small, cwd=tmp_path)
    assert ran.code == 1
    assert "record 50" in ran.answer["error"]
    assert (state / "journal.db").read_bytes() == before
