"""The money and the positions of one account: what an order needs, what a fill moves, what is free."""

from typing import Final

import msgspec

from angelx.domain.instruments import Instrument, Kind
from angelx.domain.ticks import ASK, BID
from angelx.market.state import Cells, MarketState


class Margin(msgspec.Struct, frozen=True, kw_only=True):
    """What a short position locks, in percent; 0 = such shorts are refused.

    Source: Regulation T, 12 CFR 220.12(c)(1): a short sale of stock needs 150 % of its market value, of which its
    proceeds are 100. Options: the premium received stays locked at its present price, and this share of strike x units
    beside it; a flat stand-in for an exchange's risk model, which knows of no spreads. Longs are paid in full.
    """

    short_equity_pct: int = 150
    short_option_pct: int = 0

    def __post_init__(self) -> None:
        if 0 < self.short_equity_pct < 100 or self.short_equity_pct < 0 or self.short_option_pct < 0:
            raise ValueError("short_equity_pct must be 0 or at least 100, short_option_pct not negative")


class Funds(msgspec.Struct, frozen=True):
    """The account's money, 1/10,000."""

    cash: int
    """Money in the account, the proceeds of short sales included."""
    held: int
    """Held back for working orders."""
    locked: int
    """Locked by short positions."""
    available: int
    """`cash - held - locked`: what new positions may cost. Below 0 nothing but reductions is accepted."""
    equity: int
    """Cash and what the positions would bring or cost at the touch now."""


class Position:
    """Units and money of one instrument."""

    __slots__ = ("buying", "cost", "instrument", "lock_extra", "lock_pct", "place", "quantity", "quote", "selling")

    def __init__(self, instrument: Instrument, place: int, quote: Cells, margin: Margin) -> None:
        self.instrument = instrument
        self.place = place
        self.quote = quote
        self.quantity = 0
        """Signed units."""
        self.cost = 0
        """Signed money paid for what is held, without fees."""
        self.buying = 0
        self.selling = 0
        """Units of working orders."""
        self.lock_pct, self.lock_extra = margin.short_equity_pct, 0
        """What a unit short locks: a percentage of its price, and money beside."""
        if instrument.kind is Kind.OPTION:
            is_allowed = margin.short_option_pct > 0
            self.lock_pct, self.lock_extra = 100 * is_allowed, -(-instrument.strike * margin.short_option_pct // 100)

    def lock(self, price: int) -> int:
        """Money that one unit short locks at a price, its proceeds included; rounded up."""
        return self.lock_extra - (-price * self.lock_pct // 100)


class Account:
    """Cash, holds and positions of one account in one currency."""

    __slots__ = ("_margin", "_state", "cash", "held", "positions", "shorts")

    def __init__(self, cash: int, margin: Margin, state: MarketState) -> None:
        self.cash = cash
        self.held = 0
        """Money held back for working orders."""
        self.positions: Final[dict[int, Position]] = {}
        """By place; every instrument an order came for."""
        self.shorts: Final[dict[int, Position]] = {}
        """Those that are short, by place."""
        self._margin = margin
        self._state = state

    def position(self, place: int) -> Position:
        """The position of an instrument, from now on kept."""
        position = self.positions.get(place)
        if position is None:
            state = self._state
            position = self.positions[place] = Position(state.table[place], place, state.of(place), self._margin)
        return position

    def fill(self, position: Position, side: int, quantity: int, notional: int, fee: int) -> None:
        """Book a fill: it closes first (at average cost, rounded down), then opens."""
        paid, held = side * notional, position.quantity
        self.cash -= paid + fee
        against = -held * side
        if against <= 0:
            position.cost += paid
        elif quantity <= against:
            position.cost -= position.cost * quantity // against
        else:
            position.cost = side * (notional - notional * against // quantity)
        position.quantity = held = held + side * quantity
        if held < 0:
            self.shorts[position.place] = position
        elif self.shorts:
            self.shorts.pop(position.place, None)

    def locked(self) -> int:
        """Money that the short positions lock at what they would cost to close; at their average price unquoted."""
        total = 0
        for position in self.shorts.values():
            price = position.quote[ASK]
            if price <= 0:
                price = position.cost // position.quantity
            total -= position.quantity * position.lock(price)
        return total

    def available(self) -> int:
        """Money that new positions may cost; below 0 only reductions are accepted."""
        return self.cash - self.held - self.locked() if self.shorts else self.cash - self.held

    # ------------------------------------------------------------ what it is worth
    def funds(self) -> Funds:
        """The account's money now."""
        locked = self.locked()
        worth = sum(self.worth(position) for position in self.positions.values())
        return Funds(self.cash, self.held, locked, self.cash - self.held - locked, self.cash + worth)

    def worth(self, position: Position) -> int:
        """What closing a position at the touch would bring; what it cost where that side has no quote."""
        price: int = position.quote[BID if position.quantity > 0 else ASK]
        return position.quantity * price if price > 0 else position.cost
