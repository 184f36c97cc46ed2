"""The simulated market has the statistics of the recorded NIFTY day (docs/simulated-market.md has both side by side).

Without the recording, a simulated day looked at every 67 s is held to the recorded statistics that are checked in with
the fit. With it, they are measured again, and a simulated day is looked at exactly when the recording was made.
"""

import json
import math
import os
from datetime import date, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from angelx.domain.scalars import NS
from angelx.market import simulated_statistics as statistics
from angelx.market.simulated import SimulatedMarket
from angelx.market.simulated_chain import CLASSES, TICK
from angelx.market.simulated_index import u_passed
from angelx.market.simulated_snapshots import QUOTED, Snapshots, on_ladder, recorded, sampled

Floats = NDArray[np.float64]
Summary = dict[str, Any]

DATA = Path(os.environ.get("ANGELX_DATA", Path(__file__).parents[3] / "shared/data"))
DAY = DATA / "nifty-options/chain_quotes_20250829_NIFTY.parquet"
SESSION = date(2025, 8, 29)
OPEN, CLOSE = (int(datetime.fromisoformat(f"2025-08-29T{at}:00+05:30").timestamp()) * NS for at in ("09:15", "15:30"))
SPOT = 245_590_000
"""The index at the first recorded page, from the nearest forward."""
SEEDS = (21, 22)
LIQUID = 5
"""Classes of expiry, from the nearest on, whose recorded liquidity is a market's and not two strikes'."""


def gone(at: NDArray[np.int64]) -> Floats:
    depth = fit()["laws"]["u_variance"]
    return np.array([u_passed(depth, share) for share in (at - OPEN) / (CLOSE - OPEN)])


def fit() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(
        resources.files("angelx.market").joinpath("simulated_fit.json").read_text("utf-8")
    )
    return parsed


def as_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: as_arrays(item) for name, item in value.items()}
    return np.array(value, np.float64) if isinstance(value, list) else value


def simulated_day(seed: int, moments: NDArray[np.int64]) -> Snapshots:
    market = SimulatedMarket(
        seed=seed,
        session=SESSION,
        opens_at=OPEN,
        closes_at=CLOSE,
        spot=SPOT,
        lot_size=75,
        holidays=(date(2029, 12, 25),),
    )
    return sampled(market.instruments, market.batches(), moments, (OPEN, CLOSE), SESSION)


def simulated_summary(moments: NDArray[np.int64]) -> Summary:
    """Means over the seeds."""
    looks = []
    for seed in SEEDS:
        s = simulated_day(seed, moments)
        looks.append(statistics.summary(s, statistics.curve(s), gone(moments)))
    one, other = looks
    both: Summary = merged(one, other)
    return both


