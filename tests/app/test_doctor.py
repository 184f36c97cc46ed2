"""Every check looks: each is shown the good and the bad, on real files and processes."""

import ctypes
import importlib.metadata
import os
import resource
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

from angelx.adapters.latch import HALT, LATCH, Latch
from angelx.adapters.state_dir import LOCK, StateDir
from angelx.app import doctor
from angelx.app.config import Config, load_config
from angelx.app.config_freeze import FROZEN, freeze
from angelx.app.doctor import Check, run_checks
from angelx.app.doctor_numba import cache_state
from angelx.domain.errors import JournalBroken

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config() -> Config:
    return load_config(None, environ={})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    StateDir.open(tmp_path / "s").close()
    return tmp_path / "s"


def named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def look(config: Config, state: Path, name: str) -> Check:
    return named(run_checks(config, state), name)


def test_every_check_says_what_it_saw_and_what_to_do(config: Config, state: Path) -> None:
    checks = run_checks(config, state, journal=lambda: "12 records verify", calendar=lambda: "a session until 15:40")
    assert [check.name for check in checks] == [
        "python", "libraries", "processors", "compiled code", "state directory", "lock", "disk space", "disk writes",
        "kill switch", "configuration", "journal", "clock", "time zones", "calendar", "open files", "terminal",
        "systemd",
    ]  # fmt: skip
    assert all(check.detail for check in checks)
    assert all(check.remedy for check in checks if check.status != "ok")
    assert named(checks, "journal") == Check("journal", "ok", "12 records verify")
    assert named(checks, "calendar") == Check("calendar", "ok", "a session until 15:40")


def test_looking_changes_nothing(config: Config, state: Path) -> None:
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    run_checks(config, state)
    assert {path.name: path.read_bytes() for path in state.iterdir()} == before


