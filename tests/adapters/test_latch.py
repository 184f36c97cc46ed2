"""The kill switch on real files: it rises at once, outlives the process, and falls only with a reason."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.adapters.latch import FLATTEN, HALT, KILL, LATCH, LEVEL_NAMES, RUNNING, SILENT, Latch, level_named
from angelx.domain.errors import InputInvalid

ROOT = Path(__file__).parents[2]


def lines(tmp_path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (tmp_path / LATCH).read_bytes().splitlines()]


def raised(tmp_path: Path, level: int = HALT) -> Latch:
    latch = Latch.load(tmp_path)
    assert latch.raise_to(level, "why", "me", 7) is None
    return latch


def test_levels_are_ordered_and_named() -> None:
    assert (RUNNING, HALT, FLATTEN, SILENT) == (0, 1, 2, 3)
    assert [level_named(name) for name in LEVEL_NAMES] == [0, 1, 2, 3]
    with pytest.raises(InputInvalid, match="no kill switch level 'stop'; there are running, halt, flatten, silent"):
        level_named("stop")


def test_without_a_file_it_runs_and_looking_makes_none(tmp_path: Path) -> None:
    latch = Latch.load(tmp_path)
    assert (latch.level, latch.name, latch.reason) == (RUNNING, "running", "")
    assert list(tmp_path.iterdir()) == []


def test_it_outlives_the_process(tmp_path: Path) -> None:
    """Killed right after the call returned: the next process finds the level, the reason, who and when."""
    code = (
        "import os, sys; from pathlib import Path; from angelx.adapters.latch import FLATTEN, Latch\n"
        "Latch.load(Path(sys.argv[1])).raise_to(FLATTEN, 'loss limit', 'risk', 42); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False, timeout=20)
    assert killed.returncode == -signal.SIGKILL
    latch = Latch.load(tmp_path)
    assert (latch.level, latch.name, latch.reason, latch.who, latch.at) == (
        FLATTEN,
        "flatten",
        "loss limit",
        "risk",
        42,
    )


def test_the_disk_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latch = Latch.load(tmp_path)
    levels: list[tuple[int, int]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        levels.append((latch.level, Latch.load(tmp_path).level))

    monkeypatch.setattr(os, "fsync", noted)
    latch.raise_to(HALT, "why", "me", 1)
    latch.lower("done", "me", 2)
    assert levels == [(0, 1), (0, 1), (1, 0), (1, 0)]  # (memory, disk) after each fsync: file, directory.


@given(steps=st.lists(st.tuples(st.sampled_from([HALT, FLATTEN, SILENT, RUNNING]), st.booleans()), max_size=12))
@settings(max_examples=40, deadline=None)
def test_it_is_the_highest_since_it_was_last_lowered(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool]]
) -> None:
    directory = tmp_path_factory.mktemp("latch")
    latch, expected = Latch.load(directory), RUNNING
    for level, lowers in steps:
        if lowers:
            latch.lower("because", "me", 1)
            expected = RUNNING
        else:
            latch.raise_to(level, "because", "me", 1)
            expected = max(expected, level)
        assert latch.level == Latch.load(directory).level == expected


def test_every_change_is_kept_and_nothing_else(tmp_path: Path) -> None:
    latch = raised(tmp_path)
    latch.raise_to(HALT, "again", "me", 8)
    latch.raise_to(SILENT, "worse", "you", 9)
    latch.raise_to(FLATTEN, "too late", "you", 10)
    latch.lower("repaired", "me", 11)
    assert [(line["level"], line["reason"], line["who"], line["at"], line["lowers"]) for line in lines(tmp_path)] == [
        ("halt", "why", "me", 7, False),
        ("silent", "worse", "you", 9, False),
        ("running", "repaired", "me", 11, True),
    ]
    assert (tmp_path / LATCH).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_it_is_not_lowered_without_a_reason(tmp_path: Path, reason: str) -> None:
    latch = raised(tmp_path)
    with pytest.raises(InputInvalid, match="not lowered without a reason"):
        latch.lower(reason, "me", 8)
    assert latch.level == Latch.load(tmp_path).level == HALT


@pytest.mark.parametrize("text", ["x" * 100_000, "line\nline", "\ud800", "\x00", '"}', "हिन्दी"])
def test_any_reason_can_be_kept(tmp_path: Path, text: str) -> None:
    latch = Latch.load(tmp_path)
    assert latch.raise_to(HALT, text, text, 1) is None
    again = Latch.load(tmp_path)
    assert (again.level, again.reason) == (HALT, latch.reason)
    assert len(lines(tmp_path)) == 1


# ---------------------------------------------------------------- damage counts as HALT
@pytest.mark.parametrize("cut", [1, 2, 10, 40])
def test_a_cut_file_is_a_halt(tmp_path: Path, cut: int) -> None:
    raised(tmp_path).lower("done", "me", 2)
    path = tmp_path / LATCH
    path.write_bytes(path.read_bytes()[:-cut])
    latch = Latch.load(tmp_path)
    assert latch.level == HALT
    assert latch.reason == f"{path}:2 is damaged · why"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\x00" * 50,
        b"\xff\n",
        b"running\n",
        b"{}\n",
        b'{"level":"off","reason":"","who":"","at":0}\n',
        b"[]\n",
    ],
)
def test_a_file_that_says_nothing_is_a_halt(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LATCH).write_bytes(content)
    latch = Latch.load(tmp_path)
    assert (latch.level, latch.who) == (HALT, "latch")
    assert "is damaged" in latch.reason
    latch.lower("looked at it", "me", 3)
    assert Latch.load(tmp_path).level == RUNNING


def test_damage_does_not_lower(tmp_path: Path) -> None:
    raised(tmp_path, SILENT)
    with (tmp_path / LATCH).open("ab") as file:
        file.write(b'{"level":"runn')
    assert Latch.load(tmp_path).level == SILENT


def test_after_a_torn_line_the_next_one_stands_alone(tmp_path: Path) -> None:
    (tmp_path / LATCH).write_bytes(b'{"level":"ha')
    latch = Latch.load(tmp_path)
    latch.raise_to(SILENT, "why", "me", 1)
    assert Latch.load(tmp_path).level == SILENT


def test_a_file_that_cannot_be_read_is_a_halt(tmp_path: Path) -> None:
    (tmp_path / LATCH).mkdir()
    latch = Latch.load(tmp_path)
    assert latch.level == HALT
    assert latch.reason == f"{tmp_path / LATCH} cannot be read: Is a directory"
    with pytest.raises(OSError, match="Is a directory"):
        latch.lower("try", "me", 1)


# ---------------------------------------------------------------- a disk that fails
def test_a_full_disk_does_not_keep_it_down(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    latch = Latch.load(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        error = latch.raise_to(FLATTEN, "why", "me", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error is not None
    assert (error.errno, latch.error) == (errno.EFBIG, error)
    assert latch.level == FLATTEN
    assert Latch.load(tmp_path).level == HALT  # The torn line.
    assert latch.raise_to(FLATTEN, "why", "me", 2) is None  # Asked again when there is room, it is written.
    assert (latch.error, Latch.load(tmp_path).level) == (None, FLATTEN)


def test_a_lowering_that_was_not_written_did_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latch = raised(tmp_path, FLATTEN)

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="Input/output error"):
            latch.lower("done", "me", 8)
    assert latch.level == Latch.load(tmp_path).level == FLATTEN
    assert len(lines(tmp_path)) == 1
    latch.lower("done", "me", 9)
    assert latch.level == Latch.load(tmp_path).level == RUNNING


def test_a_raise_that_the_disk_did_not_confirm_holds_and_may_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latch = Latch.load(tmp_path)

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        error = latch.raise_to(FLATTEN, "why", "me", 1)
    assert error is not None
    assert latch.level == Latch.load(tmp_path).level == FLATTEN


# ---------------------------------------------------------------- several at once
def interrupted(latch: Latch, change: Callable[[], object], place: int) -> bool:
    """Make a change, and at the `place`-th line it executes raise to FLATTEN, as a signal handler would there.

    True where the change has so many lines.
    """
    left = place

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.endswith("latch.py"):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                latch.raise_to(FLATTEN, "signal", "signal", 5)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        change()
    finally:
        sys.settrace(before)
    return left <= 0


def test_a_signal_at_any_line_of_a_raise_is_not_lost(tmp_path: Path) -> None:
    place, more = 0, True
    while more:
        place += 1
        directory = tmp_path / str(place)
        directory.mkdir()
        latch = Latch.load(directory)
        more = interrupted(latch, partial(latch.raise_to, HALT, "code", "code", 4), place)
        assert (latch.level, Latch.load(directory).level) == ((FLATTEN, FLATTEN) if more else (HALT, HALT)), place
    assert place > 30


def test_a_signal_at_any_line_of_a_lowering_comes_before_or_after_it(tmp_path: Path) -> None:
    outcomes = []
    place, more = 0, True
    while more:
        place += 1
        directory = tmp_path / str(place)
        directory.mkdir()
        latch = raised(directory)
        more = interrupted(latch, partial(latch.lower, "mistaken", "me", 6), place)
        assert latch.level == Latch.load(directory).level
        outcomes.append(latch.level)
    before = outcomes.index(FLATTEN)
    assert 0 < before < 10  # Until the lowering is asked for, the signal is the earlier one.
    assert outcomes == [RUNNING] * before + [FLATTEN] * (len(outcomes) - before - 1) + [RUNNING]


def test_a_real_signal_in_the_middle_of_a_change_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latch, fsync = Latch.load(tmp_path), os.fsync

    def interrupting(descriptor: int) -> None:
        os.kill(os.getpid(), signal.SIGUSR2)  # The handler runs before this function goes on.
        fsync(descriptor)

    before = signal.signal(signal.SIGUSR2, lambda *_: latch.raise_to(FLATTEN, "signal", "signal", 5))
    try:
        monkeypatch.setattr(os, "fsync", interrupting)
        latch.raise_to(HALT, "code", "code", 4)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert latch.level == Latch.load(tmp_path).level == FLATTEN


def test_threads_take_turns(tmp_path: Path) -> None:
    latch = Latch.load(tmp_path)
    errors: list[OSError] = []

    def change(number: int) -> None:
        for at in range(5):
            error = latch.raise_to(1 + (number + at) % 3, f"{number}", "thread", at)
            errors.extend([error] if error else [])
            latch.lower("again", "thread", at)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert latch.level == Latch.load(tmp_path).level == RUNNING
    assert all(line["level"] in LEVEL_NAMES for line in lines(tmp_path))


# ---------------------------------------------------------------- a dropped file
@pytest.mark.parametrize("name", LEVEL_NAMES[HALT:])
def test_a_dropped_file_raises_and_is_taken_away(tmp_path: Path, name: str) -> None:
    latch = Latch.load(tmp_path)
    assert not latch.poll(1)
    (tmp_path / KILL).write_text(f"{name} the phone rang\n")
    assert latch.poll(2)
    assert (latch.name, latch.reason, latch.who, latch.at) == (name, "the phone rang", "file", 2)
    assert not (tmp_path / KILL).exists()
    assert Latch.load(tmp_path).name == name
    assert not latch.poll(3)
    latch.lower("fine again", "me", 4)
    assert not latch.poll(5)
    assert latch.level == RUNNING


def test_a_file_caught_half_written_halts_at_once_and_is_read_again(tmp_path: Path) -> None:
    latch = Latch.load(tmp_path)
    with (tmp_path / KILL).open("w") as file:
        assert latch.poll(1)
        assert latch.name == "halt"
        file.write("flatten now")
        file.flush()
        assert latch.poll(2)
        assert (latch.name, latch.reason) == ("flatten", "now")
        file.write(", please\n")
    assert not latch.poll(3)
    assert not (tmp_path / KILL).exists()


@pytest.mark.parametrize("content", [b"", b"stop\n", b"running\n", b"\xff\xfe", b"HALT\n"])
def test_anything_else_in_it_is_a_halt(tmp_path: Path, content: bytes) -> None:
    latch = Latch.load(tmp_path)
    (tmp_path / KILL).write_bytes(content)
    assert latch.poll(1)
    assert latch.level == HALT
    assert "none of halt, flatten, silent" in latch.reason
    assert not latch.poll(2)
    assert not (tmp_path / KILL).exists()


def test_what_cannot_be_read_or_removed_goes_on_halting(tmp_path: Path) -> None:
    latch = Latch.load(tmp_path)
    (tmp_path / KILL).mkdir()
    assert latch.poll(1)
    assert latch.level == HALT
    assert not latch.poll(2)
    latch.lower("it is only a directory", "me", 3)
    assert latch.poll(4)
    assert latch.level == HALT


def test_a_pipe_does_not_hang_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / KILL)
    latch = Latch.load(tmp_path)
    assert latch.poll(1)
    assert latch.level == HALT


def test_a_file_stays_until_it_is_latched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latch = Latch.load(tmp_path)
    (tmp_path / KILL).write_text("silent x\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
        assert latch.poll(1)
    assert latch.level == SILENT
    assert (tmp_path / KILL).exists()
    latch.poll(2)
    assert not (tmp_path / KILL).exists()
    assert Latch.load(tmp_path).level == SILENT


def test_a_state_directory_that_is_gone_halts(tmp_path: Path) -> None:
    """Nothing that is sent from then on would be found by the next start."""
    directory = tmp_path / "state"
    directory.mkdir()
    latch = Latch.load(directory)
    assert not latch.poll(1)
    directory.rmdir()
    assert latch.poll(2)
    assert (latch.level, latch.reason) == (HALT, f"the state directory {directory} is gone: nothing is kept any more")
    assert not latch.poll(3), "it is told once"
