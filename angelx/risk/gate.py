"""The pre-trade gate: every order passes every rule, every refusal has a stable code (SPEC 5.4).

The first rules of `objection` hold for every order, exits included; where a reduction has passed them it is let out, so
that it is never barred by the rules of entries below. One rule is one `if`, and all of them are one function: this runs
before each send, and a call for each rule would cost more than all of them do.
"""

from collections import deque
from typing import Final, Protocol

import msgspec

from angelx.domain.events import Signal
from angelx.domain.instruments import Instrument, Kind
from angelx.domain.scalars import NS
from angelx.domain.ticks import EXCHANGE_AT
from angelx.market.state import Cells
from angelx.orders.ledger import Line
from angelx.risk.book import Book
from angelx.risk.limits import PPM, Limits

SECOND: Final = NS
MINUTE: Final = 60 * NS
OPEN: Final = "open"
HALTING: Final = frozenset({"reject_burst"})
"""Refusals after which nothing more should be tried: the kill switch is latched at HALT."""

Objection = tuple[str, str]
"""Code and the numbers compared."""


class Terms:
    """What the limits mean for one instrument: looked up once, asked of each order."""

    __slots__ = (
        "collars", "entries_end_ns", "id", "is_option", "largest", "lot", "may_cross", "may_short", "segment",
        "spread_floor", "spread_ppm", "tick", "tradable",
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
        self.may_short = limits.allow_short and not is_option
        self.may_cross = limits.allow_cross
        self.entries_end_ns = limits.entries_end_ns


class Hours(Protocol):
    """The session of an instrument's segment, live."""

    phase: str
    closes_at: int
    """ns; 0 where there was none yet."""


class Age(Protocol):
    """How old a quote may be, live."""

    max_age_ns: int


class Stand:
    """What an order in one instrument is measured by: looked up once; all but the terms is live."""

    __slots__ = ("freshness", "hours", "line", "quote", "terms")

    def __init__(self, terms: Terms, line: Line, quote: Cells, hours: Hours, freshness: Age) -> None:
        self.terms = terms
        self.line = line
        """What is held and works."""
        self.quote = quote
        """The last row."""
        self.hours = hours
        self.freshness = freshness


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An order as it would be sent."""

    signal: Signal
    held: int
    """Signed units of the instrument that the signal's strategy holds."""
    side: int
    quantity: int
    limit: int
    bid: int
    ask: int
    touch: int
    """The price it would fill at now; 0 = nobody quotes that side."""
    reduces: bool


def objection(draft: Draft, stand: Stand, book: Book) -> Objection | None:  # noqa: C901, PLR0911, PLR0912  (see above)
    """The first rule against the draft; `None` where all agree."""
    terms, line, hours = stand.terms, stand.line, stand.hours
    signal, side, quantity, limit, touch = draft.signal, draft.side, draft.quantity, draft.limit, draft.touch
    bid, ask, at, reduces = draft.bid, draft.ask, signal.at, draft.reduces
    if hours.phase != OPEN:
        return "market_closed", f"{terms.segment} is {hours.phase}"
    if not terms.tradable:  # indices are watched
        return "not_tradable", terms.id
    if touch <= 0:
        return "no_touch", f"bid {bid}, ask {ask}"
    if bid > ask > 0:
        return "crossed", f"bid {bid} > ask {ask}"
    if (limit - touch) * side > (width := terms.collars[signal.urgency]):
        return "collar", f"limit {(limit - touch) * side} beyond the touch > {width}"
    if limit <= 0 or limit % terms.tick:
        return "off_tick", f"limit {limit}, tick {terms.tick}"
    if quantity <= 0 or quantity % terms.lot:
        return "off_lot", f"{quantity} units, lot {terms.lot}"
    if quantity > terms.largest:
        return "over_freeze", f"{quantity} units > {terms.largest}"
    sent, allowed = book.sent, book.exits_per_s if reduces else book.entries_per_s
    if len(sent) >= allowed and (not allowed or sent[-allowed] > at - SECOND):
        return "order_rate", f"{sum(one > at - SECOND for one in sent)} in 1 s >= {allowed}"
    working = 0
    if line.working:
        working, other = (line.buying, line.selling) if side > 0 else (line.selling, line.buying)
        if other:
            return "wash", f"{other} units work on the other side"
    if reduces:  # working exits never exceed the position (SPEC 5.6)
        net = line.net
        if side * net >= 0 or working + quantity > abs(net):
            return "exits_exceed", f"{working} working + {quantity} > position {net}"
        return None

    # ------------------------------------------------------------ whether risk may be added now, here, this way
    if book.barred:
        return "barred", book.barred
    if (age := at - stand.quote[EXCHANGE_AT]) > (oldest := stand.freshness.max_age_ns):
        return "stale", f"quote {age / NS:.1f} s old > {oldest / NS:.1f} s"
    if bid <= 0:
        return "spread", "nobody bids"
    width = ask - bid
    if width > terms.spread_floor and width * PPM > bid * terms.spread_ppm:
        return "spread", f"{width} > {max(bid * terms.spread_ppm // PPM, terms.spread_floor)}"
    if terms.entries_end_ns and (left := hours.closes_at - at) <= terms.entries_end_ns:
        return "too_late", f"{left // NS} s before the close <= {terms.entries_end_ns // NS} s"
    if side < 0 and not terms.may_short:  # no option is sold that is not held
        after = line.net - working - quantity
        if after < 0:
            return "naked_short", f"would be short {-after} units"
    if (others := line.net - draft.held) * side < 0:  # the account would hold neither
        return "opposes_other", f"other strategies hold {others}"

    # ------------------------------------------------------------ whether there is room for more
    limits, ledger = book.limits, book.ledger
    value = quantity * limit
    if value > book.max_order:
        return "max_order", f"{value} > {book.max_order}"
    if book.entries >= limits.max_daily_trades:
        return "daily_trades", f"{book.entries} entries filled today"
    if len(ledger.lines) > limits.max_positions:
        taken = sum(one.is_taken for one in ledger.lines.values() if one is not line)
        if taken >= limits.max_positions and not line.is_taken:
            return "max_positions", f"{taken} held or being entered"
    most = book.max_premium if terms.is_option else book.max_gross
    if (gross := ledger.held_cost + book.reserved + value) > most:
        return "exposure", f"{gross} > {most}"
    if book.equity <= book.loss_floor:
        return "daily_loss", f"equity {book.equity} <= {book.loss_floor}"
    if book.equity <= book.drawdown_floor:
        return "drawdown", f"equity {book.equity} <= {book.drawdown_floor}"
    if book.rejected and (count := _within(book.rejected, at, MINUTE)) >= limits.rejects_per_min:
        return "reject_burst", f"{count} rejects in 1 min"
    if side > 0 and value > (free := ledger.cash - book.reserved):
        return "buying_power", f"{value} > {free}"
    return _duplicate(signal, side, bid, ask, book) if limits.duplicate_window_ns else None


def _duplicate(signal: Signal, side: int, bid: int, ask: int, book: Book) -> Objection | None:
    """The same decision on the same quote again is a strategy in a loop."""
    key = signal.strategy, signal.instrument, side
    mark = bid, ask, signal.why
    found = book.fingerprints.get(key)
    book.fingerprints[key] = (signal.at, *mark)
    if found is None or found[1:] != mark or signal.at - found[0] > book.limits.duplicate_window_ns:
        return None
    return "duplicate", f"same as {(signal.at - found[0]) / NS:.1f} s ago"


def _within(times: deque[int], now: int, window: int) -> int:
    while times and times[0] <= now - window:
        times.popleft()
    return len(times)
