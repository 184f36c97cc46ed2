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
from typing import Final

from angelx.domain.events import OrderFilled, PositionChanged

REMEMBERED: Final = 1024


class Position:
    """What one strategy holds of one instrument."""

    __slots__ = ("cost", "instrument", "quantity", "realised", "strategy")

    def __init__(self, instrument: str, strategy: str) -> None:
        self.instrument = instrument
        self.strategy = strategy
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
        "_by_instrument", "_executions", "capital", "cash", "fees", "moves", "positions", "realised", "repeated",
    )  # fmt: skip

    def __init__(self, capital: int = 0) -> None:
        self.capital = capital
        self.cash = capital
        self.fees = 0
        self.realised = 0
        """Money locked in by all fills, fees taken off."""
        self.positions: dict[tuple[str, str], Position] = {}
        """By (strategy, instrument); flat ones stay, with what they realised."""
        self.repeated = 0
        """Fills that came a second time and moved nothing."""
        self.moves: deque[tuple[int, str, int]] = deque(maxlen=REMEMBERED)
        """When, what and how many signed units, of the last fills."""
        self._by_instrument: dict[str, list[Position]] = {}
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
        realised = position.apply_fill(side, quantity, price, fee)
        at, units = fill.at, side * quantity
        paid = units * price + fee
        self.cash -= paid
        self.fees += fee
        self.realised += realised
        self.moves.append((at, instrument, units))
        return PositionChanged(
            at, instrument, strategy, position.quantity, position.cost, realised, fill.order, execution, units, paid
        )

    def _open(self, strategy: str, instrument: str) -> Position:
        position = self.positions[strategy, instrument] = Position(instrument, strategy)
        self._by_instrument.setdefault(instrument, []).append(position)
        return position

    def net(self, instrument: str) -> int:
        """Signed units of all strategies together: what the broker should show."""
        return sum([position.quantity for position in self._by_instrument.get(instrument, ())])

    @property
    def cost(self) -> int:
        """Signed money paid for all that is held."""
        return sum(position.cost for position in self.positions.values())
