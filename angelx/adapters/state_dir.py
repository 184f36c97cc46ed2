"""The state directory: one process at a time, each with a higher fencing token than every one before it."""

import contextlib
import fcntl
import itertools
import os
import socket
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self
from weakref import WeakSet

from angelx.domain.errors import InputInvalid, StateLocked
from angelx.domain.scalars import NS

LOCK: Final = "lock"
FENCE: Final = "fence"
_TRIES: Final = 5
_BETWEEN_S: Final = 0.02
_temporary = itertools.count()


def sync_directory(path: Path) -> None:
    """Make creations and renames in a directory durable.

    Raises
    ------
    OSError
        The file system cannot.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def durable_write(path: Path, data: bytes) -> None:
    """Replace a file (mode 0600) so that after any crash it holds either the old bytes or the new, never part of them.

    On the disk when this returns. Two writers at once are safe; the last rename wins.

    Raises
    ------
    OSError
        It could not be written; the file is as it was. The error names it.
    """
    with naming(path):
        _durable_write(path, data)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """An `OSError` in here names this path: what fails in `write` names none, and a draft is no name for a person."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def _durable_write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{next(_temporary)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; `os.write` may stop early."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class StateDir:
    """An open state directory. Held until `close` or the end of the process, however it ends.

    The lock is `flock` on the file `lock`: the kernel drops it with the process, so nothing stale can remain.
    """

    def __init__(self, path: Path, token: int, descriptor: int) -> None:
        self.path = path
        self.token = token
        """Fencing token: higher than that of every process that held this directory before."""
        self._descriptor = descriptor
        _open.add(self)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Create (mode 0700) or take over a state directory.

        Raises
        ------
        StateLocked
            Another process holds it; names the process and the path.
        InputInvalid
            The directory cannot be used: says why and what to do.
        """
        path = path.expanduser().resolve()
        try:
            _prepare(path)
            descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise InputInvalid(f"state directory {path}: cannot be used: {error.strerror}") from error
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, descriptor)
            _lock(descriptor, path)
            token = _sign_and_count(descriptor, path)
            undo.pop_all()
        return cls(path, token, descriptor)

    def close(self) -> None:
        """Let another process have it. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_open: WeakSet[StateDir] = WeakSet()


def _let_go() -> None:
    """A forked child must not go on holding the lock when its parent has died."""
    for state in list(_open):
        state.close()


os.register_at_fork(after_in_child=_let_go)


def lock_holder(path: Path) -> str | None:
    """Who holds a state directory, `None` where nobody does. Takes nothing and changes nothing.

    Raises
    ------
    OSError
        Its lock file cannot be looked at.
    """
    try:
        descriptor = os.open(path / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def _prepare(path: Path) -> None:
    """Make the directory, or make sure it is ours alone."""
    if path.exists() and not path.is_dir():
        raise InputInvalid(f"state directory {path}: is not a directory")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = path.stat()
    if about.st_uid != os.geteuid():
        raise InputInvalid(f"state directory {path}: belongs to user {about.st_uid}, we are {os.geteuid()}")
    if stat.S_IMODE(about.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        if any(path.iterdir()):
            mode = stat.S_IMODE(about.st_mode)
            raise InputInvalid(f"state directory {path}: mode {mode:04o} lets others in: chmod 700 {path}")
        path.chmod(0o700)


def _lock(descriptor: int, path: Path) -> None:
    """Take the lock, patient for the moment in which `lock_holder` may be looking."""
    for attempt in itertools.count(1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if attempt == _TRIES:
                raise StateLocked(f"state directory {path} is in use by {_holder(descriptor)}") from error
            time.sleep(_BETWEEN_S)  # noqa: TID251 - before there is a loop
        except OSError as error:
            text = f"state directory {path}: its file system has no locks ({error.strerror}): use a local disk"
            raise InputInvalid(text) from error
        else:
            return


def _sign_and_count(descriptor: int, path: Path) -> int:
    """Write down who we are and take the next fencing token, durably: the proof that this disk keeps things."""
    try:
        os.ftruncate(descriptor, 0)
        os.utime(descriptor)
        started = datetime.fromtimestamp(os.fstat(descriptor).st_mtime_ns // NS, UTC)
        write_all(descriptor, f"pid {os.getpid()} on {socket.gethostname()} since {started:%F %TZ}\n".encode())
        os.fsync(descriptor)
        token = _last_token(path) + 1
        durable_write(path / FENCE, b"%d\n" % token)
    except OSError as error:
        text = f"state directory {path}: its disk keeps nothing ({error.strerror}): nothing may be traded on it"
        raise InputInvalid(text) from error
    for left in path.glob(".*.tmp"):  # Left by a process that was killed while writing.
        with contextlib.suppress(OSError):
            left.unlink()
    return token


def _last_token(path: Path) -> int:
    try:
        text = (path / FENCE).read_bytes()[:40].strip()
    except FileNotFoundError:
        return 0
    if not text.isdigit():
        raise InputInvalid(
            f"{path / FENCE}: not a fencing token: {text!r}; write a number in it that is higher than any used before"
        )
    return int(text)


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 300, 0).decode("utf-8", "replace").strip() or "a process that has not signed yet"