def merged(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {name: merged(one[name], other[name]) for name in one}
    return (np.asarray(one) + np.asarray(other)) / 2.0


@pytest.fixture(scope="module")
def real() -> Summary:
    summary: Summary = as_arrays(fit()["recorded"])
    return summary


@pytest.fixture(scope="module")
def simulated() -> Summary:
    return simulated_summary(np.arange(OPEN + 560 * NS, CLOSE, 67 * NS))


@pytest.fixture(scope="module")
def day() -> Snapshots:
    if not DAY.exists():
        pytest.skip(f"needs the recorded day {DAY}")
    return recorded(str(DAY), OPEN, CLOSE)


# ---------------------------------------------------------------- the tolerances
def hold_together(real: Summary, simulated: Summary) -> None:
    """Everything that docs/simulated-market.md promises."""
    hold_whole(real, simulated)
    hold_smiles(real, simulated)
    hold_cells(real["cells"], simulated["cells"])


def hold_whole(real: Summary, simulated: Summary) -> None:
    for field in (*QUOTED, "row"):
        shares = [statistics.weighted(v["cells"], f"same_{field}", real["cells"]["count"]) for v in (real, simulated)]
        assert shares[1] == pytest.approx(shares[0], abs=0.04), field
    bps = [v["returns"]["per_minute_bps"] for v in (real, simulated)]
    assert bps[1] == pytest.approx(bps[0], rel=0.35)
    assert simulated["parity"][0] == pytest.approx(real["parity"][0], rel=0.35)
    assert 0.4 < simulated["parity"][1] / real["parity"][1] < 1.2
    growth = simulated["oi_growth"][:LIQUID] / real["oi_growth"][:LIQUID]
    assert ((growth > 0.6) & (growth < 1.6)).all(), growth
    assert simulated["two_sided"][:LIQUID] == pytest.approx(real["two_sided"][:LIQUID], abs=0.03)


def hold_smiles(real: Summary, simulated: Summary) -> None:
    known = np.isfinite(real["smile"][0])
    assert known.sum() >= len(CLASSES) - 1
    volatility, skew, curvature = simulated["smile"] - real["smile"]
    assert (np.abs(volatility / real["smile"][0])[known] < 0.08).all(), volatility
    assert (np.abs(skew)[known] < 0.01).all(), skew
    assert (np.abs(curvature)[: LIQUID + 1] < 0.016).all(), curvature


def hold_cells(real: dict[str, Floats], simulated: dict[str, Floats]) -> None:
    """Where the recording has 2,000 observations in a class of liquid expiries."""
    sure = (real["count"] >= 2_000) & (np.arange(len(CLASSES)) < LIQUID)[:, None]
    hold(real, simulated, sure, "spread", factor=2.0, slack=1.0)
    tight = sure & (real["spread"] < 50)
    hold(real, simulated, tight & (np.arange(len(CLASSES)) < 2)[:, None], "spread_p90", factor=1.6, slack=2.0)
    hold(real, simulated, sure, "lots", factor=1.3, slack=1.0)
    hold(real, simulated, sure & (real["volume"] >= 0.1), "volume", factor=1.6, slack=0.1)
    hold(real, simulated, sure, "same_row", factor=1.0, slack=0.12)
    hold(real, simulated, sure, "same_volume", factor=1.0, slack=0.12)


def hold(
    real: dict[str, Floats], simulated: dict[str, Floats], where: NDArray[np.bool_], name: str, *, factor: float,
    slack: float,
) -> None:  # fmt: skip
    """In each cell within a factor, or within an amount."""
    assert where.sum() >= 5
    for row, column in np.argwhere(where):
        a, b = real[name][row, column], simulated[name][row, column]
        near = abs(b - a) <= slack or (factor > 1.0 and 1 / factor <= b / a <= factor)
        assert near, f"{name} of {CLASSES[row]}, bucket {column}: recorded {a:.4g}, simulated {b:.4g}"


# ---------------------------------------------------------------- held
def test_a_simulated_day_has_the_statistics_that_are_checked_in(real: Summary, simulated: Summary) -> None:
    hold_together(real, simulated)


def test_the_index_moves_like_a_market_and_not_like_a_line(simulated: Summary) -> None:
    assert -0.5 < simulated["returns"]["excess_kurtosis"] < 8.0


@pytest.mark.shared
def test_the_checked_in_statistics_are_the_recordings(real: Summary, day: Snapshots) -> None:
    curve = statistics.curve(day)
    chain = on_ladder(day, SPOT / TICK, 40)

    again = statistics.summary(chain, curve, gone(day.at))

    for name, values in real["cells"].items():
        assert again["cells"][name] == pytest.approx(values, rel=1e-3, abs=1e-3, nan_ok=True), name
    for name in ("smile", "oi_growth", "two_sided"):
        assert again[name] == pytest.approx(real[name], rel=1e-3, nan_ok=True), name
    assert again["returns"]["per_minute_bps"] == pytest.approx(real["returns"]["per_minute_bps"], rel=1e-3)


@pytest.mark.shared
def test_looked_at_when_the_recording_was_made_a_simulated_day_is_like_it(real: Summary, day: Snapshots) -> None:
    hold_together(real, simulated_summary(day.at))


# ---------------------------------------------------------------- the measuring rods themselves
def test_parity_finds_the_forward_and_the_discount_of_a_made_up_chain() -> None:
    strikes = np.arange(460_000.0, 520_001.0, 1_000.0)
    forward, discount = 491_234.0, 0.9971
    fair = np.maximum(discount * (forward - strikes), 0.0) + 4_000.0
    put = fair - discount * (forward - strikes)
    mids = np.concatenate([fair, put])
    fields = np.zeros((7, 2, mids.shape[0]), np.int64)
    fields[0], fields[1] = np.floor(mids) - 2, np.floor(mids) + 3
    n = strikes.shape[0]
    chain = Snapshots(
        SESSION, OPEN, CLOSE, np.array([OPEN, CLOSE]), (date(2025, 9, 2),), np.zeros(2 * n, np.int64),
        np.concatenate([strikes, strikes]), np.arange(2 * n) < n, fields,
    )  # fmt: skip

    found = statistics.parity(chain, 0)

    assert found[0] == pytest.approx(forward, abs=1.0)
    assert found[1] == pytest.approx(discount, abs=1e-3)
    assert (found[2] < 1.0).all()


def test_trading_time_counts_days_and_ends_with_the_session() -> None:
    s = simulated_day(1, np.array([OPEN + NS]))

    left = statistics.trading_years(s, np.array([0.25])) * 252.0

    assert left[0, :3].tolist() == pytest.approx([2.75, 7.75, 12.75])
    assert statistics.years(s)[0, 0] == pytest.approx((4 + 22_499 / 86_400) / 365)
    assert math.isclose(statistics.moneyness(s, np.full((1, 18), 490_000.0))[0, s.strike == 490_000.0][0], 0.0)
