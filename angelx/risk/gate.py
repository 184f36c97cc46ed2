"""The pre-trade gate: every order passes every rule, every refusal has a stable code (SPEC 5.4).

Rules of `objection` hold for every order, exits included; those of `_of_entry` and `_of_limits` only where it adds
risk, so that a reduction is never barred by them. One rule is one `if`: this runs before each send, and a call for each
rule would cost more than all of them do.
"""

from collections import deque
from typing import Final, Protocol

from angelx.domain.events import Signal
from angelx.domain.instruments import Instrument, Kind
from angelx.domain.scalars import NS
from angelx.market.state import Cells
from angelx.risk.book import Book, Line
from angelx.risk.limits import PPM, Limits

SECOND: Final = NS
MINUTE: Final = 60 * NS
OPEN: Final = "open"
HALTING: Final = frozenset({"daily_loss", "drawdown", "reject_burst"})
"""Refusals after which nothing more should be tried: the kill switch is latched at HALT."""

Objection = tuple[str, str]
"""Code and the numbers compared."""


class Terms:
    """What the limits mean for one instrument: looked up once, asked of each order."""

    __slots__ = (
        "collars", "id", "is_option", "largest", "lot", "segment", "spread_floor", "spread_ppm", "tick", "tradable",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, limits: Limits) -> None:
        self.id, self.segment, self.tradable = instrument.id, instrument.segment, instrument.tradable
        self.is_option = is_option = instrument.kind is Kind.OPTION
        self.tick = tick = instrument.tick_size
        self.lot = instrument.lot_size
        self.largest = instrument.largest_order
        """Units in one order."""
        self.collars = tuple(ticks * tick for ticks in limits.collar_ticks)
        """Price beyond the touch that may be paid, by urgency."""
        self.spread_ppm = limits.spread_ppm if is_option else limits.spread_equity_ppm
        self.spread_floor = limits.spread_ticks * tick if is_option else 0
        """A spread this wide is always allowed."""


class Hours(Protocol):
    """The session of an instrument's segment, live."""

    phase: str
    closes_at: int
    """ns; 0 where there was none yet."""


class Draft:
    """An order in one instrument as it would be sent; the same object for each, filled in anew."""

    __slots__ = (
        "age", "ask", "barred", "bid", "held", "hours", "limit", "line", "max_age", "quantity", "quote", "reduces",
        "side", "signal", "terms", "touch",
    )  # fmt: skip

    def __init__(self, terms: Terms, line: Line, quote: Cells, hours: Hours) -> None:
        self.terms, self.line, self.quote, self.hours = terms, line, quote, hours
        """Limits, exposure, last quote and session of the instrument; the last three are live."""

    signal: Signal
    held: int
    """Signed units of it that the signal's strategy holds."""
    side: int
    quantity: int
    limit: int
    bid: int
    ask: int
    touch: int
    """The price it would fill at now; 0 = nobody quotes that side."""
    reduces: bool
    age: int
    """Of the quote, on the exchange's clock, ns."""
    max_age: int
    barred: str
    """Why health or the kill switch bars entries; empty where they do not."""


