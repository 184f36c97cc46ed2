"""`angelx chain`: one JSON object without NaN, a table, a page; the same from a market, its capture, and a real day."""

import json
import math
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from angelx.cli.moments import moment_of
from angelx.research.chain_picture import LEVELS
from tests.e2e.program import MARKET, SHARED, UNREPORTED, angelx

AT = "2026-10-21 09:20"
DAY = SHARED / "nifty-options" / "chain_quotes_20250829_NIFTY.parquet"
REFERENCE = SHARED / "reference" / "parity_forward_derived_20250829_NIFTY.parquet"


def shown(cwd: Path, *arguments: object) -> dict[str, Any]:
    """What `--json` answers: strict JSON, so no NaN."""
    ran = angelx("chain", *arguments, "--json", cwd=cwd).succeeded()

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} in JSON")

    data: dict[str, Any] = json.loads(ran.out, parse_constant=refuse)
    assert data["ok"] is True
    return data


def legs(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [leg for one in data["strikes"] for leg in (one["call"], one["put"]) if leg]


def test_the_simulated_market_has_a_chain(tmp_path: Path) -> None:
    page = tmp_path / "chain.html"
    data = shown(tmp_path, "--at", AT, "--html", page, *MARKET)

    assert data["underlying"] == "NSE:NIFTY"
    assert data["forward_reason"] == "defined"
    assert len(data["strikes"]) == 6
    assert {leg["reason"] for leg in legs(data)} >= {"defined"}
    for leg in legs(data):
        assert (leg["iv"] is None) == (leg["reason"] != "defined")
    strikes = {one["strike"] for one in data["strikes"]}
    assert {data["atm_strike"], *(data["view"][name] for name in LEVELS)} <= strikes, "currency units, all of them"
    assert {one["atm_strike"] for one in data["expiries"]} <= strikes
    assert data["page"] == str(page)
    assert 0 <= data["work"]["avoided"] <= 1
    text = page.read_text()
    assert text.count('class="chart"') == 5
    assert "NaN" not in text.split('id="data">')[1].split("</script>")[0]


def test_a_time_alone_is_of_the_last_day_and_a_date_is_its_end(tmp_path: Path) -> None:
    small = ("--set", "market.expiries=1", "--set", "market.strikes=2")
    day, clock = AT.split()
    assert shown(tmp_path, "--at", clock, *small)["at"] == shown(tmp_path, "--at", AT, *small)["at"]
    whole = shown(tmp_path, "--at", day, *small)
    assert whole["at"] == whole["last_row_at"]
    assert moment_of(f"{day} 15:25", option="--at", zone=ZoneInfo("Asia/Kolkata")) < whole["at"]
    ran = angelx("chain", "--at", "2026-10-20", *small, cwd=tmp_path)
    assert (ran.code, "2026-10-21, not of 2026-10-20" in ran.err) == (2, True)


def test_people_see_calls_left_and_puts_right(tmp_path: Path) -> None:
    ran = angelx("chain", "--at", AT, "--strikes", "2", *MARKET, cwd=tmp_path).succeeded()
    for words in ("Term structure", "Calls left, puts right", "max pain", "bias", "trap upward", "forward"):
        assert words in ran.out


def test_a_capture_shows_what_the_market_showed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    capture = ("--set", "capture.enabled=true", "--set", "chain.enabled=never", "--strategy", "ema_cross")
    angelx(
        "paper", "--state-dir", state, "--no-view", *MARKET, *UNREPORTED, *capture, "--set", "filters=[]", cwd=tmp_path
    ).succeeded()
    captured, live = shown(tmp_path, state / "capture", "--at", AT, *MARKET), shown(tmp_path, "--at", AT, *MARKET)

    for name in ("strikes", "expiries", "view", "forward", "at", "rows"):
        assert captured[name] == live[name], name


@pytest.mark.shared
@pytest.mark.skipif(not DAY.exists(), reason=f"the recorded day is not here: {DAY}")
def test_a_chosen_expiry_has_its_own_figures(tmp_path: Path) -> None:
    import pandas as pd

    page = tmp_path / "chain.html"
    data = shown(tmp_path, DAY, "--at", "11:00", "--expiry", "2025-09-09", "--html", page)
    rows = pd.read_parquet(DAY)
    rows = rows[
        (rows["ts"] <= pd.Timestamp(data["at"], unit="ns", tz="UTC")) & (rows["expiry"].astype(str) == data["expiry"])
    ]
    rows = rows.sort_values("ts").groupby(["strike", "right"]).tail(1)
    calls, puts = (rows[rows["right"] == right].set_index("strike") for right in ("CE", "PE"))
    pain = {
        strike: (calls["oi"] * (strike - calls.index).to_numpy().clip(0)).sum()
        + (puts["oi"] * (puts.index - strike).to_numpy().clip(0)).sum()
        for strike in sorted(set(rows["strike"]))
    }
    view = data["view"]
    assert (data["expiry"], data["front"]) == ("2025-09-09", "2025-09-02")
    assert math.isclose(view["pcr_oi"], puts["oi"].sum() / calls["oi"].sum(), rel_tol=1e-9)
    assert math.isclose(view["pcr_volume"], puts["volume"].sum() / calls["volume"].sum(), rel_tol=1e-9)
    assert view["max_pain"] == min(pain, key=lambda strike: pain[strike]) == 24_600
    assert view["call_wall"] == calls["oi"][calls.index >= data["forward"]].idxmax()
    assert view["put_wall"] == puts["oi"][puts.index <= data["forward"]].idxmax()
    assert math.isclose(view["open_interest"], rows["oi"].sum())
    for side in ("call", "put"):
        parts = [one[side]["flow"] for one in data["strikes"] if one[side]]
        for kind, lots in view[f"{side}_flow"].items():
            assert math.isclose(lots, sum(part[kind] for part in parts), abs_tol=1e-6), (side, kind)
    assert f'<div class="value">{view["pcr_oi"]:.2f}</div>' in page.read_text()


@pytest.mark.shared
@pytest.mark.skipif(not DAY.exists(), reason=f"the recorded day is not here: {DAY}")
def test_the_real_day_has_the_forward_of_its_reference(tmp_path: Path) -> None:
    import pandas as pd

    data = shown(tmp_path, DAY.parent, "--at", "2025-08-29 11:00")
    reference = pd.read_parquet(REFERENCE)
    stamp = pd.Timestamp(data["last_row_at"], unit="ns", tz="UTC")
    same = reference[(reference["ts"] == stamp) & (reference["expiry"].astype(str) == data["expiry"])]

    assert data["expiry"] == "2025-09-02"
    assert len(same) == 1
    assert math.isclose(data["forward"], float(same["forward"].iloc[0]), abs_tol=0.5)
    assert 0.05 < data["atm_iv"] < 0.15
    assert data["view"]["bias"] is not None
    assert data["bad_input"]["spot_missing"] == 1
    assert sum(leg["reason"] == "defined" for leg in legs(data)) > 150
