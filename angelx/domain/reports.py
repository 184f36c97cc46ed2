"""What a broker answers when it is asked for its books: unchanging copies."""

from collections.abc import Iterable

import msgspec


class OrderReport(msgspec.Struct, frozen=True, gc=False):
    """One line of the order book."""

    order: str
    """Client order id; empty where the order is not ours."""
    broker_order: str
    """Empty where the order was refused."""
    instrument: str
    side: int
    quantity: int
    limit: int
    filled: int
    notional: int
    """Money its fills were worth; the average price is `notional / filled`."""
    fee: int
    state: str
    """`working`, `filled`, `cancelled`, `rejected`, `expired`."""
    code: str
    """Why it ended, where it was not filled."""


class PositionReport(msgspec.Struct, frozen=True, gc=False):
    """One position that is not flat."""

    instrument: str
    quantity: int
    """Signed units."""
    cost: int
    """Signed money paid for what is held, without fees."""


def held_in(positions: Iterable[PositionReport]) -> tuple[tuple[str, int], ...]:
    """Signed units by instrument, flat ones left out, in order of name: what `BooksRead` records."""
    return tuple(sorted((report.instrument, report.quantity) for report in positions if report.quantity))


class FundsReport(msgspec.Struct, frozen=True, gc=False):
    """The account's money, 1/10,000 of its currency."""

    cash: int
    available: int
    """What new positions may cost."""
    equity: int
