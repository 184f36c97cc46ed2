"""SIGKILL at random moments: whoever runs the same command again goes on where the dead process stopped.

Twenty moments over four sessions.
"""

import random
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.program import QUICK, UNREPORTED, Forked, angelx, records, start, until

KILLS = 5
MOST_RECORDS = 7_000
"""Of the ten thousand that a session comes to: on a busy machine it must not end before the kill is there."""
EAGER = '''
from angelx.signals.strategy import Strategy


class Eager(Strategy):
    """Buys what it does not hold and sells what it does, every few seconds."""

    every_s = 29.0

    def on_timer(self):
        for place, instrument in enumerate(self.desk.instruments):
            if instrument.tradable and not self.desk.working(place):
                _ = self.desk.flat(place) if self.desk.position(place) else self.desk.long(place, why="eager")
'''


def command(state: Path, strategy: Path) -> list[object]:
    settings = ("risk.profile=bench", "risk.fixed_units=65", "capital=10000000", "paper.reject_rate=0.02",
                "journal.block_records=8", "journal.head_every_s=0.1")  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    words += ["--set", "market.expiries=1", "--set", "market.strikes=3"]
    return ["paper", "--json", "--state-dir", state, "--strategy", f"{strategy}:Eager", *QUICK, *UNREPORTED, *words]


def progress(journal: Path) -> int:
    """Records that are on the disk; 0 while there is no journal."""
    try:
        database = sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True, timeout=0)
        with closing(database):
            found = database.execute("select last from head").fetchone()
    except sqlite3.Error:
        return 0
    return int(found[0]) if found else 0


def kill_at(process: "subprocess.Popen[str] | Forked", journal: Path, moment: "int | float") -> bool:
    """Kill after so many seconds (float), or once so many records are on the disk (int); False where it ended first."""
    began = time.monotonic()
    while process.poll() is None:
        if time.monotonic() - began > moment if isinstance(moment, float) else progress(journal) > moment:
            process.kill()
            process.wait()
            return True
        time.sleep(0.003)  # noqa: TID251 - a test waits for another process
    process.wait()
    return False


def positions(journal: Path) -> dict[str, int]:
    held: Counter[str] = Counter()
    for fill in records(journal, "OrderFilled"):
        held[fill["instrument"]] += fill["side"] * fill["quantity"]
    return {instrument: quantity for instrument, quantity in held.items() if quantity}


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_session_goes_on(seed: int, tmp_path: Path) -> None:
    strategy, state = tmp_path / "eager.py", tmp_path / "state"
    strategy.write_text(EAGER)
    words = command(state, strategy)
    rng = random.Random(seed)
    with start(*words, cwd=tmp_path) as starting:  # Little is printed: no pipe fills up while nobody reads.
        killed = int(kill_at(starting, state / "journal.db", rng.uniform(0.1, 1.5)))
    for at in sorted(rng.randrange(0, MOST_RECORDS) for _ in range(KILLS - 1)):
        killed += int(kill_at(Forked(*words, cwd=tmp_path), state / "journal.db", at))
    answer = angelx(*words, cwd=tmp_path).succeeded().answer
    assert killed >= KILLS - 1
    assert len(records(Path(answer["journal"]), "SessionStarted")) > 1
    consistent(Path(answer["journal"]), answer)


def consistent(journal: Path, answer: dict[str, Any]) -> None:
    approved = [record["order"] for record in records(journal, "OrderApproved")]
    assert len(approved) == len(set(approved)) == answer["orders"] > 10, "no intent twice"
    signals = [record["signal"] for record in records(journal, "OrderApproved")]
    assert len(signals) == len(set(signals)), "one order a signal"
    executions = [record["execution"] for record in records(journal, "OrderFilled")]
    assert len(executions) == len(set(executions)) == answer["fills"]
    assert sum(positions(journal).values()) == sum(answer["positions"].values())
    filled: Counter[str] = Counter()
    for fill in records(journal, "OrderFilled"):
        filled[fill["order"]] += fill["quantity"]
    over = [
        record["order"] for record in records(journal, "OrderApproved") if filled[record["order"]] > record["quantity"]
    ]
    assert not over
    unended = {"sent", "working", "partly filled"} & set(answer["order_states"])
    assert not unended, answer["order_states"]
    assert angelx("journal", "verify", journal, "--json", cwd=journal.parent).succeeded().answer["ok"] is True
    replayed = angelx("journal", "replay", journal, "--json", cwd=journal.parent)
    assert replayed.answer["identical"] is True, replayed.answer


def test_what_a_person_was_told_outlives_a_kill(tmp_path: Path) -> None:
    """Positions that `status` showed and commands that were answered are in the journal when the process is gone."""
    strategy, state = tmp_path / "eager.py", tmp_path / "state"
    strategy.write_text(EAGER.replace("29.0", "3.0").replace("self.desk.flat(place) if", "None if"))  # Holds for good.
    settings = ("capital=10000000", "market.expiries=1", "market.strikes=3", "journal.head_every_s=3600",
                "market.source=simulated", "risk.profile=bench", "risk.fixed_units=65",
                "filters=[{use: session}]")  # fmt: skip
    words = ["run", "--state-dir", state, "--strategy", f"{strategy}:Eager", "--speed", "20", *UNREPORTED]
    words += [word for setting in settings for word in ("--set", setting)]

    def asked(*verb: str) -> dict[str, Any]:
        answer: dict[str, Any] = angelx(*verb, "--state-dir", state, "--json", cwd=tmp_path).answer
        return answer

    with start(*words, cwd=tmp_path) as process:
        until((state / "admin.sock").exists)
        until(lambda: asked("status").get("positions"))
        asked("kill", "--silent", "--reason", "look at this")  # From here on nothing is sent: what is held stays.
        until(lambda: asked("status")["working"] == [])
        held = asked("status")["positions"]
        process.kill()
        process.wait()
    journal = state / "journal.db"
    assert held
    assert positions(journal) == {name.split("/", 1)[1]: units for name, units in held.items()}
    assert [(one["verb"], one["reason"]) for one in records(journal, "CommandReceived")] == [("silent", "look at this")]
    assert [one["level"] for one in records(journal, "LevelChanged")] == ["silent"]
