"""What a daemon takes over while it runs, and what it says that it does not."""

import json
from pathlib import Path

from tests.e2e.program import ROOT, UNREPORTED, Forked, angelx, until

PLAIN = ROOT / "tests" / "e2e" / "plain.py"
CONFIG = """\
state_dir: state
market: {expiries: 2, strikes: 6}
strategies: [{use: 'plain.py:Plain'}]
filters: [{use: session}]
"""


def test_a_reload_says_that_changed_code_does_not_run(tmp_path: Path) -> None:
    config, code = tmp_path / "c.yaml", tmp_path / "plain.py"
    config.write_text(CONFIG)
    code.write_text(PLAIN.read_text())
    daemon = Forked("run", "-c", config, *UNREPORTED, cwd=tmp_path)
    try:
        until((tmp_path / "state" / "admin").exists)

        def reloaded() -> tuple[int, str]:
            ran = angelx("reload", "--state-dir", "state", "--json", cwd=tmp_path)
            return ran.code, json.loads(ran.out).get("error", "")

        assert reloaded() == (0, "")
        code.write_text(PLAIN.read_text().replace("enough", "too much"))
        changed = "these files changed, what runs is still the code from before: "
        assert reloaded() == (1, f"{changed}plain.py:Plain")
        code.unlink()
        refused, why = reloaded()
        assert (refused, "plain.py: No such file" in why) == (1, True)
        code.write_text(PLAIN.read_text())
        config.write_text(CONFIG.replace("session", "freshness"))
        assert "frozen while it runs" in reloaded()[1]
        config.write_text(CONFIG + "log: {level: debug}\n")
        assert reloaded() == (0, "")
    finally:
        daemon.kill()
        daemon.wait()
