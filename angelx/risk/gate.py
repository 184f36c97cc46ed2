"""The pre-trade gate: every order passes every rule, every refusal has a stable code (SPEC 5.4).

Rules of `_of_order` hold for every order; those of `_of_entry` and `_of_limits` only where it adds risk, so that a
reduction is never barred by them. One rule is one `if`: this runs before each send, and a call for each rule would cost
more than all of them do.
"""

from collections import deque
from typing import Final

from angelx.domain.instruments import Instrument, Kind
from angelx.domain.scalars import NS
from angelx.risk.book import Book, Line
from angelx.risk.limits import PPM

SECOND: Final = NS
MINUTE: Final = 60 * NS
OPEN: Final = "open"
HALTING: Final = frozenset({"daily_loss", "drawdown", "reject_burst"})
"""Refusals after which nothing more should be tried: the kill switch is latched at HALT."""

Objection = tuple[str, str]
"""Code and the numbers compared."""


class Draft:
    """An order as it would be sent."""

    __slots__ = (
        "age", "ask", "at", "barred", "bid", "closes_at", "instrument", "limit", "line", "max_age", "phase",
        "quantity", "reduces", "side", "strategy", "touch", "urgency", "why",
    )  # fmt: skip

    at: int
    strategy: str
    instrument: Instrument
    line: Line
    """The book's of the instrument."""
    side: int
    quantity: int
    limit: int
    bid: int
    ask: int
    touch: int
    """The price it would fill at now; 0 = nobody quotes that side."""
    reduces: bool
    urgency: int
    why: str
    phase: str
    closes_at: int
    age: int
    """Of the quote, on the exchange's clock, ns."""
    max_age: int
    barred: str
    """Why health or the kill switch bars entries; empty where they do not."""


def objection(draft: Draft, book: Book) -> Objection | None:
    """The first rule against the draft; `None` where all agree."""
    against = _of_order(draft, book)
    if against is None and not draft.reduces:
        against = _of_entry(draft, book) or _of_limits(draft, book)
    return against


def _of_order(draft: Draft, book: Book) -> Objection | None:  # noqa: C901, PLR0911, PLR0912  (one rule, one if)
    """What holds for every order, exits included."""
    instrument, line, limits = draft.instrument, draft.line, book.limits
    side, quantity, limit, touch = draft.side, draft.quantity, draft.limit, draft.touch
    tick, lot = instrument.tick_size, instrument.lot_size
    if draft.phase != OPEN:
        return "market_closed", f"{instrument.segment} is {draft.phase}"
    if not instrument.tradable:  # indices are watched
        return "not_tradable", instrument.id
    if touch <= 0:
        return "no_touch", f"bid {draft.bid}, ask {draft.ask}"
    if draft.bid > draft.ask > 0:
        return "crossed", f"bid {draft.bid} > ask {draft.ask}"
    if (limit - touch) * side > (width := limits.collar_ticks[draft.urgency] * tick):
        return "collar", f"limit {(limit - touch) * side} beyond the touch > {width}"
    if limit <= 0 or limit % tick:
        return "off_tick", f"limit {limit}, tick {tick}"
    if quantity <= 0 or quantity % lot:
        return "off_lot", f"{quantity} units, lot {lot}"
    if quantity > lot and quantity > instrument.largest_order:
        return "over_freeze", f"{quantity} units > {instrument.largest_order}"
    sent, allowed = _within(book.sent, draft.at, SECOND), limits.orders_per_s
    if not draft.reduces:  # exits have the last two places to themselves
        allowed -= 2 if allowed > 3 else allowed // 2
    if sent >= allowed:
        return "order_rate", f"{sent} in 1 s >= {allowed}"
    if other := line.selling if side > 0 else line.buying:
        return "wash", f"{other} units work on the other side"
    if draft.reduces:  # working exits never exceed the position (SPEC 5.6)
        net, working = line.net, line.selling if side < 0 else line.buying
        if side * net >= 0 or working + quantity > abs(net):
            return "exits_exceed", f"{working} working + {quantity} > position {net}"
    return None


def _of_entry(draft: Draft, book: Book) -> Objection | None:  # noqa: PLR0911  (one rule, one if)
    """Whether risk may be added now, here, in this direction."""
    instrument, line, limits = draft.instrument, draft.line, book.limits
    side, bid, is_option = draft.side, draft.bid, instrument.kind is Kind.OPTION
    if draft.barred:
        return "barred", draft.barred
    if draft.age > draft.max_age:
        return "stale", f"quote {draft.age / NS:.1f} s old > {draft.max_age / NS:.1f} s"
    if bid <= 0:
        return "spread", "nobody bids"
    width = draft.ask - bid
    most = bid * (limits.spread_ppm if is_option else limits.spread_equity_ppm) // PPM
    if width > most and (not is_option or width > (most := max(most, limits.spread_ticks * instrument.tick_size))):
        return "spread", f"{width} > {most}"
    if (end := limits.entries_end_ns) and draft.closes_at - draft.at <= end:
        return "too_late", f"{(draft.closes_at - draft.at) // NS} s before the close <= {end // NS} s"
    if side < 0 and (is_option or not limits.allow_short):  # no option is sold that is not held
        after = line.net - line.selling - draft.quantity
        if after < 0:
            return "naked_short", f"would be short {-after} units"
    if (others := line.net - line.held_by(draft.strategy)) * side < 0:  # the account would hold neither
        return "opposes_other", f"other strategies hold {others}"
    return None


def _of_limits(draft: Draft, book: Book) -> Objection | None:  # noqa: PLR0911  (one rule, one if)
    """Whether there is room for more."""
    limits = book.limits
    value = draft.quantity * draft.limit
    if value > book.max_order:
        return "max_order", f"{value} > {book.max_order}"
    if book.entries >= limits.max_daily_trades:
        return "daily_trades", f"{book.entries} entries filled today"
    if len(book.lines) > limits.max_positions:
        taken = sum(line.is_taken for line in book.lines.values() if line is not draft.line)
        if taken >= limits.max_positions and not draft.line.is_taken:
            return "max_positions", f"{taken} held or being entered"
    most = book.max_premium if draft.instrument.kind is Kind.OPTION else book.max_gross
    if book.held_cost + book.reserved + value > most:
        return "exposure", f"{book.held_cost + book.reserved + value} > {most}"
    if book.equity <= book.loss_floor:
        return "daily_loss", f"equity {book.equity} <= {book.loss_floor}"
    if book.equity <= book.drawdown_floor:
        return "drawdown", f"equity {book.equity} <= {book.drawdown_floor}"
    if book.rejected and (count := _within(book.rejected, draft.at, MINUTE)) >= limits.rejects_per_min:
        return "reject_burst", f"{count} rejects in 1 min"
    if draft.side > 0 and value > (free := book.cash - book.reserved):
        return "buying_power", f"{value} > {free}"
    return _duplicate(draft, book) if limits.duplicate_window_ns else None


def _duplicate(draft: Draft, book: Book) -> Objection | None:
    """The same decision on the same quote again is a strategy in a loop."""
    key = draft.strategy, draft.instrument.id, draft.side
    mark = draft.bid, draft.ask, draft.why
    found = book.fingerprints.get(key)
    book.fingerprints[key] = (draft.at, *mark)
    if found is None or found[1:] != mark or draft.at - found[0] > book.limits.duplicate_window_ns:
        return None
    return "duplicate", f"same as {(draft.at - found[0]) / NS:.1f} s ago"


def _within(times: deque[int], now: int, window: int) -> int:
    while times and times[0] <= now - window:
        times.popleft()
    return len(times)
