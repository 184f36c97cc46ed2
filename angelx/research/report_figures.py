"""The figures of a report: one mapping from which page, Markdown and JSON are all written, so that they agree."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from angelx.domain.scalars import NS, side_text
from angelx.research.session_records import OrderFacts, Tally, Trip
from angelx.research.session_summary import Check, checks_of
from angelx.research.untraded import chosen, untraded

if TYPE_CHECKING:
    from angelx.research.session_facts import SessionFacts


class StageLatency(msgspec.Struct, frozen=True):
    """One stage's entry in `metrics["latency"]`, as `LatencyHistogram.as_dict` writes it; ns."""

    count: int
    mean_ns: int
    p50_ns: int
    p95_ns: int
    p99_ns: int
    max_ns: int
    negative: int = 0
    buckets: list[tuple[int, int, int]] = []
    """(lowest, first beyond, count)."""


class Figures(msgspec.Struct, frozen=True):
    """Everything a report says, exact; money is an integer of 1/10,000 wherever a key ends in `_e4`."""

    title: str
    session: dict[str, Any]
    summary: dict[str, Any]
    checks: list[Check]
    refusals: list[dict[str, Any]]
    by_strategy: dict[str, dict[str, int]]
    by_hour: dict[str, dict[str, int]]
    by_exit: dict[str, dict[str, int]]
    latency: dict[str, StageLatency]
    other: dict[str, str]
    """Metrics without a place of their own, as text."""
    incidents: list[dict[str, Any]]
    timeline: list[dict[str, Any]]
    positions: list[dict[str, Any]]
    trips: "Table"
    orders: "Table"


class Table(msgspec.Struct, frozen=True):
    """Rows under named columns: half the size of a list of objects."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


_KNOWN: Final = ("checks", "latency", "ticks", "ticks_per_s", "wall_s", "journal", "quoted", "scope", "strategies")

ORDERS: Final[dict[str, Callable[[OrderFacts], Any]]] = {
    "at": lambda o: o.approved.at,
    "order": lambda o: o.approved.order,
    "signal": lambda o: o.approved.signal,
    "strategy": lambda o: o.approved.strategy,
    "instrument": lambda o: o.approved.instrument,
    "side": lambda o: side_text(o.approved.side),
    "quantity": lambda o: o.approved.quantity,
    "limit_e4": lambda o: o.approved.limit,
    "touch_e4": lambda o: o.approved.touch,
    "filled": lambda o: o.filled,
    "paid_e4": lambda o: o.paid,
    "fees_e4": lambda o: o.fees,
    "slippage_e4": lambda o: o.slippage,
    "slippage_bps": lambda o: None if (bps := o.slippage_bps) is None else round(bps, 3),
    "state": lambda o: o.state,
    "code": lambda o: o.code,
    "why": lambda o: o.why,
    "accepted_at": lambda o: o.accepted_at,
    "first_fill_at": lambda o: o.first_fill_at,
    "last_fill_at": lambda o: o.last_fill_at,
    "ended_at": lambda o: o.ended_at,
}
"""Columns of the order table; the average price is exactly `paid_e4 / filled`."""

TRIPS: Final[dict[str, Callable[[Trip], Any]]] = {
    "opened_at": lambda t: t.opened_at,
    "closed_at": lambda t: t.closed_at,
    "strategy": lambda t: t.strategy,
    "instrument": lambda t: t.instrument,
    "side": lambda t: "long" if t.side > 0 else "short",
    "quantity": lambda t: t.entered,
    "entry_money_e4": lambda t: t.entry_money,
    "exit_money_e4": lambda t: t.exit_money,
    "fees_e4": lambda t: t.fees,
    "pnl_e4": lambda t: t.pnl,
    "entry_why": lambda t: t.entry_why,
    "exit_why": lambda t: t.exit_why,
}
"""Columns of the table of round trips; averages are `entry_money_e4 / quantity` and `exit_money_e4 / quantity`."""


def figures_of(facts: "SessionFacts", metrics: Mapping[str, object], title: str) -> Figures:
    """Gather every figure.

    Raises
    ------
    ValueError
        A metric has the wrong shape; the message names it.
    """
    summary = facts.summary()
    for key in ("ticks", "ticks_per_s", "wall_s"):
        if key in metrics:
            summary[key] = metrics[key]
    summary["untraded"], summary["chosen"] = untraded(facts, metrics), chosen(metrics)
    return Figures(
        title=title,
        session=_session(facts, metrics),
        summary=summary,
        checks=[*checks_of(facts), *_shaped(metrics.get("checks", ()), list[Check], "checks")],
        refusals=[
            {"by": refusal.by, "code": refusal.code, "count": refusal.count, "example": refusal.example}
            for refusal in sorted(facts.refusals.values(), key=lambda refusal: -refusal.count)
        ],
        by_strategy=_tallies(sorted(facts.by_strategy.items(), key=lambda item: -item[1].realised)),
        by_hour=_tallies(sorted(facts.by_hour.items())),
        by_exit=_tallies(sorted(facts.by_exit.items(), key=lambda item: -item[1].trips)),
        latency=_shaped(metrics.get("latency", {}), dict[str, StageLatency], "latency"),
        other={key: _text(value) for key, value in metrics.items() if key not in _KNOWN},
        incidents=[msgspec.structs.asdict(incident) for incident in facts.incidents],
        timeline=[msgspec.structs.asdict(incident) for incident in facts.timeline],
        positions=_positions(facts),
        trips=_table(TRIPS, facts.trips),
        orders=_table(ORDERS, facts.orders.values()),
    )


def _session(facts: "SessionFacts", metrics: Mapping[str, object]) -> dict[str, Any]:
    started = facts.started
    return {
        "run": started.run if started else "",
        "mode": started.mode if started else "",
        "version": started.version if started else "",
        "seed": started.seed if started else None,
        "config_hash": started.config_hash if started else "",
        "currency": facts.currency,
        "zone": facts.zone.key,
        "first_at": facts.first_at,
        "last_at": facts.last_at,
        "starts": facts.starts,
        "books_read": facts.books_read,
        "ended": facts.ended.reason if facts.ended else None,
        "sources": [
            {"source": opened.source, "digest": opened.digest, "instruments": opened.instruments}
            for opened in facts.sources
        ],
        "journal": _text(metrics["journal"]) if "journal" in metrics else "",
        "duration_s": (facts.last_at - facts.first_at) / NS,
    }


def _positions(facts: "SessionFacts") -> list[dict[str, Any]]:
    return [
        {
            "strategy": strategy,
            "instrument": instrument,
            "quantity": position.quantity,
            "cost_e4": position.cost,
            "realised_e4": position.realised,
        }
        for (strategy, instrument), position in facts.ledger.positions.items()
    ]


def _tallies(items: Iterable[tuple[str, Tally]]) -> dict[str, dict[str, int]]:
    return {
        name: {
            "signals": tally.signals,
            "refused": tally.refused,
            "orders": tally.orders,
            "fills": tally.fills,
            "trips": tally.trips,
            "wins": tally.wins,
            "losses": tally.losses,
            "realised_e4": tally.realised,
            "fees_e4": tally.fees,
        }
        for name, tally in items
    }


def _table(columns: Mapping[str, Callable[[Any], Any]], items: Iterable[Any]) -> Table:
    readers = tuple(columns.values())
    return Table(tuple(columns), [tuple([read(item) for read in readers]) for item in items])


def _shaped(value: object, shape: Any, name: str) -> Any:
    try:
        return msgspec.convert(value, shape, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"metrics[{name!r}] cannot be reported: {error}") from error


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_text(item) for item in value)
    return str(value)
