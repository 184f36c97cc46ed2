"""What a journal says about the orders that an earlier process had at the venue."""

from collections.abc import Iterable

import msgspec

from angelx.domain.errors import JournalBroken
from angelx.domain.events import CancelRequested, Event, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.venue.orders import BROKER_PREFIX, Order


class Recovered(msgspec.Struct):
    """Orders as they were reported, and every fill once."""

    orders: list[Order]
    """In the order of their first report."""
    fills: list[OrderFilled]
    cancels: list[str]
    """Client order ids whose cancel was asked for and not answered."""
    executions: int
    """Highest number of an execution id."""
    at: int
    """Time of the last event."""


def recover(events: Iterable[Event], tif: str) -> Recovered:
    """Orders and fills from recorded events, oldest first; other kinds of events are passed over.

    An approved order of which nothing was reported never came to the venue. A report in flight when the process ended
    was never recorded: what it said has not happened.

    Raises
    ------
    JournalBroken
        A report is of an order that was never approved.
    """
    reader = _Reader(tif)
    for event in events:
        reader.read(event)
    return reader.recovered()


class _Reader:
    def __init__(self, tif: str) -> None:
        self._tif = tif
        self._approved: dict[str, OrderApproved] = {}
        self._orders: dict[str, Order] = {}
        self._fills: dict[str, OrderFilled] = {}
        self._cancels: dict[str, None] = {}
        self._at = 0

    def read(self, event: Event) -> None:
        self._at = event.at
        match event:
            case OrderApproved():
                self._approved[event.order] = event
            case OrderAccepted():
                self._accepted(event)
            case OrderFilled():
                self._accepted(event)
                self._fills.setdefault(event.execution, event)
            case OrderEnded() if event.outcome != "absent":
                order = self._reported(event)
                order.state, order.code = event.outcome, event.code
            case CancelRequested():
                self._cancels[event.order] = None

    def _accepted(self, event: OrderAccepted | OrderFilled) -> None:
        """A fill on arrival says so itself."""
        self._reported(event).broker_order = BROKER_PREFIX + event.order

    def _reported(self, event: OrderAccepted | OrderFilled | OrderEnded) -> Order:
        order = self._orders.get(event.order)
        if order is None:
            intent = self._approved.get(event.order)
            if intent is None:
                raise JournalBroken(f"{event}: no order of that id was approved before")
            order = Order(intent.order, intent.instrument, intent.side, intent.quantity, intent.limit, self._tif)
            order.state, order.number = "working", len(self._orders) + 1
            self._orders[order.id] = order
        return order

    def recovered(self) -> Recovered:
        orders, fills = list(self._orders.values()), list(self._fills.values())
        filled = dict.fromkeys(self._orders, 0)
        for fill in fills:
            filled[fill.order] += fill.quantity
        for order in orders:
            if filled[order.id] >= order.quantity:
                order.state = "filled"
        cancels = [name for name in self._cancels if name in self._orders and self._orders[name].state == "working"]
        executions = max((_serial(execution) for execution in self._fills), default=0)
        return Recovered(orders, fills, cancels, executions, self._at)


def _serial(name: str) -> int:
    """12 of `P12`; 0 of what this venue did not name."""
    return int(name[1:]) if name[1:].isdecimal() else 0
