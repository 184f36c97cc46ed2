"""Figures of a session that are not sums: drawdown, win rate with its interval, checks, and the summary for JSON."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import msgspec

from angelx.domain.scalars import money_fields
from angelx.services.forecasts import WEIGHTS
from angelx.signals.calibration import wilson

if TYPE_CHECKING:
    from angelx.research.session_facts import SessionFacts


class Drawdown(msgspec.Struct, frozen=True):
    """The deepest fall of a curve from its highest point before, in money, and the deepest as a fraction of the peak.

    The two may be different falls. 0 where the curve never fell.
    """

    amount: int
    fraction: float
    peak_at: int
    """When the peak before the fall in money was reached, ns; 0 = the start."""
    trough_at: int

    @classmethod
    def of(cls, start: int, at: Sequence[int], values: Sequence[int]) -> Self:
        """From a curve that begins at `start` and takes `values` at times `at`."""
        peak, peak_at = start, 0
        amount, fraction, from_at, to_at = 0, 0.0, 0, 0
        for now, value in zip(at, values, strict=True):
            if value >= peak:
                peak, peak_at = value, now
                continue
            fall = peak - value
            if fall > amount:
                amount, from_at, to_at = fall, peak_at, now
            if peak > 0:
                fraction = max(fraction, fall / peak)
        return cls(amount, fraction, from_at, to_at)


class Check(msgspec.Struct, frozen=True):
    """One thing that was checked, and what was seen."""

    name: str
    ok: bool
    detail: str


def checks_of(facts: "SessionFacts") -> list[Check]:
    """What the journal must satisfy, each looked at."""
    ledger, orders = facts.ledger, facts.orders.values()
    strays = sum(incident.kind == "fill without an order" for incident in facts.incidents)
    twice = sum(incident.kind == "intent twice" for incident in facts.incidents)
    over = sum(order.filled > order.approved.quantity for order in orders)
    beyond = sum(order.beyond_limit > 0 for order in orders)
    unended = sum(order.state in {"sent", "working", "partly filled"} for order in orders)
    flows = sum(trip.cash for trip in facts.trips) + sum(trip.cash for trip in facts.open_trips.values())
    books = ledger.cash == ledger.capital + ledger.realised - ledger.cost == ledger.capital + flows
    fills = f"{len(facts.fills):,} fills"
    cash = f"{facts.cash_differs:,} of {len(facts.marks):,} marks differ"
    return [
        Check("Every fill belongs to an order of ours", not strays, f"{strays:,} of {fills} do not"),
        Check("Every intent was recorded once", not twice, f"{twice:,} of {len(orders):,} orders came again"),
        Check("No order filled beyond its quantity", not over, f"{over:,} of {len(orders):,} orders did"),
        Check("No order filled beyond its limit", not beyond, f"{beyond:,} of {len(orders):,} orders did"),
        Check("Cash = capital + realised - cost = capital + round trips", books, f"over {fills}, to 1/10,000"),
        Check("The cash of every mark is the ledger's", not facts.cash_differs, cash),
        Check("Every order ended", not unended, f"{unended:,} of {len(orders):,} orders still open"),
        Check("The session ended in order", facts.ended is not None, facts.ended.reason if facts.ended else "no end"),
    ]


def summary_of(facts: "SessionFacts") -> dict[str, Any]:
    """The figures of a session for JSON.

    Money comes twice: `pnl` is a decimal string of the currency unit, `pnl_e4` the exact integer of 1/10,000.
    `win_rate` is wins / (wins + losses) with its 95 % Wilson interval; round trips at exactly 0 are neutral and in
    neither. `unrealised` is null where fills came after the last mark (then `pnl` is the realised part alone).
    """
    ledger, drawdown = facts.ledger, facts.drawdown()
    wins = sum(trip.pnl > 0 for trip in facts.trips)
    losses = sum(trip.pnl < 0 for trip in facts.trips)
    decided = wins + losses
    filled = sum(order.filled for order in facts.orders.values())
    ordered = sum(order.approved.quantity for order in facts.orders.values())
    by_code: dict[str, int] = {}
    for refusal in facts.refusals.values():
        by_code[refusal.code] = by_code.get(refusal.code, 0) + refusal.count
    outcomes: dict[str, int] = {}
    for order in facts.orders.values():
        outcomes[order.state] = outcomes.get(order.state, 0) + 1
    slippage = facts.slippage
    at_touch = sum(order.approved.touch * order.filled for order in facts.orders.values())
    signals = len(facts.signals)
    return {
        "ticks": facts.ended.rows if facts.ended else None,
        "signals": signals,
        "acted_on": len(facts.acted & facts.signals.keys()),
        "refused": facts.refused,
        "refused_by_code": dict(sorted(by_code.items(), key=lambda item: -item[1])),
        "orders": len(facts.orders),
        "order_states": outcomes,
        "fills": len(facts.fills),
        "repeated_fills": ledger.repeated,
        "fill_rate": filled / ordered if ordered else None,
        "currency": facts.currency,
        **money_fields("capital", facts.capital),
        **money_fields("pnl", facts.pnl),
        **money_fields("realised", ledger.realised),
        **money_fields("unrealised", facts.unrealised),
        **money_fields("fees", ledger.fees),
        **money_fields("slippage", slippage),
        "slippage_bps": 10_000 * slippage / at_touch if at_touch else None,
        "trades": len(facts.trips),
        "open_trades": len(facts.open_trips),
        "wins": wins,
        "losses": losses,
        "neutral": len(facts.trips) - decided,
        "win_rate": wins / decided if decided else None,
        "win_rate_interval": list(wilson(wins, decided)) if decided else None,
        "longest_winning_streak": _streak(trip.pnl > 0 for trip in facts.trips),
        "longest_losing_streak": _streak(trip.pnl < 0 for trip in facts.trips),
        **money_fields("max_drawdown", drawdown.amount),
        "max_drawdown_fraction": drawdown.fraction,
        "positions": {
            f"{strategy} {instrument}": position.quantity
            for (strategy, instrument), position in ledger.positions.items()
            if position.quantity
        },
        "level": facts.level,
        "health": facts.health,
        "incidents": len(facts.incidents),
        "never_opened": facts.closed,
        "signal_quality": facts.quality.as_dict(),
        "forecasts": facts.forecasts.as_dict(WEIGHTS),
        "tuning_version": facts.tuning_version,
    }


def _streak(flags: Iterable[bool]) -> int:
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest
