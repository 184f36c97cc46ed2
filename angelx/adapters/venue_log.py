"""What was asked of a venue, on disk, so that a venue that was killed goes on as if it had not been.

One JSON line per request, written out before it is done: a killed process loses nothing, a crashed host perhaps the
last lines. The first line says of which sources, and on what terms; a last line cut short by a crash is dropped. Behind
each line, after a tab, stands a hash of it and of all before it: without one of them all after it would end otherwise.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from angelx.bus.records import GENESIS, link
from angelx.domain.errors import InputInvalid
from angelx.venue.keeping import Kept
from angelx.venue.requests import AnyCall
from angelx.venue.runner import Lane, Noted


class _Head(msgspec.Struct, frozen=True):
    digests: dict[str, str]
    """Of the sources by lane."""
    terms: dict[str, Any] = {}
    """What else decides how the same requests end, by the option that says it."""


class VenueLog:
    """Notes of one venue.

    Raises
    ------
    InputInvalid
        The file is of other sources or terms, or not such a file.
    """

    def __init__(self, path: Path, digests: dict[str, str], terms: Mapping[str, Any] = {}) -> None:
        self.path, self._last = path, GENESIS
        self._head = _Head(digests, dict(terms))
        self.notes: list[Noted] = []
        """What an earlier process left."""
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = self._read() if path.exists() else 0
        self._file = path.open("ab")
        if kept:
            self._file.truncate(kept)
        else:
            self._file.truncate(0)
            self._write(msgspec.json.encode(self._head))

    def _read(self) -> int:
        """Read the notes; how many bytes are good."""
        lines = self.path.read_bytes().split(b"\n")
        if len(lines) == 1:  # Not even the head was written whole.
            return 0
        try:
            whole = self._checked(lines[:-1])
            head = msgspec.json.decode(next(whole), type=_Head)
            self.notes = [msgspec.json.decode(line, type=Noted) for line in whole]
        except msgspec.MsgspecError as error:
            raise InputInvalid(f"{self.path}: not a venue's log: {error}") from error
        if head.digests != self._head.digests:
            raise InputInvalid(f"{self.path} belongs to another market or seed: put it aside, or use another directory")
        other = [f"--{key} {was}" for key, was in head.terms.items() if self._head.terms.get(key, was) != was]
        if other:
            raise InputInvalid(f"{self.path} began with {', '.join(other)}: the same requests would end otherwise")
        return sum(len(line) + 1 for line in lines[:-1])

    def _checked(self, lines: Sequence[bytes]) -> Iterator[bytes]:
        """The lines without their hashes."""
        for number, line in enumerate(lines, 1):
            text, _, check = line.rpartition(b"\t")
            if check != self._link(text):
                what = "edited, or one before it was removed, added or moved" if number > 1 else "edited"
                raise InputInvalid(f"{self.path}: not a venue's log, or line {number} was {what}")
            yield text

    def follow(self, lane: Lane) -> None:
        """Write down every request to a lane's exchange from now on, and how far it was when it reported something.

        What a client was told must have happened for the next process too.
        """

        def note(call: AnyCall) -> None:
            self._write(msgspec.json.encode(Noted(lane.name, lane.exchange.rows, lane.exchange.now, call)))

        lane.exchange.on_call.append(note)
        lane.exchange.on_report.insert(0, lambda _: self.mark(lane))

    def keep(self, lane: Lane, kept: Kept) -> None:
        """Write down what a lane's server keeps from now on."""
        self._write(msgspec.json.encode(Noted(lane.name, lane.exchange.rows, lane.exchange.now, kept=kept)))

    def kept(self, name: str) -> dict[str, Any]:
        """What the server of a lane kept at the end."""
        found = {note.kept.name: note.kept.value for note in self.notes if note.lane == name and note.kept is not None}
        return {what: value for what, value in found.items() if value is not None}

    def mark(self, lane: Lane) -> None:
        """Write down how far a lane has come."""
        self._write(msgspec.json.encode(Noted(lane.name, lane.exchange.rows, lane.exchange.now)))

    def close(self) -> None:
        """End."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        self._file.write(line + b"\t" + self._link(line) + b"\n")
        self._file.flush()

    def _link(self, line: bytes) -> bytes:
        """The hash behind the next line, in hexadecimal."""
        (self._last,) = link(self._last, (line,))
        return self._last.hex().encode()
