"""Why nothing was traded, in words: from the journal's facts and from what strategies counted beside it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from angelx.research.report_cells import plural

if TYPE_CHECKING:
    from angelx.research.session_facts import SessionFacts


AROUND_BARS: Final = "--set market.bar_spread_bps=5 puts a touch of that width around bars"


class Told(msgspec.Struct, frozen=True):
    """One strategy's entry in `metrics["strategies"]`."""

    about: str = ""
    passed_over: dict[str, int] = {}
    """How often it looked and did not enter, by why, since the last start."""


def untraded(facts: "SessionFacts", metrics: Mapping[str, object]) -> list[str]:
    """A sentence for each thing that kept a session from trading; none where something was filled.

    Raises
    ------
    ValueError
        `metrics["strategies"]` has the wrong shape.
    """
    return [] if facts.fills else list(_reasons(facts, metrics))


def told_by(metrics: Mapping[str, object]) -> dict[str, Told]:
    """What strategies said of themselves, by name; raises as `untraded`."""
    try:
        return msgspec.convert(metrics.get("strategies", {}), dict[str, Told])
    except msgspec.ValidationError as error:
        raise ValueError(f"metrics['strategies'] cannot be reported: {error}") from error


def _reasons(facts: "SessionFacts", metrics: Mapping[str, object]) -> Iterator[str]:
    if facts.ended is not None and not facts.ended.rows:
        yield "No tick came."
    for segment, why in facts.closed.items():
        yield f"{segment} never opened: {why}."
    if metrics.get("scope") == "indicative":
        bars = any("us-" in opened.source for opened in facts.sources)  # A chain's last prices are no bars.
        yield "This recording has no quotes, so nothing can trade" + (f"; {AROUND_BARS}." if bars else ".")
    elif quoted := _quoted(metrics):
        yield quoted
    if facts.level != "running":
        yield f"The kill switch stands at {facts.level}."
    for failed in (one for one in facts.incidents if one.kind == "strategy failed"):
        yield f"{failed.what} failed and was not asked again: {failed.detail}."
    yield _course(facts)
    for name, told in told_by(metrics).items():
        if told.passed_over:
            looks = plural(sum(told.passed_over.values()), "time")
            yield f"{name} looked {looks} without a signal: {_most(told.passed_over)}."


def _course(facts: "SessionFacts") -> str:
    """How far signals came."""
    if facts.orders:
        return f"None of {plural(len(facts.orders), 'order')} was filled: {_most(_endings(facts))}."
    if not facts.signals:
        return "No strategy sent a signal."
    refusals = sorted(facts.refusals.values(), key=lambda one: -one.count)
    counts = {one.code: one.count for one in refusals}
    example = f"; for instance {refusals[0].example}" if refusals else ""
    return f"None of {plural(len(facts.signals), 'signal')} came to an order; refused: {_most(counts)}{example}."


def _quoted(metrics: Mapping[str, object]) -> str:
    """How many instruments could have been traded at all; empty where all could, or nobody counted."""
    match metrics.get("quoted"):
        case [int(both), int(tradable)] if both < tradable:
            return f"{both or 'None'} of {plural(tradable, 'tradable instrument')} ever had a bid and an ask."
    return ""


def _endings(facts: "SessionFacts") -> Counter[str]:
    """How orders ended, with the broker's code where there is one."""
    return Counter(f"{one.state} {one.code}".strip() for one in facts.orders.values())


def _most(counts: Mapping[str, int]) -> str:
    """Every reason and its count, the most frequent first."""
    most = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} × {why}" for why, count in most) or "for no recorded reason"  # noqa: RUF001


def chosen(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What strategies chose of the market, by name, of those that said so; raises as `untraded`."""
    return {name: told.about for name, told in told_by(metrics).items() if told.about}
