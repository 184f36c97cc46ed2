"""The pre-trade gate: every order passes every rule, every refusal has a stable code (SPEC 5.4).

A rule answers one question about a draft and the book: `None`, or the numbers that speak against it. Rules of `ALWAYS`
hold for every order; rules of `ENTRIES` only where the order adds risk, so that a reduction is never barred by them.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from angelx.domain.instruments import Instrument, Kind
from angelx.domain.scalars import NS
from angelx.risk.book import Book
from angelx.risk.limits import PPM

SECOND: Final = NS
MINUTE: Final = 60 * NS
OPEN: Final = "open"


class Draft:
    """An order as it would be sent."""

    __slots__ = (
        "age", "ask", "at", "barred", "bid", "closes_at", "instrument", "limit", "max_age", "phase",
        "quantity", "reduces", "side", "strategy", "touch", "urgency", "why",
    )  # fmt: skip

    at: int
    strategy: str
    instrument: Instrument
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


Rule = Callable[[Draft, Book], str | None]


def _within(times: deque[int], now: int, window: int) -> int:
    while times and times[0] <= now - window:
        times.popleft()
    return len(times)


def market_closed(draft: Draft, book: Book) -> str | None:
    """Orders go out only while the segment is open."""
    return None if draft.phase == OPEN else f"{draft.instrument.segment} is {draft.phase}"


def not_tradable(draft: Draft, book: Book) -> str | None:
    """Indices are watched, not traded."""
    return None if draft.instrument.tradable else draft.instrument.id


def no_touch(draft: Draft, book: Book) -> str | None:
    """There must be somebody to trade with."""
    return None if draft.touch > 0 else f"bid {draft.bid}, ask {draft.ask}"


def crossed(draft: Draft, book: Book) -> str | None:
    """A crossed quote is no price."""
    return None if draft.bid <= draft.ask or not draft.ask else f"bid {draft.bid} > ask {draft.ask}"


def collar(draft: Draft, book: Book) -> str | None:
    """The limit stays within the collar of its urgency beyond the touch."""
    width = book.limits.collar_ticks[draft.urgency] * draft.instrument.tick_size
    beyond = (draft.limit - draft.touch) * draft.side
    return None if beyond <= width else f"limit {beyond} beyond the touch > {width}"


def off_tick(draft: Draft, book: Book) -> str | None:
    """The limit is a positive multiple of the tick."""
    tick = draft.instrument.tick_size
    return None if draft.limit > 0 and draft.limit % tick == 0 else f"limit {draft.limit}, tick {tick}"


def off_lot(draft: Draft, book: Book) -> str | None:
    """The quantity is a positive multiple of the lot."""
    lot = draft.instrument.lot_size
    return None if draft.quantity > 0 and draft.quantity % lot == 0 else f"{draft.quantity} units, lot {lot}"


def over_freeze(draft: Draft, book: Book) -> str | None:
    """An order is at most the freeze quantity; one lot of an option where that is unknown."""
    if draft.quantity <= draft.instrument.largest_order:
        return None
    return f"{draft.quantity} units > {draft.instrument.largest_order}"


def order_rate(draft: Draft, book: Book) -> str | None:
    """Orders in any second stay below the exchange's limit; exits have the last two places to themselves."""
    sent, limit = _within(book.sent, draft.at, SECOND), book.limits.orders_per_s
    allowed = limit if draft.reduces else limit - min(2, limit // 2)
    return None if sent < allowed else f"{sent} in 1 s >= {allowed}"


def wash(draft: Draft, book: Book) -> str | None:
    """Opposite orders of ours never rest together."""
    side = book.working_sells if draft.side > 0 else book.working_buys
    units = side.get(draft.instrument.id, 0)
    return None if not units else f"{units} units work on the other side"


def exits_exceed(draft: Draft, book: Book) -> str | None:
    """Working exits never exceed the position (SPEC 5.6)."""
    if not draft.reduces:
        return None
    instrument = draft.instrument.id
    net = book.net.get(instrument, 0)
    working = (book.working_sells if draft.side < 0 else book.working_buys).get(instrument, 0)
    if draft.side * net < 0 and working + draft.quantity <= abs(net):
        return None
    return f"{working} working + {draft.quantity} > position {net}"


def barred(draft: Draft, book: Book) -> str | None:
    """Health or the kill switch bars entries."""
    return draft.barred or None


def stale(draft: Draft, book: Book) -> str | None:
    """An entry rests on a quote that the exchange stamped recently."""
    return None if draft.age <= draft.max_age else f"quote {draft.age / NS:.1f} s old > {draft.max_age / NS:.1f} s"


def spread(draft: Draft, book: Book) -> str | None:
    """An entry crosses no wider spread than its kind allows."""
    width, limits = draft.ask - draft.bid, book.limits
    if draft.bid <= 0:
        return "nobody bids"
    if draft.instrument.kind is Kind.OPTION:
        most = max(limits.spread_ticks * draft.instrument.tick_size, draft.bid * limits.spread_ppm // PPM)
    else:
        most = draft.bid * limits.spread_equity_ppm // PPM
    return None if width <= most else f"{width} > {most}"


def too_late(draft: Draft, book: Book) -> str | None:
    """No new risk at the session's end."""
    left = draft.closes_at - draft.at
    end = book.limits.entries_end_ns
    return None if left > end or not end else f"{left // NS} s before the close <= {end // NS} s"


def max_order(draft: Draft, book: Book) -> str | None:
    """One order is at most a fraction of equity."""
    value = draft.quantity * draft.limit
    return None if value <= book.max_order else f"{value} > {book.max_order}"


def daily_trades(draft: Draft, book: Book) -> str | None:
    """So many filled entries make a day."""
    return None if book.entries < book.limits.max_daily_trades else f"{book.entries} entries filled today"


def max_positions(draft: Draft, book: Book) -> str | None:
    """At most so many instruments at once."""
    taken = book.net.keys() | book.working_buys.keys() | book.working_sells.keys()
    if draft.instrument.id in taken:
        return None
    count = len(taken)
    return None if count < book.limits.max_positions else f"{count} held or being entered"


def naked_short(draft: Draft, book: Book) -> str | None:
    """No option is sold that is not held; equities short only where allowed."""
    if draft.side > 0:
        return None
    instrument = draft.instrument
    after = book.net.get(instrument.id, 0) - book.working_sells.get(instrument.id, 0) - draft.quantity
    if after >= 0 or (book.limits.allow_short and instrument.kind is not Kind.OPTION):
        return None
    return f"would be short {-after} units"


def opposes_other(draft: Draft, book: Book) -> str | None:
    """Strategies do not take opposite sides of one instrument: the account would hold neither."""
    instrument = draft.instrument.id
    others = book.net.get(instrument, 0) - book.held.get((draft.strategy, instrument), 0)
    return None if others * draft.side >= 0 else f"other strategies hold {others}"


def exposure(draft: Draft, book: Book) -> str | None:
    """Value held and working stays below the gross limit; premium below its own."""
    value = draft.quantity * draft.limit
    limit = book.max_premium if draft.instrument.kind is Kind.OPTION else book.max_gross
    total = book.held_cost + book.reserved + value
    return None if total <= limit else f"{total} > {limit}"


def daily_loss(draft: Draft, book: Book) -> str | None:
    """The day's loss bars entries (and halts)."""
    return None if book.equity > book.loss_floor else f"equity {book.equity} <= {book.loss_floor}"


def drawdown(draft: Draft, book: Book) -> str | None:
    """The fall from the peak bars entries (and halts)."""
    return None if book.equity > book.drawdown_floor else f"equity {book.equity} <= {book.drawdown_floor}"


def reject_burst(draft: Draft, book: Book) -> str | None:
    """Many rejects in a minute mean that something is wrong with us."""
    if not book.rejected:
        return None
    count = _within(book.rejected, draft.at, MINUTE)
    return None if count < book.limits.rejects_per_min else f"{count} rejects in 1 min"


def buying_power(draft: Draft, book: Book) -> str | None:
    """Cash, less what works, pays for it."""
    if draft.side < 0:
        return None
    value = draft.quantity * draft.limit
    free = book.cash - book.reserved
    return None if value <= free else f"{value} > {free}"


def duplicate(draft: Draft, book: Book) -> str | None:
    """The same decision on the same quote again is a strategy in a loop."""
    window = book.limits.duplicate_window_ns
    if not window:
        return None
    key = draft.strategy, draft.instrument.id, draft.side
    mark = draft.bid, draft.ask, draft.why
    found = book.fingerprints.get(key)
    book.fingerprints[key] = (draft.at, *mark)
    if found is None or found[1:] != mark or draft.at - found[0] > window:
        return None
    return f"same as {(draft.at - found[0]) / NS:.1f} s ago"


ALWAYS: Final[tuple[Rule, ...]] = (
    market_closed, not_tradable, no_touch, crossed, collar, off_tick, off_lot, over_freeze, order_rate, wash,
    exits_exceed,
)  # fmt: skip
ENTRIES: Final[tuple[Rule, ...]] = (
    barred, stale, spread, too_late, max_order, daily_trades, max_positions, naked_short,
    opposes_other, exposure, daily_loss, drawdown, reject_burst, buying_power, duplicate,
)  # fmt: skip
HALTING: Final = frozenset({"daily_loss", "drawdown", "reject_burst"})
"""Refusals after which nothing more should be tried: the kill switch is latched at HALT."""

_ALWAYS = tuple((rule.__name__, rule) for rule in ALWAYS)
_EVERY = _ALWAYS + tuple((rule.__name__, rule) for rule in ENTRIES)


def objection(draft: Draft, book: Book) -> tuple[str, str] | None:
    """The first rule against the draft, as (code, detail); `None` where all agree."""
    for name, rule in _ALWAYS if draft.reduces else _EVERY:
        detail = rule(draft, book)
        if detail is not None:
            return name, detail
    return None
