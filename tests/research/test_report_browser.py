"""The report in a real browser, opened from disk."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from angelx.health.latency import LatencyHistogram
from angelx.research.report import write_report
from angelx.research.session_facts import SessionFacts
from tests.research.made_up import session

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=3000", "--dump-dom",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here to open the page with")
@pytest.mark.parametrize("days", [(0,), (0, 1, 90)])
def test_a_browser_draws_every_chart(days: tuple[int, ...], tmp_path: Path) -> None:
    histogram = LatencyHistogram()
    histogram.add(14_800)
    path = tmp_path / "report.html"
    metrics = {"latency": {"risk": histogram.as_dict()}}
    write_report(SessionFacts.of(session(60, days=days)), metrics, path, title="Paper session")
    command = ["chromium", *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    charts = re.findall(r'class="chart js-plotly-plot" id="(\w+)"', page)
    assert charts == ["equity", "reference", "instrument", "refusals", "latency", "hours", "strategies"]
