"""The statistics in which the simulated market is compared with a recorded day, measured the same way on both."""

from datetime import date
from typing import Any, Final, NamedTuple

import numpy as np

from angelx.domain.scalars import NS, SCALE
from angelx.market.simulated_chain import CLASSES, EDGES, RULER, TICK, YEAR_DAYS, liquidity_classes, trading_days_after
from angelx.market.simulated_pricing import Floats, Integers, implied_deviation
from angelx.market.simulated_snapshots import QUOTED, Snapshots

_MINUTE: Final = 60 * NS


# ---------------------------------------------------------------- the curve: forwards and implied volatility
def years(s: Snapshots) -> Floats:
    """Calendar years to each expiry's close at each moment, shape (S, E)."""
    days = np.array([(day - s.session).days for day in s.expiries], np.float64)
    return (days[None] + ((s.closes_at - s.at) / (86_400 * NS))[:, None]) / 365.0


def trading_years(s: Snapshots, gone: Floats, holidays: tuple[date, ...] = ()) -> Floats:
    """Trading time to each expiry in years of 252 days, shape (S, E); `gone` of the session's variance has passed."""
    days = np.array([trading_days_after(s.session, day, holidays) for day in s.expiries], np.float64)
    return (days[None] + np.maximum(1.0 - gone[:, None], 1e-3)) / YEAR_DAYS


def parity(s: Snapshots, expiry: int, near: float = 0.03) -> Floats:
    """Forward, discount and root mean square residual (ticks) of one expiry at each moment, shape (3, S).

    Weighted least squares of `mid(call) - mid(put) = D * (F - K)` on strikes within `near` of the money, weight
    1 / (sum of the spreads)^2; NaN where fewer than four strikes have four quotes.
    """
    strikes, call_place, put_place = _pairs(s, expiry)
    if strikes.shape[0] < 4:
        return np.full((3, s.at.shape[0]), np.nan)
    bid, ask = s.fields[0], s.fields[1]
    quoted = (bid[:, call_place] > 0) & (ask[:, call_place] > 0) & (bid[:, put_place] > 0) & (ask[:, put_place] > 0)
    mid, width = (bid + ask) / 2.0, (ask - bid).astype(np.float64)
    y = mid[:, call_place] - mid[:, put_place]
    money = strikes[np.argmin(np.where(quoted, np.abs(y), np.inf), axis=1)]
    use = quoted & (np.abs(strikes[None] - money[:, None]) <= near * money[:, None])
    w = np.where(use, 1.0 / np.maximum(width[:, call_place] + width[:, put_place], 1.0) ** 2, 0.0)
    enough = use.sum(axis=1) >= 4
    total = np.where(enough, w.sum(axis=1), np.nan)
    k_mean, y_mean = (w * strikes).sum(axis=1) / total, (w * y).sum(axis=1) / total
    dk, dy = strikes[None] - k_mean[:, None], y - y_mean[:, None]
    discount = -(w * dk * dy).sum(axis=1) / (w * dk * dk).sum(axis=1)
    forward = k_mean + y_mean / discount
    error = np.where(use, y - discount[:, None] * (forward[:, None] - strikes[None]), 0.0)
    return np.array([forward, discount, np.sqrt((error**2).sum(axis=1) / np.maximum(use.sum(axis=1), 1))])


def _pairs(s: Snapshots, expiry: int) -> tuple[Floats, Integers, Integers]:
    calls = {s.strike[c]: c for c in np.flatnonzero((s.expiry == expiry) & s.call)}
    puts = {s.strike[c]: c for c in np.flatnonzero((s.expiry == expiry) & ~s.call)}
    both = sorted(calls.keys() & puts.keys())
    places = np.array([(calls[k], puts[k]) for k in both], np.int64).reshape(-1, 2)
    return np.array(both, np.float64), places[:, 0], places[:, 1]


class Curve(NamedTuple):
    """What the quotes say about forwards, shapes (S, E), and the two rates (a year, continuous) they come from."""

    forward: Floats
    carry: float
    discount_rate: float


