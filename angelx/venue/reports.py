"""Reports of the simulated exchange's books."""

from angelx.domain.reports import OrderReport, PositionReport
from angelx.venue.account import Position
from angelx.venue.orders import Order


def order_report(order: Order) -> OrderReport:
    """The order as it stands."""
    return OrderReport(
        order.id, order.broker_order, order.instrument, order.side, order.quantity, order.limit, order.filled,
        order.notional, order.fee, order.state, order.code,
    )  # fmt: skip


def position_report(position: Position) -> PositionReport:
    """The position as it stands."""
    return PositionReport(position.instrument.id, position.quantity, position.cost)
