"""Fit the simulated market to a recorded NIFTY chain day, and compare the two.

    python tools/fit_simulated.py fit DAY.parquet        writes angelx/market/simulated_fit.json
    python tools/fit_simulated.py compare DAY.parquet    prints the table of docs/simulated-market.md

The recorded chain is cut to the contracts that a simulated chain around the same spot lists. What can be read off the
day directly is; rates and shares are then corrected in a few rounds, by simulating the day and looking at it at the
very moments the recording was taken.
"""

import argparse
import itertools
import json
import math
import re
import sys
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from angelx.domain.scalars import NS, SCALE
from angelx.market import simulated_statistics as statistics
from angelx.market.simulated import SimulatedMarket
from angelx.market.simulated_chain import CLASSES, EDGES, STEPS, TICK, prominence
from angelx.market.simulated_kernel import TILT, u_passed
from angelx.market.simulated_model import CELLS
from angelx.market.simulated_pricing import Floats, implied_deviation
from angelx.market.simulated_snapshots import QUOTED, Snapshots, on_ladder, recorded, sampled
from angelx.market.simulated_statistics import Curve

TARGET = Path(__file__).parent.parent / "angelx/market/simulated_fit.json"
STRIKES, LOT_SIZE = 40, 75
HOLIDAYS = (date(2029, 12, 25),)
SEEDS = (1, 2, 3, 4)
COMPARED = (11, 12, 13, 14, 15, 16)
ROUNDS = 5

ASSUMED = {
    "heat": 0.25, "trend": 0.25e-4, "regime_minutes": 40.0, "jumps_a_day": 1.0, "jump": 8e-4, "patience": 7.0,
    "lean": 0.3, "fresh_width": 0.5, "oi_tilt": 0.02, "oi_every_s": 180.0,
}  # fmt: skip
"""What one day sampled once a minute does not show, or shows at a glance (the last)."""
UNSEEN_RATE = 0.05
"""Updates a second where hardly any step of 65 s is without one, so that the rate cannot be read off."""
STEP_S = 67.0
"""Mean seconds between recorded pages."""
LOTS_A_PRINT = 300.0
"""Lots a print where hardly any step is without a trade."""


class Day(NamedTuple):
    """A recorded day: what the simulated ladder lists of it, all of it, and the curve of the latter."""

    chain: Snapshots
    full: Snapshots
    curve: Curve


def main() -> None:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("fit", "compare"))
    parser.add_argument("day", help="recorded chain day, Parquet")
    options = parser.parse_args()
    day = load(options.day)
    if options.command == "fit":
        fit(day)
    sys.stdout.write(comparison(day))


def load(path: str) -> Day:
    """The recorded day, NSE's session of 29 August 2025."""
    opens_at, closes_at = (
        int(datetime.fromisoformat(f"2025-08-29T{time}:00+05:30").timestamp()) * NS for time in ("09:15", "15:30")
    )
    full = recorded(path, opens_at, closes_at)
    curve = statistics.curve(full)
    return Day(on_ladder(full, spot_of(full, curve) / TICK, STRIKES), full, curve)


def spot_of(s: Snapshots, c: Curve) -> int:
    """The index at the first moment, 1/10,000, from the nearest forward; the recording has none."""
    return round(c.forward[0, 0] * math.exp(-c.carry * statistics.years(s)[0, 0])) * TICK


def simulated_like(day: Day, seed: int) -> Snapshots:
    """The simulated market on the recorded date, seen at the recorded moments."""
    s = day.chain
    market = SimulatedMarket(
        seed=seed, session=s.session, opens_at=s.opens_at, closes_at=s.closes_at, spot=spot_of(day.full, day.curve),
        strikes=STRIKES, lot_size=LOT_SIZE, holidays=HOLIDAYS,
    )  # fmt: skip
    return sampled(market.instruments, market.batches(), s.at, (s.opens_at, s.closes_at), s.session)


