"""The rows of a session's facts: refusals, orders, round trips, tallies, incidents."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import msgspec

from angelx.domain.events import OrderApproved, OrderEnded, OrderFilled

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local_time(at: int, zone: ZoneInfo) -> datetime:
    """Wall clock of a zone at `at` ns UTC, to the microsecond below."""
    return (_EPOCH + timedelta(microseconds=at // 1_000)).astimezone(zone)


class Incident(msgspec.Struct, frozen=True):
    """Something worth a line: when, of which kind, about what, in which words."""

    at: int
    kind: str
    what: str
    detail: str


class Refusal:
    """How often somebody said no for one reason, with the first case as an example."""

    __slots__ = ("by", "code", "count", "example")

    def __init__(self, by: str, code: str, example: str) -> None:
        self.by = by
        self.code = code
        self.example = example
        self.count = 0


class Tally:
    """Counts and money of one group: a strategy, an hour, a reason."""

    __slots__ = ("fees", "fills", "losses", "neutral", "orders", "realised", "refused", "signals", "wins")

    def __init__(self) -> None:
        self.signals = self.refused = self.orders = self.fills = 0
        self.fees = self.realised = 0
        """Money; `realised` has the fees taken off."""
        self.wins = self.losses = self.neutral = 0
        """Round trips above, below and at 0, net of fees."""

    @property
    def trips(self) -> int:
        """Round trips ended."""
        return self.wins + self.losses + self.neutral

    def count_trip(self, pnl: int) -> None:
        """Count one round trip that made `pnl`."""
        if pnl > 0:
            self.wins += 1
        elif pnl < 0:
            self.losses += 1
        else:
            self.neutral += 1


class OrderFacts:
    """One order of ours from intent to end."""

    __slots__ = (
        "accepted_at", "approved", "beyond_limit", "cancel_why", "code", "detail", "ended_at", "fees", "filled",
        "first_fill_at", "last_fill_at", "outcome", "paid",
    )  # fmt: skip

    def __init__(self, approved: OrderApproved) -> None:
        self.approved = approved
        self.accepted_at = self.first_fill_at = self.last_fill_at = self.ended_at = 0
        """ns; 0 = not yet."""
        self.filled = 0
        self.paid = 0
        """Σ quantity x price of the fills, money without sign: `paid / filled` is the average price."""
        self.fees = 0
        self.beyond_limit = 0
        """Units filled at a price worse than the limit."""
        self.outcome = ""
        """How the broker ended it, empty where it did not say."""
        self.code = self.detail = self.cancel_why = ""
        """Why it ended, as the broker said, and why we took it back."""

    def fill(self, fill: OrderFilled) -> None:
        """Add one execution."""
        self.filled += fill.quantity
        self.paid += fill.quantity * fill.price
        self.fees += fill.fee
        limit = self.approved.limit
        if limit and (fill.price - limit) * fill.side > 0:
            self.beyond_limit += fill.quantity
        self.accepted_at = self.accepted_at or fill.at  # a fill on arrival says it
        self.first_fill_at = self.first_fill_at or fill.at
        self.last_fill_at = fill.at

    def end(self, ended: OrderEnded) -> None:
        """The broker ended it."""
        self.outcome, self.code, self.detail, self.ended_at = ended.outcome, ended.code, ended.detail, ended.at

    @property
    def state(self) -> str:
        """`filled`, the broker's outcome, or `partly filled`, `working`, `sent` where it has not ended."""
        if self.filled >= self.approved.quantity:
            return "filled"
        if self.outcome:
            return self.outcome
        return "partly filled" if self.filled else "working" if self.accepted_at else "sent"

    @property
    def average(self) -> Fraction | None:
        """Average price, exact, 1/10,000; `None` before the first fill."""
        return Fraction(self.paid, self.filled) if self.filled else None

    @property
    def why(self) -> str:
        """Why it ended without all its fills: what made us take it back, else what the broker said."""
        return "" if self.filled >= self.approved.quantity else self.cancel_why or self.detail

    @property
    def slippage(self) -> int:
        """Money paid beyond the touch at the decision: positive is worse, negative is better."""
        return self.approved.side * (self.paid - self.approved.touch * self.filled)

    @property
    def slippage_bps(self) -> float | None:
        """`slippage` per money at the touch, basis points; `None` without a fill or a touch."""
        at_touch = self.approved.touch * self.filled
        return 10_000 * self.slippage / at_touch if at_touch else None


class Trip:
    """A round trip: one strategy in one instrument, from flat to flat."""

    __slots__ = (
        "cash", "closed_at", "entered", "entry_money", "entry_why", "exit_money", "exit_why", "fees", "held",
        "instrument", "opened_at", "side", "strategy",
    )  # fmt: skip

    def __init__(self, strategy: str, first: OrderFilled, why: str) -> None:
        self.strategy = strategy
        self.instrument = first.instrument
        self.side = first.side
        """+1 long, -1 short."""
        self.opened_at = first.at
        self.closed_at = 0
        self.held = 0
        """Units still open, without sign."""
        self.entered = 0
        """Units opened in all; when it is over, as many were closed."""
        self.entry_money = self.exit_money = 0
        """Σ quantity x price on either side."""
        self.fees = 0
        self.cash = 0
        """Money in minus money out, fees included."""
        self.entry_why = why
        self.exit_why = ""

    def fill(self, fill: OrderFilled, units: int, fee: int) -> None:
        """Take `units` of a fill, with their part of its fee."""
        money = units * fill.price
        if fill.side == self.side:
            self.held += units
            self.entered += units
            self.entry_money += money
        else:
            self.held -= units
            self.exit_money += money
        self.fees += fee
        self.cash -= fill.side * money + fee

    @property
    def pnl(self) -> int:
        """What it made, fees taken off; of meaning once it is over."""
        return self.cash

    @property
    def average_entry(self) -> Fraction:
        """Average price paid in, exact, 1/10,000."""
        return Fraction(self.entry_money, self.entered)

    @property
    def average_exit(self) -> Fraction:
        """Average price got out, exact; of what was closed so far (0 before)."""
        closed = self.entered - self.held
        return Fraction(self.exit_money, closed) if closed else Fraction(0)
