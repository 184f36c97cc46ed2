"""What a person sees while a session runs: a live view in a process of its own, or plain lines.

Drawing costs 16 ms a frame and a slow terminal blocks whoever writes to it, so the drawing is done by
`python -m angelx.cli.view`, which reads one JSON `Snapshot` per line from a pipe. The daemon never waits for it: a
snapshot that does not fit into the pipe is dropped and counted. While the live view is up nothing else should write
to the terminal: send logs to a file or the system journal.
"""

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from angelx.domain.scalars import NS, money_text
from angelx.domain.text import printable

SIGNS: Final = {"INR": "₹", "USD": "$"}


# ---------------------------------------------------------------- what is shown
class PositionLine(msgspec.Struct, frozen=True):
    """One open position."""

    instrument: str
    strategy: str
    quantity: int
    """Signed units."""
    cost: int
    """Signed money paid for them."""
    pnl: int
    """What closing it at the touch would add, money."""


class OrderLine(msgspec.Struct, frozen=True):
    """One working order."""

    at: int
    instrument: str
    side: int
    quantity: int
    filled: int
    limit: int


class FillLine(msgspec.Struct, frozen=True):
    """One fill."""

    at: int
    instrument: str
    side: int
    quantity: int
    price: int


class LatencyLine(msgspec.Struct, frozen=True):
    """One stage, ns."""

    p50: int
    p95: int
    p99: int
    max: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The session at one moment. Money and prices are integers of 1/10,000, times ns UTC; every field may be left out.

    Keep it small (some kB): the few positions, orders and fills that fit on a screen, newest first.
    """

    mode: str = ""
    """`paper`, `replay` or `run`."""
    source: str = ""
    zone: str = "UTC"
    """The exchange's, as in the tz database."""
    at: int = 0
    """Session time."""
    first_at: int = 0
    last_at: int = 0
    """When the session's first and last row arrive, 0 = not known."""
    rows: int = 0
    rows_total: int = 0
    """Rows there will be, 0 = not known; progress is by rows where it is known, else by time."""
    elapsed_s: float = 0.0
    ticks_per_s: float = 0.0
    currency: str = ""
    capital: int = 0
    equity: int = 0
    realised: int = 0
    fees: int = 0
    signals: int = 0
    refused: int = 0
    orders: int = 0
    fills: int = 0
    refusals: dict[str, int] = {}
    """Count by code."""
    latency: dict[str, LatencyLine] = {}
    """By stage."""
    health: str = ""
    level: str = "running"
    """The kill switch."""
    note: str = ""
    """One line for the person: why it is halted, what it waits for."""
    positions: tuple[PositionLine, ...] = ()
    working: tuple[OrderLine, ...] = ()
    recent: tuple[FillLine, ...] = ()

    @property
    def pnl(self) -> int:
        """Equity less capital."""
        return self.equity - self.capital if self.equity else 0

    @property
    def progress(self) -> float | None:
        """How far the session is, 0 to 1; `None` where nobody knows."""
        if self.rows_total > 0:
            return min(self.rows / self.rows_total, 1.0)
        if self.last_at > self.first_at > 0:
            return min(max((self.at - self.first_at) / (self.last_at - self.first_at), 0.0), 1.0)
        return None

    def clock(self, at: int) -> str:
        """`10:32:05` in the exchange's zone (UTC where the zone is unknown), with its date where the first and the last
        row are of different days; dashes for 0.
        """
        if not at:
            return "--:--:--"
        moment, first, last = (self._moment(one) for one in (at, self.first_at, self.last_at))
        days = first.date() != last.date() if self.first_at and self.last_at else False
        return f"{moment:%Y-%m-%d %H:%M:%S}" if days else f"{moment:%H:%M:%S}"

    def _moment(self, at: int) -> datetime:
        try:
            zone = ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError):
            zone = ZoneInfo("UTC")
        return datetime.fromtimestamp(at // NS, UTC).astimezone(zone)

    def money(self, amount: int, *, signed: bool = False) -> str:
        """`-₹1,234.50`."""
        mark = "-" if amount < 0 else "+" if signed and amount else ""
        sign = SIGNS.get(self.currency, f"{self.currency} " if self.currency else "")
        return f"{mark}{sign}{money_text(abs(amount))}"


class Progress(Protocol):
    """Somewhere to show snapshots; neither call raises when nobody can see them any more."""

    def send(self, snapshot: Snapshot) -> None:
        """Show it, or drop it rather than wait."""
        ...

    def close(self, final: Snapshot | None = None) -> None:
        """Show the last one and end; may wait some seconds."""
        ...


# ---------------------------------------------------------------- the live view
class TerminalView:
    """Feeds the view's process through a non-blocking pipe.

    The process has a session of its own, so that Ctrl-C reaches the daemon alone and the last frame stays.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self.dropped = 0
        """Snapshots that were not shown because the view was slow or gone."""
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command or (sys.executable, "-m", "angelx.cli.view"),
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        os.set_blocking(self._pipe.fileno(), False)
        self._rest = b""

    def send(self, snapshot: Snapshot) -> None:
        """Hand one snapshot over; dropped and counted where the pipe is full or the view is gone. Never waits."""
        if self._pipe.closed or not self._flush():
            self.dropped += 1
            return
        self._rest = msgspec.json.encode(snapshot) + b"\n"
        size = len(self._rest)
        self._flush()
        if len(self._rest) == size:  # Nothing of it left: a begun one must be finished.
            self._rest = b""
            self.dropped += 1

    def close(self, final: Snapshot | None = None, timeout_s: float = 3.0) -> None:
        """Show `final`, end the view and wait for it; after `timeout_s` it is ended by force."""
        deadline = time.monotonic() + timeout_s
        if not self._pipe.closed:
            if final is not None:
                self._rest += msgspec.json.encode(final) + b"\n"
            self._drain(deadline)
            self._hang_up()
        try:
            self._process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _flush(self) -> bool:
        """Write what is left over; true where nothing remains."""
        try:
            while self._rest:
                written = self._pipe.write(self._rest)
                if not written:
                    return False
                self._rest = self._rest[written:]
        except OSError:  # The view ended: nobody looks any more.
            self._hang_up()
            return False
        return True

    def _drain(self, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_WRITE)
            while not self._flush() and not self._pipe.closed:
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    self.dropped += 1
                    return

    def _hang_up(self) -> None:
        try:
            self._pipe.close()
        except OSError:
            return


# ---------------------------------------------------------------- plain lines
class PlainProgress:
    """One line at most every `period_s` seconds, for logs, pipes and screen readers."""

    def __init__(
        self,
        stream: TextIO | None = None,
        period_s: float = 2.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._period_s = period_s
        self._monotonic = monotonic
        self._next = 0.0
        self._said = ""

    def send(self, snapshot: Snapshot) -> None:
        """Write a line where one is due."""
        now = self._monotonic()
        if now >= self._next:
            self._next = now + self._period_s
            self._say(snapshot)

    def close(self, final: Snapshot | None = None) -> None:
        """Write the last line unless it was the one before."""
        if final is not None:
            self._say(final)

    def _say(self, snapshot: Snapshot) -> None:
        line = plain_line(snapshot)
        if line == self._said:
            return
        self._said = line
        encoding = getattr(self._stream, "encoding", None) or "ascii"
        try:
            self._stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # Closed or broken: a session does not end for want of a reader.
            self._next = float("inf")


def plain_line(snapshot: Snapshot) -> str:
    """A session in one line of ASCII but for the currency's sign."""
    done = snapshot.progress
    parts = [
        snapshot.clock(snapshot.at),
        f"{done:.0%}" if done is not None else "",
        f"{snapshot.rows:,} ticks",
        f"{snapshot.ticks_per_s:,.0f}/s",
        f"P&L {snapshot.money(snapshot.pnl, signed=True)}",
        f"signals {snapshot.signals:,}",
        f"refused {snapshot.refused:,}",
        f"orders {snapshot.orders:,}",
        f"fills {snapshot.fills:,}",
        snapshot.health,
        snapshot.level if snapshot.level != "running" else "",
        snapshot.note,
    ]
    return printable("  ".join(part for part in parts if part))


def open_progress(*, live: bool) -> Progress:
    """The live view where standard output is a terminal and `live` is wanted, else plain lines on standard error."""
    if live and sys.stdout.isatty():
        return TerminalView()
    return PlainProgress()