# ---------------------------------------------------------------- read off the day
def fit(day: Day) -> None:
    """Write the parameters: what can be read off directly, then rounds of correction against the simulation."""
    laws = {**ASSUMED, **directly(day)}
    gone = passed(day.chain, laws["u_variance"])
    real = statistics.summary(day.chain, day.curve, gone)
    laws["volatility"] = filled(real["smile"][0])
    laws["skew"] = filled(real["smile"][1])
    cells = first_cells(real["cells"])
    for turn in range(ROUNDS):
        TARGET.write_text(as_text({"laws": laws, "cells": cells}), "utf-8")
        correct(real, [simulated_summary(day, seed, gone) for seed in SEEDS], laws, cells)
        sys.stderr.write(f"round {turn + 1} of {ROUNDS}\n")
    TARGET.write_text(as_text({"laws": laws, "cells": cells, "recorded": real}), "utf-8")


def passed(s: Snapshots, u_variance: float) -> Floats:
    """Share of the session's variance gone at each moment."""
    return np.array([u_passed(u_variance, share) for share in s.elapsed])


def simulated_summary(day: Day, seed: int, gone: Floats) -> dict[str, Any]:
    """What `statistics.summary` says of one simulated day."""
    s = simulated_like(day, seed)
    return statistics.summary(s, statistics.curve(s), gone)


def directly(day: Day) -> dict[str, Any]:
    """Rates, the day's U, the smile's shape, how volatility moves, round strikes, open interest's clock and churn."""
    s, c = day.chain, day.curve
    u_variance, u_activity = u_depths(s, c)
    wing, bend = wings(day.full, c)
    leverage, mood = moves(s, c, passed(s, u_variance))
    return {
        "carry": c.carry, "discount_rate": c.discount_rate, "u_variance": u_variance, "u_activity": u_activity,
        "wing": wing, "bend": bend, "leverage": leverage, "mood": mood, "return_deviation": calm_deviation(s, c),
        "oi_churn": churn(s), "oi_build": build(s), **round_strikes(s, c),
    }  # fmt: skip


def calm_deviation(s: Snapshots, c: Curve) -> float:
    """Of a minute's log return, with what jumps and trends add taken out."""
    total = (statistics.returns(s, c)["per_minute_bps"] * 1e-4) ** 2
    return math.sqrt(total - ASSUMED["jumps_a_day"] / 375.0 * ASSUMED["jump"] ** 2 - ASSUMED["trend"] ** 2 * 2 / 3)


def build(s: Snapshots) -> float:
    """Slope of the nearest expiry's open-interest change over volume on 1 - 2 * (share of the session gone)."""
    near = s.classes == 0
    pick = np.arange(0, s.at.shape[0], 5)
    change, volume = (np.diff(s.fields[n][pick][:, near].sum(axis=1)).astype(np.float64) for n in (6, 5))
    middle = 1.0 - (s.elapsed[pick][1:] + s.elapsed[pick][:-1])
    return float(np.polyfit(middle, change / volume, 1, w=np.sqrt(volume))[0])


def churn(s: Snapshots) -> float:
    """Share of prints that move open interest: of the publications after a single change of volume since the last, how
    many moved it. A publication is a step in which most of the nearest expiry's open interest moves.
    """
    moved = np.diff(s.fields[6], axis=0) != 0
    traded = np.diff(s.fields[5], axis=0) != 0
    published = np.flatnonzero(moved[:, s.classes == 0].mean(axis=1) > 0.5)
    single, hits = 0, 0
    for first, last in zip(published[:-1], published[1:], strict=True):
        once = traded[first:last].sum(axis=0) == 1
        single += int(once.sum())
        hits += int((moved[last] & once).sum())
    return hits / single


