"""`angelx paper` as a person meets it: what it says, what it leaves behind, and that it does so again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from angelx.signals.trap import TrapModel
from tests.e2e.program import ROOT, SMALL, UNREPORTED, Ran, angelx, environment, records

PROMISED = {"ticks", "signals", "refused", "orders", "fills", "pnl", "ticks_per_s", "journal", "report"}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    cwd = tmp_path_factory.mktemp("paper")
    return angelx("paper", "--json", "--state-dir", cwd / "state", *SMALL, cwd=cwd).succeeded()


def head(cwd: Path, *arguments: object) -> str:
    ran = angelx("paper", "--json", "--state-dir", cwd / "state", *SMALL, *UNREPORTED, *arguments, cwd=cwd)
    return str(ran.succeeded().answer["journal_head"])


def test_the_answer_has_what_was_promised_and_is_true_of_the_journal(session: Ran) -> None:
    answer = session.answer
    assert answer["ok"] is True
    assert set(answer) >= PROMISED
    journal = Path(answer["journal"])
    assert answer["signals"] == len(records(journal, "Signal"))
    assert answer["refused"] == len(records(journal, "SignalRefused"))
    assert answer["orders"] == len(records(journal, "OrderApproved"))
    fills = records(journal, "OrderFilled")
    assert answer["fills"] == len(fills) > 0
    assert answer["ticks"] == records(journal, "SessionEnded")[0]["rows"] > 100_000
    assert answer["ticks_per_s"] > 0
    assert answer["positions"] == {}
    cash = -sum(fill["side"] * fill["quantity"] * fill["price"] + fill["fee"] for fill in fills)
    assert answer["pnl_e4"] == cash
    assert round(float(answer["pnl"]) * 10_000) == cash


def test_orders_say_what_they_were_decided_by(session: Ran) -> None:
    journal = Path(session.answer["journal"])
    (started,) = records(journal, "SessionStarted")
    said = {order["decided_by"] for order in records(journal, "OrderApproved")}
    assert said == {f"{started['config_hash'][:12]}/0/{TrapModel().digest[:8]}"}


def test_the_report_has_the_same_figures(session: Ran) -> None:
    answer = session.answer
    report = Path(answer["report"])
    assert report.stat().st_size > 1_000_000
    assert "<html" in report.read_text()[:1000]
    beside = json.loads(report.with_suffix(".json").read_text())
    figures = beside.get("summary", beside)
    for key in ("signals", "refused", "orders", "fills", "pnl_e4", "fees_e4", "realised_e4", "trades", "wins"):
        assert figures[key] == answer[key], key
    assert f"{answer['orders']:,}" in report.with_suffix(".md").read_text()


def test_the_report_can_be_written_again(session: Ran) -> None:
    answer = session.answer
    report = Path(answer["report"])
    before = report.with_suffix(".json").read_bytes()
    report.unlink()
    again = angelx("report", "--json", "--state-dir", answer["state_dir"], cwd=report.parent).succeeded().answer
    assert again["report"] == answer["report"]
    assert again["pnl_e4"] == answer["pnl_e4"]
    assert report.exists()
    assert report.with_suffix(".json").read_bytes() == before


def test_the_journal_is_whole_and_comes_out_again(session: Ran) -> None:
    state = session.answer["state_dir"]
    verified = angelx("journal", "verify", state, "--json", cwd=Path(state)).succeeded().answer
    assert verified["head"] == session.answer["journal_head"]
    assert verified["records"] == session.answer["journal_records"]
    replayed = angelx("journal", "replay", session.answer["journal"], "--json", cwd=Path(state)).succeeded().answer
    assert replayed["identical"] is True
    assert replayed["records"] == session.answer["journal_records"]


def test_the_seed_decides_the_session(session: Ran, tmp_path: Path) -> None:
    assert head(tmp_path, "--seed", 1) == session.answer["journal_head"], "in another state directory"
    assert head(tmp_path, "--seed", 2) != session.answer["journal_head"]


def test_the_size_of_batches_does_not_matter(session: Ran, tmp_path: Path) -> None:
    heads = {head(tmp_path, "--batch-rows", rows, "--fresh") for rows in (1, 7, 100_000)}
    assert heads == {session.answer["journal_head"]}


def test_a_finished_session_is_put_aside_by_the_next(tmp_path: Path) -> None:
    first = head(tmp_path)
    assert head(tmp_path) == first
    kept = tmp_path / "state" / "archive" / "0001"
    assert angelx("journal", "verify", kept, "--json", cwd=tmp_path).succeeded().answer["head"] == first


def test_the_module_is_the_program() -> None:
    texts = [
        subprocess.run(
            [sys.executable, *command, "--help"],
            cwd=ROOT,
            env=environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for command in (
            ["-m", "angelx"],
            ["-c", "from angelx.cli.main import main; main()"],
        )
    ]
    first, second = (text.split("[OPTIONS]", 1)[1].split() for text in texts)
    assert first == second
