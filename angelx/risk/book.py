"""The book that risk decides on: cash, positions, what works and is reserved, equity, and the day's limits."""

from collections import deque
from collections.abc import Container

import msgspec

from angelx.domain.events import EquityMarked, OrderApproved, OrderClosed, PositionChanged, Signal
from angelx.risk.limits import PPM, Limits


class Line:
    """What the account holds and works of one instrument, all strategies together."""

    __slots__ = ("buying", "cost", "held", "net", "reserved", "selling")

    def __init__(self) -> None:
        self.net = 0
        """Signed units held."""
        self.cost = 0
        """Sum of the |money| each strategy paid for what it holds."""
        self.held: dict[str, PositionChanged] = {}
        """What each strategy holds, by its last change; flat ones left out."""
        self.buying = 0
        self.selling = 0
        """Units of working orders."""
        self.reserved = 0
        """Money that working entries would cost."""

    @property
    def is_taken(self) -> bool:
        """True while anything is held or works."""
        return bool(self.net or self.buying or self.selling)


class OpenOrder(msgspec.Struct, gc=False):
    """An order that may still fill, as exposure."""

    line: Line
    strategy: str
    side: int
    remaining: int
    reduces: bool
    unit: int
    """Money that each unit reserves: the limit of an entry."""
    filled: bool = False


class Book:
    """A fold of approvals, position changes, ends and marks. Exposure is reserved at approval, at the limit price.

    Money in 1/10,000. Everything here is of one account in one currency.
    """

    def __init__(self, capital: int, limits: Limits, known: Container[str] = ()) -> None:
        self.limits = limits
        most = self.exits_per_s = limits.orders_per_s
        self.entries_per_s = most - (2 if most > 3 else most // 2)
        """Exits have the last two places to themselves."""
        self._known = known
        """Orders approved before: the router sends none of them again."""
        self.cash = capital
        self.lines: dict[str, Line] = {}
        """By instrument, everyone that was ever held or ordered."""
        self.orders: dict[str, OpenOrder] = {}
        self.reserved = 0
        """Money that working entries would cost."""
        self.sent: deque[int] = deque()
        self.rejected: deque[int] = deque()
        self.fingerprints: dict[tuple[str, str, int], tuple[int, int, int, str]] = {}
        self.held_cost = 0
        """Sum of |cost|."""
        self.entries = 0
        """Entries of this session that filled, at least in part."""
        self.equity = self.day_start = self.peak = capital
        self.day = ""
        """Exchange date that the day's limits count from."""
        self._caps()

    def _caps(self) -> None:
        limits, equity = self.limits, max(self.equity, 0)
        self.risk_per_trade = equity * limits.risk_per_trade_ppm // PPM
        self.max_order = equity * limits.max_order_ppm // PPM
        self.max_premium = equity * limits.premium_at_risk_ppm // PPM
        self.max_gross = equity * limits.gross_ppm // PPM
        self.max_name = equity * limits.name_ppm // PPM
        self.loss_floor = self.day_start - self.day_start * limits.daily_loss_ppm // PPM
        self.drawdown_floor = self.peak - self.peak * limits.drawdown_ppm // PPM

    # ------------------------------------------------------------ folds
    def reserve(self, order: OrderApproved) -> None:
        """Count an approved order as exposure from now on."""
        if order.order not in self._known:
            self.readmit(order)
            self.sent.append(order.at)

    def readmit(self, order: OrderApproved) -> None:
        """Count an order as exposure that nobody counts: a new one, or one that was given up and has arrived."""
        line = self.lines.get(order.instrument) or self.line(order.instrument)
        side, quantity, reduces = order.side, order.quantity, order.reduces
        unit = 0 if reduces else order.limit
        self.orders[order.order] = OpenOrder(line, order.strategy, side, quantity, reduces, unit)
        if side > 0:
            line.buying += quantity
        else:
            line.selling += quantity
        if unit:
            value = quantity * unit
            self.reserved += value
            line.reserved += value

    def move(self, event: PositionChanged) -> None:
        """A fill moved a position: take it over, and release what was reserved for the filled part."""
        line = self.lines.get(event.instrument) or self.line(event.instrument)
        held, strategy, units, more = line.held, event.strategy, event.units, abs(event.cost)
        before = held.get(strategy)
        if before is not None:
            more -= abs(before.cost)
        if event.quantity:
            held[strategy] = event
        elif before is not None:
            del held[strategy]
        line.net += units
        if more:
            line.cost += more
            self.held_cost += more
        self.cash -= event.paid
        order = self.orders.get(event.order)
        if order is None:
            return
        if not order.filled:
            order.filled = True
            self.entries += not order.reduces
        if order.remaining:
            units = abs(units)
            self._release(order, units if units < order.remaining else order.remaining)  # noqa: FURB136  (0.1 us)

    def close(self, event: OrderClosed) -> None:
        """Release what an ended order had reserved."""
        order = self.orders.pop(event.order, None)
        if order is not None and order.remaining:
            self._release(order, order.remaining)
        if event.outcome == "rejected":
            self.rejected.append(event.at)

    def _release(self, order: OpenOrder, units: int) -> None:
        order.remaining -= units
        line = order.line
        if order.side > 0:
            line.buying -= units
        else:
            line.selling -= units
        if order.unit:
            value = units * order.unit
            self.reserved -= value
            line.reserved -= value

    def mark(self, event: EquityMarked) -> None:
        """Take the book's value: caps and floors follow it."""
        self.equity = event.equity
        self.peak = max(self.peak, event.equity)
        self._caps()

    def new_day(self, day: str) -> None:
        """A session opens: the day's loss counts from here, unless it did so before (a restart, a second sitting)."""
        if day == self.day:
            return
        self.day, self.day_start = day, self.equity
        self.entries = 0
        self.fingerprints.clear()
        self._caps()

    def remember(self, signal: Signal, side: int) -> None:
        """An entry on this signal came as far as the duplicate guard; when a journal is read back."""
        if self.limits.duplicate_window_ns:
            mark = signal.at, signal.bid, signal.ask, signal.why
            self.fingerprints[signal.strategy, signal.instrument, side] = mark

    # ------------------------------------------------------------ questions
    def line(self, instrument: str) -> Line:
        """What is held and works of an instrument; live."""
        return self.lines.setdefault(instrument, Line())

    def working_exit(self, strategy: str, line: Line) -> bool:
        """True while an order that reduces this strategy's position works."""
        return any(
            order.reduces and order.line is line and order.strategy == strategy for order in self.orders.values()
        )

    @property
    def net(self) -> dict[str, int]:
        """Signed units held, by instrument; flat ones left out."""
        return {name: line.net for name, line in self.lines.items() if line.net}

    @property
    def held(self) -> dict[tuple[str, str], int]:
        """Signed units held, by (strategy, instrument); flat ones left out."""
        return {
            (strategy, name): position.quantity
            for name, line in self.lines.items()
            for strategy, position in line.held.items()
        }

    @property
    def gross(self) -> int:
        """Money paid for what is held, both sides added, and reserved by what works."""
        return self.held_cost + self.reserved
