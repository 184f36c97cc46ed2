"""The book that risk decides on: the ledger, what works and is reserved, equity, and the day's limits."""

from collections import deque

from angelx.domain.events import EquityMarked, OrderApproved, Signal
from angelx.orders.ledger import Ledger, Line
from angelx.orders.order import Order
from angelx.orders.states import State
from angelx.risk.limits import PPM, Limits

REJECTED = State.REJECTED


class Book:
    """A fold of approvals, fills, ends and marks. Exposure is reserved at approval, at the limit price.

    What is held is the ledger's to say: there is one record of it (docs/adr/0006). Money in 1/10,000. Everything here
    is of one account in one currency.
    """

    def __init__(self, ledger: Ledger, limits: Limits) -> None:
        self.ledger, self.limits = ledger, limits
        most = self.exits_per_s = limits.orders_per_s
        self.entries_per_s = most - (2 if most > 3 else most // 2)
        """Exits have the last two places to themselves."""
        self.orders: dict[str, Order] = {}
        """Every order that was ever approved, by client order id."""
        self.live: dict[str, Order] = {}
        """Approved and not ended."""
        self.reserved = 0
        """Money that working entries would cost."""
        self.sent: deque[int] = deque(maxlen=most)
        """When the last orders were approved: as many as may be in a second."""
        self.rejected: deque[int] = deque()
        self.fingerprints: dict[tuple[str, str, int], tuple[int, int, int, str]] = {}
        self.entries = 0
        """Entries of this session that filled, at least in part."""
        self.equity = self.day_start = self.peak = ledger.capital
        self.day = ""
        """Exchange date that the day's limits count from."""
        self.barred = ""
        """Why health or the kill switch bars entries; empty where they do not."""
        self.decided_by = ""
        """What orders say that they rest on (`OrderApproved.decided_by`)."""
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
    def reserve(self, approved: OrderApproved) -> Order:
        """Count an approved order as exposure from now on; one of that id that was approved before stays as it is."""
        name = approved.order
        order = self.orders.get(name)
        if order is None:
            line, unit = self.ledger.line(approved.instrument), 0 if approved.reduces else approved.limit
            order = self.orders[name] = self.live[name] = line.working[name] = Order(approved, line, unit)
            self.reserved += approved.quantity * unit
            self.sent.append(approved.at)
        return order

    def readmit(self, order: Order) -> None:
        """Count an order again as exposure that was given up and has arrived."""
        name = order.approved.order
        self.live[name] = order.line.working[name] = order
        self.reserved += order.left * order.unit

    def fill(self, order: Order, units: int) -> int:
        """Units of an order traded: they are held now, and not reserved any more. Answers all that has traded of it."""
        approved, before = order.approved, order.filled
        if not before and not approved.reduces:
            self.entries += 1
        order.filled = filled = before + units
        if order.unit and approved.order in self.live:
            quantity = approved.quantity
            self.reserved -= (units if filled <= quantity else max(quantity - before, 0)) * order.unit
        return filled

    def close(self, order: Order, at: int) -> None:
        """An order ended: nothing is reserved for it any more."""
        name = order.approved.order
        if self.live.pop(name, None) is not None:
            del order.line.working[name]
            if order.filled < order.approved.quantity:
                self.reserved -= order.left * order.unit
        if order.state == REJECTED:
            self.rejected.append(at)

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
    def working_exit(self, strategy: str, line: Line) -> bool:
        """True while an order that reduces this strategy's position works."""
        return any(one.approved.reduces and one.approved.strategy == strategy for one in line.working.values())

    def exiting(self, strategy: str, line: Line) -> int:
        """Units that working exits of this strategy may still trade."""
        of = [one for one in line.working.values() if one.approved.reduces and one.approved.strategy == strategy]
        return sum(one.left for one in of)

    def reserved_in(self, line: Line) -> int:
        """Money that working entries of one instrument would cost."""
        return sum(order.left * order.unit for order in line.working.values())

    @property
    def net(self) -> dict[str, int]:
        """Signed units held, by instrument; flat ones left out."""
        return {name: line.net for name, line in self.ledger.lines.items() if line.net}

    @property
    def held(self) -> dict[tuple[str, str], int]:
        """Signed units held, by (strategy, instrument); flat ones left out."""
        return {key: position.quantity for key, position in self.ledger.positions.items() if position.quantity}

    @property
    def gross(self) -> int:
        """Money paid for what is held, both sides added, and reserved by what works."""
        return self.ledger.held_cost + self.reserved
