"""What must be true before money is at stake, each thing looked at and not assumed."""

import ctypes
import fcntl
import importlib.metadata
import os
import platform
import resource
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from angelx.adapters.latch import RUNNING, Latch
from angelx.adapters.state_dir import lock_holder
from angelx.app.config import config_hash, differences, frozen_json
from angelx.app.config_freeze import read_freeze
from angelx.app.config_model import Config
from angelx.app.doctor_numba import cache_state
from angelx.domain.errors import AngelxError, InputInvalid

LIBRARIES: Final = (
    "uvloop", "aiohttp", "pydantic", "ruamel.yaml", "msgspec", "structlog", "numpy", "pandas", "numba", "scipy",
    "pandas_market_calendars", "pyarrow", "cachetools", "typer", "rich", "plotly",
)  # fmt: skip
"""What a paper session needs."""

_ENOUGH_FILES: Final = 1_024
_LITTLE_DISK: Final = 1024**3
_NO_DISK: Final = 128 * 1024**2
_SLOW_SYNC_MS: Final = 20.0
_LARGEST_CLOCK_ERROR_MS: Final = 50.0
_UNSYNCED: Final = 0x40  # STA_UNSYNC of <sys/timex.h>.


class Check(msgspec.Struct, frozen=True):
    """What one look found."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str = ""
    """What to do about it; empty where nothing is to be done."""


Probe = Callable[[], str]
"""Answers in words what it found; raises an `AngelxError` where that is not good."""


def run_checks(
    config: Config, state_dir: Path, *, journal: Probe | None = None, calendar: Probe | None = None
) -> list[Check]:
    """Look at everything once; takes a fraction of a second, changes nothing but a probe file it removes.

    Parameters
    ----------
    journal
        Verifies the journal of the state directory; not given where there is none.
    calendar
        Says what the trading calendar knows of today.
    """
    return [
        _python(),
        _libraries(),
        _processors(),
        *_numba(),
        *_state(state_dir),
        _latch(state_dir),
        _frozen(config, state_dir),
        _probed("journal", journal, "no journal yet: nothing was traded here", "angelx journal verify"),
        _clock(),
        _zones(),
        _probed("calendar", calendar, "no calendar was given to look at", "update angelx, or the override table"),
        _files(),
        _terminal(),
        _systemd(),
    ]


def _probed(name: str, probe: Probe | None, absent: str, remedy: str) -> Check:
    if probe is None:
        return Check(name, "warn" if name == "calendar" else "ok", absent)
    try:
        return Check(name, "ok", probe())
    except AngelxError as error:
        return Check(name, "fail", str(error), remedy)


# ---------------------------------------------------------------- the machine
def _python() -> Check:
    name, version = platform.python_implementation(), platform.python_version()
    detail = f"{name} {version} on {platform.system()} {platform.machine()}"
    if sys.version_info < (3, 11) or sys.implementation.name != "cpython":
        return Check("python", "fail", detail, "use CPython 3.11 or later")
    return Check("python", "ok", detail)


def _libraries() -> Check:
    found, missing = [], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("libraries", "fail", f"missing: {', '.join(missing)}", "make setup")
    return Check("libraries", "ok", ", ".join(found))


def _processors() -> Check:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    detail = f"{usable} usable"
    if usable < 2:
        return Check("processors", "warn", detail, "two let slow work run beside the event loop")
    return Check("processors", "ok", detail)


def _numba() -> Iterator[Check]:
    cache = cache_state(Path(__file__).parent.parent)
    if not cache.writable:
        yield Check("compiled code", "fail", f"cannot be kept in {cache.where}", "set NUMBA_CACHE_DIR")
    elif cache.missing:
        detail = f"{len(cache.missing)} of {cache.functions} functions are not compiled yet, {cache.missing[0]} for one"
        yield Check("compiled code", "warn", detail, "make setup, or let the first start take a few seconds longer")
    else:
        yield Check("compiled code", "ok", f"{cache.functions} functions compiled and kept in {cache.where}")


def _files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    detail = f"{soft} open files allowed, {hard} at most"
    if soft < _ENOUGH_FILES:
        return Check("open files", "warn", detail, f"ulimit -n {_ENOUGH_FILES}, or LimitNOFILE= in the unit")
    return Check("open files", "ok", detail)


def _terminal() -> Check:
    encoding = (sys.stdout.encoding or "ascii").lower()
    if not sys.stdout.isatty():
        return Check("terminal", "ok", f"none (standard output is a file or pipe, {encoding})")
    size = shutil.get_terminal_size()
    detail = f"{os.environ.get('TERM', 'no TERM')}, {size.columns}x{size.lines}, {encoding}"
    if "utf" not in encoding or os.environ.get("TERM", "dumb") == "dumb":
        return Check("terminal", "warn", detail, "the live view needs TERM and a UTF-8 locale")
    return Check("terminal", "ok", detail)


def _systemd() -> Check:
    if not Path("/run/systemd/system").is_dir():
        return Check("systemd", "ok", "not the service manager here: nothing restarts angelx")
    if os.environ.get("NOTIFY_SOCKET"):
        return Check("systemd", "ok", "runs this process and is told of its state")
    return Check("systemd", "ok", "there; this process was not started by a unit")


# ---------------------------------------------------------------- the clock
class _Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h>, its first fields."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_byte * 256),
    )  # fmt: skip


def _clock() -> Check:
    remedy = "run chrony or systemd-timesyncd; without it bars end early or late"
    adjtimex = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    if adjtimex is None:
        return Check("clock", "warn", "this system does not say whether its clock is right", remedy)
    answer = _Timex(modes=0)
    if adjtimex(ctypes.byref(answer)) < 0:
        return Check("clock", "warn", f"the kernel does not say: {os.strerror(ctypes.get_errno())}", remedy)
    error_ms = answer.maxerror / 1_000
    if answer.status & _UNSYNCED:
        return Check("clock", "warn", "nothing keeps it right (the kernel calls it unsynchronised)", remedy)
    detail = f"synchronised, at most {error_ms:.1f} ms wrong"
    if error_ms >= _LARGEST_CLOCK_ERROR_MS:
        return Check("clock", "warn", detail, remedy)
    return Check("clock", "ok", detail)


def _zones() -> Check:
    """India has no summer time, New York's begins in March: both are asked, not only found."""
    expected = {"Asia/Kolkata": timedelta(hours=5, minutes=30), "America/New_York": timedelta(hours=-4)}
    for name, offset in expected.items():
        try:
            found = datetime(2026, 7, 1, tzinfo=ZoneInfo(name)).utcoffset()
        except (ZoneInfoNotFoundError, OSError, ValueError):
            return Check("time zones", "fail", f"{name} is not known here", "install tzdata")
        if found != offset:
            detail = f"{name} is {found} from UTC in July 2026, should be {offset}"
            return Check("time zones", "fail", detail, "update tzdata")
    return Check("time zones", "ok", ", ".join(expected))