def u_depths(s: Snapshots, c: Curve) -> tuple[float, float]:
    """Depth of the U of squared returns and of traded volume, least squares on 1 + u * ((2 t - 1)^2 - 1/3)."""
    gap = np.diff(s.at) / (60 * NS)
    use = (gap > 40 / 60) & (gap < 100 / 60)
    middle = (s.elapsed[1:] + s.elapsed[:-1]) / 2
    bowl = ((2 * middle - 1) ** 2 - 1 / 3)[use]
    variance = (np.diff(np.log(c.forward[:, 0])) ** 2 / gap)[use]
    volume = (np.diff(s.fields[5].sum(axis=1)) / gap)[use]
    depths = []
    for y in (variance, volume):
        slope, level = np.polyfit(bowl, y, 1)
        depths.append(float(np.clip(slope / level, 0.0, 2.5)))
    return depths[0], depths[1]


def wings(s: Snapshots, c: Curve) -> tuple[float, float]:
    """Wing slope and bend of the smile common to the four nearest expiries, within five standard deviations."""
    k, ratio, rows = smile_points(s, c)
    tilt = k / np.sqrt(1.0 + (k / TILT) ** 2)
    best = (np.inf, 0.0, 0.0)
    for bend in np.arange(1.0, 8.0, 0.25):
        bowl = np.sqrt(k * k + bend * bend) - bend
        design = np.stack([bowl, *(tilt * (rows == row) for row in np.unique(rows))], axis=1)
        solution, *_ = np.linalg.lstsq(design, ratio - 1.0, rcond=None)
        error = float(((design @ solution - ratio + 1.0) ** 2).mean())
        best = min(best, (error, float(solution[0]), float(bend)))
    return best[1], best[2]


def smile_points(s: Snapshots, c: Curve) -> tuple[Floats, Floats, Floats]:
    """Standard deviations from the forward, volatility over at-the-money volatility, and expiry, of two-sided out of
    the money options of the four nearest expiries at every tenth moment.
    """
    t = statistics.years(s)
    points: list[Floats] = []
    for row in range(0, s.at.shape[0], 10):
        for e in range(4):
            bid, ask = s.fields[0, row], s.fields[1, row]
            away = np.log(s.strike / c.forward[row, e])
            use = (s.expiry == e) & (bid > 0) & (ask > 0) & ((away >= 0) == s.call) & (ask - bid <= (ask + bid) / 4)
            mid = (bid + ask)[use] / 2.0 * math.exp(c.discount_rate * t[row, e])
            total = implied_deviation(mid, c.forward[row, e], s.strike[use], np.where(s.call[use], 1, -1))
            middle = np.abs(away[use]) / np.nanmin(total) < 0.5
            money = np.nanmedian(total[middle])
            k = away[use] / money
            fine = np.isfinite(total) & (np.abs(k) < 6)
            points.append(np.stack([k[fine], total[fine] / money, np.full(int(fine.sum()), e)]))
    joined = np.concatenate(points, axis=1)
    return joined[0], joined[1], joined[2]


def moves(s: Snapshots, c: Curve, gone: Floats) -> tuple[float, float]:
    """Leverage and mood from changes of the at-the-money volatility of the nearest seven expiries over five moments."""
    found = statistics.smiles(s, c, gone, every=5)[0]
    pick = np.arange(0, s.at.shape[0], 5)
    minutes = np.diff(s.at[pick]) / (60 * NS)
    tau = statistics.trading_years(s, gone)[pick]
    standard, change, days = [], [], []
    for e in range(7):
        standard.append((np.diff(np.log(c.forward[pick, e])) / (found[:-1, e] * np.sqrt(tau[:-1, e]))))
        change.append(np.diff(np.log(found[:, e])))
        days.append(tau[:-1, e] * 252.0)
    x, y, d = np.array(standard).ravel(), np.array(change).ravel(), np.array(days).ravel()
    m = np.tile(minutes, 7)
    use = np.isfinite(x) & np.isfinite(y) & (m < 10)
    weight = np.sqrt(d / m)
    slope = float((weight * weight * x * y)[use].sum() / (weight * weight * x * x)[use].sum())
    rest = ((y - slope * x) * weight)[use]
    return slope, float(np.median(np.abs(rest)) / 0.6745)


