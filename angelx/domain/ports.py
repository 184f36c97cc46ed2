"""What the inside asks of the outside."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderFilled
from angelx.domain.instruments import Instrument, InstrumentTable
from angelx.domain.reports import FundsReport, OrderReport, PositionReport
from angelx.domain.ticks import TickBatch


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> int:
        """Nanoseconds since the epoch, UTC; never decreases."""
        ...


class TickSource(Protocol):
    """Ticks in order of arrival, from a file, a generator or a broker's stream.

    The rows do not depend on how they are cut into batches; `batches(first_row)` begins at that row of the whole.
    """

    name: str
    reference: str
    """What opens it again, as JSON."""
    digest: str
    """sha256 of the files or of the generator's parameters."""
    instruments: InstrumentTable
    kind: str
    """`stream` or `snapshot` (SPEC 1.5)."""
    scope: str
    """`nbbo`, `venue`, `indicative` or `simulated`."""
    rows: int
    """How many there will be; 0 = not known."""
    first_at: int
    """When the first row arrives, ns; 0 = not known."""
    last_at: int

    def batches(self, first_row: int = 0) -> Iterator[TickBatch]:
        """Batches of at most some ten thousand rows each, `AT` never decreasing across them."""
        ...


class Broker(Protocol):
    """Where approved orders go. Answers come back as events on the bus."""

    def submit(self, order: OrderApproved) -> None:
        """Send one approved order, once."""
        ...

    def cancel(self, order: str) -> None:
        """Ask for the end of a working order by client order id."""
        ...


class Journal(Protocol):
    """Where facts are kept."""

    def record(self, event: Event) -> None:
        """Keep the event; it may become durable later."""
        ...

    def intent(self, event: Event) -> None:
        """Keep the event and everything before it; durable when this returns.

        Raises
        ------
        JournalFull
            It could not be made durable: nothing may be sent.
        """
        ...


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker can do, from a dated table."""

    broker: str
    order_types: frozenset[str]
    """Of `market`, `limit`, `stop`, `stop_limit`, `trailing_stop`."""
    times_in_force: frozenset[str]
    """Of `DAY`, `GTC`, `IOC`, `FOK`, `OPG`, `CLS`."""
    client_ids: bool
    """True: client order ids are unique for life; False: only a label."""
    no_cross: bool
    """True: an order that would cross zero has to be a close, then an open."""
    replaces_keep_id: bool
    needs_static_ip: bool
    orders_per_s: int


class BrokerClient(Protocol):
    """One account at one real broker: adapters implement it, services drive it.

    Every method raises by reaction: `BrokerUnreachable`, `AuthExpired`, `RateLimited`, `OrderRejected`; a request to
    place, replace or cancel that may have been accepted raises `OrderFateUnknown`. Nothing is ever sent twice by itself
    except reads.
    """

    capabilities: Capabilities
    on_report: Callable[[Event], None]
    """Set by the owner: `OrderAccepted`, `OrderFilled` and `OrderEnded` as the order stream and the books show them,
    each once and in order."""
    on_state: Callable[[bool, str], None]
    """Set by the owner: whether reports can be relied on (stream up and books merged), and why not."""
    last_look: Callable[[OrderApproved], str]
    """Set by the owner: asked as the last thing before an order leaves; a reason keeps it here (`OrderRejected`)."""

    async def instruments(self) -> Sequence[Instrument]:
        """Today's instrument master."""
        ...

    async def connect(self, table: InstrumentTable) -> None:
        """Log in and be ready to trade the instruments of the table."""
        ...

    async def run(self) -> None:
        """Keep the session and the order stream alive until cancelled."""
        ...

    async def place(self, order: OrderApproved) -> OrderAccepted:
        """Send one order, once."""
        ...

    async def cancel(self, order: str) -> None:
        """Ask for the end of an order, by client order id."""
        ...

    async def order_book(self) -> Sequence[OrderReport]:
        """Today's orders, complete or not at all."""
        ...

    async def trade_book(self) -> Sequence[OrderFilled]:
        """Today's fills, complete or not at all."""
        ...

    async def positions(self) -> Sequence[PositionReport]:
        """Positions that are not flat, complete or not at all."""
        ...

    async def funds(self) -> FundsReport:
        """Money now."""
        ...

    async def close(self) -> None:
        """Log out where that harms nobody, and release everything."""
        ...


class FeedClient(Protocol):
    """One market-data connection (or several) of one broker."""

    on_rows: Callable[[TickBatch], None]
    """Set by the owner: called with the rows of each turn of the loop, in order of arrival, `AT` filled in."""
    on_state: Callable[[bool, str], None]
    """Set by the owner: whether data flows (connected, subscribed, resynchronised), and why not."""

    async def subscribe(self, table: InstrumentTable, places: Sequence[int]) -> None:
        """Ask for the instruments at these places, in order of importance."""
        ...

    def run(self) -> Awaitable[None]:
        """Keep the connection alive until cancelled: reconnect, resubscribe, resynchronise."""
        ...