# ---------------------------------------------------------------- the state directory
def test_one_that_is_not_there_yet_is_looked_at_from_above(config: Config, tmp_path: Path) -> None:
    checks = run_checks(config, tmp_path / "a" / "b")
    assert named(checks, "state directory").detail == f"{tmp_path}/a/b will be created"
    assert "fsync takes" in named(checks, "disk writes").detail
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mode", "status"), [(0o700, "ok"), (0o750, "fail"), (0o701, "fail")])
def test_permissions(config: Config, state: Path, mode: int, status: str) -> None:
    state.chmod(mode)
    check = look(config, state, "state directory")
    assert (check.status, f"mode {mode:04o}" in check.detail) == (status, True)
    assert check.remedy == ("" if status == "ok" else f"chmod 700 {state}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_a_directory_of_somebody_else(config: Config, state: Path) -> None:
    os.chown(state, 12_345, -1)
    assert look(config, state, "state directory").detail.endswith("belongs to user 12345, we are 0")


def test_a_file_is_no_directory(config: Config, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("x")
    assert look(config, tmp_path / "s", "state directory").status == "fail"


def test_the_lock_names_its_holder(config: Config, state: Path) -> None:
    assert look(config, state, "lock") == Check("lock", "ok", "free")
    code = (
        "import sys; from pathlib import Path; from angelx.adapters.state_dir import StateDir\n"
        "s = StateDir.open(Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(state)], stdin=-1, stdout=-1, text=True, cwd=ROOT) as other:
        assert other.stdout is not None
        other.stdout.readline()
        check = look(config, state, "lock")
        other.communicate()
    assert check.status == "warn"
    assert f"held by pid {other.pid} on" in check.detail


def test_a_lock_that_cannot_be_looked_at(config: Config, state: Path) -> None:
    (state / LOCK).unlink()
    (state / LOCK).symlink_to("/etc/hostname")
    assert look(config, state, "lock").status == "fail"


def test_the_kill_switch(config: Config, state: Path) -> None:
    assert look(config, state, "kill switch") == Check("kill switch", "ok", "running")
    Latch.load(state).raise_to(HALT, "loss limit", "risk", 1)
    check = look(config, state, "kill switch")
    assert (check.status, check.detail) == ("warn", "latched at halt by risk: loss limit")
    (state / LATCH).write_bytes(b"\x00")
    assert f"{state / LATCH}:1 is damaged" in look(config, state, "kill switch").detail


def test_disk_writes_are_measured(config: Config, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ms at worst (n=16)" in look(config, state, "disk writes").detail
    ticks = iter(range(1_000))
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) / 10)
    check = look(config, state, "disk writes")
    assert (check.status, check.detail) == ("warn", "fsync takes 100.00 ms, 100.00 ms at worst (n=16)")


def test_a_disk_that_keeps_nothing(config: Config, state: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        check = look(config, state, "disk writes")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (check.status, check.detail) == ("fail", f"{state} keeps nothing: File too large")
    assert not list(state.glob(".doctor*"))


@pytest.mark.parametrize(("free", "status"), [(2**40, "ok"), (2**29, "warn"), (2**20, "fail")])
def test_disk_space(config: Config, state: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
    usage = shutil.disk_usage(state)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    assert look(config, state, "disk space").status == status


# ---------------------------------------------------------------- configuration, journal, calendar
def test_the_frozen_configuration(config: Config, state: Path) -> None:
    assert look(config, state, "configuration").detail.endswith("nothing frozen")
    freeze(state, config, date(2026, 10, 21), at=1)
    assert look(config, state, "configuration").detail.endswith("as frozen for 2026-10-21")
    other = load_config(None, {"risk.daily_loss": 0.05}, environ={})
    check = look(other, state, "configuration")
    assert check.status == "warn"
    assert check.detail == "differs from the one frozen for 2026-10-21: risk.daily_loss: 0.03 -> 0.05"
    (state / FROZEN).write_text("{")
    assert look(config, state, "configuration").status == "warn"


def test_a_probe_that_fails_is_a_failed_check(config: Config, state: Path) -> None:
    def broken() -> str:
        raise JournalBroken("record 17 was edited")

    check = named(run_checks(config, state, journal=broken, calendar=broken), "journal")
    assert check == Check("journal", "fail", "record 17 was edited", "angelx journal verify")
    assert look(config, state, "journal").status == "ok"
    assert look(config, state, "calendar").status == "warn"


# ---------------------------------------------------------------- the machine
def test_python_and_libraries(config: Config, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sys.version.split()[0] in look(config, state, "python").detail
    check = look(config, state, "libraries")
    assert (check.status, f"numpy {importlib.metadata.version('numpy')}" in check.detail) == ("ok", True)
    monkeypatch.setattr(doctor, "LIBRARIES", (*doctor.LIBRARIES, "no-such-library"))
    assert look(config, state, "libraries").detail == "missing: no-such-library"
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    assert doctor._python().status == "fail"


def test_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._processors().detail == f"{len(os.sched_getaffinity(0))} usable"
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert doctor._processors().status == "warn"


def test_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert doctor._files().detail.startswith(f"{soft} open files allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        assert doctor._files().status == "warn"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Kernel:
    """A C library whose kernel answers `adjtimex` as told."""

    def __init__(self, status: int, error_us: int, answer: int = 0) -> None:
        self.status, self.error_us, self.answer = status, error_us, answer

    def adjtimex(self, pointer: object) -> int:
        timex = pointer._obj  # type: ignore[attr-defined]
        assert timex.modes == 0  # Only asks.
        timex.status, timex.maxerror = self.status, self.error_us
        return self.answer


@pytest.mark.parametrize(
    ("kernel", "status", "detail"),
    [
        (Kernel(0, 1_500), "ok", "synchronised, at most 1.5 ms wrong"),
        (Kernel(0, 80_000), "warn", "synchronised, at most 80.0 ms wrong"),
        (Kernel(0x40, 16_000_000, 5), "warn", "nothing keeps it right (the kernel calls it unsynchronised)"),
        (Kernel(0, 0, -1), "warn", "the kernel does not say"),
        (object(), "warn", "this system does not say whether its clock is right"),
    ],
)
def test_the_clock(monkeypatch: pytest.MonkeyPatch, kernel: object, status: str, detail: str) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: kernel)
    check = doctor._clock()
    assert (check.status, check.detail.startswith(detail)) == (status, True)


@pytest.mark.skipif(sys.platform != "linux", reason="adjtimex is Linux")
def test_the_clock_of_this_kernel_is_asked() -> None:
    """The structure is the kernel's: a field beyond ours, `tai` at offset 160 on 64 bits, lies inside its room."""
    assert ctypes.sizeof(doctor._Timex) >= 208
    assert doctor._clock().detail.startswith(("synchronised", "nothing keeps it right"))


def test_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._zones() == Check("time zones", "ok", "Asia/Kolkata, America/New_York")
    india = ZoneInfo("Asia/Kolkata")
    monkeypatch.setattr(doctor, "ZoneInfo", lambda _: india)
    assert "America/New_York is 5:30:00 from UTC in July 2026, should be -1 day, 20:00:00" in doctor._zones().detail

    def unknown(name: str) -> object:
        raise ZoneInfoNotFoundError(name)

    monkeypatch.setattr(doctor, "ZoneInfo", unknown)
    assert doctor._zones() == Check("time zones", "fail", "Asia/Kolkata is not known here", "install tzdata")


@pytest.mark.parametrize(
    ("term", "encoding", "status"), [("xterm", "utf-8", "ok"), ("xterm", "ascii", "warn"), ("dumb", "utf-8", "warn")]
)
def test_the_terminal_is_seen(monkeypatch: pytest.MonkeyPatch, term: str, encoding: str, status: str) -> None:
    primary, secondary = os.openpty()
    monkeypatch.setenv("TERM", term)
    with open(secondary, "w", encoding=encoding) as terminal:  # noqa: PTH123 - an open descriptor
        monkeypatch.setattr(sys, "stdout", terminal)
        check = doctor._terminal()
    os.close(primary)
    assert (check.status, check.detail.startswith(f"{term}, ")) == (status, True)


def test_a_pipe_is_no_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        assert doctor._terminal().detail.startswith("none (standard output is a file or pipe")


# ---------------------------------------------------------------- compiled code
KERNELS = """
import numba as nb

@nb.njit(cache=True, nogil=True)
def added(a, b):
    return a + b

@nb.njit(
    cache=True,
)
def taken(a, b):
    return a - b

@nb.njit
def not_kept(a):
    return a
"""


def test_the_cache_of_compiled_code_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled by numba itself in another process, beside the source and in a directory of its own."""
    source, own = tmp_path / "p" / "kernels.py", tmp_path / "cache"
    source.parent.mkdir()
    source.write_text(KERNELS)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    cold = cache_state(tmp_path / "p")
    assert (cold.functions, cold.missing, cold.writable) == (2, ("kernels.py: added", "kernels.py: taken"), True)
    code = "import os, sys, kernels; kernels.added(1, 2)\nimport numba.core.config as c; c.CACHE_DIR = sys.argv[1]\n\
import importlib; importlib.reload(kernels).taken(1, 2)"
    subprocess.run([sys.executable, "-c", code, str(own)], cwd=source.parent, check=True)
    assert cache_state(tmp_path / "p").missing == ("kernels.py: taken",)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(own))
    assert cache_state(tmp_path / "p").missing == ("kernels.py: added",)
    os.utime(source, (2**31, 2**31))
    assert len(cache_state(tmp_path / "p").missing) == 2


def test_a_cache_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "k.py").write_text(KERNELS)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/nowhere")
    assert not cache_state(tmp_path).writable
    monkeypatch.setattr(doctor, "cache_state", lambda _: cache_state(tmp_path))
    assert next(doctor._numba()).status == "fail"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert next(doctor._numba()).detail == "2 of 2 functions are not compiled yet, k.py: added for one"
