"""Where the admin socket lies, who may be at the other end, and what a dead process left there."""

import contextlib
import os
import socket
import stat
import struct
import tempfile
from pathlib import Path
from typing import Any, Final

from angelx.domain.errors import InputInvalid

RECORD: Final = "admin"
SOCKET: Final = "admin.sock"
MOST_CONNECTIONS: Final = 16
_LONGEST_PATH: Final = 103
"""Bytes of a socket path: 107 on Linux, 103 on macOS."""
_PREFIX: Final = "angelx-"


def choose(state_dir: Path, asked: str) -> Path:
    """Where to listen: as asked; for `auto` in the state directory, or in a short one where that is too long.

    Its mode is 0700 and its name nobody can guess.
    """
    if asked != "auto":
        return Path(asked).expanduser().absolute()
    path = state_dir / SOCKET
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    with contextlib.suppress(OSError):
        remove_short(Path(os.fsdecode((state_dir / RECORD).read_bytes().rstrip(b"\n"))))
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    parent = runtime if 0 < len(os.fsencode(runtime)) < 60 and Path(runtime).is_dir() else "/tmp"  # noqa: S108
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)) / SOCKET


def remove_short(path: Path) -> None:
    """Remove a socket in a short directory of `choose`, with the directory; anything else stays."""
    if path.name == SOCKET and path.parent.name.startswith(_PREFIX) and not answers(path):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            path.parent.rmdir()


def listen(path: Path) -> socket.socket:
    """A listening socket of mode 0600; what a dead process left at its path is replaced, nothing else is.

    Raises
    ------
    InputInvalid
        Something else is there.
    OSError
        The path cannot be used.
    """
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise InputInvalid(f"admin socket {path}: longer than {_LONGEST_PATH} bytes; `auto` finds a short path")
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise InputInvalid(f"admin socket {path}: something that is no socket is there")
        if answers(path):
            raise InputInvalid(f"admin socket {path}: another process listens there")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(os.fsencode(path))
        listener.listen(MOST_CONNECTIONS)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def answers(path: Path) -> bool:
    """Whether anybody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(os.fsencode(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # A full backlog or a timeout: somebody is there.
        return True


def is_ours(connection: Any) -> bool:
    """Whether our user or root is at the other end; where the system cannot say, the socket's mode has to do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return uid in {0, os.geteuid()}
