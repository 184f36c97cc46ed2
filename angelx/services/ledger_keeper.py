"""Ledger keeper: values the book once a minute."""

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import EquityMarked, Event, PhaseChanged
from angelx.domain.instruments import InstrumentTable
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, AT, BID, LAST
from angelx.market.reference_price import ReferencePrice
from angelx.market.state import MarketState
from angelx.orders.ledger import Ledger, Position

MARK_EVERY: Final = 60 * NS
STANDS: Final = 300 * NS
"""How long a two-sided mid values a position after a side of its quote went missing."""


class LedgerKeeper:
    """Publishes what the ledger is worth as `EquityMarked` every minute of a session."""

    name: ClassVar[str] = "ledger_keeper"
    emits: ClassVar[tuple[type[Event], ...]] = (EquityMarked,)

    def __init__(
        self,
        bus: Bus,
        market: MarketState,
        instruments: InstrumentTable,
        ledger: Ledger,
        reference: ReferencePrice,
    ) -> None:
        self._bus, self._market, self._instruments = bus, market, instruments
        self.ledger = ledger
        self._reference = reference
        self._open: set[str] = set()
        self._marking = False
        self._mids: dict[int, tuple[int, int]] = {}
        """Twice the last two-sided mid of what is held, by place, and when that was, ns, as marks saw it."""

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """When sessions run."""
        yield PhaseChanged, self.on_phase

    # ------------------------------------------------------------ value
    def on_phase(self, event: PhaseChanged) -> None:
        """Mark at every open and close, and every minute in between."""
        if event.phase == "open":
            self._open.add(event.segment)
        else:
            self._open.discard(event.segment)
        self.mark()
        if self._open and not self._marking:
            self._marking = True
            self._next()

    def _next(self) -> None:
        self._bus.at((self._bus.now // MARK_EVERY + 1) * MARK_EVERY, self._tick)

    def _tick(self) -> None:
        if not self._open:
            self._marking = False
            return
        self.mark()
        self._next()

    def mark(self) -> None:
        """Value the book and publish it."""
        self._remember()
        cash, value = self.ledger.cash, self.value()
        self._bus.publish(EquityMarked(self._bus.now, cash + value, cash, value, self._reference.level()))

    def _remember(self) -> None:
        """Note the mids of what is held; what was not seen with two sides since it is held begins at its cost."""
        view, now, before = self._market.view, self._bus.now, self._mids
        self._mids = {}
        for position in self.ledger.positions.values():
            place = self._instruments.index.get(position.instrument) if position.quantity else None
            if place is None:
                continue
            bid, ask = view[BID, place], view[ASK, place]
            if bid and ask:
                self._mids[place] = bid + ask, now
            else:
                self._mids[place] = before.get(place) or (2 * position.cost // position.quantity, now)

    def value(self) -> int:
        """Money that the open positions are worth."""
        return sum(self.worth(position) for position in self.ledger.positions.values() if position.quantity)

    def worth(self, position: Position) -> int:
        """Money that a position is worth: at the two-sided mid; without one, at the last one of some minutes ago, or at
        the side that is there where that is worse; after that, what it could be closed at.

        Then a long that nobody bids for is worth nothing, a short that nobody offers is owed at its last price. What
        has not been seen since this process began is worth what it cost.
        """
        view, quantity = self._market.view, position.quantity
        place = self._instruments.index.get(position.instrument)
        if place is None or not view[AT, place]:
            return position.cost
        bid, ask = view[BID, place], view[ASK, place]
        if bid and ask:
            return quantity * (bid + ask) // 2
        twice, seen = self._mids.get(place, (0, 0))
        if twice and self._bus.now - seen <= STANDS:
            worse = min(twice, 2 * ask or twice) if quantity > 0 else max(twice, 2 * bid)
            return quantity * worse // 2
        return quantity * (bid if quantity > 0 else ask or view[LAST, place])
