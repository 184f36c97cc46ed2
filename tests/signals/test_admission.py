"""How much the filters let pass: a figure of the real filters, not a constant."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from angelx.app.config import load_config
from angelx.app.plugins import admitted, filters_of
from angelx.domain.errors import InputInvalid
from angelx.domain.events import Signal
from angelx.signals.admission import Cell, admission, warnings
from angelx.signals.filters.base import Answer, Scene
from angelx.signals.filters.bias_strength import BiasStrengthFilter
from angelx.signals.filters.oi_confirmation import OiConfirmationFilter
from angelx.signals.filters.trap import TrapFilter

STANDARD = filters_of(load_config(None, {}, environ={}))


def shares(cells: list[Cell]) -> dict[tuple[str, str], float]:
    return {(cell.regime, cell.window): cell.admitted for cell in cells}


def test_every_regime_and_window_is_tried_and_the_same_each_time() -> None:
    cells = admission(STANDARD, draws=100)
    assert len(shares(cells)) == 20
    assert cells == admission(STANDARD, draws=100)
    assert all(sum(cell.refused.values()) == round(100 * (1 - cell.admitted)) for cell in cells)


def test_wilder_markets_and_costlier_windows_admit_less() -> None:
    found = shares(admission(STANDARD, draws=200))
    for window in ("opening", "morning", "midday", "afternoon", "closing"):
        row = [found[regime, window] for regime in ("low", "medium", "high", "extreme")]
        assert row == sorted(row, reverse=True)
        assert row[0] > row[-1]
    for regime in ("low", "medium", "high", "extreme"):
        row = [found[regime, window] for window in ("midday", "morning", "afternoon", "opening", "closing")]
        assert row == sorted(row, reverse=True)


def test_the_shipped_filters_are_sound_where_most_is_traded() -> None:
    cells = {(cell.regime, cell.window): cell for cell in admission(STANDARD)}
    for regime in ("low", "medium", "high"):
        for window in ("opening", "morning", "afternoon"):
            assert cells[regime, window].is_sound, cells[regime, window]


def test_filters_with_wrong_numbers_are_warned_of() -> None:
    assert admission([], draws=10)[0].admitted == 1.0
    assert len(warnings(admission([], draws=10))) == 20
    shut = warnings(admission([TrapFilter(base=0.99, cap=0.99)], draws=100))
    assert any("likely_trap" in line for line in shut)
    assert warnings(admission([OiConfirmationFilter(lots=1e7)], draws=20))[0] == (
        "low volatility, opening: the filters let 0% of signals pass, not 5% to 60%; most refusals: insufficient_oi"
    )
    strict = shares(admission([BiasStrengthFilter(least=0.9)], draws=300))
    assert all(share == pytest.approx(0.2, abs=0.07) for share in strict.values())


class Picky:
    """Of a person's own: fails on what it does not know."""

    name = "picky"

    def __call__(self, signal: Signal, scene: Scene) -> Answer:
        raise KeyError("NIFTY")


def test_a_filter_that_fails_is_said_before_it_trades() -> None:
    with pytest.raises(InputInvalid, match="one fails on a made-up signal: KeyError: 'NIFTY'"):
        admitted([*STANDARD, Picky()])


def test_config_check_says_what_the_filters_let_pass(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("filters:\n- use: trap\n  base: 0.99\n  cap: 0.99\n")
    ran = subprocess.run(
        [sys.executable, "-m", "angelx", "config", "check", str(file), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(ran.stdout.splitlines()[-1])
    assert answer["ok"] is True
    assert len(answer["admission"]) == 20
    assert any("likely_trap" in line for line in answer["warnings"])
