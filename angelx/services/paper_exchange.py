"""Market keeper and paper exchange: the two that see every row first, last state and the broker on it."""

from collections.abc import Iterable
from typing import Any, ClassVar

from angelx.adapters.paper import PaperBroker
from angelx.bus.bus import Handler
from angelx.domain.events import Event, OrderAccepted, OrderEnded, OrderFilled, PhaseChanged
from angelx.domain.ticks import Rows
from angelx.market.state import MarketState


class MarketKeeper:
    """Keeps the last state of every instrument; wired before everybody who reads it."""

    name: ClassVar[str] = "market_keeper"
    emits: ClassVar[tuple[type[Event], ...]] = ()

    def __init__(self, state: MarketState) -> None:
        self.state = state

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Rows."""
        yield Rows, self.state.fold


class PaperExchange:
    """The paper broker as a service: it sees rows before strategies do, and expires day orders at the close."""

    name: ClassVar[str] = "paper_broker"
    emits: ClassVar[tuple[type[Event], ...]] = (OrderAccepted, OrderFilled, OrderEnded)

    def __init__(self, broker: PaperBroker) -> None:
        self.broker = broker
        self.probe = broker.probe

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Rows and closes."""
        yield Rows, self.broker.fold
        yield PhaseChanged, self.on_phase

    def on_phase(self, event: PhaseChanged) -> None:
        """Working orders of a segment that closes expire."""
        if event.phase == "closed":
            self.broker.end_of_session(event.segment)

    @property
    def asked_at(self) -> int:
        """It says what is now (`Books`)."""
        return self.broker.now

    def ask(self) -> bool:
        """It is in this process: said at once (`Books`)."""
        return True

    def restore(self, events: Iterable[Event]) -> None:
        """Rebuild it from recorded events, oldest first."""
        self.broker.restore(events)

    def knows(self, order: str) -> bool:
        """True where it ever got the order (`Books`)."""
        return self.broker.order(order) is not None

    def held(self) -> dict[str, int]:
        """Signed units by instrument (`Books`)."""
        return {position.instrument: position.quantity for position in self.broker.positions()}

    def in_account(self, instrument: str) -> int:
        """Signed units (`Books`): all are ours."""
        return self.held().get(instrument, 0)
