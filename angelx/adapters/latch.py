"""The kill switch: a level in memory that every send reads, and an fsynced file that outlives the process.

The file `latch` has one line for each change and is only ever appended to: it is the audit too. Raising never lowers;
lowering needs a reason. Whatever cannot be read counts as HALT, with the reason saying so.
"""

import contextlib
import os
import threading
from collections import deque
from pathlib import Path
from typing import Final

import msgspec

from angelx.adapters.state_dir import sync_directory, write_all
from angelx.domain.errors import InputInvalid

RUNNING: Final = 0
"""Everything may be sent."""
HALT: Final = 1
"""Nothing that adds risk; exits and cancels go on."""
FLATTEN: Final = 2
"""Only the safe exit sends."""
SILENT: Final = 3
"""Nothing sends."""

LEVEL_NAMES: Final = ("running", "halt", "flatten", "silent")

LATCH: Final = "latch"
KILL: Final = "kill"
_LONGEST: Final = 1_000


def level_named(name: str) -> int:
    """The level of that name.

    Raises
    ------
    InputInvalid
        There is none.
    """
    if name not in LEVEL_NAMES:
        raise InputInvalid(f"no kill switch level {name!r}; there are {', '.join(LEVEL_NAMES)}")
    return LEVEL_NAMES.index(name)


def stays(verb: str, level: int) -> dict[str, str]:
    """What an answer says where the kill switch stands higher than what was asked for: asking has done nothing."""
    if verb not in LEVEL_NAMES[1:] or level <= level_named(verb):
        return {}
    closes = "nothing is closed, " if verb == "flatten" else ""
    text = f"{closes}the kill switch stays at {LEVEL_NAMES[level]}, which is above {verb}, until resume"
    return {"note": text}


def in_memory_only(error: OSError) -> dict[str, str]:
    """What an answer says where the disk does not have the newest change."""
    return {"note": f"not on the disk ({error.strerror}): it holds only as long as this process lives"}


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the latch file."""

    level: str
    reason: str
    who: str
    at: int
    """When, ns UTC."""
    lowers: bool = False


class Latch:
    """The kill switch of one state directory. `level` is a plain attribute: reading it costs nothing and never waits.

    Changes may come from any thread and from a signal handler that interrupts another change: they are made one after
    the other, each whole.
    """

    def __init__(self, path: Path, change: Change) -> None:
        self.path = path
        self.level = LEVEL_NAMES.index(change.level)
        self.reason = change.reason
        self.who = change.who
        self.at = change.at
        self.error: OSError | None = None
        """Why the newest change is in memory only, `None` where it is on the disk."""
        self._asked: deque[tuple[Change, list[OSError]]] = deque()
        self._changing = False
        self._lock = threading.RLock()
        self._dropped: tuple[int, int] | None = None

    @classmethod
    def load(cls, state_dir: Path) -> "Latch":
        """The latch as it was left; a file that cannot be read whole is HALT. Only reads."""
        path = state_dir / LATCH
        return cls(path, _read(path))

    @property
    def name(self) -> str:
        """`running`, `halt`, `flatten` or `silent`."""
        return LEVEL_NAMES[self.level]

    def raise_to(self, level: int, reason: str, who: str, at: int) -> OSError | None:
        """Raise the level, on the disk first, then in memory; at or below the present level nothing happens.

        Returns
        -------
        OSError | None
            Why the disk does not have it. The level holds in memory all the same, until this process ends.
        """
        self._ask(Change(LEVEL_NAMES[level], _clean(reason), _clean(who), at))
        return self.error

    def lower(self, reason: str, who: str, at: int) -> None:
        """Back to RUNNING, once that is on the disk.

        Raises
        ------
        InputInvalid
            No reason was given.
        OSError
            It could not be written down: the level stays.
        """
        if not reason.strip():
            raise InputInvalid("the kill switch is not lowered without a reason")
        refused = self._ask(Change(LEVEL_NAMES[RUNNING], _clean(reason), _clean(who), at, lowers=True))
        if refused is not None:
            raise refused

    def poll(self, at: int) -> bool:
        """Look for a file `kill` next to the latch: `halt`, `flatten` or `silent`, then a reason. True if it raised.

        Anything else in it is HALT. It is removed once what it says is latched and it no longer changes, so that a
        writer caught in the middle is read again.
        """
        drop = self.path.with_name(KILL)
        try:
            about = drop.lstat()
        except FileNotFoundError:
            if drop.parent.is_dir():
                return False
            return self._raised(HALT, f"the state directory {drop.parent} is gone: nothing is kept any more", at)
        except OSError as error:
            return self._raised(HALT, f"file {KILL} cannot be looked at: {error.strerror}", at)
        level, reason, whole = _order(drop)
        raised = self._raised(level, reason, at)
        seen = (about.st_size, about.st_mtime_ns)
        if (whole or seen == self._dropped) and self.error is None:
            with contextlib.suppress(OSError):  # What cannot be removed goes on barring: `resume` will not last.
                drop.unlink()
            self._dropped = None
        else:
            self._dropped = seen
        return raised

    def _raised(self, level: int, reason: str, at: int) -> bool:
        before = self.level
        self.raise_to(level, reason, "file", at)
        return self.level > before

    # ------------------------------------------------------------ one change after the other
    def _ask(self, change: Change) -> OSError | None:
        """Queue a change and make every queued one; returns why this one was not made.

        A signal handler that finds a change under way leaves its own to the code it interrupted, which makes it before
        anything else of this thread goes on.
        """
        refused: list[OSError] = []
        self._asked.append((change, refused))
        with self._lock:
            while self._asked and not self._changing:
                self._changing = True
                try:
                    while self._asked:
                        self._make(*self._asked.popleft())
                finally:
                    self._changing = False
        return refused[0] if refused else None

    def _make(self, change: Change, refused: list[OSError]) -> None:
        level = LEVEL_NAMES.index(change.level)
        if not change.lowers and (level < self.level or (level == self.level and self.error is None)):
            return
        error = _append(self.path, change)
        if error is not None and change.lowers:
            refused.append(error)
            return
        self.error = error
        self.reason, self.who, self.at = change.reason, change.who, change.at
        self.level = level


def _clean(text: str) -> str:
    """Text that can be written whatever it was."""
    return text[:_LONGEST].encode("utf-8", "replace").decode()


def _append(path: Path, change: Change) -> OSError | None:
    """Add a line, on the disk when this returns `None`; what a torn write left behind is closed off by a line end."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            _write_line(descriptor, change)
        finally:
            os.close(descriptor)
        sync_directory(path.parent)
    except OSError as error:
        return error
    return None


