"""The state directory on a real file system with real processes."""

import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from angelx.adapters.state_dir import FENCE, LOCK, StateDir, durable_write, lock_holder
from angelx.domain.errors import InputInvalid, StateLocked

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from angelx.adapters.state_dir import StateDir
state = StateDir.open(Path(sys.argv[1]))
print(state.token, flush=True)
{then}
"""
IS_ROOT = os.geteuid() == 0


@contextmanager
def another_process(path: Path, then: str = "sys.stdin.read()") -> Iterator[subprocess.Popen[str]]:
    """A process that holds the directory until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD.format(then=then), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait(10)


def test_it_is_made_for_us_alone(tmp_path: Path) -> None:
    with StateDir.open(tmp_path / "a" / "b") as state:
        assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in state.path.iterdir()} == {0o600}
        text = (state.path / LOCK).read_text()
        assert text.startswith(f"pid {os.getpid()} on {os.uname().nodename} since 20")


def test_a_second_process_is_told_who_is_in_the_way(tmp_path: Path) -> None:
    with another_process(tmp_path / "s") as other:
        with pytest.raises(StateLocked, match=rf"{tmp_path}/s is in use by pid {other.pid} on .* since 20..-..-.. .*Z"):
            StateDir.open(tmp_path / "s")
        assert f"pid {other.pid}" in str(lock_holder(tmp_path / "s"))
    assert lock_holder(tmp_path / "s") is None
    StateDir.open(tmp_path / "s").close()


def test_even_the_same_process_cannot_open_it_twice(tmp_path: Path) -> None:
    with StateDir.open(tmp_path / "s"), pytest.raises(StateLocked):
        StateDir.open(tmp_path / "s")


def test_a_killed_process_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    with another_process(tmp_path / "s") as other:
        other.send_signal(signal.SIGKILL)
        other.wait(10)
        with StateDir.open(tmp_path / "s") as state:
            assert state.token == 2


def test_a_forked_child_does_not_keep_the_lock_of_its_parent(tmp_path: Path) -> None:
    fork = "import os\nif os.fork() == 0:\n    sys.stdout.close(); time.sleep(5); os._exit(0)\nsys.stdin.read()"
    with another_process(tmp_path / "s", fork) as other:
        with pytest.raises(StateLocked):
            StateDir.open(tmp_path / "s")
        other.send_signal(signal.SIGKILL)
        other.wait(10)
        StateDir.open(tmp_path / "s").close()


def test_every_opening_has_a_higher_token(tmp_path: Path) -> None:
    tokens = []
    for _ in range(3):
        with StateDir.open(tmp_path / "s") as state:
            tokens.append(state.token)
    assert tokens == [1, 2, 3]
    assert (tmp_path / "s" / FENCE).read_text() == "3\n"


def test_a_refused_opening_takes_no_token_and_leaves_the_signature(tmp_path: Path) -> None:
    with StateDir.open(tmp_path / "s") as state:
        before = (state.path / LOCK).read_text()
        with pytest.raises(StateLocked):
            StateDir.open(tmp_path / "s")
        assert (state.path / FENCE).read_text() == "1\n"
        assert (state.path / LOCK).read_text() == before


@pytest.mark.parametrize("content", [b"", b"x", b"-3", b"\x00\x00", b"1 2"])
def test_a_token_that_cannot_be_read_is_never_begun_anew(tmp_path: Path, content: bytes) -> None:
    StateDir.open(tmp_path / "s").close()
    (tmp_path / "s" / FENCE).write_bytes(content)
    with pytest.raises(InputInvalid, match=r"fence: not a fencing token: .*; write a number in it that is higher"):
        StateDir.open(tmp_path / "s")
    assert lock_holder(tmp_path / "s") is None


def test_looking_at_the_lock_does_not_disturb_an_opening(tmp_path: Path) -> None:
    StateDir.open(tmp_path / "s").close()
    with (tmp_path / "s" / LOCK).open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        begun = time.monotonic()
        with pytest.raises(StateLocked):  # Somebody who stays is refused after a moment …
            StateDir.open(tmp_path / "s")
        assert time.monotonic() - begun < 1
    assert lock_holder(tmp_path / "s") is None  # … and looking holds nothing.
    StateDir.open(tmp_path / "s").close()


# ---------------------------------------------------------------- directories that will not do
def test_an_empty_directory_is_closed_to_others_a_used_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.mkdir(mode=0o755)
    StateDir.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o750)
    with pytest.raises(InputInvalid, match=f"mode 0750 lets others in: chmod 700 {path}"):
        StateDir.open(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("x")
    for path in (tmp_path / "s", tmp_path / "s" / "t"):
        with pytest.raises(InputInvalid, match=r"is not a directory|cannot be used: Not a directory"):
            StateDir.open(path)


@pytest.mark.skipif(not IS_ROOT, reason="only root can give directories away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(mode=0o700)
    os.chown(tmp_path / "s", 12_345, -1)
    with pytest.raises(InputInvalid, match="belongs to user 12345, we are 0"):
        StateDir.open(tmp_path / "s")


def test_a_place_where_nothing_can_be_made_is_refused() -> None:
    with pytest.raises(InputInvalid, match="state directory /proc/angelx/s: cannot be used: "):
        StateDir.open(Path("/proc/angelx/s"))


def test_a_disk_that_keeps_nothing_is_refused(tmp_path: Path) -> None:
    with file_size_limit(4), pytest.raises(InputInvalid, match=r"its disk keeps nothing .File too large."):
        StateDir.open(tmp_path / "s")
    assert lock_holder(tmp_path / "s") is None


def test_a_failing_fsync_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(InputInvalid, match=r"its disk keeps nothing .Input/output error."):
        StateDir.open(tmp_path / "s")


def test_missing_locks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing)
    with pytest.raises(InputInvalid, match=r"its file system has no locks .Input/output error.: use a local disk"):
        StateDir.open(tmp_path / "s")


def failing(*_: object) -> None:
    raise OSError(5, "Input/output error")


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: a full disk without a disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# ---------------------------------------------------------------- durable_write
def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for data in (b"one", b"", b"x" * 300_000):
        durable_write(path, data)
        assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_bytes_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "f"
    durable_write(path, b"old")
    with file_size_limit(1_000), pytest.raises(OSError, match="File too large"):
        durable_write(path, b"x" * 2_000)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_everything_is_on_the_disk_in_the_right_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File first, then its name, then the directory; else a crash shows an empty file under the new name."""
    seen: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        seen.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        seen.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    durable_write(tmp_path / "f", b"x")
    assert seen == ["file", "rename", "directory"]


def test_killed_while_writing_it_holds_old_or_new(tmp_path: Path) -> None:
    """Kill a process that replaces a file in a loop, ten times; its litter goes with the next opening."""
    path = tmp_path / "s"
    loop = (
        "from angelx.adapters.state_dir import durable_write\n"
        "n = 0\nwhile True:\n    n += 1; durable_write(state.path / 'f', b'%d' % (n % 10) * 100_000)"
    )
    for attempt in range(10):
        with another_process(path, loop) as other:
            time.sleep(0.01 * attempt)  # noqa: TID251 - a different moment each time
            other.send_signal(signal.SIGKILL)
            other.wait(10)
        if (path / "f").exists():
            data = (path / "f").read_bytes()
            assert len(data) == 100_000
            assert len(set(data)) == 1
    with StateDir.open(path) as state:
        assert {file.name for file in state.path.iterdir()} <= {LOCK, FENCE, "f"}
        assert state.token == 11
