"""How commands speak: text for people, one last line of JSON for programs, promised exit codes."""

import logging
import sys
import traceback
from collections.abc import Callable, Mapping
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

FAILED: Final = 1
CODES: Final[Mapping[type[AngelxError], int]] = {InputInvalid: 2, ConfigInvalid: 64, StateLocked: 75, Halted: 78}
"""Exit codes: 0 done, 1 failed or found wrong, 2 bad input, 64 configuration, 75 locked, 78 halted."""

HALTED: Final = 78
USAGE: Final = 2


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


def code_of(error: AngelxError) -> int:
    """The exit code of an error."""
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), FAILED)


def say(text: str, *, json: bool = False) -> None:
    """A line for a person; on standard error where standard output belongs to JSON."""
    stream = sys.stderr if json else sys.stdout
    stream.write(text + "\n")
    stream.flush()


def answer(data: Mapping[str, Any]) -> None:
    """The one JSON object on the last line of standard output."""
    sys.stdout.write(msgspec.json.encode(data, order="sorted").decode() + "\n")
    sys.stdout.flush()


def guarded(command: Callable[[], int], *, json: bool) -> None:
    """Run a command's body, turn what it raises on purpose into a message and a code, and exit."""
    try:
        code = command()
    except AngelxError as error:
        code = code_of(error)
        sys.stderr.write(f"angelx: {error}\n")
        if json:
            answer({"ok": False, "error": str(error), "kind": type(error).__name__, "exit": code})
    except Exception as error:  # noqa: BLE001 - a bug: shown whole, and who reads JSON is answered all the same
        code = FAILED
        traceback.print_exc()
        if json:
            answer({"ok": False, "error": str(error), "kind": type(error).__name__, "exit": code})
    raise SystemExit(code)