def round_strikes(s: Snapshots, c: Curve) -> dict[str, Any]:
    """How many times more rounder strikes trade than their neighbours, and the powers of that in lots and spreads."""
    x = np.nanmedian(statistics.moneyness(s, c.forward), axis=0)
    volume = s.fields[5][-1].astype(np.float64)
    spread = np.median(s.fields[1] - s.fields[0], axis=0)
    lots = np.median(s.fields[2], axis=0)
    place = {(s.expiry[n], s.strike[n], s.call[n]): n for n in range(x.shape[0])}
    ratios: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    for (e, strike, call), n in place.items():
        step = STEPS[s.classes[n]] * SCALE / TICK
        near = [place.get((e, strike + side * step, call)) for side in (-1, 1)]
        level = prominence(int(strike * TICK / SCALE), STEPS[s.classes[n]])
        if level == 0 or None in near or s.classes[n] > 4 or not -0.5 < x[n] < 4:
            continue
        logs = [
            float(np.log(v[n]) - np.mean(np.log(v[near]))) if v[n] > 0 and (v[near] > 0).all() else math.nan
            for v in (volume, spread, lots)
        ]
        if np.isfinite(logs).all():
            ratios[level].append((logs[0], logs[1], logs[2]))
    middle = {level: np.median(np.array(values), axis=0) for level, values in ratios.items()}
    powers = np.mean([middle[level][1:] / middle[level][0] for level in (1, 2)], axis=0)
    return {
        "prominent": [1.0, *(float(np.exp(middle[level][0])) for level in (1, 2))],
        "prominent_spread": float(powers[0]),
        "prominent_lots": float(powers[1]),
    }


def first_cells(real: dict[str, Floats]) -> dict[str, Floats]:
    """Fitted tables before correction: medians and tails as they are, rates from shares of steps without a change."""
    minute_rate = -np.log(np.clip(real["same_row"], 0.02, 0.999)) / STEP_S
    trade_rate = -np.log(np.clip(real["same_volume"], 0.02, 0.9999)) / STEP_S
    busy = real["volume"] / 60.0 / LOTS_A_PRINT
    trade_rate = np.where(real["same_volume"] < 0.03, np.maximum(trade_rate, busy), trade_rate)
    unseen = np.maximum(UNSEEN_RATE, 1.1 * trade_rate)
    update_rate = np.where(real["same_row"] < 0.02, unseen, np.maximum(minute_rate, 1.05 * trade_rate))
    sizes = (real["same_bid_size"] + real["same_ask_size"]) / 2
    raw = {
        "spread": np.log(np.maximum(real["spread"], 1.0)),
        "spread_tail": np.clip(np.log(real["spread_p90"] / real["spread"]) / 1.2816, 0.05, 1.2),
        "lots": np.log(np.maximum(real["lots"], 1.0)),
        "lots_tail": np.clip(np.log(real["lots_p90"] / real["lots"]) / 1.2816, 0.1, 1.5),
        "bid": real["bid"], "ask": real["ask"],
        "update_rate": update_rate, "trade_rate": trade_rate, "volume": np.log(np.maximum(real["volume"], 1e-4) / 60.0),
        "requote": np.clip(-np.log(np.clip(sizes, 0.02, 0.999)) / (update_rate * STEP_S), 0.02, 1.0),
        "oi": np.log(real["open_interest"] + 0.5), "oi_growth": np.clip(real["growth"], -0.3, 0.6),
    }  # fmt: skip
    return {name: filled(raw[name]) for name in CELLS}


