"""Sections on what the filters let pass and how good forecasts were."""

from collections.abc import Mapping
from typing import Any

from angelx.research.report_cells import count_cell, number_cell, table_section, text_cell
from angelx.research.report_figures import Figures
from angelx.research.report_format import DASH, percent

CELLS = ("regime", "window", "#signals", "#admitted", "#share", "#acted on", "#right", "#of", "most refused for")
FORECASTS = ("forecast", "#made", "#scored", "#happened", "#accuracy", "#95 %", "#Brier", "#calibration error")


def quality_section(figures: Figures) -> str:
    """Signals by volatility regime and window; empty where none was on a chain."""
    rows = [
        (
            text_cell(row["regime"]),
            text_cell(row["window"] or "outside"),
            count_cell(row["generated"]),
            count_cell(row["admitted"]),
            number_cell(percent(row["admitted"] / row["generated"], 0), row["admitted"] / row["generated"]),
            count_cell(row["acted_on"]),
            count_cell(row["right"]),
            count_cell(row["scored"]),
            text_cell(most_refused(row), wrap=True),
        )
        for row in cells_of(figures)
    ]
    words = (
        "What the filters let pass by volatility regime and part of the session, and how many of those acted on went "
        "their way in a quarter of an hour. " + " ".join(warnings_of(figures))
    )
    return table_section("Signals by regime and window", words, CELLS, rows) if rows else ""


def forecasts_section(figures: Figures) -> str:
    """Accuracy, Brier score and calibration error; empty where nothing was forecast."""
    rows = [
        (
            text_cell(name),
            count_cell(row["made"]),
            count_cell(row["n"]),
            *(number_cell(text, value) for text, value in figures_of_forecast(row)),
        )
        for name, row in forecasts_of(figures).items()
    ]
    words = (
        "Of the next quarter of an hour, scored from the stream. The interval counts one made each minute as the "
        "fifteenth of an independent one, since as many share their future."
    )
    return table_section("Forecasts", words, FORECASTS, rows) if rows else ""


# ---------------------------------------------------------------- shared with the Markdown form
def cells_of(figures: Figures) -> list[dict[str, Any]]:
    """Rows by regime and window."""
    return list(figures.summary["signal_quality"]["by_regime_and_window"])


def forecasts_of(figures: Figures) -> dict[str, dict[str, Any]]:
    """Rows by name of forecast."""
    return dict(figures.summary["forecasts"])


def warnings_of(figures: Figures) -> list[str]:
    """A sentence for each cell in which the filters admit too little or too much."""
    return [
        f"In {row['regime']} volatility, {row['window'] or 'outside'}, {row['admitted']} of {row['generated']} were "
        "admitted, not 5 to 60 %."
        for row in cells_of(figures)
        if not row["sound"]
    ]


def most_refused(row: Mapping[str, Any]) -> str:
    """The most frequent reason."""
    code, count = next(iter(row["refused"].items()), ("", 0))
    return f"{code} ({count:,})" if code else DASH


def figures_of_forecast(row: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Base rate, accuracy, its interval, Brier score, calibration error: as text, and to sort by."""
    if not row["n"]:
        return [(DASH, -1.0)] * 5
    low, high = row["accuracy_interval"]
    return [
        (percent(row["base_rate"]), row["base_rate"]),
        (percent(row["accuracy"]), row["accuracy"]),
        (f"{100 * low:.0f} to {100 * high:.0f}", low),
        (f"{row['brier']:.4f}", row["brier"]),
        (f"{row['calibration_error']:.4f}", row["calibration_error"]),
    ]
