"""What `angelx status` shows of a running house: money in currency units, exact integers beside it for programs."""

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from typer.testing import CliRunner

from angelx.adapters.latch import Latch
from angelx.app.operator import Operator
from angelx.cli import control
from angelx.cli.main import app
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