def objection(draft: Draft, book: Book) -> Objection | None:  # noqa: C901, PLR0911, PLR0912  (one rule, one if)
    """The first rule against the draft; `None` where all agree."""
    terms, line, signal = draft.terms, draft.line, draft.signal
    side, quantity, limit, touch = draft.side, draft.quantity, draft.limit, draft.touch
    tick, lot = terms.tick, terms.lot
    if draft.hours.phase != OPEN:
        return "market_closed", f"{terms.segment} is {draft.hours.phase}"
    if not terms.tradable:  # indices are watched
        return "not_tradable", terms.id
    if touch <= 0:
        return "no_touch", f"bid {draft.bid}, ask {draft.ask}"
    if draft.bid > draft.ask > 0:
        return "crossed", f"bid {draft.bid} > ask {draft.ask}"
    if (limit - touch) * side > (width := terms.collars[signal.urgency]):
        return "collar", f"limit {(limit - touch) * side} beyond the touch > {width}"
    if limit <= 0 or limit % tick:
        return "off_tick", f"limit {limit}, tick {tick}"
    if quantity <= 0 or quantity % lot:
        return "off_lot", f"{quantity} units, lot {lot}"
    if quantity > terms.largest:
        return "over_freeze", f"{quantity} units > {terms.largest}"
    sent, since = book.sent, signal.at - SECOND
    while sent and sent[0] <= since:
        sent.popleft()
    if len(sent) >= (allowed := book.exits_per_s if draft.reduces else book.entries_per_s):
        return "order_rate", f"{len(sent)} in 1 s >= {allowed}"
    if other := line.selling if side > 0 else line.buying:
        return "wash", f"{other} units work on the other side"
    if draft.reduces:  # working exits never exceed the position (SPEC 5.6)
        net, working = line.net, line.selling if side < 0 else line.buying
        if side * net >= 0 or working + quantity > abs(net):
            return "exits_exceed", f"{working} working + {quantity} > position {net}"
        return None
    return _of_entry(draft, book)


def _of_entry(draft: Draft, book: Book) -> Objection | None:  # noqa: PLR0911  (one rule, one if)
    """Whether risk may be added now, here, in this direction."""
    terms, line, limits, side, bid = draft.terms, draft.line, book.limits, draft.side, draft.bid
    if draft.barred:
        return "barred", draft.barred
    if draft.age > draft.max_age:
        return "stale", f"quote {draft.age / NS:.1f} s old > {draft.max_age / NS:.1f} s"
    if bid <= 0:
        return "spread", "nobody bids"
    width = draft.ask - bid
    if width * PPM > bid * terms.spread_ppm and width > terms.spread_floor:
        return "spread", f"{width} > {max(bid * terms.spread_ppm // PPM, terms.spread_floor)}"
    if (end := limits.entries_end_ns) and (left := draft.hours.closes_at - draft.signal.at) <= end:
        return "too_late", f"{left // NS} s before the close <= {end // NS} s"
    if side < 0 and (terms.is_option or not limits.allow_short):  # no option is sold that is not held
        after = line.net - line.selling - draft.quantity
        if after < 0:
            return "naked_short", f"would be short {-after} units"
    if (others := line.net - draft.held) * side < 0:  # the account would hold neither
        return "opposes_other", f"other strategies hold {others}"
    return _of_limits(draft, book)


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
    most = book.max_premium if draft.terms.is_option else book.max_gross
    if (gross := book.held_cost + book.reserved + value) > most:
        return "exposure", f"{gross} > {most}"
    if book.equity <= book.loss_floor:
        return "daily_loss", f"equity {book.equity} <= {book.loss_floor}"
    if book.equity <= book.drawdown_floor:
        return "drawdown", f"equity {book.equity} <= {book.drawdown_floor}"
    if book.rejected and (count := _within(book.rejected, draft.signal.at, MINUTE)) >= limits.rejects_per_min:
        return "reject_burst", f"{count} rejects in 1 min"
    if draft.side > 0 and value > (free := book.cash - book.reserved):
        return "buying_power", f"{value} > {free}"
    return _duplicate(draft, book) if limits.duplicate_window_ns else None


def _duplicate(draft: Draft, book: Book) -> Objection | None:
    """The same decision on the same quote again is a strategy in a loop."""
    signal = draft.signal
    key = signal.strategy, draft.terms.id, draft.side
    mark = draft.bid, draft.ask, signal.why
    found = book.fingerprints.get(key)
    book.fingerprints[key] = (signal.at, *mark)
    if found is None or found[1:] != mark or signal.at - found[0] > book.limits.duplicate_window_ns:
        return None
    return "duplicate", f"same as {(signal.at - found[0]) / NS:.1f} s ago"


def _within(times: deque[int], now: int, window: int) -> int:
    while times and times[0] <= now - window:
        times.popleft()
    return len(times)
