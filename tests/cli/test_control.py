"""What `angelx status` shows of a running house: money in currency units, exact integers beside it for programs."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from typer.testing import CliRunner

from angelx.adapters.admin import RequestRefused
from angelx.adapters.latch import Latch
from angelx.adapters.state_dir import StateDir
from angelx.app.operator import Operator, StillHalted
from angelx.bench import BENCHES
from angelx.cli import control
from angelx.cli.main import app
from angelx.cli.tables import summary_table
from angelx.domain.errors import InputInvalid
from angelx.domain.scalars import money_fields
from angelx.services.data_feed import DataFeed
from tests.flow.small_house import CAPITAL, Holder, Play, market


class Feed:
    """The part of a feed that `status` reads."""

    def __init__(self, play: Play) -> None:
        self._play = play

    def now(self) -> int:
        return self._play.bus.now

    def figures(self) -> dict[str, int]:
        return {}


def operator(play: Play, directory: Path) -> Operator:
    feed = cast("DataFeed", Feed(play))
    return Operator(Latch.load(directory), feed, play.house, reload=lambda: None, facts=dict)


def status(directory: Path) -> dict[str, Any]:
    play = Play([Holder()]).feed(market(3, 400))
    assert play.house.ledger.cash != CAPITAL, "it holds something"
    return operator(play, directory).status()


def test_money_is_in_currency_units_with_the_exact_integer_beside_it(tmp_path: Path) -> None:
    found = status(tmp_path)
    for name in ("cash", "equity", "pnl"):
        assert round(float(found[name]) * 10_000) == found[f"{name}_e4"], name
    assert found["pnl_e4"] == found["equity_e4"] - CAPITAL
    assert found["pnl_e4"] != 0
    assert found["currency"] == "INR"


def test_people_see_currency_units_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = status(tmp_path)
    monkeypatch.setattr(control, "_ask", lambda *_: found)
    text = CliRunner().invoke(app, ["status"]).stdout
    lines = dict(line.split(maxsplit=1) for line in text.splitlines() if len(line.split()) > 1)
    assert lines["pnl"] == found["pnl"]
    assert lines["cash"] == found["cash"]
    assert "_e4" not in text
    answer = msgspec.json.decode(CliRunner().invoke(app, ["status", "--json"]).stdout)
    assert answer == {"ok": True, **found}


# ---------------------------------------------------------------- asked for less than what holds
@pytest.mark.parametrize(
    ("level", "verb", "note"),
    [
        (
            "silent",
            "flatten",
            "nothing is closed, the kill switch stays at silent, which is above flatten, until resume",
        ),
        ("silent", "halt", "the kill switch stays at silent, which is above halt, until resume"),
        ("flatten", "halt", "the kill switch stays at flatten, which is above halt, until resume"),
        ("flatten", "flatten", None),
        ("halt", "flatten", None),
        ("silent", "resume", None),
    ],
)
def test_an_answer_says_where_asking_did_nothing(tmp_path: Path, level: str, verb: str, note: str | None) -> None:
    def asked(*words: str) -> dict[str, Any]:
        ran = CliRunner().invoke(app, [*words, "--state-dir", str(tmp_path), "--reason", "test", "--json"])
        found: dict[str, Any] = msgspec.json.decode(ran.stdout)
        assert found["ok"] is True
        return found

    asked("kill", *([] if level == "halt" else [f"--{level}"]))
    found = asked(*{"halt": ("kill",), "flatten": ("kill", "--flatten"), "resume": ("resume",)}[verb])
    assert found.get("note") == note


class Commanded(Feed):
    """Takes every command."""

    def command(self, verb: str, reason: str, who: str) -> "asyncio.Future[None]":
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def test_an_answer_says_what_is_not_on_the_disk(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    latch, play = Latch.load(directory), Play([Holder()])
    asked = Operator(latch, cast("DataFeed", Commanded(play)), play.house, reload=lambda: None, facts=dict)
    assert "note" not in asyncio.run(asked.answer("halt", {}))
    (directory / "latch").unlink()
    directory.rmdir()
    answer = asyncio.run(asked.answer("flatten", {}))
    assert (answer["level"], answer["note"][:53]) == (
        "flatten",
        "not on the disk (No such file or directory): it holds",
    )


def test_a_resume_that_did_not_happen_is_no_success(tmp_path: Path) -> None:
    latch, play = Latch.load(tmp_path), Play([Holder()])
    latch.raise_to(1, "loss", "operator", 1)
    asked = Operator(latch, cast("DataFeed", Commanded(play)), play.house, reload=lambda: None, facts=dict)
    with pytest.raises(StillHalted, match="not resumed, the kill switch stays at halt: loss"):
        asyncio.run(asked.answer("resume", {"reason": "well"}))


def test_a_running_session_says_it_too(tmp_path: Path) -> None:
    latch = Latch.load(tmp_path)
    latch.raise_to(3, "test", "operator", 1)
    play = Play([Holder()])
    feed = cast("DataFeed", Commanded(play))
    asked = Operator(latch, feed, play.house, reload=lambda: None, facts=dict)
    assert "nothing is closed" in asyncio.run(asked.answer("flatten", {}))["note"]
    assert "note" not in asyncio.run(asked.answer("silent", {}))


# ---------------------------------------------------------------- a daemon that does not hear
@pytest.mark.parametrize("code", ["busy", "slow"])
@pytest.mark.parametrize("latches", [True, False])
def test_a_kill_that_is_turned_away_is_forced(
    code: str, latches: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All connections taken by somebody's hung script: the file it polls, and a signal."""
    signals: list[tuple[int, int]] = []

    def asked(*_words: Any, **_more: Any) -> None:
        raise RequestRefused(code, "more than 16 connections")

    def signalled(pid: int, number: int) -> None:
        signals.append((pid, number))
        if latches:
            Latch.load(tmp_path).raise_to(1, "SIGUSR1", "signal", 1)

    monkeypatch.setattr(control, "_ask", asked)
    monkeypatch.setattr(control, "CONFIRM_S", 0.1)
    monkeypatch.setattr("os.kill", signalled)
    monkeypatch.setattr("angelx.adapters.state_dir.lock_holder", lambda _: "pid 4711 on vm since today")
    words = ["kill", "--state-dir", str(tmp_path), "--reason", "test", "--json"]
    ran = CliRunner().invoke(app, words)
    assert signals == [(4711, signal.SIGUSR1)]
    assert (tmp_path / "kill").read_text() == "halt test\n"
    found = msgspec.json.decode(ran.stdout.splitlines()[-1])
    assert (ran.exit_code, found["ok"]) == ((0, True) if latches else (1, False))
    assert CliRunner().invoke(app, ["resume", *words[1:]]).exit_code == 1, "nothing is forced open"


