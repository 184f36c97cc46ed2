"""One order of ours, from its approval on."""

import msgspec

from angelx.domain.events import OrderApproved
from angelx.orders.ledger import Line
from angelx.orders.states import State


class Order(msgspec.Struct, gc=False):
    """An approved order: where it stands (the router's part) and what is reserved for it (the risk book's)."""

    approved: OrderApproved
    line: Line
    """Of its instrument."""
    unit: int
    """Money that each unit reserves: the limit of an entry, nothing for an exit."""
    filled: int = 0
    state: str = State.PLANNED
    answered: bool = False
    """True once the broker said anything of it."""

    @property
    def left(self) -> int:
        """Units that are not filled; some may never be."""
        return max(self.approved.quantity - self.filled, 0)
