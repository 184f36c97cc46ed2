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
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from simulated_estimates import ASSUMED, Day, directly, passed

from angelx.domain.scalars import NS
from angelx.market import simulated_statistics as statistics
from angelx.market.simulated import SimulatedMarket
from angelx.market.simulated_chain import CLASSES, EDGES, TICK
from angelx.market.simulated_model import CELLS
from angelx.market.simulated_pricing import Floats
from angelx.market.simulated_snapshots import QUOTED, Snapshots, on_ladder, recorded, sampled
from angelx.market.simulated_statistics import Curve

TARGET = Path(__file__).parent.parent / "angelx/market/simulated_fit.json"
STRIKES, LOT_SIZE = 40, 75
HOLIDAYS = (date(2029, 12, 25),)
SEEDS = (1, 2, 3, 4)
COMPARED = (11, 12, 13, 14, 15, 16)
ROUNDS = 5

UNSEEN_RATE = 0.06
"""Updates a second where hardly any step of 65 s is without one, so that the rate cannot be read off."""
STEP_S = 67.0
"""Mean seconds between recorded pages."""
LOTS_A_PRINT = 300.0
"""Lots a print where hardly any step is without a trade."""


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
    return round(float(c.forward[0, 0]) * math.exp(-c.carry * float(statistics.years(s)[0, 0]))) * TICK


def simulated_like(day: Day, seed: int) -> Snapshots:
    """The simulated market on the recorded date, seen at the recorded moments."""
    s = day.chain
    market = SimulatedMarket(
        seed=seed, session=s.session, opens_at=s.opens_at, closes_at=s.closes_at, spot=spot_of(day.full, day.curve),
        strikes=STRIKES, lot_size=LOT_SIZE, holidays=HOLIDAYS,
    )  # fmt: skip
    return sampled(market.instruments, market.batches(), s.at, (s.opens_at, s.closes_at), s.session)


# ---------------------------------------------------------------- fitted
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
        with np.errstate(divide="ignore", invalid="ignore"):  # Where nothing was recorded, nothing is corrected.
            correct(real, [simulated_summary(day, seed, gone) for seed in SEEDS], laws, cells)
        sys.stderr.write(f"round {turn + 1} of {ROUNDS}\n")
    TARGET.write_text(as_text({"laws": laws, "cells": cells, "recorded": real}), "utf-8")


def simulated_summary(day: Day, seed: int, gone: Floats) -> dict[str, Any]:
    """What `statistics.summary` says of one simulated day."""
    s = simulated_like(day, seed)
    return statistics.summary(s, statistics.curve(s), gone)


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
        "hold": np.where(np.isfinite(real["same_bid"]), 0.1, np.nan),
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
    sim = {name: average([look["cells"][name] for look in looks]) for name in real["cells"]}
    want = real["cells"]
    shift(cells["spread"], np.log(want["spread"] / sim["spread"]), 0.7, 0.0, 10.0)
    shift(cells["lots"], np.log(want["lots"] / sim["lots"]), 0.7, -1.0, 9.0)
    lots = [np.maximum(v["volume"], 1e-4) for v in (want, sim)]
    shift(cells["volume"], np.log(lots[0] / lots[1]), 0.8, -14.0, 8.0)
    for name, share, least in (("update_rate", "same_row", 0.02), ("trade_rate", "same_volume", 0.03)):
        ratio = hazard(want[share]) / hazard(sim[share])
        scale(cells[name], np.where(want[share] >= least, ratio, np.nan), 0.7, 1e-7, 9.0)
    slow = cells["update_rate"] < 1.0
    np.minimum(cells["trade_rate"], cells["update_rate"] * 0.98, out=cells["trade_rate"], where=slow)
    sizes = [(v["same_bid_size"] + v["same_ask_size"]) / 2 for v in (want, sim)]
    scale(cells["requote"], hazard(sizes[0]) / hazard(sizes[1]), 0.5, 0.01, 1.0)
    prices = [(v["same_bid"] + v["same_ask"]) / 2 for v in (want, sim)]
    moves = 1.0 - cells["hold"]
    scale(moves, hazard(prices[0]) / hazard(prices[1]), 0.7, 0.05, 1.0)
    cells["hold"] = 1.0 - moves
    shift(cells["oi"], np.log((want["open_interest"] + 0.5) / (sim["open_interest"] + 0.5)), 0.7, -2.0, 13.0)
    smile = average([look["smile"] for look in looks])
    for n, name in enumerate(("volatility", "skew")):
        known = np.isfinite(real["smile"][n] / smile[n])
        laws[name] = np.where(known, laws[name] * (real["smile"][n] / smile[n]) ** 0.7, laws[name])
    for name in ("spread", "lots"):
        tails = [np.log(v[name + "_p90"] / v[name]) for v in (want, sim)]
        scale(cells[name + "_tail"], tails[0] / tails[1], 0.5, 0.02, 1.3)


def average(values: Sequence[Floats]) -> Floats:
    """Mean of those that are numbers, NaN where none is."""
    stacked = np.stack(values)
    known = np.isfinite(stacked)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


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
    rows: list[tuple[str, str, int | None]] = [
        ("at-the-money volatility", "smile", 0), ("skew", "smile", 1), ("curvature", "smile", 2),
        ("open interest, growth", "oi_growth", None), ("two-sided", "two_sided", None),
    ]  # fmt: skip
    lines = ["| by expiry | " + " | ".join(CLASSES) + " |", "|---" * (len(CLASSES) + 1) + "|"]
    for title, key, n in rows:
        a = real[key] if n is None else real[key][n]
        b = average([look[key] if n is None else look[key][n] for look in looks])
        lines.append(f"| {title} | " + " | ".join(pair(x, y) for x, y in zip(a, b, strict=True)) + " |")
    return "\n".join(lines) + "\n\n"


def cell_tables(real: dict[str, Any], looks: list[dict[str, Any]]) -> str:
    """Statistics by class of expiry and moneyness: recorded / simulated."""
    out = []
    edges = ["in", *(f"{edge:g}" for edge in EDGES), "out"]
    names = [f"{low} to {high}" for low, high in itertools.pairwise(edges)]
    for key in ("spread", "spread_p90", "lots", "volume", "same_row"):
        lines = [f"| {key} | " + " | ".join(names[1:-1]) + " |", "|---" * (len(names) - 1) + "|"]
        simulated = average([look["cells"][key] for look in looks])
        for row, title in enumerate(CLASSES):
            cells = [pair(real["cells"][key][row, n], simulated[row, n]) for n in range(1, len(names) - 1)]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
        out.append("\n".join(lines))
    return "\n\n".join(out) + "\n"


def pair(recorded_value: float, simulated_value: float) -> str:
    """`recorded / simulated`, empty where it was not recorded."""
    return f"{short(recorded_value)} / {short(simulated_value)}" if math.isfinite(recorded_value) else ""


def short(value: float) -> str:
    """Three digits, without an exponent; nothing below a thousandth."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{round(value, 4 if abs(value) < 0.1 else 3):.3g}"


if __name__ == "__main__":
    main()