def test_a_kill_reaches_a_daemon_whose_socket_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the lock and does not listen: somebody removed the socket, or it is only starting."""
    signals: list[tuple[int, int]] = []

    def signalled(pid: int, number: int) -> None:
        signals.append((pid, number))
        Latch.load(tmp_path).raise_to(1, "SIGUSR1", "signal", 1)

    monkeypatch.setattr("os.kill", signalled)
    words = ["--state-dir", str(tmp_path), "--reason", "test", "--json"]
    with StateDir.open(tmp_path):
        ran = CliRunner().invoke(app, ["kill", *words])
        assert (ran.exit_code, signals) == (0, [(os.getpid(), signal.SIGUSR1)])
        assert (tmp_path / "kill").read_text() == "halt test\n"
        assert CliRunner().invoke(app, ["resume", *words]).exit_code == 1, "nothing is forced open"


def test_a_kill_is_signalled_where_the_disk_takes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda *signalled: signals.append(signalled))
    monkeypatch.setattr(control, "CONFIRM_S", 0.1)
    with StateDir.open(tmp_path):
        (tmp_path / "kill").mkdir()  # What would be written cannot take its place.
        ran = CliRunner().invoke(app, ["kill", "--state-dir", str(tmp_path), "--json"])
    assert signals == [(os.getpid(), signal.SIGUSR1)]
    assert ran.exit_code == 1, "nobody has seen it latched"
    assert f"{tmp_path / 'kill'}: " in ran.stderr


def test_people_see_money_with_two_places() -> None:
    summary: dict[str, Any] = {
        "mode": "paper", "source": "x", "ticks": 1, "ticks_per_s": 1, "ticks_refused": {}, "signals": 0, "refused": 0,
        "orders": 0, "fills": 0, "level": "running", "level_reason": "", "journal": "j", "journal_records": 1,
        "report": None, **money_fields("pnl", -998_100), **money_fields("fees", None),
        **money_fields("max_drawdown", 1453_7550),
    }  # fmt: skip
    text = "\n".join(summary_table(summary))
    assert "-99.81" in text
    assert "1453.76" in text
    assert "1453.7550" not in text


def test_brackets_of_a_persons_own_are_text() -> None:
    summary: dict[str, Any] = {
        "mode": "paper", "source": "x[/b]", "ticks": 1, "ticks_per_s": 1, "ticks_refused": {}, "signals": 0,
        "refused": 0, "orders": 0, "fills": 0, "level": "halt",
        "level_reason": "see [/docs] :smile:", "journal": "x[red]y/journal",
        "journal_records": 1, "report": None, **money_fields("pnl", 0),
    }  # fmt: skip
    text = "\n".join(summary_table(summary))
    for written in ("x[/b]", "see [/docs] :smile:", "x[red]y/journal"):
        assert written in text


def test_every_benchmark_is_named_in_its_help() -> None:
    text = CliRunner().invoke(app, ["bench", "--help"]).stdout
    assert all(name in text for name in BENCHES)


def test_a_reason_is_a_text(tmp_path: Path) -> None:
    play = Play([Holder()])
    for reason in (["a"], 1, None):
        with pytest.raises(InputInvalid, match=r"reason: .* is not allowed; allowed: a text"):
            asyncio.run(operator(play, tmp_path).answer("resume", {"reason": reason}))
