"""Order router: makes the intent durable, looks at the kill switch, sends once, and keeps every order's state.

Each fill goes through here once: into the ledger, off what is reserved, onto the order's state.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, ClassVar, Final, Protocol

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import (
    CancelRequested,
    CommandReceived,
    Event,
    IncidentReported,
    OrderAccepted,
    OrderApproved,
    OrderClosed,
    OrderEnded,
    OrderFilled,
    PositionChanged,
    SignalRefused,
)
from angelx.domain.ports import Broker, Journal
from angelx.orders.order import Order
from angelx.orders.states import ENDED, GIVEN_UP, LIVE, IllegalMove, State, after, after_fill
from angelx.risk.book import Book

PLANNED, SENDING, WORKING, FILLED = State.PLANNED, State.SENDING, State.WORKING, State.FILLED
CANCEL_PENDING: Final = State.CANCEL_PENDING
UNOWNED: Final = ""
"""Strategy of fills whose order nobody here approved."""


class SendLatch(Protocol):
    """The kill switch as the router sees it: memory only, read as the last thing before a send."""

    def bars(self, order: OrderApproved) -> str:
        """Why the order may not be sent; empty where it may."""
        ...


class OrderRouter:
    """Sends each approved order at most once; tells of each fill (`PositionChanged`) and each end (`OrderClosed`)."""

    name: ClassVar[str] = "order_router"
    hands_to: ClassVar[tuple[str, str]] = ("order", "paper_broker")
    emits: ClassVar[tuple[type[Event], ...]] = (
        PositionChanged,
        OrderClosed,
        OrderEnded,
        SignalRefused,
        IncidentReported,
        CancelRequested,
    )

    def __init__(self, bus: Bus, journal: Journal, broker: Broker, latch: SendLatch, book: Book) -> None:
        self._bus, self._journal, self._broker, self._latch = bus, journal, broker, latch
        self._book, self._ledger = book, book.ledger
        self.orders, self.live = book.orders, book.live
        self.on_part: Callable[[Order], None] = _ignore
        """Called with an order of which a part filled."""
        self._stopping = ""
        """Why nothing is sent any more; empty while it is."""

    @property
    def unanswered(self) -> dict[str, Order]:
        """Sent, and no report yet."""
        return {name: order for name, order in self.live.items() if not order.answered and order.state != PLANNED}

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Approvals, cancels, and the broker's reports."""
        yield OrderApproved, self.on_approved
        yield CommandReceived, self.on_command
        yield CancelRequested, self.on_cancel
        yield OrderAccepted, self.on_accepted
        yield OrderFilled, self.on_filled
        yield OrderEnded, self.on_ended

    def on_approved(self, event: OrderApproved) -> None:
        """Durable first, then the latch, then the send."""
        order = self.orders[event.order]
        if order.state != PLANNED:  # the same intent is never sent twice
            self._bus.publish(
                SignalRefused(
                    event.at, event.signal, event.strategy, event.instrument, "router", "intent_exists", event.order
                )
            )
            return
        self._journal.intent(event)
        barred = self._stopping or self._latch.bars(event)
        if barred:
            code = "stopping" if self._stopping else "kill_switch"
            self._bus.publish(OrderEnded(event.at, event.order, State.BARRED, code, barred))
            return
        order.state = SENDING
        self._broker.submit(event)

    def on_command(self, event: CommandReceived) -> None:
        """An orderly stop: nothing new leaves, entries that work are taken back, exits stay where they are."""
        if event.verb == "stop" and not self._stopping:
            self._stopping = f"stopped by {event.who}: {event.reason}"
            for name, order in self.live.items():
                if not order.approved.reduces:
                    self._bus.publish(CancelRequested(event.at, name, "the session stops"))

    def on_cancel(self, event: CancelRequested) -> None:
        """Ask the broker; a cancel is never barred."""
        order = self.orders.get(event.order)
        if order is not None and order.state in LIVE and order.state != PLANNED:
            order.state = after(order.state, "request_cancel")
            self._broker.cancel(event.order)

    def on_accepted(self, event: OrderAccepted) -> None:
        """The broker works it."""
        order = self.orders.get(event.order)
        if order is None:
            self._report(event.at, f"accepted order {event.order} is not ours")
            return
        if not order.answered:
            self._answered(order)
        if order.state == SENDING:
            order.state = WORKING
            return
        before = order.state
        if self._move(event.at, order, "accept") and before in GIVEN_UP:
            self._adopt(event.at, order, before)

    def _answered(self, order: Order) -> None:
        """The broker says for the first time that it has it: a cancel asked for before that found nothing there."""
        order.answered = True
        if order.state == CANCEL_PENDING:
            self._broker.cancel(order.approved.order)

    def _adopt(self, at: int, order: Order, before: str) -> None:
        """An order that was given up has arrived: an entry is taken back (SPEC 6.2), an exit too many too."""
        name, why = order.approved.order, f"arrived after it was {before}"
        self._book.readmit(order)
        self._report(at, f"order {name} {why}")
        if not order.approved.reduces or self._is_too_much(order.approved):
            self._bus.publish(CancelRequested(at, name, why))

    def _is_too_much(self, order: OrderApproved) -> bool:
        """Whether the exits that work, this one among them, would close more than is held."""
        strategy, instrument = order.strategy, order.instrument
        position = self._ledger.positions.get((strategy, instrument))
        held = position.quantity if position is not None else 0
        return self._book.exiting(strategy, self._ledger.line(instrument)) > max(-order.side * held, 0)

    def on_filled(self, event: OrderFilled) -> None:
        """A fill moves the position first and corrects the state, whatever that was; one that came before does not."""
        order = self.orders.get(event.order)
        changed = self._ledger.apply(event, UNOWNED if order is None else order.approved.strategy)
        if changed is None:
            return
        self._bus.emit(changed)
        if order is None:
            self._report(event.at, f"fill {event.execution} of order {event.order}, which is not ours")
            return
        if not order.answered:
            self._answered(order)
        state, quantity = order.state, order.approved.quantity
        filled = self._book.fill(order, event.quantity)
        order.state = FILLED if filled >= quantity else after_fill(state, quantity, filled)
        if state not in LIVE:
            self._report(event.at, f"fill {event.execution} after order {event.order} had ended")
            if state in GIVEN_UP and order.state in LIVE:
                self._adopt(event.at, order, state)
        elif order.state == FILLED:
            self._bus.emit(self._closed(event.at, order))
        else:
            self.on_part(order)

    def on_ended(self, event: OrderEnded) -> None:
        """Cancelled, rejected, expired, absent or barred."""
        order = self.orders.get(event.order)
        if order is None:
            self._report(event.at, f"{event.outcome} order {event.order} is not ours")
            return
        if self._move(event.at, order, event.outcome) and order.state in ENDED:
            self._bus.publish(self._closed(event.at, order))

    def _move(self, at: int, order: Order, move: str) -> bool:
        try:
            order.state = after(order.state, move)
        except IllegalMove as error:
            self._report(at, f"order {order.approved.order}: {error}")
            return False
        return True

    def _report(self, at: int, what: str) -> None:
        self._bus.publish(IncidentReported(at, self.name, what))

    def _closed(self, at: int, order: Order) -> OrderClosed:
        """Nothing of it works any more."""
        approved, filled = order.approved, order.filled
        name, quantity = approved.order, approved.quantity
        self._book.close(order, at)
        return OrderClosed(
            at, name, approved.signal, approved.strategy, approved.instrument, approved.side, order.state, filled,
            quantity - filled if quantity > filled else 0,
        )  # fmt: skip

    def restore(self, event: Event) -> None:
        """Fold one record of the journal, in order, sending and publishing nothing."""
        if isinstance(event, OrderApproved):
            self._book.reserve(event).state = SENDING
        elif isinstance(event, OrderAccepted | OrderFilled | OrderEnded | CancelRequested):
            order = self.orders.get(event.order)
            if isinstance(event, OrderFilled):
                changed = self._ledger.apply(event, UNOWNED if order is None else order.approved.strategy)
                if changed is None:
                    return
            if order is not None:  # else reported when it came
                self._refold(order, event)

    def _refold(self, order: Order, event: OrderAccepted | OrderFilled | OrderEnded | CancelRequested) -> None:
        before = order.state
        if isinstance(event, CancelRequested):
            if before in LIVE:
                order.state = after(before, "request_cancel")
            return
        order.answered = True
        if isinstance(event, OrderFilled):
            order.state = after_fill(before, order.approved.quantity, self._book.fill(order, event.quantity))
        else:
            with suppress(IllegalMove):  # reported when it came, and acted on neither then nor now
                order.state = after(before, "accept" if isinstance(event, OrderAccepted) else event.outcome)
        if before in GIVEN_UP and order.state in LIVE:
            self._book.readmit(order)
        elif before in LIVE and order.state in ENDED:
            self._book.close(order, event.at)


def _ignore(order: Order) -> None:
    """Nobody waits for it."""