def curve(s: Snapshots) -> Curve:
    """Forwards of all expiries from the nearest one's parity and one carry rate, fitted to those that have parity."""
    t = years(s)
    fits = [parity(s, e) for e in range(len(s.expiries))]
    first = fits[0][0]
    liquid = [e for e in range(1, len(fits)) if np.isfinite(fits[e][0]).mean() > 0.5 and t[0, e] < 1.0]
    carries = [np.nanmedian(np.log(fits[e][0] / first) / (t[:, e] - t[:, 0])) for e in liquid]
    rates = [np.nanmedian(-np.log(fits[e][1]) / t[:, e]) for e in liquid]
    carry = float(np.median(carries)) if carries else 0.0
    forward = first[:, None] * np.exp(carry * (t - t[:, :1]))
    rate = float(np.median(rates)) if rates else 0.0
    return Curve(forward, carry, rate)


def moneyness(s: Snapshots, forward: Floats) -> Floats:
    """Rulers out of the money of each contract at each moment, shape (S, C)."""
    ruler = RULER * np.sqrt(trading_years(s, s.elapsed))
    away = np.log(s.strike[None] / forward[:, s.expiry]) / ruler[:, s.expiry]
    return np.where(s.call[None], away, -away)


def smiles(s: Snapshots, c: Curve, gone: Floats, every: int = 4) -> Floats:
    """Smile of each expiry at each `every`-th moment: shape (3, S', E), at-the-money volatility a trading year, skew
    and curvature, from `vol(k) / vol(0) = 1 + skew * k + curvature * k^2`, k in standard deviations, |k| <= 1.5,
    fitted to the mids of two-sided out-of-the-money options no wider than half their mid. NaN where fewer than six.
    """
    pick = np.arange(0, s.at.shape[0], every)
    t, tau = years(s)[pick], trading_years(s, gone)[pick]
    bid, ask = s.fields[0, pick], s.fields[1, pick]
    forward = c.forward[pick]
    away = np.log(s.strike[None] / forward[:, s.expiry])
    good = (bid > 0) & (ask > 0) & ((away >= 0) == s.call[None]) & (ask - bid <= (ask + bid) / 4.0)
    found = np.full((3, pick.shape[0], len(s.expiries)), np.nan)
    for row in range(pick.shape[0]):
        for e in range(len(s.expiries)):
            use = np.flatnonzero(good[row] & (s.expiry == e) & (np.abs(away[row]) < 0.3))
            if use.shape[0] >= 6 and np.isfinite(forward[row, e]):
                price = (bid[row, use] + ask[row, use]) / 2.0 * np.exp(c.discount_rate * t[row, e])
                total = implied_deviation(price, forward[row, e], s.strike[use], np.where(s.call[use], 1, -1))
                found[:, row, e] = _smile(away[row, use], total, np.sqrt(tau[row, e]))
    return found


def _smile(away: Floats, total: Floats, root_time: float) -> Floats:
    """Least squares in two passes: the first finds the deviation at the money that the second counts k in."""
    money = float(total[np.argmin(np.abs(away))])
    fit = np.full(3, np.nan)
    for _ in range(2):
        k = away / money
        use = (np.abs(k) <= 1.5) & np.isfinite(total)
        if use.sum() < 6 or not money > 0:
            return np.full(3, np.nan)
        design = np.stack([np.ones(int(use.sum())), k[use], k[use] ** 2], axis=1)
        fit = np.linalg.lstsq(design, total[use], rcond=None)[0]
        money = float(fit[0])
    return np.array([money / root_time, fit[1] / money, fit[2] / money])