def _write_line(descriptor: int, change: Change) -> None:
    size = os.fstat(descriptor).st_size
    torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    try:
        write_all(descriptor, b"\n" * torn + msgspec.json.encode(change) + b"\n")
        os.fsync(descriptor)
    except OSError:
        if change.lowers:  # A lowering that failed must not be found after a restart; a raising may.
            os.ftruncate(descriptor, size)
        raise


def _read(path: Path) -> Change:
    """Fold the lines of a latch file to the change that holds."""
    try:
        with path.open("rb") as file:
            data = file.read()
    except FileNotFoundError:
        return Change(LEVEL_NAMES[RUNNING], "", "", 0)
    except OSError as error:
        return Change(LEVEL_NAMES[HALT], f"{path} cannot be read: {error.strerror}", "latch", 0)
    now = Change(LEVEL_NAMES[RUNNING], "", "", 0)
    if not data.endswith(b"\n"):
        data += b"\x00\n"  # A cut last line must not pass for a whole one.
    for number, line in enumerate(data.splitlines(), 1):
        now = _folded(now, line, f"{path}:{number}")
    return now


def _folded(now: Change, line: bytes, where: str) -> Change:
    try:
        change = msgspec.json.decode(line, type=Change)
        level = level_named(change.level)
    except (msgspec.DecodeError, UnicodeDecodeError, InputInvalid):
        name = LEVEL_NAMES[max(HALT, level_named(now.level))]
        return Change(name, " · ".join(filter(None, (f"{where} is damaged", now.reason))), "latch", now.at)
    return change if change.lowers or level > level_named(now.level) else now


def _order(drop: Path) -> tuple[int, str, bool]:
    """What a dropped file asks for, why, and whether it is whole."""
    try:
        descriptor = os.open(drop, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            text = os.read(descriptor, _LONGEST).decode("utf-8", "replace")
        finally:
            os.close(descriptor)
    except OSError as error:
        return HALT, f"file {KILL} cannot be read: {error.strerror}", False
    word, _, reason = text.strip().partition(" ")
    if word in LEVEL_NAMES[HALT:]:
        return level_named(word), reason.strip() or f"file {KILL}", text.endswith("\n")
    return HALT, f"file {KILL} says {text.strip()[:60]!r}, which is none of halt, flatten, silent", False