# ---------------------------------------------------------------- the state directory
def _state(path: Path) -> Iterator[Check]:
    path = path.expanduser().absolute()
    try:
        about = path.stat()
    except FileNotFoundError:
        above = next(parent for parent in path.parents if parent.exists())
        if os.access(above, os.W_OK | os.X_OK):
            yield Check("state directory", "ok", f"{path} will be created")
            yield from _disk(above)
        else:
            detail = f"{path} cannot be created in {above}"
            yield Check("state directory", "fail", detail, "choose another --state-dir")
        return
    except OSError as error:
        yield Check("state directory", "fail", f"{path}: {error.strerror}", "choose another --state-dir")
        return
    yield _permissions(path, about)
    yield _lock(path)
    yield from _disk(path)


def _permissions(path: Path, about: os.stat_result) -> Check:
    mode = stat.S_IMODE(about.st_mode)
    name, detail = "state directory", f"{path}, mode {mode:04o}"
    if not stat.S_ISDIR(about.st_mode):
        return Check(name, "fail", f"{path} is not a directory", "choose another --state-dir")
    if about.st_uid != os.geteuid():
        return Check(name, "fail", f"{path} belongs to user {about.st_uid}, we are {os.geteuid()}", "run as that user")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Check(name, "fail", f"{detail}: others can look in", f"chmod 700 {path}")
    return Check(name, "ok", detail)


def _lock(path: Path) -> Check:
    try:
        holder = lock_holder(path)
    except OSError as error:
        return Check("lock", "fail", f"cannot be looked at: {error.strerror}", "use a local disk")
    if holder is not None:
        return Check("lock", "warn", f"held by {holder}", "a second process on this directory will be refused")
    return Check("lock", "ok", "free")


def _disk(path: Path) -> Iterator[Check]:
    free = shutil.disk_usage(path).free
    detail = f"{free / 1024**3:.1f} GiB free"
    status: Literal["ok", "warn", "fail"] = "fail" if free < _NO_DISK else "warn" if free < _LITTLE_DISK else "ok"
    yield Check("disk space", status, detail, "" if status == "ok" else "a full disk stops trading: make room")
    try:
        times_ms = sorted(_sync_times_ms(path))
    except OSError as error:
        yield Check("disk writes", "fail", f"{path} keeps nothing: {error.strerror}", "use another disk")
        return
    middle = times_ms[len(times_ms) // 2]
    slow = middle > _SLOW_SYNC_MS
    detail = f"fsync takes {middle:.2f} ms, {times_ms[-1]:.2f} ms at worst (n={len(times_ms)})"
    remedy = f"every order waits for it: above {_SLOW_SYNC_MS:g} ms use a faster disk"
    yield Check("disk writes", "warn" if slow else "ok", detail, remedy if slow else "")


def _sync_times_ms(path: Path, n: int = 16) -> list[float]:
    """How long it takes to append 4 KiB durably; also proves that locks work there."""
    probe = path / f".doctor.{os.getpid()}.tmp"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        times = []
        for _ in range(n):
            begun = time.perf_counter()
            os.write(descriptor, bytes(4_096))
            os.fsync(descriptor)
            times.append((time.perf_counter() - begun) * 1e3)
        return times
    finally:
        os.close(descriptor)
        probe.unlink()


def _latch(state_dir: Path) -> Check:
    latch = Latch.load(state_dir.expanduser())
    if latch.level == RUNNING:
        return Check("kill switch", "ok", "running")
    detail = f"latched at {latch.name} by {latch.who}: {latch.reason}"
    return Check("kill switch", "warn", detail, "angelx resume --reason '…' once the cause is gone")


def _frozen(config: Config, state_dir: Path) -> Check:
    now = config_hash(config)
    try:
        frozen = read_freeze(state_dir.expanduser())
    except InputInvalid as error:
        return Check("configuration", "warn", str(error), "a live start will ask for a reason")
    if frozen is None:
        return Check("configuration", "ok", f"{now[:12]}, nothing frozen")
    if frozen.hash == now:
        return Check("configuration", "ok", f"{now[:12]}, as frozen for {frozen.session}")
    changed = "; ".join(differences(frozen.config, frozen_json(config)))
    detail = f"differs from the one frozen for {frozen.session}: {changed}"
    return Check("configuration", "warn", detail, "on that day a live start is refused without a reason")
