"""The report as Markdown, for a terminal, a chat or a diff."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from angelx.domain.text import printable
from angelx.research.report_figures import Figures
from angelx.research.report_format import DASH, Formats, duration, percent, span
from angelx.research.report_learning import cells_of, figures_of_forecast, forecasts_of, most_refused, warnings_of

ROWS: Final = 50


def markdown_of(figures: Figures, formats: Formats) -> str:
    """The figures as headings and tables; long tables are cut and say so."""
    session, summary, money = figures.session, figures.summary, formats.money
    wins = summary["win_rate_interval"]
    interval = f" ({100 * wins[0]:.0f} to {100 * wins[1]:.0f} % at 95 %)" if wins else ""
    ticks, speed = summary.get("ticks"), summary.get("ticks_per_s")
    length = span(session["last_at"] - session["first_at"])
    overview = [
        ("P&L, net of fees", money(summary["pnl_e4"], signed=True)),
        ("Realised", money(summary["realised_e4"], signed=True)),
        ("Open", money(summary["unrealised_e4"], signed=True)),
        ("Fees", money(summary["fees_e4"])),
        ("Round trips", f"{summary['trades']:,}: {summary['wins']:,} won, {summary['losses']:,} lost"),
        ("Win rate", percent(summary["win_rate"]) + interval),
        ("Deepest drawdown", f"{money(summary['max_drawdown_e4'])}, {percent(summary['max_drawdown_fraction'])}"),
        ("Signals", f"{summary['signals']:,}: {summary['refused']:,} refused, {summary['acted_on']:,} acted on"),
        ("Orders", f"{summary['orders']:,}: {_counts(summary['order_states'])}"),
        ("Fills", f"{summary['fills']:,}"),
        ("Slippage", money(summary["slippage_e4"], signed=True)),
        ("Ticks", f"{ticks:,}" if isinstance(ticks, int) else DASH),
        ("Ticks per second", f"{speed:,.0f}" if isinstance(speed, (int, float)) else DASH),
        ("Health", f"{summary['health'] or 'not reported'}, {summary['level']}"),
    ]
    parts = [
        f"# {_line(figures.title)}",
        f"{session['mode']}, {formats.stamp(session['first_at'])} {session['zone']}, {length}, {_line(session['run'])}",
        _table(("figure", "value"), overview),
        *(f"{_line(name)} {_line(about)}." for name, about in summary["chosen"].items()),
        *_untraded(summary["untraded"]),
        "## Refusals",
        _table(
            ("by", "code", "count", "first example"),
            [(row["by"], row["code"], f"{row['count']:,}", row["example"]) for row in figures.refusals],
        ),
        "## Latency",
        _table(
            ("stage", "n", "p50", "p95", "p99", "max"),
            [
                (name, f"{s.count:,}", *(duration(ns) for ns in (s.p50_ns, s.p95_ns, s.p99_ns, s.max_ns)))
                for name, s in figures.latency.items()
                if s.count
            ],
        ),
        "## By hour",
        _tallies("hour", figures.by_hour, formats),
        "## By strategy",
        _tallies("strategy", figures.by_strategy, formats),
        "## Exit reasons",
        _tallies("reason", figures.by_exit, formats),
        *_learning(figures),
        "## Incidents",
        _events(figures.incidents, formats),
        "## Course of the session",
        _events(figures.timeline, formats),
        "## What was checked",
        "\n".join(f"- {'✓' if c.ok else '✗'} {_line(c.name)}: {_line(c.detail)}" for c in figures.checks),
    ]
    return "\n\n".join(parts) + "\n"


def _untraded(reasons: Sequence[str]) -> list[str]:
    return ["## Why nothing was traded", "\n".join(f"- {_line(why)}" for why in reasons)] if reasons else []


def _learning(figures: Figures) -> list[str]:
    """What the filters let pass, and how good forecasts were; nothing where there was no chain."""
    parts = []
    if cells := cells_of(figures):
        columns = ("regime", "window", "signals", "admitted", "acted on", "right", "of", "most refused for")
        keys = ("regime", "window", "generated", "admitted", "acted_on", "right", "scored")
        rows = [(*(row[key] for key in keys), most_refused(row)) for row in cells]
        parts += ["## Signals by regime and window", _table(columns, rows), *warnings_of(figures)]
    if forecasts := forecasts_of(figures):
        columns = ("forecast", "made", "scored", "happened", "accuracy", "95 %", "Brier", "calibration error")
        parts.append("## Forecasts")
        parts.append(
            _table(
                columns,
                [
                    (name, row["made"], row["n"], *(text for text, _ in figures_of_forecast(row)))
                    for name, row in forecasts.items()
                ],
            )
        )
    return parts


def _tallies(name: str, tallies: Mapping[str, Mapping[str, int]], formats: Formats) -> str:
    return _table(
        (name, "orders", "fills", "round trips", "won", "realised", "fees"),
        [
            (
                group,
                *(f"{row[key]:,}" for key in ("orders", "fills", "trips", "wins")),
                formats.money(row["realised_e4"], signed=True),
                formats.money(row["fees_e4"]),
            )
            for group, row in tallies.items()
        ],
    )


def _events(entries: Sequence[Mapping[str, Any]], formats: Formats) -> str:
    rows = [(formats.time(row["at"]), row["kind"], row["what"], row["detail"]) for row in entries]
    return _table(("at", "kind", "what", "detail"), rows)


def _table(columns: Sequence[str], rows: Sequence[Iterable[object]]) -> str:
    if not rows:
        return "none"
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_line(cell) for cell in row) + " |" for row in rows[:ROWS]]
    if len(rows) > ROWS:
        lines.append(f"\nThe first {ROWS} of {len(rows):,}; the JSON file has all.")
    return "\n".join(lines)


def _line(text: object) -> str:
    """One line that neither ends a cell nor becomes markup."""
    flat = printable(str(text), instead=" ")
    for mark in "\\|<*_`[#":
        flat = flat.replace(mark, f"\\{mark}")
    return flat


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"
