"""Tables for the terminal."""

from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

from angelx.domain.scalars import decimal_of


def rendered(table: Any, width: int = 100) -> Iterator[str]:
    """A rich table as plain lines; brackets and colons of a path, a name or a reason mean nothing."""
    from rich.console import Console

    out = StringIO()
    Console(file=out, width=width, color_system=None, markup=False, emoji=False).print(table)
    yield from out.getvalue().rstrip("\n").split("\n")


def summary_table(summary: Mapping[str, Any]) -> Iterator[str]:
    """What a session came to."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_header=False, title=f"angelx {summary['mode']}: {summary['source']}")
    table.add_column(style="bold")
    table.add_column()
    refused = summary["refused"]
    rows = {
        "ticks": f"{summary['ticks']:,} at {summary['ticks_per_s']:,}/s",
        "ticks refused": _counts(summary["ticks_refused"]),
        "signals": f"{summary['signals']:,}",
        "refused": f"{refused:,}  {_counts(summary.get('refused_by_code', {}))}",
        "orders": f"{summary['orders']:,}",
        "fills": f"{summary['fills']:,}",
        "trades": f"{summary.get('trades', 0):,}",
        "P&L": f"{_money(summary, 'pnl')} {summary.get('currency', '')}",
        "fees": _money(summary, "fees"),
        "max drawdown": _money(summary, "max_drawdown"),
        "kill switch": summary["level"] + (f": {summary['level_reason']}" if summary["level_reason"] else ""),
        "journal": f"{summary['journal']} ({summary['journal_records']:,} records)",
        "report": summary["report"] or "switched off",
    }
    first = summary.get("ticks_first_refused")
    if first:
        rows["ticks refused"] += f"; first {_places(first)}"
    closed = summary.get("never_opened")
    if closed:
        rows["never opened"] = ", ".join(f"{segment} {why}" for segment, why in closed.items())
    rows |= summary.get("chosen", {})
    for name, value in rows.items():
        table.add_row(name, value)
    yield from rendered(table)


def _money(summary: Mapping[str, Any], name: str) -> str:
    """For people two places are enough; JSON has all there are."""
    amount = summary.get(f"{name}_e4")
    return "" if amount is None else f"{decimal_of(amount):.2f}"


def _places(first: Mapping[str, Mapping[str, Any]]) -> str:
    """Where to look in the data: rows are counted from 0."""
    return ", ".join(f"{reason} at row {at['row']:,} ({at['instrument']})" for reason, at in first.items())


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1])) or "none"
