"""The daemon starts within two seconds only while slow libraries stay off its start path (docs/architecture.md)."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SLOW = ("alpaca", "apprise", "pandas", "pandas_market_calendars", "plotly", "pyarrow", "scipy", "sklearn")
STARTED = [name for name in ("angelx.cli.main", "angelx.bus.bus") if importlib.util.find_spec(name)]


@pytest.mark.parametrize("module", STARTED)
def test_importing_it_loads_no_slow_library(module: str) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    loaded = set(json.loads(done.stdout))

    assert module in loaded
    assert not loaded.intersection(SLOW)
