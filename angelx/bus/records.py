"""The journal's format: numbered JSON records, each with the hash that chains it to all before it (docs/adr/0003)."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Union

import msgspec

from angelx.domain.errors import JournalBroken
from angelx.domain.events import RECORDED, Event

SCHEMA: Final = 1
"""Version of the record format; a reader refuses what it does not know."""
HASH_BYTES: Final = 32
GENESIS: Final = bytes(HASH_BYTES)
"""What the first record is chained to."""

_encode_lines = msgspec.json.Encoder().encode_lines
_sha256 = hashlib.sha256


if TYPE_CHECKING:
    Recorded = Event
else:
    Recorded = Union[RECORDED]  # noqa: UP007 - made of a tuple: what can be decoded


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One fact at its place in the stream: `[number, seq, row, event]` in JSON, one line."""

    number: int
    """1, 2, 3, … without gaps."""
    seq: int
    """The bus's number of the event."""
    row: int
    """Tick rows received before it."""
    event: Recorded

    @property
    def kind(self) -> str:
        """Name of the event's class."""
        return type(self.event).__name__


_decode = msgspec.json.Decoder(Record).decode


def encode(records: Sequence[tuple[int, int, int, Event]]) -> bytes:
    """Records, each (number, seq, row, event), as lines of JSON; each ends with a line end."""
    return _encode_lines(records)


def decode(line: bytes) -> Record:
    """The record of a line.

    Raises
    ------
    JournalBroken
        The line is not a record of this schema.
    """
    try:
        return _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise JournalBroken(f"not a record of schema {SCHEMA}: {error}") from error


def link(before: bytes, lines: Sequence[bytes], key: bytes = b"") -> list[bytes]:
    """The hash of each record over the hash before it and its line: SHA-256, or BLAKE2b-256 where a key is given."""
    hash_of = partial(hashlib.blake2b, digest_size=HASH_BYTES, key=key) if key else _sha256
    hashes = []
    for line in lines:
        before = hash_of(before + line).digest()
        hashes.append(before)
    return hashes


class Block(msgspec.Struct, frozen=True):
    """The records that became durable together."""

    first: int
    last: int
    lines: Sequence[bytes]
    hashes: bytes
    """One hash per record, concatenated."""


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with a journal, and where."""

    record: int
    """First record concerned."""
    what: str


def faults(blocks: Iterator[Block], head: tuple[int, bytes] | None, key: bytes = b"") -> Iterator[Fault]:
    """Everything wrong with a chain of blocks: edited, removed, moved and cut-off records, in order.

    `head` is the last record's number and hash as kept elsewhere; `None` where that is lost.
    """
    number, before = 0, GENESIS
    kept: dict[int, bytes] = {}
    for block in blocks:
        if block.first != number + 1:
            yield _gap(number + 1, block.first)
        if len(block.hashes) != HASH_BYTES * len(block.lines) or block.last != block.first + len(block.lines) - 1:
            yield Fault(
                block.first, f"records {block.first} to {block.last}: a record of the block is missing or added"
            )
        for place, line in enumerate(block.lines):
            number = block.first + place
            stored = block.hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES]
            if link(before, (line,), key) != [stored]:
                yield Fault(number, _named(number, line))
            before = stored
        if head is not None and block.first <= head[0] <= number:
            kept[head[0]] = block.hashes[(head[0] - block.first) * HASH_BYTES :][:HASH_BYTES]
    if head is None:
        return
    if number < head[0]:
        yield Fault(number + 1, f"records {number + 1} to {head[0]} are cut off at the end")
    elif kept.get(head[0], GENESIS) != head[1]:
        yield Fault(head[0], f"record {head[0]}: not the record whose hash was kept as the head")


def _gap(expected: int, found: int) -> Fault:
    if found > expected:
        return Fault(expected, f"records {expected} to {found - 1} are missing")
    return Fault(found, f"record {found} comes where record {expected} should be: moved or repeated")


def _named(number: int, line: bytes) -> str:
    try:
        record = decode(line)
    except JournalBroken as error:
        return f"record {number}: edited ({error})"
    if record.number != number:
        return f"record {number}: holds record {record.number} ({record.kind}): moved"
    return f"record {number} (seq {record.seq}, {record.kind}): edited, or a record before it was removed or moved"
