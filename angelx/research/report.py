"""The end-of-day report: a page to look at, with the same figures as Markdown and JSON beside it (SPEC 8.4)."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from angelx.adapters.state_dir import naming
from angelx.research.report_charts import charts_of
from angelx.research.report_figures import figures_of
from angelx.research.report_format import Formats
from angelx.research.report_markdown import markdown_of
from angelx.research.report_page import page_of
from angelx.research.session_facts import SessionFacts


def write_report(facts: SessionFacts, metrics: Mapping[str, object], path: Path, *, title: str) -> Path:
    """Write the page at `path`, and `.md` and `.json` beside it; answer `path`.

    Each file appears complete or not at all.

    Parameters
    ----------
    metrics
        What the journal cannot know, all optional: `latency` (stage to `LatencyHistogram.as_dict()`), `ticks`,
        `ticks_per_s`, `wall_s`, `journal` (path, records, head: anything printable), `checks` (list of
        `{"name", "ok", "detail"}`, shown after the report's own). Any other key is listed as it is.

    Raises
    ------
    ValueError
        A metric has the wrong shape.
    OSError
        A file could not be written.
    """
    figures = figures_of(facts, metrics, title)
    formats = Formats(facts.currency, facts.zone, facts.first_at, facts.last_at)
    charts = charts_of(facts, figures, formats)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path.with_suffix(".json"), msgspec.json.encode(figures))
    _write(path.with_suffix(".md"), markdown_of(figures, formats).encode())
    _write(path, page_of(facts, figures, charts, formats, _plotly_js()).encode())
    return path


def _plotly_js() -> str:
    from importlib.resources import files  # Only a report needs it.

    return (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with naming(path):
        try:
            draft.write_bytes(content)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
