"""Orders that change while they wait: in place, or by another order that takes over."""

from typing import Final

from msgspec.structs import replace

from angelx.domain.scalars import price_text
from angelx.venue.admission import Objection
from angelx.venue.entries import BOOK, GONE, QUEUED, STOPPED, Entry
from angelx.venue.floor import Floor
from angelx.venue.requests import STOP, STOP_LIMIT, TRAILING_STOP, OrderRequest
from angelx.venue.stops import Stops

STATUS: Final = {BOOK: "working", STOPPED: "trigger_pending", QUEUED: "accepted"}


class Amending:
    """Carries changes out on a floor."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._stops = Stops(floor)

    def arrives(self, entry: Entry, wanted: OrderRequest, successor: Entry | None) -> None:
        """A change arrives: all of it comes about, or nothing and the order goes on as it was.

        Parameters
        ----------
        wanted
            The order as it shall be; its quantity counts what this order has filled already.
        successor
            The order that shall replace it; `None` where it keeps its id.
        """
        floor = self._floor
        if entry.parent is not None or entry.rivals:  # It may have become smaller meanwhile.
            wanted = replace(wanted, quantity=entry.request.quantity)
        objection = self._too_late(entry, wanted) or self._amend(entry, wanted, successor)
        if objection is not None:
            floor.tell(floor.desk.denied, entry, "replace_rejected")
            if successor is not None:
                successor.where = GONE
                floor.tell(floor.desk.ended, successor, "rejected", *objection)

    def _too_late(self, entry: Entry, wanted: OrderRequest) -> Objection | None:
        if entry.where not in STATUS:
            return "order_ended", "it ended before the change arrived"
        if wanted.quantity <= entry.filled:
            return "bad_quantity", f"{entry.filled} filled before the change arrived"
        return None

    def _amend(self, entry: Entry, wanted: OrderRequest, successor: Entry | None) -> Objection | None:
        floor, ticket, where, old = self._floor, entry.ticket, entry.where, entry.request
        kept = ticket.quantity, ticket.limit, entry.stop, entry.is_triggered
        floor.unshelve(entry)
        entry.request, ticket.quantity = wanted, wanted.quantity + entry.carried
        if wanted.kind != old.kind:  # What becomes a stop waits for its trigger, again if need be.
            entry.stop, entry.is_triggered = 0, False
        if wanted.kind in (STOP, STOP_LIMIT):
            entry.stop = wanted.stop
        elif wanted.kind == TRAILING_STOP:
            entry.best = entry.best or floor.last(entry.place, wanted.side)
            self._stops.trail(entry)
        objection, there = floor.objection(entry), floor.where(entry)
        if wanted.kind == TRAILING_STOP and not entry.best:
            objection = "no_quote", "there is no price to trail"
        if objection is None and there == BOOK and floor.engine.meets_own(ticket):
            objection = "self_trade", f"limit {price_text(ticket.limit)} meets an order of ours"
        if objection is not None:
            entry.request, (ticket.quantity, ticket.limit, entry.stop, entry.is_triggered) = old, kept
            floor.put(entry, where, is_behind=False)
            return objection
        is_behind = ticket.limit != kept[1] or ticket.quantity > kept[0] or wanted.kind != old.kind
        if successor is None:
            floor.tell(floor.desk.changed, entry, STATUS[there])
            floor.put(entry, there, is_behind=is_behind)
        else:
            self._succeed(entry, successor)
            floor.tell(floor.desk.succeeded, entry, successor, STATUS[there])
            floor.put(successor, there, is_behind=is_behind)
        return None

    def _succeed(self, entry: Entry, successor: Entry) -> None:
        """The new order takes over what the old one was, its ticket at the engine included."""
        left = entry.request.quantity - entry.filled
        successor.request = replace(entry.request, client_id=successor.request.client_id, quantity=left)
        ticket = successor.ticket = entry.ticket
        successor.carried, successor.stop, successor.best = ticket.filled, entry.stop, entry.best
        successor.reserves, successor.parent, successor.is_triggered = entry.reserves, entry.parent, entry.is_triggered
        successor.children, successor.rivals = entry.children, entry.rivals
        for child in entry.children:
            child.parent = successor
        for rival in entry.rivals:
            rival.rivals = tuple(successor if other is entry else other for other in rival.rivals)
        if entry.parent is not None:
            entry.parent.children = tuple(successor if child is entry else child for child in entry.parent.children)
        entry.where, entry.children, entry.rivals = GONE, (), ()
        del self._floor.by_ticket[successor.order.id]
        self._floor.by_ticket[ticket.id] = successor
