"""The live view: any line, any size of terminal, any encoding; and as a process of its own."""

import io
import os
import pty
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from angelx.adapters.terminal import FillLine, LatencyLine, OrderLine, PositionLine, Snapshot
from angelx.cli.view import Screen, duration, ending, sparkline
from angelx.domain.scalars import NS

ROOT = Path(__file__).resolve().parents[2]
AT = 1_756_698_300 * NS

SNAPSHOT = Snapshot(
    mode="paper",
    source="simulated",
    zone="Asia/Kolkata",
    at=AT + 3_600 * NS,
    first_at=AT,
    last_at=AT + 22_500 * NS,
    rows=1_284_331,
    ticks_per_s=584_123.0,
    currency="INR",
    capital=1_000_000_0000,
    equity=1_001_234_5000,
    signals=331,
    refused=171,
    orders=160,
    fills=175,
    refusals={"bias_too_weak": 63, "likely_trap": 33},
    latency={"tick_to_order": LatencyLine(14_800, 30_800, 41_700, 90_800)},
    health="healthy",
    note="all is well",
    positions=(PositionLine("NFO:NIFTY:2025-09-02:24400:CE", "bias", -75, -75 * 143_4500, 12_5000),),
    working=(OrderLine(AT, "NFO:NIFTY:2025-09-02:24400:PE", 1, 150, 75, 98_0500),),
    recent=(FillLine(AT, "NFO:NIFTY:2025-09-02:24450:PE", -1, 75, 122_3000),),
)


def screen_of(*snapshots: Snapshot, ascii_only: bool = False) -> Screen:
    screen = Screen(ascii_only=ascii_only)
    for snapshot in snapshots:
        screen.read(msgspec.json.encode(snapshot))
    return screen


def text_of(screen: Screen, width: int, height: int, encoding: str = "utf-8") -> str:
    """What a terminal of that size and encoding gets, without colours."""
    buffer = io.TextIOWrapper(io.BytesIO(), encoding=encoding)  # Strict: what it cannot encode raises.
    console = Console(file=buffer, width=width, height=height, force_terminal=True, color_system=None)
    console.print(screen.frame(width, height))
    buffer.flush()
    assert isinstance(buffer.buffer, io.BytesIO)
    return buffer.buffer.getvalue().decode(encoding)


def test_a_wide_terminal_shows_everything() -> None:
    text = text_of(screen_of(SNAPSHOT), 120, 40)
    for part in (
        "paper · simulated", "10:15:00", "● healthy", "1,284,331 ticks", "584,123/s", "16%", "+₹1,234.50  +0.12 %",
        "331 signals → 171 refused → 160 orders → 175 fills", "bias_too_weak", "Positions (1)", "-75", "143.45",
        "Working orders (1)", "75/150", "98.05", "122.30", "14.8 µs", "90.8 µs", "all is well",
    ):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize("width", [1, 5, 20, 40, 64, 99, 100, 120, 250])
@pytest.mark.parametrize("height", [1, 10, 24, 60])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_any_size_of_terminal_is_drawn_within_its_width(width: int, height: int, encoding: str) -> None:
    text = text_of(screen_of(SNAPSHOT, ascii_only=encoding != "utf-8"), width, height, encoding)
    assert max(len(line) for line in text.splitlines()) <= width


def test_a_narrow_terminal_keeps_what_tells_options_apart() -> None:
    assert re.search(r"…\S*24400:CE", text_of(screen_of(SNAPSHOT), 50, 50))


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_lines_that_are_no_snapshot_are_counted_and_left_out(lines: list[bytes]) -> None:
    screen = screen_of(SNAPSHOT)
    for line in [*lines, b'{"rows": "many"}', b"[1]", b'{"zone": "../../etc"}']:
        screen.read(line)
    screen.read(msgspec.json.encode(SNAPSHOT))
    assert screen.unreadable >= 2
    assert f"{screen.unreadable:,} unreadable lines" in text_of(screen, 120, 40)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60), st.integers(-(10**16), 10**16), st.sampled_from((30, 70, 120)))
def test_no_text_can_move_the_cursor_or_be_markup(text: str, amount: int, width: int) -> None:
    nasty = text + "\x1b[2J\r\x07[bold]\u202e"
    screen = screen_of(
        Snapshot(
            mode=nasty, source=nasty, zone=nasty, health=nasty, level=nasty, note=nasty, currency=nasty, equity=amount,
            capital=amount // 2, at=AT, refusals={nasty: 3}, latency={nasty: LatencyLine(1, 2, 3, 4)},
            positions=(PositionLine(nasty, nasty, 0, amount, amount),),
            working=(OrderLine(AT, nasty, 1, 1, 0, amount),),
        )
    )  # fmt: skip
    drawn = text_of(screen, width, 50, "utf-8")
    assert "\x1b" not in drawn.replace("\x1b[0m", "")
    assert not set("\r\x07\u202e") & set(drawn)


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=300), st.integers(8, 80))
def test_a_sparkline_ends_with_the_last_value_and_spans_its_range(values: list[int], width: int) -> None:
    line = sparkline(values, width)
    assert len(line) == min(width, len(values))
    if len(values) <= width and min(values) < max(values):
        assert line[values.index(max(values))] == "█"
        assert line[values.index(min(values))] == "▁"


def test_a_long_session_keeps_a_bounded_curve() -> None:
    screen = Screen()
    for equity in range(1, 10_000):
        screen.read(b'{"equity": %d}' % equity)
    assert len(screen._curve) <= 2_000
    steps = {after - before for before, after in pairwise(screen._curve)}
    assert len(steps) == 1  # Equal lengths are equal times.
    assert screen._curve[-1] > 9_900


def test_words_for_figures() -> None:
    assert [duration(ns) for ns in (640, 14_200, 3_100_000, 2_500_000_000)] == ["640 ns", "14.2 µs", "3.1 ms", "2.5 s"]
    assert ending("NFO:NIFTY:24400:CE", 9) == "…24400:CE"


def run_view(lines: bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "angelx.cli.view"],
        input=lines,
        capture_output=True,
        timeout=20,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def test_the_process_leaves_its_last_frame_when_the_pipe_closes() -> None:
    lines = b"garbage\n" + msgspec.json.encode(SNAPSHOT) + b"\n" + b'{"half'
    done = run_view(lines, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"+Rs 1,234.50" in done.stdout
    assert b"1 unreadable lines" in done.stdout


def test_a_terminal_sees_the_view_and_its_loss_is_no_crash() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "angelx.cli.view"],
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
    ) as view:
        os.close(theirs)
        assert view.stdin is not None
        assert view.stderr is not None
        view.stdin.write(msgspec.json.encode(SNAPSHOT) + b"\n")
        view.stdin.flush()
        seen = b""
        while b"122.30" not in seen:
            seen += os.read(ours, 65_536)
        assert "+₹1,234.50".encode() in seen
        os.close(ours)
        view.stdin.write(msgspec.json.encode(SNAPSHOT) + b"\n")
        view.stdin.close()
        assert view.wait(10) in {0, 1}
        assert b"Traceback" not in view.stderr.read()
