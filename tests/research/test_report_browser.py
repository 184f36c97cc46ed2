"""The report in a real browser, opened from disk."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from angelx.domain import events as ev
from angelx.domain.scalars import NS
from angelx.health.latency import LatencyHistogram
from angelx.research.report import write_report
from angelx.research.session_facts import SessionFacts
from tests.research.made_up import OPEN, session, started

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=3000", "--dump-dom",
)  # fmt: skip


def opened(path: Path) -> str:
    """The page as the browser has it once its scripts have run."""
    command = ["chromium", *FLAGS, f"--user-data-dir={path.parent / 'profile'}", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here to open the page with")
@pytest.mark.parametrize("days", [(0,), (0, 1, 90)])
def test_a_browser_draws_every_chart(days: tuple[int, ...], tmp_path: Path) -> None:
    histogram = LatencyHistogram()
    histogram.add(14_800)
    path = tmp_path / "report.html"
    metrics = {"latency": {"risk": histogram.as_dict()}}
    write_report(SessionFacts.of(session(60, days=days)), metrics, path, title="Paper session")
    page = opened(path)
    charts = re.findall(r'class="chart js-plotly-plot" id="(\w+)"', page)
    assert charts == ["equity", "reference", "instrument", "refusals", "latency", "hours", "strategies"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here to open the page with")
def test_heights_of_a_nearly_flat_curve_have_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    marks = [ev.EquityMarked(OPEN + n * NS, 10**9 + n * 100, 10**9, n * 100, 100_0000 + n * 100) for n in range(100)]
    write_report(SessionFacts.of([started(), *marks]), {}, path, title="Flat")
    names = [re.findall(r">([^<>]+)</text>", tick) for tick in re.findall(r'<g class="ytick">.*?</g>', opened(path))]
    assert len(names) > 4
    assert len(names) == len({*map(tuple, names)})
