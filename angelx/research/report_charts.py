"""What the page draws: points thinned to what a screen can show, with how many were left out.

Figures elsewhere on the page are exact; only pictures are thinned.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import floor, log10
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from angelx.domain.scalars import NS, SCALE, side_text
from angelx.research.report_figures import Figures
from angelx.research.report_format import Formats, clean
from angelx.research.session_records import OrderFacts

if TYPE_CHECKING:
    from angelx.domain.events import OrderFilled
    from angelx.research.session_facts import SessionFacts

DAY_MS: Final = 86_400_000
CURVE_POINTS: Final = 3_000
MARKERS: Final = 3_000
"""Fills drawn on the reference price."""
INSTRUMENTS: Final = 60
"""Instruments that can be chosen, the most traded first."""
INSTRUMENT_FILLS: Final = 1_500
"""Fills drawn of each of them."""
GAP: Final = 2 * 3_600 * NS
BREAKS: Final = 300
"""Gaps cut out of the time axis, the longest first."""


def charts_of(facts: "SessionFacts", figures: Figures, formats: Formats) -> dict[str, Any]:
    """Data of every chart, ready for JSON; times in ms of the exchange's wall clock, money in currency units.

    Texts are escaped: the chart library reads some tags.
    """
    notes: list[str] = []
    return {
        "sign": formats.sign,
        "breaks": _breaks(facts, formats),
        "equity": _equity(facts, formats, notes),
        "reference": _reference(facts, formats, notes),
        "instruments": _instruments(facts, formats, notes),
        "refusals": [[row["by"], clean(row["code"]), row["count"]] for row in figures.refusals],
        "hours": [[hour, row["realised_e4"] / SCALE] for hour, row in figures.by_hour.items() if row["fills"]],
        "strategies": [[clean(name), row["realised_e4"] / SCALE] for name, row in figures.by_strategy.items()],
        "latency": {clean(name): _coarse(stage.buckets) for name, stage in figures.latency.items()},
        "notes": notes,
    }


def thin(values: Sequence[int], points: int) -> list[int]:
    """Places of at most about `points` values that keep a curve's shape.

    Of each stretch the first, the lowest, the highest and the last.
    """
    size = len(values)
    if size <= points:
        return list(range(size))
    stretches = max(points // 4, 1)
    kept: set[int] = set()
    for stretch in range(stretches):
        start, stop = size * stretch // stretches, size * (stretch + 1) // stretches
        places = range(start, stop)
        kept.update((start, min(places, key=values.__getitem__), max(places, key=values.__getitem__), stop - 1))
    return sorted(kept)


def every(size: int, points: int) -> list[int]:
    """Places of at most `points` of `size` things, evenly spread."""
    return list(range(size)) if size <= points else [size * i // points for i in range(points)]


def _breaks(facts: "SessionFacts", formats: Formats) -> list[tuple[int, int]]:
    """Stretches of more than `GAP` without a mark or a fill (nights, closed days): left out of the time axis."""
    at = sorted({*(mark.at for mark in facts.marks), *(fill.at for fill in facts.fills)})
    gaps = [(before, after) for before, after in pairwise(at) if after - before > GAP]
    gaps = sorted(gaps, key=lambda gap: gap[0] - gap[1])[:BREAKS]
    return [(formats.wall_ms(before) + 1_000, formats.wall_ms(after) - 1_000) for before, after in sorted(gaps)]


def _equity(facts: "SessionFacts", formats: Formats, notes: list[str]) -> dict[str, list[float]]:
    at, equity = facts.curve()
    places = thin(equity, CURVE_POINTS)
    if len(places) < len(at):
        notes.append(f"equity: {len(places):,} of {len(at):,} points drawn, highs and lows kept")
    peak, falls = facts.capital, []
    for value in equity:
        peak = max(peak, value)
        falls.append(value - peak)
    lows = thin(falls, CURVE_POINTS)
    return {
        "t": [formats.wall_ms(at[place]) for place in places],
        "v": [equity[place] / SCALE for place in places],
        "dt": [formats.wall_ms(at[place]) for place in lows],
        "dd": [falls[place] / SCALE for place in lows],
    }


def _reference(facts: "SessionFacts", formats: Formats, notes: list[str]) -> dict[str, Any] | None:
    """The reference price on the days something was ordered, with each fill and each order that never filled."""

    def day(at: int) -> int:
        return formats.wall_ms(at) // DAY_MS

    empty = [order for order in facts.orders.values() if not order.filled]
    ordered = {day(fill.at) for fill in facts.fills} | {day(order.approved.at) for order in empty}
    marks = [mark for mark in facts.marks if mark.reference and (not ordered or day(mark.at) in ordered)]
    if not marks:
        return None
    places = thin([mark.reference for mark in marks], CURVE_POINTS)
    known = {day(mark.at) for mark in marks}
    fills = [fill for fill in facts.fills if day(fill.at) in known]
    empty = [order for order in empty if day(order.approved.at) in known]
    if len(fills) < len(facts.fills):
        notes.append(f"reference price: {len(fills):,} of {len(facts.fills):,} fills were on days that have one")
    drawn = [fills[place] for place in every(len(fills), MARKERS)]
    shown = [empty[place] for place in every(len(empty), MARKERS // 10)]
    if len(drawn) < len(fills) or len(shown) < len(empty):
        notes.append(
            f"reference price: {len(drawn):,} of {len(fills):,} fills and "
            f"{len(shown):,} of {len(empty):,} unfilled orders drawn, evenly spread"
        )
    at = [mark.at for mark in marks]
    levels = [mark.reference for mark in marks]
    sides: dict[str, dict[str, list[Any]]] = {name: {"t": [], "y": [], "x": []} for name in ("buy", "sell", "none")}
    points = [
        *((fill.at, side_text(fill.side), _fill_text(fill, formats)) for fill in drawn),
        *((order.approved.at, "none", _order_text(order)) for order in shown),
    ]
    points.sort(key=lambda point: point[0])
    heights = np.interp([when for when, *_ in points], at, levels)  # On the line as it is drawn.
    for (when, side, text), height in zip(points, heights.tolist(), strict=True):
        group = sides[side]
        group["t"].append(formats.wall_ms(when))
        group["y"].append(height / SCALE)
        group["x"].append(text)
    return {
        "t": [formats.wall_ms(marks[place].at) for place in places],
        "v": [marks[place].reference / SCALE for place in places],
        "sides": sides,
    }


def _instruments(facts: "SessionFacts", formats: Formats, notes: list[str]) -> list[dict[str, Any]]:
    fills: dict[str, list[OrderFilled]] = {}
    for fill in facts.fills:
        fills.setdefault(fill.instrument, []).append(fill)
    traded = sorted(fills, key=lambda name: (-len(fills[name]), name))
    if len(traded) > INSTRUMENTS:
        notes.append(f"instruments: the {INSTRUMENTS} most traded of {len(traded):,} can be chosen")
    if traded and len(fills[traded[0]]) > INSTRUMENT_FILLS:
        notes.append(f"one instrument: at most {INSTRUMENT_FILLS:,} fills of each drawn, evenly spread")
    charts = []
    for name in traded[:INSTRUMENTS]:
        mine = fills[name]
        drawn = [mine[place] for place in every(len(mine), INSTRUMENT_FILLS)]
        charts.append(
            {
                "name": name,
                "fills": len(mine),
                "t": [formats.wall_ms(fill.at) for fill in drawn],
                "p": [fill.price / SCALE for fill in drawn],
                "q": [fill.side * fill.quantity for fill in drawn],
                "touch": [_touch(facts, fill) for fill in drawn],
            }
        )
    return charts


def _touch(facts: "SessionFacts", fill: "OrderFilled") -> float | None:
    order = facts.orders.get(fill.order)
    return order.approved.touch / SCALE if order is not None else None


def _fill_text(fill: "OrderFilled", formats: Formats) -> str:
    return clean(f"{side_text(fill.side)} {fill.quantity:,} {fill.instrument} at {formats.price(fill.price)}")


def _order_text(order: OrderFacts) -> str:
    approved = order.approved
    what = f"{side_text(approved.side)} {approved.quantity:,} {approved.instrument}"
    return clean(f"{what}: {order.state} {order.code}")


def _coarse(buckets: Sequence[tuple[int, int, int]]) -> list[list[float]]:
    """[from, to, count] in µs, about ten bars to each power of ten."""
    bars: dict[int, list[float]] = {}
    for low, _, count in buckets:
        step = floor(10 * log10(max(low, 1)))
        bar = bars.setdefault(step, [10 ** (step / 10) / 1_000, 10 ** ((step + 1) / 10) / 1_000, 0])
        bar[2] += count
    return [bars[step] for step in sorted(bars)]
