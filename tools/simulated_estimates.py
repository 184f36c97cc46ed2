"""What can be read off a recorded chain day directly, for `fit_simulated.py`."""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from angelx.domain.scalars import NS, SCALE
from angelx.market import simulated_statistics as statistics
from angelx.market.simulated_chain import STEPS, TICK, prominence
from angelx.market.simulated_index import TILT, u_passed, u_shape
from angelx.market.simulated_pricing import Floats, implied_deviation
from angelx.market.simulated_snapshots import Snapshots
from angelx.market.simulated_statistics import Curve

ASSUMED = {
    "heat": 0.25, "trend": 0.25e-4, "regime_minutes": 40.0, "jumps_a_day": 1.0, "jump": 8e-4, "patience": 7.0,
    "lean": 0.3, "fresh_width": 0.5, "oi_tilt": 0.02, "oi_every_s": 180.0,
}  # fmt: skip
"""What one day sampled once a minute does not show, or shows at a glance (the last)."""


class Day(NamedTuple):
    """A recorded day: what the simulated ladder lists of it, all of it, and the curve of the latter."""

    chain: Snapshots
    full: Snapshots
    curve: Curve


def passed(s: Snapshots, u_variance: float) -> Floats:
    """Share of the session's variance gone at each moment."""
    return np.array([u_passed(u_variance, share) for share in s.elapsed])


def directly(day: Day) -> dict[str, Any]:
    """Rates, the day's U, the smile's shape, how volatility moves, round strikes, open interest's clock and churn."""
    s, c = day.chain, day.curve
    u_variance, u_activity = u_depths(s, c)
    wing, bend = wings(day.full, c)
    leverage, mood = moves(s, c, passed(s, u_variance))
    return {
        "carry": c.carry, "discount_rate": c.discount_rate, "u_variance": u_variance, "u_activity": u_activity,
        "wing": wing, "bend": bend, "leverage": leverage, "mood": mood,
        "return_deviation": calm_deviation(s, c, u_variance),
        "oi_churn": churn(s), "oi_build": build(s), **round_strikes(s, c),
    }  # fmt: skip


def calm_deviation(s: Snapshots, c: Curve, u_variance: float) -> float:
    """Of a minute's log return over a whole session, without what jumps and trends add; recording began after nine
    minutes of a lively opening.
    """
    seen = float(np.mean([u_shape(u_variance, share) for share in s.elapsed]))
    total = (statistics.returns(s, c)["per_minute_bps"] * 1e-4) ** 2 / seen
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
    for first, last in itertools.pairwise(published):
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
        standard.append(np.diff(np.log(c.forward[pick, e])) / (found[:-1, e] * np.sqrt(tau[:-1, e])))
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
