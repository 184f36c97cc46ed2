"""The one place where fills become positions, profit and cash: used live and when a journal is read back.

Method
------
Average cost. A position is (quantity, cost): signed units held and the signed money paid for them. A fill that adds
puts its money on the cost. A fill that reduces takes its share of the cost away, pro rata and rounded towards zero;
what rounding left stays in the cost and is taken by the last unit, so that a flat position costs exactly 0. A fill
that goes through zero closes all and opens the rest at its own price. Whatever the rounding did, after every fill

    cash = capital + realised - cost

exactly, and a book and its mirror image (every side turned) realise opposite amounts before fees.
"""

from collections import deque
from typing import TYPE_CHECKING, Final

from angelx.domain.events import OrderFilled, PositionChanged

if TYPE_CHECKING:
    from angelx.orders.order import Order

REMEMBERED: Final = 1024


class Line:
    """What one book holds and works of one instrument, all strategies together."""

    __slots__ = ("gap", "net", "positions", "working")

    def __init__(self) -> None:
        self.net = 0
        """Signed units held."""
        self.positions: dict[str, Position] = {}
        """By strategy; flat ones stay."""
        self.working: dict[str, Order] = {}
        """Orders that may still fill, by client order id: kept by `angelx.risk.book`."""
        self.gap = 0
        """Units that the broker's account has more than we, while its books and ours disagree: kept by the
        reconciler."""

    @property
    def at_broker(self) -> int:
        """Signed units that can be closed: what is held, as far as the broker has it."""
        return self.net + self.gap

    @property
    def is_taken(self) -> bool:
        """True while anything is held or works."""
        return bool(self.net or self.working)

    @property
    def buying(self) -> int:
        """Units that working orders may still buy."""
        return sum(order.left for order in self.working.values() if order.approved.side > 0)

    @property
    def selling(self) -> int:
        """Units that working orders may still sell."""
        return sum(order.left for order in self.working.values() if order.approved.side < 0)

    @property
    def cost(self) -> int:
        """Sum of the |money| each strategy paid for what it holds."""
        return sum(abs(position.cost) for position in self.positions.values())


class Position:
    """What one strategy holds of one instrument."""

    __slots__ = ("cost", "instrument", "line", "quantity", "realised", "strategy")

    def __init__(self, instrument: str, strategy: str, line: Line) -> None:
        self.instrument = instrument
        self.strategy = strategy
        self.line = line
        self.quantity = 0
        """Signed units."""
        self.cost = 0
        """Signed money paid for what is held, fees left out: positive when long, negative when short."""
        self.realised = 0
        """Money locked in so far, fees taken off."""

    def apply_fill(self, side: int, quantity: int, price: int, fee: int) -> int:
        """Move the position by one fill and answer the money it locked in, `fee` taken off.

        Parameters
        ----------
        side
            `BUY` or `SELL`.
        quantity
            Units, > 0.
        price, fee
            1/10,000; both may be negative (a spread's price, a rebate).
        """
        units = side * quantity
        held = self.quantity
        if held * side >= 0:
            self.cost += units * price
            realised = -fee
        elif quantity < abs(held):
            share = _share(self.cost, quantity, abs(held))
            self.cost -= share
            realised = -units * price - share - fee
        else:
            realised = held * price - self.cost - fee
            self.cost = (held + units) * price
        self.quantity = held + units
        self.realised += realised
        return realised


def _share(cost: int, part: int, whole: int) -> int:
    """`part` of `whole` of a signed cost, rounded towards zero so that long and short round alike."""
    return cost * part // whole if cost >= 0 else -(-cost * part // whole)


class Ledger:
    """Every position of one book, by (strategy, instrument), with the book's cash.

    Parameters
    ----------
    capital
        Cash at the start, money.
    """

    __slots__ = (
        "_executions", "capital", "cash", "fees", "held_cost", "lines", "moves", "positions", "repeated",
    )  # fmt: skip

    def __init__(self, capital: int = 0) -> None:
        self.capital = capital
        self.cash = capital
        self.fees = 0
        self.positions: dict[tuple[str, str], Position] = {}
        """By (strategy, instrument); flat ones stay, with what they realised."""
        self.lines: dict[str, Line] = {}
        """By instrument, all that were ever held or asked for."""
        self.held_cost = 0
        """Sum of the |money| paid for what is held."""
        self.repeated = 0
        """Fills that came a second time and moved nothing."""
        self.moves: deque[PositionChanged] = deque(maxlen=REMEMBERED)
        """The last fills, as told."""
        self._executions: set[str] = set()

    def apply(self, fill: OrderFilled, strategy: str) -> PositionChanged | None:
        """Fold one fill in; `None` where its execution was applied before.

        A fill without an identity (`execution` empty) cannot be recognised again: it always counts.
        """
        execution = fill.execution
        if execution in self._executions:
            self.repeated += 1
            return None
        if execution:
            self._executions.add(execution)
        instrument, side, quantity, price, fee = fill.instrument, fill.side, fill.quantity, fill.price, fill.fee
        position = self.positions.get((strategy, instrument)) or self._open(strategy, instrument)
        units, before = side * quantity, position.cost
        paid = units * price + fee
        realised = position.apply_fill(side, quantity, price, fee)
        position.line.net += units
        self.held_cost += abs(position.cost) - abs(before)
        self.cash -= paid
        self.fees += fee
        changed = PositionChanged(
            fill.at,
            instrument,
            strategy,
            position.quantity,
            position.cost,
            realised,
            fill.order,
            execution,
            units,
            paid,
        )
        self.moves.append(changed)
        return changed

    def _open(self, strategy: str, instrument: str) -> Position:
        line = self.line(instrument)
        position = line.positions[strategy] = self.positions[strategy, instrument] = Position(
            instrument, strategy, line
        )
        return position

    def line(self, instrument: str) -> Line:
        """What is held and works of an instrument; live."""
        return self.lines.get(instrument) or self.lines.setdefault(instrument, Line())

    def net(self, instrument: str) -> int:
        """Signed units of all strategies together: what the broker should show."""
        line = self.lines.get(instrument)
        return 0 if line is None else line.net

    @property
    def realised(self) -> int:
        """Money locked in by all fills, fees taken off."""
        return sum(position.realised for position in self.positions.values())

    @property
    def cost(self) -> int:
        """Signed money paid for all that is held."""
        return sum(position.cost for position in self.positions.values())
