"""The paper broker: the simulated exchange in this process, behind the broker port (docs/paper-broker.md)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from random import Random
from typing import Any, ClassVar

from msgspec.structs import replace

from angelx.bus.bus import Bus
from angelx.domain.errors import OrderRejected
from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.instruments import InstrumentTable
from angelx.domain.reports import OrderReport, PositionReport
from angelx.domain.ticks import Rows
from angelx.market.state import MarketState
from angelx.venue.account import Funds, Margin
from angelx.venue.admission import Bands, Fee, IsOpen
from angelx.venue.matching import MatchingEngine
from angelx.venue.orders import DAY, TIMES_IN_FORCE, Order
from angelx.venue.recovery import recover
from angelx.venue.reports import order_report, position_report
from angelx.venue.settlement import ExpiryValue, expiry_values


class PaperBroker:
    """Sends orders to a `MatchingEngine` and its reports to the bus, each way with the line's latency.

    Subscribe `fold` to `Rows` after `MarketState.fold` and before every stage that decides, and register `probe`.

    Parameters
    ----------
    latency_ns, jitter_ns
        An order, a cancel or a report is under way for `latency_ns` and 0 to `jitter_ns` more, and never overtakes what
        was sent before it. With both 0 reports are published within the call that caused them.
    seed
        Of jitter and injected rejects.
    """

    name = "paper"
    consumes: ClassVar[tuple[type[Any], ...]] = (Rows,)
    emits: ClassVar[tuple[type[Event], ...]] = (OrderAccepted, OrderFilled, OrderEnded)

    def __init__(
        self,
        bus: Bus,
        state: MarketState,
        instruments: InstrumentTable,
        *,
        cash: int,
        fee: Fee,
        is_open: IsOpen,
        seed: int,
        latency_ns: int = 0,
        jitter_ns: int = 0,
        reject_rate: float = 0.0,
        bands: Bands | None = None,
        margin: Margin | None = None,
        closes: Mapping[str, int] | None = None,
        currency: str = "",
        time_in_force: str = DAY,
    ) -> None:
        if state.table is not instruments:
            raise ValueError("the market state is of other instruments than the broker's")
        if latency_ns < 0 or jitter_ns < 0 or not 0 <= reject_rate <= 1:
            raise ValueError("latency_ns and jitter_ns must not be negative, reject_rate is a share")
        if time_in_force not in TIMES_IN_FORCE:
            raise ValueError(f"time_in_force must be one of {TIMES_IN_FORCE}, was {time_in_force!r}")
        self._bus = bus
        self._tif = time_in_force
        self._latency_ns, self._jitter_ns = latency_ns, jitter_ns
        self._is_distant = latency_ns > 0 or jitter_ns > 0
        self._random = Random(seed)
        self._sent_until = self._heard_until = 0
        self._under_way: set[str] = set()
        self._venue = MatchingEngine(
            state, cash=cash, fee=fee, is_open=is_open, random=self._random, reject_rate=reject_rate, bands=bands,
            margin=margin, closes=closes, currency=currency,
        )  # fmt: skip
        self._waiting = self._venue.waiting
        self.probe = self._venue.probe
        """For `Bus.probe`."""

    @property
    def now(self) -> int:
        """Time of the input being processed, ns."""
        return self._bus.now

    # ------------------------------------------------------------ the port
    def submit(self, order: OrderApproved) -> None:
        """Send an order.

        Raises
        ------
        OrderRejected
            `duplicate_order`: an order of that id was sent before, and goes on as if this call had not been.
        """
        name, venue, bus = order.order, self._venue, self._bus
        if name in venue.orders or name in self._under_way:
            raise OrderRejected(f"duplicate_order: {name} was sent before")
        sent = Order(name, order.instrument, order.side, order.quantity, order.limit, self._tif)
        if self._is_distant:
            self._under_way.add(name)
            bus.at(self._arrival(), partial(self._submit_arrives, sent))
        else:
            bus.publish_all(self._arrives(sent))

    def cancel(self, order: str) -> None:
        """Ask for the end of an order. One that has ended by then stays as it is and nothing is reported."""
        if self._is_distant:
            self._bus.at(self._arrival(), partial(self._cancel_arrives, order))
        else:
            self._report(self._venue.cancel(order, self._bus.now))

    def fold(self, rows: Rows) -> None:
        """Report what the last row of the run filled."""
        if self._waiting:
            self._report(self._venue.fold(rows))

    def end_of_session(self, segment: str) -> None:
        """The session of a segment is over: its working orders expire."""
        self._report(self._venue.end_of_session(segment, self._bus.now))

    # ------------------------------------------------------------ the line
    def _delay(self) -> int:
        return self._latency_ns + (self._random.randrange(self._jitter_ns + 1) if self._jitter_ns else 0)

    def _arrival(self) -> int:
        """When something sent now arrives at the venue."""
        self._sent_until = max(self._sent_until, self._bus.now + self._delay())
        return self._sent_until

    def _submit_arrives(self, order: Order) -> None:
        self._under_way.remove(order.id)
        self._report(self._arrives(order))

    def _arrives(self, order: Order) -> Sequence[Event]:
        """What the venue says of an order that arrives; a fill says itself that it was accepted."""
        events = self._venue.submit(order, self._bus.now)
        return events[1:] if order.filled else events

    def _cancel_arrives(self, order: str) -> None:
        self._report(self._venue.cancel(order, self._bus.now))

    def _report(self, events: Sequence[Event]) -> None:
        if not self._is_distant:
            self._bus.publish_all(events)
        elif events:
            self._heard_until = max(self._heard_until, self._bus.now + self._delay())
            self._bus.at(self._heard_until, partial(self._deliver, events))

    def _deliver(self, events: Sequence[Event]) -> None:
        """Reports come in; the event's time is that of its arrival here."""
        for event in events:
            self._bus.publish(replace(event, at=self._bus.now))

    # ------------------------------------------------------------ after a crash
    def restore(self, events: Iterable[Event]) -> None:
        """Rebuild money, positions and orders from recorded events, oldest first; before the first order and row.

        A cancel that was asked for and not answered is sent once more: its answer comes before the next row.

        Raises
        ------
        JournalBroken
            A report is of an order never approved, or of an instrument that is not in the table.
        """
        recovered = recover(events, self._tif)
        self._venue.adopt(recovered)
        for order in recovered.cancels:
            self._bus.at(recovered.at, partial(self._cancel_arrives, order))

    # ------------------------------------------------------------ the books, for reconciliation
    def order(self, order: str) -> OrderReport | None:
        """The order of that client id as the venue has it now; `None`: it is absent, or still under way there."""
        found = self._venue.orders.get(order)
        return None if found is None else order_report(found)

    def order_book(self) -> tuple[OrderReport, ...]:
        """Every order the venue ever got."""
        return tuple(map(order_report, self._venue.orders.values()))

    def trade_book(self) -> tuple[OrderFilled, ...]:
        """Every fill as the venue made it, some perhaps not reported yet."""
        return tuple(self._venue.trades)

    def positions(self) -> tuple[PositionReport, ...]:
        """Positions that are not flat, in table order."""
        held = sorted(self._venue.account.positions.items())
        return tuple(position_report(position) for _, position in held if position.quantity)

    def funds(self) -> Funds:
        """Money now."""
        return self._venue.account.funds()

    def settle_expired(self, day: date, settlement_prices: Mapping[str, int]) -> tuple[ExpiryValue, ...]:
        """What positions in options expired by `day` are worth at their underlyings' settlement prices.

        Neither cash nor positions move: no event says "settled" yet, and a broker that moved them alone would disagree
        with the daemon's ledger. An expired position stays, marked at its last touch.

        Raises
        ------
        ValueError
            The settlement price of an underlying that is needed is missing.
        """
        return expiry_values(self._venue.account.positions.values(), day, settlement_prices)
