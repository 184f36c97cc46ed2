"""How commands speak: text for people, one last line of JSON for programs, promised exit codes."""

import contextlib
import errno
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, TextIO, cast

import msgspec
import structlog

from angelx.domain.errors import (
    AngelxError,
    ConfigInvalid,
    Halted,
    InputInvalid,
    StateLocked,
)
from angelx.domain.text import printable

FAILED: Final = 1
CODES: Final[Mapping[type[AngelxError], int]] = {InputInvalid: 2, ConfigInvalid: 64, StateLocked: 75, Halted: 78}
"""Exit codes: 0 done, 1 failed or found wrong, 2 bad input, 64 configuration, 75 locked, 78 halted."""

HALTED: Final = 78
USAGE: Final = 2
NOBODY_READS: Final = 128 + signal.SIGPIPE
"""What a shell says of any program whose output nobody reads any more."""
UNUSABLE: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}
)
"""Errors that say a path cannot be used, where others say that something went wrong there."""


def configure_logging(level: str, form: str, file: Path | None = None) -> None:
    """Log lines go to standard error, or to a file that is made when the first line comes: for people, or as JSON."""
    colors = file is None and sys.stderr.isatty()
    renderer = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=colors)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr if file is None else cast("TextIO", _LateFile(file))),
    )


class _LateFile:
    """A text file that is opened by its first line: its directory is made by the session, not by logging."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, text: str) -> int:
        """Append."""
        with self._path.open("a", encoding="utf-8") as out:
            return out.write(text)

    def flush(self) -> None:
        """Every line is."""


def example(*words: str) -> str:
    """The last lines of a command's help: how it is typed."""
    return "Examples:\n\n" + "\n\n".join(f"\u00a0 angelx {one}" for one in words)


def code_of(error: AngelxError) -> int:
    """The exit code of an error."""
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), FAILED)


def say(text: str, *, json: bool = False) -> None:
    """A line for a person; on standard error where standard output belongs to JSON."""
    stream = sys.stderr if json else sys.stdout
    _write(stream, _shown(text, _encoding(stream)))


def answer(data: Mapping[str, Any]) -> None:
    """The one JSON object on the last line of standard output; escaped where that cannot take a letter as it is."""
    out = _answers.get() or sys.stdout
    try:
        text = msgspec.json.encode(data, order="sorted").decode()
        text.encode(_encoding(out))
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(data), sort_keys=True, separators=(",", ":"))
    _write(out, text)


_answers: Final[ContextVar[TextIO | None]] = ContextVar("_answers", default=None)
"""Where answers go while anything else that is printed goes to standard error."""


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """Let standard output be for answers alone: a person's own strategy may print, with or without an end of line."""
    before = _answers.set(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _answers.reset(before)


class _NobodyReads(Exception):
    """The reader of our output went away, as `head` does."""


def _encoding(stream: TextIO) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def _shown(text: str, encoding: str) -> str:
    """What a stream can take and a terminal shows: no letter may end the program, none may move the cursor."""
    return printable(text, keep="\n\t\xa0").encode(encoding, "backslashreplace").decode(encoding)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError as error:
        # What is still in the buffer must not fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise _NobodyReads from error


def guarded(command: Callable[[], int], *, json: bool) -> None:
    """Run a command's body, turn what it raises into a message and a code, and exit."""
    try:
        with _apart() if json else contextlib.nullcontext():
            code = _outcome(command, json=json)
    except _NobodyReads:
        code = NOBODY_READS
    raise SystemExit(code)


def _outcome(command: Callable[[], int], *, json: bool) -> int:
    try:
        return command()
    except _NobodyReads:
        raise
    except AngelxError as error:
        return _failed(error, str(error), code_of(error), json=json)
    except OSError as error:
        if error.filename is None:  # No message of ours says where it was.
            traceback.print_exc()
            return _failed(error, error.strerror or str(error), FAILED, json=json)
        code = USAGE if error.errno in UNUSABLE else FAILED
        return _failed(error, f"{error.filename}: {error.strerror}", code, json=json)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a bug: shown whole, and who reads JSON is answered all the same
        traceback.print_exc()
        if json:
            answer({"ok": False, "error": str(error), "kind": type(error).__name__, "exit": FAILED})
        return FAILED


def _failed(error: Exception, text: str, code: int, *, json: bool) -> int:
    say(f"angelx: {text}", json=True)
    if json:
        answer({"ok": False, "error": text, "kind": type(error).__name__, "exit": code})
    return code