# ---------------------------------------------------------------- liquidity: by class of expiry and moneyness
def by_cell(s: Snapshots, x: Floats) -> dict[str, Floats]:
    """Liquidity statistics, each of shape (classes, moneyness buckets), NaN where fewer than 200 observations.

    `spread`, `spread_p90` ticks; `lots`, `lots_p90` displayed on a quoted side; `bid`, `ask` share of quoted sides;
    `same_*` share of steps without a change of that field (`row`: of any); `volume` lots a contract and minute;
    `growth` open-interest change over volume; `open_interest` mean lots; `count` observations.
    """
    column = np.searchsorted(np.array(EDGES), x)
    cell = np.where(np.isfinite(x), s.classes[None] * (len(EDGES) + 1) + column, -1)
    bid, ask, bid_size, ask_size, _, volume, oi = s.fields
    change = np.diff(s.fields, axis=1)
    minutes = np.diff(s.at)[:, None] / _MINUTE * np.ones_like(volume[1:])
    shape = (len(CLASSES), len(EDGES) + 1)
    stats = {name: np.full(shape, np.nan) for name in _STATISTICS}
    stats["count"] = np.zeros(shape)
    for place in range(shape[0] * shape[1]):
        here = cell == place
        at = divmod(place, shape[1])
        stats["count"][at] = here.sum()
        if here.sum() < 200:
            continue
        after = here[1:]
        two = here & (bid > 0) & (ask > 0)
        lots = np.concatenate([bid_size[here & (bid > 0)], ask_size[here & (ask > 0)]])
        if two.sum() >= 50:
            stats["spread"][at], stats["spread_p90"][at] = np.quantile((ask - bid)[two], (0.5, 0.9))
        if lots.shape[0]:
            stats["lots"][at], stats["lots_p90"][at] = np.quantile(lots, (0.5, 0.9))
        stats["bid"][at], stats["ask"][at] = (bid[here] > 0).mean(), (ask[here] > 0).mean()
        for n, name in enumerate(QUOTED):
            stats["same_" + name][at] = (change[n][after] == 0).mean()
        stats["same_row"][at] = (change[:, after] == 0).all(axis=0).mean()
        traded = change[5][after].sum()
        stats["volume"][at] = traded / minutes[after].sum()
        stats["growth"][at] = change[6][after].sum() / traded if traded >= 100 else np.nan
        stats["open_interest"][at] = oi[here].mean()
    return stats


_STATISTICS: Final = (
    "spread", "spread_p90", "lots", "lots_p90", "bid", "ask", *(f"same_{name}" for name in QUOTED), "same_row",
    "volume", "growth", "open_interest",
)  # fmt: skip


def returns(s: Snapshots, c: Curve) -> dict[str, float]:
    """Log returns of the nearest forward between moments 40 to 100 s apart, scaled to a minute, in basis points."""
    gap = np.diff(s.at) / _MINUTE
    use = (gap > 40 / 60) & (gap < 100 / 60)
    scaled = (np.diff(np.log(c.forward[:, 0])) / np.sqrt(gap))[use] * 1e4
    centred = scaled - scaled.mean()
    return {
        "per_minute_bps": float(scaled.std()),
        "excess_kurtosis": float((centred**4).mean() / (centred**2).mean() ** 2 - 3.0),
    }


# ---------------------------------------------------------------- all of it
def summary(s: Snapshots, c: Curve, gone: Floats) -> dict[str, Any]:
    """Everything that is compared. `gone`, shape (S,): share of the session's variance passed at each moment.

    `cells` as `by_cell`; `smile` at-the-money volatility, skew and curvature, medians by class, shape (3, classes);
    `oi_growth` by class over the recorded span; `returns`; `parity` median and 95th percentile of the nearest
    expiry's residual, strikes within 1 % of the money, rupees; `two_sided` by class.
    """
    found = smiles(s, c, gone)
    by_expiry = np.array(liquidity_classes(s.session, s.expiries))
    smile = np.full((3, len(CLASSES)), np.nan)
    growth, two = np.full(len(CLASSES), np.nan), np.full(len(CLASSES), np.nan)
    quoted = (s.fields[0] > 0) & (s.fields[1] > 0)
    for row in range(len(CLASSES)):
        values = found[:, :, by_expiry == row].reshape(3, -1)
        if values.size and np.isfinite(values[0]).mean() > 0.3:
            smile[:, row] = np.nanmedian(values, axis=1)
        here = s.classes == row
        first, last = s.fields[6][0, here].sum(), s.fields[6][-1, here].sum()
        growth[row] = last / first - 1.0 if first > 0 else np.nan
        two[row] = quoted[:, here].mean() if here.any() else np.nan
    residual = parity(s, 0, near=0.01)[2] * TICK / SCALE
    return {
        "cells": by_cell(s, moneyness(s, c.forward)),
        "smile": smile,
        "oi_growth": growth,
        "two_sided": two,
        "returns": returns(s, c),
        "parity": [float(np.nanmedian(residual)), float(np.nanquantile(residual, 0.95))],
    }


def weighted(cells: dict[str, Floats], name: str, weights: Floats) -> float:
    """Mean of a statistic over the cells, each counting with `weights` (observations of the recorded day)."""
    use = np.isfinite(cells[name]) & (weights > 0)
    return float((cells[name][use] * weights[use]).sum() / weights[use].sum())
