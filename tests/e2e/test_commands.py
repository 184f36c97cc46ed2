"""Every command teaches, and answers programs in one JSON object, whatever happens."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.recorded_files import CHAIN, NSE_OPEN, chain_row, write
from tests.e2e.program import ROOT, angelx, environment

COMMANDS = (
    "paper",
    "replay",
    "run",
    "report",
    "chain",
    "status",
    "kill",
    "flatten",
    "resume",
    "stop",
    "reload",
    "doctor",
    "graph",
    "warm",
    "bench",
    "journal verify",
    "journal show",
    "journal replay",
    "config check",
    "config show",
)
MISTAKES = (
    ("status --state-dir none", 1, "no daemon is running"),
    ("stop --state-dir none", 1, "no daemon is running"),
    ("reload --state-dir none", 1, "no daemon is running"),
    ("report --state-dir none", 2, "no such journal"),
    ("journal verify none", 2, "no such journal"),
    ("journal show none", 2, "no such journal"),
    ("journal replay none", 2, "no such journal"),
    (f"journal verify {ROOT}/README.md", 2, "README.md: not a journal"),
    (f"journal show {ROOT}/README.md", 2, "README.md: not a journal"),
    ("journal verify", 2, "Missing argument 'FILE'"),
    ("config check none.yaml", 64, "none.yaml"),
    ("run -c none.yaml", 64, "none.yaml"),
    ("bench none", 2, "there are bus, tick-to-order, replay, journal, chain"),
    ("graph --output wiring.png", 2, ".svg"),
    ("paper --speed fast", 2, "--speed"),
    ("paper --speed -1", 64, "speed"),
    ("paper --set risk", 2, "KEY=VALUE"),
    ("paper --set risk.none=1", 64, "risk.none"),
    ("paper --set risk.daily_loss=lots", 64, "risk.daily_loss"),
    ("paper --seed one", 2, "--seed"),
    ("paper --batch-rows 0", 2, "--batch-rows"),
    ("paper --strategy nobody", 64, "nobody"),
    ("paper --set market.session=2026-01-26", 64, "2026-01-26"),
    ("replay none.parquet", 2, "none.parquet"),
    ("replay none.parquet --from yesterday", 2, "none.parquet"),
    ("chain none.parquet", 2, "none.parquet"),
    ("chain --at yesterday", 2, "yesterday"),
    ("graph --output none/x.svg", 2, "none/x.svg: No such file or directory"),
    ("chain --expiry soon", 2, "--expiry soon"),
    ("chain --at 2026-10-21T09:16 --underlying X --set market.expiries=1 --set market.strikes=2", 2, "NSE:NIFTY"),
    ("resume --state-dir none", 2, "--reason"),
    ("resume --reason= --state-dir none", 2, "without a reason"),
    ("venue --speed inf", 2, "--speed"),
    ("venue --latency-ms inf", 2, "--latency-ms"),
    ("venue --from 10:00", 2, "of a recording"),
    ("venue --market none.parquet --day 2026-10-21", 2, "of the simulated market"),
    ("nonsense", 2, "nonsense"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command: str, tmp_path: Path) -> None:
    text = angelx(*command.split(), "--help", cwd=tmp_path).succeeded().out
    taught = text.split("Usage:")[1].split("╭")[0].splitlines()[1:]
    assert len(" ".join(taught).split()) > 5, "a sentence about what it is for"
    assert "--json" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("command", "code", "says"), MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_mistake_is_named_and_answered(command: str, code: int, says: str, tmp_path: Path) -> None:
    ran = angelx(*command.split(), "--json", cwd=tmp_path)
    assert ran.code == code, ran.err
    assert says in ran.answer["error"]
    assert ran.answer["ok"] is False
    assert ran.answer["exit"] == code
    assert "Traceback" not in ran.err
    assert not list(tmp_path.rglob("journal.db"))


def test_status_without_a_daemon_says_where_the_kill_switch_stands(tmp_path: Path) -> None:
    angelx("kill", "--state-dir", "book", "--reason", "lunch", cwd=tmp_path).succeeded()
    ran = angelx("status", "--state-dir", "book", "--json", cwd=tmp_path)
    assert ran.code == 1
    assert ran.answer["error"].endswith("; its kill switch is at halt: lunch")


SMALLEST = ("--set", "market.expiries=1", "--set", "market.strikes=2")


def test_a_page_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    at = ("--at", "09:16")
    ran = angelx("chain", *at, *SMALLEST, "--html", "/proc/x.html", "--json", cwd=tmp_path)
    assert (ran.code, ran.answer["error"]) == (2, "/proc/x.html: No such file or directory")
    assert "Traceback" not in ran.err


def test_days_that_do_not_go_together_can_be_played_apart(tmp_path: Path) -> None:
    (tmp_path / "rec").mkdir()
    write(tmp_path / "rec" / "a.parquet", CHAIN, [chain_row()])
    write(tmp_path / "rec" / "b.parquet", CHAIN, [chain_row(NSE_OPEN + 3 * 86_400, lot_size=65)])

    whole = angelx("replay", "rec", "--json", cwd=tmp_path)
    assert (whole.code, "replay the days apart (--from, --to)" in whole.answer["error"]) == (2, True)
    for day, number in (("2025-08-29", 0), ("2025-09-01", 1)):
        played = angelx(
            "replay", "rec", "--from", day, "--to", day, "--state-dir", f"s{number}", "--json", cwd=tmp_path
        )
        assert (played.code, played.answer["ticks"]) == (0, 1), played.err
        shown = angelx("chain", "rec", "--at", day, "--json", cwd=tmp_path)
        assert (shown.code, shown.answer["lot"]) == (0, (75, 65)[number]), shown.err


def test_a_run_that_cannot_begin_leaves_the_last_one_where_it_is(tmp_path: Path) -> None:
    write(tmp_path / "rec.parquet", CHAIN, [chain_row()])
    angelx("replay", "rec.parquet", "--json", cwd=tmp_path).succeeded()
    journal = tmp_path / "var" / "replay" / "journal.db"
    before = journal.read_bytes()

    for wrong in (("--strategy", "none.py:Mine"), ("--from", "2025-09-01"), ("--set", "journal.block_records=0")):
        assert angelx("replay", "rec.parquet", *wrong, cwd=tmp_path).code in (2, 64), wrong
    assert journal.read_bytes() == before
    assert not (tmp_path / "var" / "replay" / "archive").exists()


def test_a_broken_journal_can_be_put_aside(tmp_path: Path) -> None:
    write(tmp_path / "rec.parquet", CHAIN, [chain_row()])
    state = tmp_path / "var" / "replay"
    state.mkdir(0o700, parents=True)
    (state / "journal.db").write_bytes(b"no database" * 500)

    refused = angelx("replay", "rec.parquet", cwd=tmp_path)
    assert (refused.code, "cannot be read as a journal: file is not a database" in refused.err) == (1, True)
    assert "--fresh" in refused.err
    angelx("replay", "rec.parquet", "--fresh", cwd=tmp_path).succeeded()
    assert (state / "archive" / "0001" / "journal.db").read_bytes() == b"no database" * 500


def test_a_page_has_a_name_of_its_own(tmp_path: Path) -> None:
    ran = angelx("chain", "--at", "09:16", *SMALLEST, "--html", cwd=tmp_path)
    page = tmp_path / "chain-NIFTY-2026-10-21T091600.html"
    assert (ran.code, ran.out.splitlines()[-1]) == (0, f"page: {page}")
    assert [page] == list(tmp_path.glob("chain*"))
    assert page.read_text().startswith("<!doctype html>")


def test_a_page_does_not_take_the_place_of_a_recording(tmp_path: Path) -> None:
    recording = tmp_path / "day.parquet"
    recording.write_bytes(b"rows")
    for arguments, says in (
        (("other.parquet", recording, "--html"), "day.parquet: a page's name ends in .html"),
        (("other.parquet", "chain.html"), "chain.html: a page is written with --html"),
    ):
        ran = angelx("chain", *arguments, cwd=tmp_path)
        assert ran.code == 2
        assert says in ran.err
    assert recording.read_bytes() == b"rows"


def test_a_page_that_does_not_fit_is_named(tmp_path: Path) -> None:
    at, page = ("--at", "09:16"), tmp_path / "chain.html"
    ran = angelx("chain", *at, *SMALLEST, "--html", page, cwd=tmp_path, limit=100_000)
    assert (ran.code, ran.err.splitlines()[-1]) == (1, f"angelx: {page}: File too large")
    assert "Traceback" not in ran.err
    assert not list(tmp_path.glob("*.html*"))


def test_whoever_reads_may_go_away(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "angelx", "config", "show"],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_the_first_page_names_every_command_and_the_exit_codes(tmp_path: Path) -> None:
    text = angelx("--help", cwd=tmp_path).succeeded().out
    assert all(command.split(maxsplit=1)[0] in text for command in COMMANDS)
    assert "75" in text
    assert angelx("--version", cwd=tmp_path).succeeded().out.startswith("angelx 0.")


@pytest.mark.parametrize("suffix", ["md", "svg", "json"])
def test_the_wiring_is_drawn(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"graph.{suffix}"
    arrows = angelx("graph", "--output", path, "--json", cwd=tmp_path).succeeded().answer["arrows"]
    assert len(arrows) > 20
    text = path.read_text()
    assert "order_router" in text
    if suffix == "json":
        json.loads(text)


def test_the_configuration_at_the_root_is_good(tmp_path: Path) -> None:
    checked = angelx("config", "check", ROOT / "config.yaml", "--json", cwd=tmp_path).succeeded().answer
    shown = angelx("config", "show", "-c", ROOT / "config.yaml", "--json", cwd=tmp_path).succeeded().answer
    assert checked["ok"] is True
    assert shown["config"] == checked["config"]
    assert "secrets" not in shown["config"]


@pytest.mark.parametrize("command", ["check", "show"])
def test_a_configuration_is_named_either_way_but_once(command: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 7\n")
    for words in ((file,), ("-c", file), ("--config", file)):
        answer = angelx("config", command, *words, "--json", cwd=tmp_path).succeeded().answer
        assert answer["config"]["seed"] == 7
    twice = angelx("config", command, file, "-c", file, "--json", cwd=tmp_path)
    assert (twice.code, twice.answer["ok"]) == (2, False)


def test_doctor_looks_at_the_state_directory(tmp_path: Path) -> None:
    found = angelx("doctor", "--state-dir", tmp_path / "state", "--json", cwd=tmp_path)
    names = {check["name"]: check["status"] for check in found.answer["checks"]}
    assert names["kill switch"] == names["journal"] == "ok"
    assert found.code == int("fail" in names.values())

    angelx("kill", "--state-dir", tmp_path / "state", "--reason", "a test", cwd=tmp_path).succeeded()
    halted = angelx("doctor", "--state-dir", tmp_path / "state", "--json", cwd=tmp_path).answer
    assert next(check["status"] for check in halted["checks"] if check["name"] == "kill switch") != "ok"


def test_the_first_bad_row_is_named(tmp_path: Path) -> None:
    rows = [chain_row(), chain_row(NSE_OPEN + 60, bid=-5.0), chain_row(NSE_OPEN + 120, bid=-5.0)]
    write(tmp_path / "rec.parquet", CHAIN, rows)
    played = angelx("replay", "rec.parquet", "--json", cwd=tmp_path).succeeded()
    ((reason, count),) = played.answer["ticks_refused"].items()
    first = played.answer["ticks_first_refused"]
    assert (count, first[reason]["row"]) == (2, 1)
    assert f"{count}; first {reason} at row 1 ({first[reason]['instrument']})" in " ".join(played.err.split())
