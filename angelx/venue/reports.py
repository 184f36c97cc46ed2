"""What a broker answers when it is asked for its books: unchanging copies."""

import msgspec

from angelx.venue.account import Position
from angelx.venue.orders import Order


class OrderReport(msgspec.Struct, frozen=True, gc=False):
    """One line of the order book."""

    order: str
    """Client order id."""
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


def order_report(order: Order) -> OrderReport:
    """The order as it stands."""
    return OrderReport(
        order.id, order.broker_order, order.instrument, order.side, order.quantity, order.limit, order.filled,
        order.notional, order.fee, order.state, order.code,
    )  # fmt: skip


def position_report(position: Position) -> PositionReport:
    """The position as it stands."""
    return PositionReport(position.instrument.id, position.quantity, position.cost)
