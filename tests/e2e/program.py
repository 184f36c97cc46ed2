"""Runs the real program in real processes, and reads what it leaves behind.

`angelx` forks from a server that has imported everything once, so that a hundred runs cost seconds instead of minutes;
`start` is `python -m angelx` in a process of its own, for daemons, signals and kills.
"""

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
MARKET = ("--set", "market.expiries=2", "--set", "market.strikes=6")
QUICK = (*MARKET, "--set", "filters=[{use: session}, {use: freshness}, {use: spread}]")
"""Nobody looks at chains."""
SMALL = (*QUICK, "--strategy", f"{ROOT}/tests/e2e/plain.py:Plain")
"""A market of 25 instruments and some 260,000 ticks, traded in a few seconds."""
UNREPORTED = ("--set", "report.enabled=false")
PRELOAD = (
    "angelx.adapters.recorded",
    "angelx.app.trading",
    "angelx.cli.main",
    "angelx.market.simulated",
    "angelx.research.journal_replay",
    "angelx.research.play",
    "angelx.research.report",
    "pyarrow.parquet",
    "ruamel.yaml",
)

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(list(PRELOAD))


@dataclass(frozen=True)
class Ran:
    """What a process came to."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """The one JSON object that `--json` promises, and nothing else on standard output."""
        lines = self.out.splitlines()
        assert len(lines) == 1, f"one line on standard output, not {len(lines)}\n{self.out[-2000:]}\n{self.err[-4000:]}"
        found = json.loads(lines[0])
        assert isinstance(found, dict)
        return found

    def succeeded(self) -> "Ran":
        """Itself, where the exit code is 0."""
        assert self.code == 0, f"exit {self.code}\n{self.out[-2000:]}\n{self.err[-4000:]}"
        return self


def environment() -> dict[str, str]:
    """This process's, with our sources first and without what would change a run."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("ANGELX")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}


def angelx(*arguments: object, cwd: Path, timeout_s: float = 60, limit: int = 0) -> Ran:
    """Run a command to its end; `limit` is the largest file it may write, bytes."""
    with tempfile.TemporaryDirectory() as kept:
        out, err = Path(kept, "out"), Path(kept, "err")
        words = [str(argument) for argument in arguments]
        process = _forks.Process(target=_main, args=(words, str(cwd), str(out), str(err), limit))
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            pytest.fail(f"angelx {' '.join(words)} did not end in {timeout_s:g} s\n{err.read_text()[-4000:]}")
        return Ran(process.exitcode, out.read_text(), err.read_text())


def _main(words: Sequence[str], cwd: str, out: str, err: str, limit: int) -> None:
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    wanted = environment()
    os.environ.clear()
    os.environ.update(wanted)
    if limit:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["angelx", *words]
    from angelx.cli.main import main

    main()


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """`python -m angelx` in a process of its own, still running."""
    command = [sys.executable, "-m", "angelx", *(str(argument) for argument in arguments)]
    return subprocess.Popen(
        command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


class Forked:
    """A command in a process forked from the server: as `start`, without the second that its imports take."""

    def __init__(self, *arguments: object, cwd: Path) -> None:
        self._kept = tempfile.TemporaryDirectory()
        words = [str(argument) for argument in arguments]
        out, err = Path(self._kept.name, "out"), Path(self._kept.name, "err")
        self._process = _forks.Process(target=_main, args=(words, str(cwd), str(out), str(err), 0))
        self._process.start()

    def poll(self) -> int | None:
        """Its exit code; `None` while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def wait(self) -> None:
        """Until it is gone."""
        self._process.join()
        self._kept.cleanup()


def ended(process: subprocess.Popen[str], timeout_s: float = 60) -> Ran:
    """What a started process came to."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"did not end in {timeout_s:g} s\n{out[-2000:]}\n{err[-4000:]}")
    return Ran(process.returncode, out, err)


def until(found: Any, timeout_s: float = 30) -> None:
    """Wait until `found()` is true."""
    limit = time.monotonic() + timeout_s
    while not found():
        if time.monotonic() > limit:
            pytest.fail(f"not so within {timeout_s:g} s")
        time.sleep(0.02)  # noqa: TID251 - a test waits for another process


def records(journal: Path, *kinds: str) -> list[dict[str, Any]]:
    """Records of a journal by class, read with SQL as a person would, fields by name."""
    database = sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)
    try:
        names: dict[str, list[str]] = {}
        for kind, name in database.execute("select kind, name from field order by kind, place"):
            names.setdefault(kind, []).append(name)
        found = list(database.execute("select number, kind, body from record order by number"))
    finally:
        database.close()
    return [
        {"number": number, "kind": kind, **dict(zip(names[kind], json.loads(body)[1:], strict=True))}
        for number, kind, body in found
        if not kinds or kind in kinds
    ]