def filled(values: Floats) -> Floats:
    """NaN replaced by the nearest number along the last axis, then by the row (or number) before, then after."""
    out = np.array(values, np.float64)
    rows = out.reshape(-1, out.shape[-1])
    for row in rows:
        known = np.flatnonzero(np.isfinite(row))
        if known.shape[0]:
            row[:] = row[known[np.argmin(np.abs(known[None] - np.arange(row.shape[0])[:, None]), axis=1)]]
    for order in (range(1, rows.shape[0]), range(rows.shape[0] - 2, -1, -1)):
        for n in order:
            if not np.isfinite(rows[n]).any():
                rows[n] = rows[n - 1 if order.step > 0 else n + 1]
    return out


# ---------------------------------------------------------------- corrected against the simulation
def correct(real: dict[str, Any], looks: list[dict[str, Any]], laws: dict[str, Any], cells: dict[str, Floats]) -> None:
    """One round: move each parameter by the half to whole of what its statistic misses, in place."""
    sim = {name: np.nanmean([look["cells"][name] for look in looks], axis=0) for name in real["cells"]}
    want = real["cells"]
    shift(cells["spread"], np.log(want["spread"] / sim["spread"]), 0.7, 0.0, 10.0)
    shift(cells["lots"], np.log(want["lots"] / sim["lots"]), 0.7, -1.0, 9.0)
    shift(cells["volume"], np.log(np.maximum(want["volume"], 1e-4) / np.maximum(sim["volume"], 1e-4)), 0.8, -14.0, 8.0)
    seen = want["same_row"] >= 0.02
    scale(cells["update_rate"], np.where(seen, hazard(want["same_row"]) / hazard(sim["same_row"]), np.nan), 0.7, 1e-6, 3)
    seen = want["same_volume"] >= 0.03
    scale(
        cells["trade_rate"], np.where(seen, hazard(want["same_volume"]) / hazard(sim["same_volume"]), np.nan), 0.7,
        1e-7, 9,
    )  # fmt: skip
    np.minimum(cells["trade_rate"], cells["update_rate"] * 0.98, out=cells["trade_rate"], where=cells["update_rate"] < 1)
    sizes = [(v["same_bid_size"] + v["same_ask_size"]) / 2 for v in (want, sim)]
    scale(cells["requote"], hazard(sizes[0]) / hazard(sizes[1]), 0.5, 0.01, 1.0)
    shift(cells["oi"], np.log((want["open_interest"] + 0.5) / (sim["open_interest"] + 0.5)), 0.7, -2.0, 13.0)
    smile = np.nanmean([look["smile"] for look in looks], axis=0)
    for n, name in enumerate(("volatility", "skew")):
        known = np.isfinite(real["smile"][n] / smile[n])
        laws[name] = np.where(known, laws[name] * (real["smile"][n] / smile[n]) ** 0.7, laws[name])
    for name in ("spread", "lots"):
        tails = [np.log(v[name + "_p90"] / v[name]) for v in (want, sim)]
        scale(cells[name + "_tail"], tails[0] / tails[1], 0.5, 0.02, 1.3)


def hazard(share: Floats) -> Floats:
    """Changes a step that leave `share` of the steps unchanged."""
    return -np.log(np.clip(share, 0.003, 0.9995))


def scale(values: Floats, ratio: Floats, power: float, low: float, high: float) -> None:
    """Multiply where the ratio is known, within bounds and at most twofold."""
    known = np.where(np.isfinite(ratio) & (ratio > 0), ratio, 1.0)
    values[:] = np.clip(values * np.clip(known, 0.5, 2.0) ** power, low, high)


def shift(values: Floats, by: Floats, part: float, low: float, high: float) -> None:
    """Add where it is known, within bounds."""
    values[:] = np.clip(values + part * np.where(np.isfinite(by), by, 0.0), low, high)


