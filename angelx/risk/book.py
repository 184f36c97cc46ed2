"""The book that risk decides on: cash, positions, what works and is reserved, equity, and the day's limits."""

from collections import deque

from angelx.domain.events import EquityMarked, OrderApproved, OrderClosed, OrderFilled, Signal
from angelx.risk.limits import PPM, Limits


class OpenOrder:
    """An order that may still fill, as exposure."""

    __slots__ = ("filled", "instrument", "limit", "reduces", "remaining", "side", "strategy")

    def __init__(self, order: OrderApproved) -> None:
        self.instrument, self.strategy, self.side = order.instrument, order.strategy, order.side
        self.remaining, self.limit, self.reduces = order.quantity, order.limit, order.reduces
        self.filled = False


class Book:
    """A fold of approvals, fills, ends and marks. Exposure is reserved at approval, at the limit price.

    Money in 1/10,000. Everything here is of one account in one currency.
    """

    def __init__(self, capital: int, limits: Limits) -> None:
        self.limits = limits
        self.cash = capital
        self.net: dict[str, int] = {}
        """Units held, all strategies together."""
        self.held: dict[tuple[str, str], int] = {}
        """Units held by (strategy, instrument)."""
        self.cost: dict[str, int] = {}
        """Money paid for what is held, by instrument; kept while a position is open."""
        self.orders: dict[str, OpenOrder] = {}
        self.working_buys: dict[str, int] = {}
        self.working_sells: dict[str, int] = {}
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
        self._owners: dict[str, str] = {}
        """Strategy by order, also of orders that have ended: a late fill is still its position."""
        self._executions: set[str] = set()
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
        if order.order in self._owners:  # the router refuses it
            return
        self._owners[order.order] = order.strategy
        self.orders[order.order] = OpenOrder(order)
        side = self.working_buys if order.side > 0 else self.working_sells
        side[order.instrument] = side.get(order.instrument, 0) + order.quantity
        if not order.reduces:
            self.reserved += order.quantity * order.limit
        self.sent.append(order.at)

    def fill(self, fill: OrderFilled) -> None:
        """Move cash and positions, and release what was reserved for the filled part."""
        if fill.execution in self._executions:  # reported again: it is one fill
            return
        if fill.execution:
            self._executions.add(fill.execution)
        instrument, units = fill.instrument, fill.side * fill.quantity
        self.cash -= units * fill.price + fill.fee
        before = self.net.get(instrument, 0)
        after = before + units
        self._cost(instrument, before, after, units * fill.price)
        key = self._owners.get(fill.order, ""), instrument
        held = self.held.get(key, 0) + units
        if held:
            self.held[key] = held
        else:
            self.held.pop(key, None)
        order = self.orders.get(fill.order)
        if order is None:
            return
        if not order.reduces and not order.filled:
            self.entries += 1
        order.filled = True
        if order.remaining:
            self._release(order, min(fill.quantity, order.remaining))

    def _cost(self, instrument: str, before: int, after: int, paid: int) -> None:
        cost = self.cost.get(instrument, 0)
        self.held_cost -= abs(cost)
        if not after:
            self.net.pop(instrument, None)
            self.cost.pop(instrument, None)
            return
        self.net[instrument] = after
        if before * after < 0:  # through zero: what is held now was paid for now
            self.cost[instrument] = paid * after // (after - before)
        elif abs(after) < abs(before):
            self.cost[instrument] = cost * after // before
        else:
            self.cost[instrument] = cost + paid
        self.held_cost += abs(self.cost[instrument])

    def close(self, event: OrderClosed) -> None:
        """Release what an ended order had reserved."""
        order = self.orders.pop(event.order, None)
        if order is not None and order.remaining:
            self._release(order, order.remaining)
        if event.outcome == "rejected":
            self.rejected.append(event.at)

    def _release(self, order: OpenOrder, units: int) -> None:
        order.remaining -= units
        side = self.working_buys if order.side > 0 else self.working_sells
        left = side[order.instrument] - units
        if left:
            side[order.instrument] = left
        else:
            del side[order.instrument]
        if not order.reduces:
            self.reserved -= units * order.limit

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
    def working_exit(self, strategy: str, instrument: str) -> bool:
        """True while an order that reduces this strategy's position works."""
        return any(
            order.reduces and order.instrument == instrument and order.strategy == strategy
            for order in self.orders.values()
        )

    @property
    def gross(self) -> int:
        """Money paid for what is held, both sides added, and reserved by what works."""
        return self.held_cost + self.reserved
