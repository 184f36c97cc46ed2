"""Sections of the page that are mostly tables."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from angelx.domain.scalars import side_text
from angelx.research.report_cells import (
    count_cell,
    cut_note,
    money_cell,
    nothing,
    number_cell,
    signed_text,
    table,
    table_section,
    text_cell,
    time_cell,
    won_cell,
)
from angelx.research.report_figures import Figures
from angelx.research.report_format import DASH, Formats, clean, duration
from angelx.research.session_records import OrderFacts

if TYPE_CHECKING:
    from angelx.research.session_facts import SessionFacts

ROWS: Final = 300
"""Rows shown of a long table; the JSON file has all of them."""


def refusals_section(figures: Figures) -> str:
    """Who refused how often and why, with an example."""
    if not figures.refusals:
        return nothing("Refusals by reason", "Nothing was refused.")
    rows = [
        (text_cell(row["by"]), text_cell(row["code"]), count_cell(row["count"]), text_cell(row["example"], wrap=True))
        for row in figures.refusals
    ]
    rows_html = table(("by", "code", "#count", "first example"), rows)
    return (
        f"<section><h2>Refusals by reason</h2><p>{figures.summary['refused']:,} in all; who refused and why.</p>"
        f'<div class="chart" id="refusals"></div>{rows_html}</section>'
    )


def latency_section(figures: Figures) -> str:
    """Percentiles by stage."""
    if not any(stage.count for stage in figures.latency.values()):
        return nothing("Latency", "Nothing was timed.")
    rows = [
        (
            text_cell(name),
            count_cell(stage.count),
            *(number_cell(duration(ns), ns) for ns in (stage.p50_ns, stage.p95_ns, stage.p99_ns, stage.max_ns)),
        )
        for name, stage in figures.latency.items()
    ]
    percentiles = table(("stage", "#n", "#p50", "#p95", "#p99", "#max"), rows)
    return (
        "<section><h2>Latency</h2><p>By stage on the monotonic clock; the share of cases, time on a log scale.</p>"
        f'<div class="chart" id="latency"></div>{percentiles}</section>'
    )


def group_section(
    title: str,
    name: str,
    chart: str,
    tallies: Mapping[str, Mapping[str, int]],
    formats: Formats,
) -> str:
    """A bar chart of realised profit by group, with its table."""
    rows = [
        (
            text_cell(group or "(unknown)"),
            count_cell(row["signals"]),
            count_cell(row["orders"]),
            count_cell(row["trips"]),
            won_cell(row),
            money_cell(row["realised_e4"], formats, signed=True),
        )
        for group, row in tallies.items()
    ]
    rows_html = table((name, "#signals", "#orders", "#trips", "#won", "#realised"), rows)
    return (
        f"<section><h2>{clean(title)}</h2><p>Realised, fees taken off.</p>"
        f'<div class="chart" id="{chart}"></div>{rows_html}</section>'
    )


def exits_section(figures: Figures, formats: Formats) -> str:
    """Round trips by what ended them."""
    rows = [
        (
            text_cell(why, wrap=True),
            count_cell(row["trips"]),
            won_cell(row),
            money_cell(row["realised_e4"], formats, signed=True),
        )
        for why, row in list(figures.by_exit.items())[:ROWS]
    ]
    words = "What the order said that ended the round trip." + cut_note(len(figures.by_exit), ROWS, "most frequent")
    if not rows:
        return nothing("Exit reasons", "No round trip ended.")
    return table_section("Exit reasons", words, ("reason", "#trips", "#won", "#P&L"), rows)


def positions_section(figures: Figures, formats: Formats) -> str:
    """What is still held."""
    held = [row for row in figures.positions if row["quantity"]]
    rows = [
        (
            text_cell(row["instrument"]),
            text_cell(row["strategy"]),
            count_cell(row["quantity"]),
            money_cell(row["cost_e4"], formats),
            money_cell(row["realised_e4"], formats, signed=True),
        )
        for row in held[:ROWS]
    ]
    words = "Held at the end: signed units and the money paid for them." + cut_note(len(held), ROWS, "first")
    columns = ("instrument", "strategy", "#units", "#cost", "#realised so far")
    return table_section("Open positions", words, columns, rows) if rows else nothing("Open positions", "All flat.")


def trips_section(facts: "SessionFacts", formats: Formats) -> str:
    """Round trips; of many, the worst and the best."""
    trips = facts.trips
    if not trips:
        return nothing("Round trips", "No position was opened and closed.")
    words = "From flat to flat, fees taken off."
    if len(trips) > ROWS:
        extremes = sorted(range(len(trips)), key=lambda place: trips[place].pnl)
        places = sorted((*extremes[: ROWS // 2], *extremes[-ROWS // 2 :]))
        words += f" The {ROWS // 2} worst and the {ROWS // 2} best of {len(trips):,}; the JSON file has all."
        trips = [trips[place] for place in places]
    rows = [
        (
            time_cell(trip.opened_at, formats),
            time_cell(trip.closed_at, formats),
            text_cell(trip.instrument),
            text_cell(trip.strategy),
            text_cell("long" if trip.side > 0 else "short"),
            count_cell(trip.entered),
            number_cell(formats.price(trip.average_entry), float(trip.average_entry)),
            number_cell(formats.price(trip.average_exit), float(trip.average_exit)),
            money_cell(trip.fees, formats),
            money_cell(trip.pnl, formats, signed=True),
            text_cell(trip.exit_why, wrap=True),
        )
        for trip in trips
    ]
    columns = (
        "opened", "closed", "instrument", "strategy", "side", "#units", "#entry", "#exit", "#fees", "#P&L", "ended by",
    )  # fmt: skip
    return table_section("Round trips", words, columns, rows)


def orders_section(facts: "SessionFacts", formats: Formats) -> str:
    """Orders; of many, the last."""
    orders = list(facts.orders.values())
    if not orders:
        return nothing("Orders", "No order was sent.")
    rows = [
        (
            time_cell(order.approved.at, formats),
            text_cell(order.approved.instrument),
            text_cell(order.approved.strategy),
            text_cell(side_text(order.approved.side)),
            number_cell(f"{order.filled:,} / {order.approved.quantity:,}", order.approved.quantity),
            number_cell(formats.price(order.approved.limit or None), order.approved.limit),
            number_cell(formats.price(order.average), float(order.average or 0)),
            number_cell(
                DASH if order.slippage_bps is None else signed_text(order.slippage_bps, 1), order.slippage_bps or 0
            ),
            money_cell(order.fees, formats),
            _state_cell(order),
            text_cell(order.approved.order),
        )
        for order in orders[-ROWS:]
    ]
    words = "Slippage against the touch at the decision; positive is worse." + cut_note(len(orders), ROWS, "last")
    columns = (
        "decided", "instrument", "strategy", "side", "#filled", "#limit", "#average", "#slip, bps", "#fees", "state",
        "order",
    )  # fmt: skip
    return table_section("Orders", words, columns, rows)


def _state_cell(order: OrderFacts) -> str:
    tones = {"filled": "good", "rejected": "bad", "absent": "bad", "cancelled": "soft", "expired": "soft"}
    pill = f'<span class="pill {tones.get(order.state, "warn")}">{clean(order.state)}</span>'
    words = f"{order.code}: {order.why}" if order.why else order.code
    return f'<td>{pill} <span class="soft">{clean(words)}</span></td>'


def incidents_section(figures: Figures, formats: Formats) -> str:
    """What went wrong, then the course of the session."""

    def lines(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
        return [
            (
                time_cell(row["at"], formats),
                text_cell(row["kind"]),
                text_cell(row["what"]),
                text_cell(row["detail"], wrap=True),
            )
            for row in entries[:ROWS]
        ]

    columns = ("at", "kind", "what", "detail")
    wrong, course = figures.incidents, figures.timeline
    first = (
        table_section("Incidents", "What went wrong." + cut_note(len(wrong), ROWS, "first"), columns, lines(wrong))
        if wrong
        else nothing("Incidents", "Nothing went wrong.")
    )
    words = "Phases, health, kill switch and commands." + cut_note(len(course), ROWS, "first")
    return first + (table_section("Course of the session", words, columns, lines(course)) if course else "")