# ---------------------------------------------------------------- written down
def plain(value: Any) -> Any:
    """As JSON: arrays as lists, four significant digits, NaN as null."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    number = math.nan if value is None else float(value)
    return float(f"{number:.4g}") if math.isfinite(number) else None


def as_text(fitted: dict[str, Any]) -> str:
    """JSON with one line for each row of numbers."""
    text = json.dumps(plain(fitted), indent=1)
    return re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda row: "[" + re.sub(r"\s+", " ", row[1]) + "]", text) + "\n"


def comparison(day: Day) -> str:
    """Recorded and simulated statistics side by side, as the tables of docs/simulated-market.md."""
    laws = json.loads(TARGET.read_text("utf-8"))["laws"]
    gone = passed(day.chain, laws["u_variance"])
    real = statistics.summary(day.chain, day.curve, gone)
    looks = [simulated_summary(day, seed, gone) for seed in COMPARED]
    return whole_table(real, looks) + class_table(real, looks) + cell_tables(real, looks)


def whole_table(real: dict[str, Any], looks: list[dict[str, Any]]) -> str:
    """Statistics that are one number."""
    weights = real["cells"]["count"]
    rows: list[tuple[str, Callable[[dict[str, Any]], float]]] = [
        ("return of the forward, bps a minute", lambda v: v["returns"]["per_minute_bps"]),
        ("its excess kurtosis", lambda v: v["returns"]["excess_kurtosis"]),
        ("parity residual, median, rupees", lambda v: v["parity"][0]),
        ("parity residual, p95, rupees", lambda v: v["parity"][1]),
        *((f"{name}, share of steps unchanged", shares(f"same_{name}", weights)) for name in (*QUOTED, "row")),
    ]
    lines = ["| whole chain | recorded | simulated | lowest | highest |", "|---|---|---|---|---|"]
    for title, of in rows:
        values = [of(look) for look in looks]
        lines.append(f"| {title} | {of(real):.3g} | {np.mean(values):.3g} | {min(values):.3g} | {max(values):.3g} |")
    return "\n".join(lines) + "\n\n"


def shares(name: str, weights: Floats) -> Callable[[dict[str, Any]], float]:
    """A share over all contracts, the cells weighted as recorded."""
    return lambda v: statistics.weighted(v["cells"], name, weights)


def class_table(real: dict[str, Any], looks: list[dict[str, Any]]) -> str:
    """Statistics by class of expiry: recorded / simulated."""
    rows = [("at-the-money volatility", "smile", 0), ("skew", "smile", 1), ("curvature", "smile", 2)]
    rows += [("open interest, growth", "oi_growth", None), ("two-sided", "two_sided", None)]
    lines = ["| by expiry | " + " | ".join(CLASSES) + " |", "|---" * (len(CLASSES) + 1) + "|"]
    for title, key, n in rows:
        a = real[key] if n is None else real[key][n]
        b = np.nanmean([look[key] if n is None else look[key][n] for look in looks], axis=0)
        lines.append(f"| {title} | " + " | ".join(pair(x, y) for x, y in zip(a, b, strict=True)) + " |")
    return "\n".join(lines) + "\n\n"


def cell_tables(real: dict[str, Any], looks: list[dict[str, Any]]) -> str:
    """Statistics by class of expiry and moneyness: recorded / simulated."""
    out = []
    edges = ["in", *(f"{edge:g}" for edge in EDGES), "out"]
    names = [f"{low} to {high}" for low, high in itertools.pairwise(edges)]
    for key in ("spread", "spread_p90", "lots", "volume", "same_row"):
        lines = [f"| {key} | " + " | ".join(names[1:-1]) + " |", "|---" * (len(names) - 1) + "|"]
        simulated = np.nanmean([look["cells"][key] for look in looks], axis=0)
        for row, title in enumerate(CLASSES):
            cells = [pair(real["cells"][key][row, n], simulated[row, n]) for n in range(1, len(names) - 1)]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
        out.append("\n".join(lines))
    return "\n\n".join(out) + "\n"


def pair(recorded_value: float, simulated_value: float) -> str:
    """`recorded / simulated`, empty where it was not recorded."""
    return f"{recorded_value:.3g} / {simulated_value:.3g}" if math.isfinite(recorded_value) else ""


if __name__ == "__main__":
    main()
