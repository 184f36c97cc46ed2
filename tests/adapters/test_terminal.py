"""Feeding the view: never a wait, never half a line, never an error; and plain lines where there is no terminal."""

import io
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.adapters.terminal import (
    OrderLine,
    PlainProgress,
    Snapshot,
    TerminalView,
    open_progress,
    plain_line,
)
from angelx.domain.scalars import NS
from angelx.domain.text import printable

AT = 1_756_698_300 * NS
BIG = Snapshot(working=tuple(OrderLine(AT, "NFO:NIFTY:2025-09-02:24400:CE", 1, 75, 0, 100_0000) for _ in range(200)))

SLOW_READER = """
import json, os, sys, time
data = b""
time.sleep(0.3)
while chunk := os.read(0, 4096):
    data += chunk
lines = data.split(b"\\n")
assert lines.pop() == b""
rows = [json.loads(line).get("rows", 0) for line in lines]
open(sys.argv[1], "w").write(json.dumps(rows))
"""


def test_a_slow_reader_costs_frames_but_no_time_and_no_half_lines(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    view = TerminalView((sys.executable, "-c", SLOW_READER, str(out)))
    begun = time.perf_counter()
    for row in range(1, 400):
        view.send(msgspec.structs.replace(BIG, rows=row))
    assert time.perf_counter() - begun < 1.0
    view.close(Snapshot(rows=1_000))
    rows = msgspec.json.decode(out.read_bytes(), type=list[int])
    assert view.dropped > 0
    assert len(rows) + view.dropped == 400
    assert rows == sorted(set(rows))
    assert rows[-1] == 1_000


def test_a_reader_that_never_reads_is_ended_by_force() -> None:
    view = TerminalView((sys.executable, "-c", "import time; time.sleep(60)"))
    for _ in range(50):
        view.send(BIG)
    begun = time.perf_counter()
    view.close(BIG, timeout_s=0.3)
    assert time.perf_counter() - begun < 2.0
    assert view._process.returncode is not None
    assert view.dropped > 0


def test_a_reader_that_is_gone_raises_nothing() -> None:
    view = TerminalView((sys.executable, "-c", ""))
    view._process.wait(10)
    for _ in range(3):
        view.send(BIG)
    view.close(BIG)
    view.close()
    assert view.dropped == 3


def test_plain_lines_come_at_most_every_two_seconds() -> None:
    now = [0.0]
    stream = io.StringIO()
    progress = PlainProgress(stream, monotonic=lambda: now[0])
    for tenth in range(50):
        now[0] = tenth / 10
        progress.send(Snapshot(rows=tenth))
    progress.close(Snapshot(rows=49))
    progress.close(Snapshot(rows=49))
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["0", "20", "40", "49"]


def test_a_closed_or_ascii_stream_does_no_harm() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    progress = PlainProgress(stream, period_s=0.0)
    progress.send(Snapshot(currency="INR", capital=1, equity=10_001))
    assert b"P&L +?1.00" in raw.getvalue()
    stream.close()
    progress.send(Snapshot(rows=2))
    progress.close(Snapshot(rows=3))


@pytest.mark.parametrize(("days", "shown"), [(0, "09:15:00"), (3, "2025-09-01 09:15:00")])
def test_a_session_of_several_days_says_which(days: int, shown: str) -> None:
    snapshot = Snapshot(zone="Asia/Kolkata", at=AT, first_at=AT, last_at=AT + days * 86_400 * NS)
    assert plain_line(snapshot).startswith(f"{shown}  ")
    assert snapshot.clock(0) == "--:--:--"


def test_where_there_is_no_terminal_lines_are_plain() -> None:
    assert isinstance(open_progress(live=True), PlainProgress)
    assert isinstance(open_progress(live=False), PlainProgress)


@given(st.text(), st.integers(-(10**15), 10**15), st.sampled_from(("Asia/Kolkata", "Nowhere/At all", "", "../x")))
def test_a_line_is_one_printable_line(text: str, amount: int, zone: str) -> None:
    line = plain_line(Snapshot(note=text, health=text, currency=text, zone=zone, at=AT, equity=amount))
    assert line.isprintable()
    assert printable(line) == line


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(-10, 10**9))
def test_progress_lies_between_nothing_and_all(rows: int, total: int, past: int) -> None:
    by_rows = Snapshot(rows=rows, rows_total=total).progress
    by_time = Snapshot(at=AT + past, first_at=AT, last_at=AT + 10**8).progress
    assert by_rows is None if not total else 0 <= by_rows <= 1  # type: ignore[operator]
    assert by_time is not None
    assert 0 <= by_time <= 1
