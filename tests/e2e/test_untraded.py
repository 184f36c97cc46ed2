"""A session that trades nothing says why, and at its start what its strategy chose."""

from pathlib import Path

import pytest

from angelx.app.trading import _told_by
from tests.adapters.recorded_files import CHAIN, NSE_OPEN, chain_row, write
from tests.e2e.program import angelx


def test_what_a_strategy_chose_and_why_nothing_was_traded_are_said(tmp_path: Path) -> None:
    rows = [
        chain_row(NSE_OPEN + 60 * minute, symbol=symbol, right=right)
        for minute in range(10)
        for symbol, rights in (("NIFTY", ("CE", "PE")), ("BANKNIFTY", ("CE",)))
        for right in rights
    ]
    write(tmp_path / "chain.parquet", CHAIN, rows)
    ran = angelx("replay", "chain.parquet", "--state-dir", "state", "--json", cwd=tmp_path).succeeded()
    about = "trades NSE:NIFTY alone, not NSE:BANKNIFTY; its key `underlying` chooses"
    assert ran.answer["chosen"] == {"chain_bias": about}
    assert f"healthy  chain_bias {about}" in ran.err, "at the start"
    none, why = ran.answer["untraded"]
    assert none == "No strategy sent a signal."
    assert why.startswith("chain_bias looked ")
    report = angelx("report", "--state-dir", "state", "--json", cwd=tmp_path).succeeded()
    assert report.answer["untraded"] == ran.answer["untraded"]


@pytest.mark.parametrize(
    "kept", [{}, {"about": object(), "passed_over": {1: 2}}, {"passed_over": {"a": "b"}}, {"passed_over": lambda: 1}]
)
def test_attributes_of_a_persons_own_may_be_anything(kept: dict[str, object]) -> None:
    assert _told_by(kept) == {"about": "", "passed_over": {}}
