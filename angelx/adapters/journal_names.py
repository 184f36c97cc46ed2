"""What a journal keeps for those who read it with SQL, names and the view: no part of the hash chain, checked here."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from angelx.adapters.journal import TABLES, UNREADABLE, field_names, read_only
from angelx.bus.records import Fault

OURS: Final = frozenset({"block", "meta", "head", "field"})
_NAMES: Final = {(kind, place): name for kind, place, name in field_names()}


def misnamed(path: Path) -> Iterator[Fault]:
    """What is wrong with the table `field`.

    A journal of an earlier version may know fewer kinds, and fewer fields at the end of one: that is no fault.
    """
    try:
        with closing(read_only(path)) as database:
            rows = list(database.execute("select kind, place, name from field order by kind, place"))
    except UNREADABLE as error:
        yield Fault(0, f"the names of columns, table field, cannot be read: {error}")
        return
    if not rows:
        yield Fault(0, "the names of columns, table field, were removed")
    before = ("", 0)
    for kind, place, name in rows:
        wanted = _NAMES.get((kind, place))
        if name != wanted:
            yield Fault(0, f"table field names column {place} of {kind} {name!r}: it is {wanted or 'none of ours'}")
        if place != (before[1] + 1 if kind == before[0] else 1):
            yield Fault(0, f"table field: the names of columns of {kind} before {place} were removed")
        before = kind, place


def rebuilt(path: Path) -> Iterator[Fault]:
    """What is wrong with its tables and its view `record`: any that is not as this program makes it, any besides."""
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(TABLES)
        wanted = _layout(made)
    try:
        with closing(read_only(path)) as database:
            found = _layout(database)
    except UNREADABLE as error:
        yield Fault(0, f"the tables cannot be listed: {error}")
        return
    for what in sorted(wanted.keys() | found.keys()):
        if what not in found:
            yield Fault(0, f"{what} was removed")
        elif what not in wanted:
            yield Fault(0, f"{what} is none of ours: it was added")
        elif found[what] != wanted[what]:
            yield Fault(0, f"{what} was changed: it is not as a journal has it")


def _layout(database: sqlite3.Connection) -> dict[str, str]:
    """What made each table, view, index and trigger, by kind and name."""
    made = database.execute("select type, name, coalesce(sql, '') from sqlite_master")
    return {f"{kind} {name}": " ".join(sql.split()) for kind, name, sql in made}


def is_journal(path: Path) -> bool:
    """True where a file is a journal, whole or damaged: SQLite, with a table of ours."""
    try:
        return not OURS.isdisjoint(_tables(path))
    except UNREADABLE:
        return False


def is_blank(path: Path) -> bool:
    """True where a file is SQLite without any table: whoever made it was killed before the first commit."""
    try:
        return not _tables(path)
    except UNREADABLE:
        return False


def _tables(path: Path) -> set[str]:
    with closing(read_only(path)) as database:
        return {name for (name,) in database.execute("select name from sqlite_master")}
