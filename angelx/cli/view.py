"""The live terminal view: reads one JSON `Snapshot` per line from standard input, draws at most five frames a second.

`python -m angelx.cli.view` is started by `angelx.adapters.terminal.TerminalView`; it ends, leaving its last frame, when
standard input closes. It has no part in trading: if it is slow, stopped or killed, the daemon goes on.
"""

import os
import selectors
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

import msgspec
from rich.box import ROUNDED
from rich.console import Console, Group, OverflowMethod, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from angelx.adapters.terminal import Snapshot
from angelx.domain.scalars import money_text, side_text
from angelx.domain.text import printable

PERIOD_S: Final = 0.2
WIDE: Final = 100
"""Columns from which two panels stand side by side."""
CURVE: Final = 2_000
"""Equity points kept; beyond them every second one is forgotten."""

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS: Final = "_.-:=+*#"
_ASCII: Final = str.maketrans({"₹": "Rs ", "·": "|", "→": ">", "●": "*", "…": ".", "µ": "u"})


class Screen:
    """What has been received, and how it looks."""

    def __init__(self, *, ascii_only: bool = False) -> None:
        self.snapshot = Snapshot()
        self.unreadable = 0
        """Lines that were no snapshot."""
        self._ascii = ascii_only
        self._overflow: OverflowMethod = "crop" if ascii_only else "ellipsis"
        self._curve: list[int] = []
        self._seen = 0
        self._stride = 1
        self._decoder = msgspec.json.Decoder(Snapshot)

    def read(self, line: bytes) -> None:
        """Take one line in; what is no snapshot is counted and left out."""
        try:
            self.snapshot = self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.unreadable += 1
            return
        if not self.snapshot.equity:
            return
        self._seen += 1
        if self._seen % self._stride == 0:
            self._curve.append(self.snapshot.equity)
        if len(self._curve) > CURVE:  # From now on half as many, so that equal lengths stay equal times.
            self._curve = self._curve[1::2]
            self._stride *= 2

    def frame(self, width: int, height: int) -> RenderableType:
        """The picture for a terminal of `width` columns and `height` lines."""
        wide = width >= WIDE
        # Lines for the bodies of the panels, after header, frames and column heads.
        rows = max((height - 14) // 2, 1) if wide else max((height - 20) // 4, 1)
        rows = min(rows, 12)
        inside = (width // 2 if wide else width) - 4
        money, signals = self._money(inside), self._signals(min(rows, 6))
        positions, latency = self._positions(rows, inside, wide=wide), self._latency(rows, inside)
        orders = self._orders(rows, width - 4)
        header = self._header(width)
        if height < 16:
            return Group(header, money)
        if not wide:
            return Group(header, money, signals, positions, orders, latency)
        columns = Table.grid(expand=True)
        columns.add_column(ratio=1)
        columns.add_column(ratio=1)
        columns.add_row(Group(money, positions), Group(signals, latency))
        return Group(header, columns, orders)

    # ------------------------------------------------------------ parts
    def _header(self, width: int) -> RenderableType:
        now, done = self.snapshot, self.snapshot.progress
        name = " · ".join(part for part in ("angelx", now.mode, now.source) if part)
        state = now.level if now.level != "running" else now.health or "starting"
        top = Table.grid(expand=True, padding=(0, 1, 0, 0))
        top.add_column(no_wrap=True, overflow=self._overflow, ratio=1)
        top.add_column(justify="right", no_wrap=True, min_width=20)
        colour = {"healthy": "green", "starting": "cyan"}.get(state, "yellow" if state == "degraded" else "red")
        top.add_row(
            self._text(name, "bold"),
            Text.assemble(self._text(f"{now.clock(now.at)} "), self._text(f"● {state}", f"bold {colour}")),
        )
        speed = f"{now.rows:,} ticks  {now.ticks_per_s:,.0f}/s  {now.elapsed_s:,.1f} s"
        line = Table.grid(expand=True, padding=(0, 1, 0, 0))
        line.add_column(ratio=1)
        line.add_column(justify="right", no_wrap=True)
        line.add_column(justify="right", no_wrap=True)
        bar = ProgressBar(total=1.0, completed=done or 0.0, pulse=done is None and not self._ascii)
        line.add_row(bar, self._text("" if done is None else f"{done:.0%}"), self._text(speed, "dim"))
        lines: list[RenderableType] = [top, line] if width >= 60 else [top, bar, self._text(speed, "dim")]
        if now.note:
            lines.append(self._text(now.note, "yellow"))
        if self.unreadable:
            lines.append(self._text(f"{self.unreadable:,} unreadable lines left out", "dim"))
        return Group(*lines)

    def _money(self, width: int) -> RenderableType:
        now = self.snapshot
        curve = [*self._curve, now.equity] if now.equity else self._curve
        tone = "green" if now.pnl > 0 else "red" if now.pnl < 0 else ""
        share = f"  {100 * now.pnl / now.capital:+.2f} %" if now.capital else ""
        return self._panel(
            "P&L",
            Group(
                self._text(now.money(now.pnl, signed=True) + share, f"bold {tone}".strip()),
                self._text(sparkline(curve, max(width, 8), _ASCII_BLOCKS if self._ascii else _BLOCKS), "cyan"),
                self._text(f"realised {now.money(now.realised, signed=True)}  fees {now.money(now.fees)}", "dim"),
            ),
        )

    def _signals(self, rows: int) -> RenderableType:
        now = self.snapshot
        flow = f"{now.signals:,} signals → {now.refused:,} refused → {now.orders:,} orders → {now.fills:,} fills"
        refusals = sorted(now.refusals.items(), key=lambda item: -item[1])
        most = refusals[0][1] if refusals else 1
        table = Table.grid(padding=(0, 1, 0, 0), expand=True)
        table.add_column(no_wrap=True, overflow=self._overflow, max_width=28)
        table.add_column(ratio=1)
        table.add_column(justify="right", no_wrap=True)
        for code, count in refusals[:rows]:
            bar = ProgressBar(total=most, completed=count, complete_style="magenta", finished_style="magenta")
            table.add_row(self._text(code), bar, self._text(f"{count:,}"))
        rest = sum(count for _, count in refusals[rows:])
        more = [self._text(f"and {rest:,} for other reasons", "dim")] if rest else []
        return self._panel("Signals and refusals", Group(self._text(flow), table, *more))

    def _positions(self, rows: int, width: int, *, wide: bool) -> RenderableType:
        now = self.snapshot
        lines = [
            (
                line.instrument,
                *((line.strategy,) if wide else ()),
                f"{line.quantity:+,}",
                money_text(abs(line.cost) // abs(line.quantity)) if line.quantity else "",
                now.money(line.pnl, signed=True),
            )
            for line in now.positions
        ]
        heads = ("instrument", *(("strategy",) if wide else ()), ">units", ">average", ">P&L")
        return self._panel(f"Positions ({len(now.positions)})", self._table(heads, lines[:rows], width, "flat"))

    def _orders(self, rows: int, width: int) -> RenderableType:
        now = self.snapshot
        working: list[tuple[str, ...]] = [
            (
                now.clock(order.at),
                order.instrument,
                side_text(order.side),
                f"{order.filled:,}/{order.quantity:,}",
                money_text(order.limit) if order.limit else "market",
                "working",
            )
            for order in now.working
        ]
        filled = [
            (
                now.clock(fill.at),
                fill.instrument,
                side_text(fill.side),
                f"{fill.quantity:,}",
                money_text(fill.price),
                "filled",
            )
            for fill in now.recent
        ]
        lines = working + filled
        heads: tuple[str, ...] = ("at", "instrument", "side", ">units", ">price", "state")
        if width < 56:
            heads, lines = heads[1:-1], [line[1:-1] for line in lines]
        table = self._table(heads, lines[:rows], width, "none")
        return self._panel(f"Working orders ({len(now.working)}) and last fills", table)

    def _latency(self, rows: int, width: int) -> RenderableType:
        lines = [
            (stage, *(duration(ns) for ns in (line.p50, line.p95, line.p99, line.max)))
            for stage, line in self.snapshot.latency.items()
        ]
        table = self._table(("stage", ">p50", ">p95", ">p99", ">max"), lines[:rows], width, "not timed")
        return self._panel("Latency", table)

    # ------------------------------------------------------------ helpers
    def _table(self, heads: Sequence[str], lines: Sequence[Sequence[str]], width: int, empty: str) -> RenderableType:
        """A plain table; heads that begin with > are on the right. `instrument` gives way where it gets narrow."""
        if not lines:
            return self._text(empty, "dim")
        table = Table(box=None, padding=(0, 1, 0, 0), expand=True, header_style="dim", pad_edge=False)
        for head in heads:
            table.add_column(
                self._text(head.removeprefix(">")),
                justify="right" if head.startswith(">") else "left",
                no_wrap=True,
                overflow=self._overflow,
                ratio=1 if head in {"instrument", "stage"} else None,
            )
        lines = [[self._text(cell).plain for cell in line] for line in lines]
        widths = [
            max(len(head.removeprefix(">")), *map(len, column))
            for head, column in zip(heads, zip(*lines, strict=True), strict=True)
        ]
        place = heads.index("instrument") if "instrument" in heads else -1
        room = width - sum(widths) - len(heads) + 1 + (widths[place] if place >= 0 else 0)
        for line in lines:
            cells = [ending(cell, room) if column == place else cell for column, cell in enumerate(line)]
            table.add_row(*map(self._text, cells))
        return table

    def _panel(self, title: str, body: RenderableType) -> RenderableType:
        return Panel(body, title=self._text(title, "bold"), title_align="left", box=ROUNDED, border_style="dim")

    def _text(self, text: str, style: str = "") -> Text:
        """Text as it is: never markup, never control characters."""
        text = printable(text)
        return Text(text.translate(_ASCII) if self._ascii else text, style)


def sparkline(values: Sequence[int], width: int, blocks: str = _BLOCKS) -> str:
    """The last of each of `width` equal stretches of the values, as bars between their lowest and highest."""
    if not values:
        return ""
    columns = min(width, len(values))
    shown = [values[len(values) * (column + 1) // columns - 1] for column in range(columns)]
    low, high = min(shown), max(shown)
    top = len(blocks) - 1
    return "".join(blocks[(value - low) * top // (high - low) if high > low else 0] for value in shown)


def ending(text: str, room: int) -> str:
    """The text, or its end where there is less room: what tells two options apart stands last."""
    room = max(room, 8)
    return text if len(text) <= room else "…" + text[1 - room :]


def duration(ns: int) -> str:
    """`640 ns`, `14.2 µs`, `3.1 ms`, `2.5 s`."""
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}" if ns < 1_000 * size else f"{ns / size:,.0f} {unit}"
    return f"{ns} ns"


def watch(descriptor: int, console: Console) -> int:
    """Draw what comes in through `descriptor` until it closes; answer how many frames were drawn."""
    screen = Screen(ascii_only=not (console.encoding or "").lower().startswith("utf"))
    frames, due, stale, tail = 0, 0.0, True, b""
    with (
        selectors.DefaultSelector() as selector,
        Live(console=console, auto_refresh=False, vertical_overflow="crop") as live,
    ):
        selector.register(descriptor, selectors.EVENT_READ)

        size = console.size

        def draw() -> None:
            nonlocal size
            if console.size != size:  # What was drawn has been wrapped anew: nobody knows where it begins.
                size = console.size
                console.clear()
            # The cursor rests on an empty line: an echoed ^C at the end of a full one would push the frame down.
            live.update(Group(screen.frame(console.width, console.height - 2), Text("")), refresh=True)

        while True:
            now = time.monotonic()
            if stale and now >= due:
                draw()
                frames, due, stale = frames + 1, now + PERIOD_S, False
            if not selector.select(max(due - now, 0) if stale else None):
                continue
            read = os.read(descriptor, 1 << 16)
            if not read:
                break
            *lines, tail = (tail + read).split(b"\n")
            for line in lines:
                screen.read(line)
            stale = stale or bool(lines)
        live.vertical_overflow = "visible"
        draw()
    return frames + 1


def main() -> int:
    """Draw until standard input closes; 1 where the terminal went away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the daemon; the last frame comes after it.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        watch(sys.stdin.fileno(), Console())
    except OSError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
