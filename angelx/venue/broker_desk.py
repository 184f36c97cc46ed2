"""What the broker knows of orders and says of them: it hears from the exchange, perhaps late, and reports."""

from collections.abc import Callable
from typing import Final

from angelx.venue.agenda import Agenda
from angelx.venue.entries import Entry, copy_of
from angelx.venue.requests import Fill, Report

PENDING: Final = ("pending_cancel", "pending_replace")


class BrokerDesk:
    """Orders as their broker shows them."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self.on_report: list[Callable[[Report], None]] = []
        self.fills: list[Fill] = []

    def tell(self, kind: str, entry: Entry, fill: Fill | None = None) -> None:
        """Report one change."""
        now = entry.order.updated_at = self._agenda.now
        if self.on_report:
            report = Report(kind, copy_of(entry.order), fill, now)
            for hook in self.on_report:
                hook(report)

    def ask(self, entry: Entry, status: str) -> None:
        """A cancel or a change is under way to the exchange."""
        if entry.order.status not in PENDING:
            entry.before = entry.order.status
        entry.order.status = status
        self.tell(status, entry)

    def denied(self, entry: Entry, kind: str) -> None:
        """What was asked for did not come about: the order is as it was."""
        if entry.order.status in PENDING:
            entry.order.status = entry.before
        self.tell(kind, entry)

    # ------------------------------------------------------------ what the exchange says
    def accepted(self, entry: Entry, status: str) -> None:
        """The exchange has the order, or lets one work that waited."""
        is_first = entry.order.status == "pending"
        self._set(entry, status)
        self.tell("accepted" if is_first else "working", entry)

    def filled(self, entry: Entry, fill: Fill) -> None:
        """Part or all of it traded."""
        order = entry.order
        order.filled += fill.quantity
        order.notional += fill.quantity * fill.price
        order.fee += fill.fee
        self.fills.append(fill)
        if order.filled == order.request.quantity:
            order.status, order.ended_at = "filled", self._agenda.now
            self.tell("fill", entry, fill)
        else:
            self._set(entry, "partially_filled")
            self.tell("partial_fill", entry, fill)

    def ended(self, entry: Entry, outcome: str, code: str, detail: str) -> None:
        """It is over."""
        order = entry.order
        order.status, order.code, order.detail, order.ended_at = outcome, code, detail, self._agenda.now
        self.tell(outcome, entry)

    def triggered(self, entry: Entry) -> None:
        """The last price reached its stop."""
        entry.order.triggered_at = self._agenda.now
        self._set(entry, "working")
        self.tell("triggered", entry)

    def trailed(self, entry: Entry, stop: int, best: int) -> None:
        """Its stop moved; nobody is told."""
        entry.order.stop, entry.order.best = stop, best

    def changed(self, entry: Entry, status: str) -> None:
        """It was changed where it waits; an empty status = as it was."""
        order = entry.order
        order.request, order.stop, order.best = entry.request, entry.stop, entry.best
        if status:
            status = "partially_filled" if order.filled and status == "working" else status
            entry.before = order.status = status
        self.tell("replaced", entry)

    def succeeded(self, entry: Entry, successor: Entry, status: str) -> None:
        """A new order took its place."""
        old, new = entry.order, successor.order
        old.status, old.replaced_by, old.ended_at = "replaced", new.id, self._agenda.now
        new.request, new.stop, new.best = successor.request, successor.stop, successor.best
        new.carried, new.triggered_at = old.carried + old.filled, old.triggered_at
        self.tell("replaced", entry)
        self.accepted(successor, status)

    def _set(self, entry: Entry, status: str) -> None:
        """The order's status, or what it will be again if a request that is under way is denied."""
        if entry.order.status in PENDING:
            entry.before = status
        else:
            entry.order.status = status
