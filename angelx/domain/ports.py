"""What the inside asks of the outside."""

from collections.abc import Iterator
from typing import Protocol

from angelx.domain.events import Event, OrderApproved
from angelx.domain.instruments import InstrumentTable
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

    name: str

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
