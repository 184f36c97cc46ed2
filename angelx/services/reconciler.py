"""Reconciler: compares our orders and positions with the broker's, and settles what an unclean stop left in doubt.

Two equal looks count as one finding (SPEC 6.3): the first ten seconds after the start, the second three and a half
later, then every thirty. What differs twice by as much, or in every look of a minute, bars entries until it agrees
again; trades are never invented. A broker's books may be ten seconds behind: what we held within them is no difference.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import BooksRead, Event, HealthChanged, OrderEnded, PhaseChanged
from angelx.domain.scalars import NS
from angelx.orders.ledger import Ledger
from angelx.orders.states import State
from angelx.services.order_router import OrderRouter

FIRST_LOOK: Final = 10 * NS
APART: Final = 3 * NS
"""Least time between two looks that an order is missing in before it is absent (SPEC 6.2)."""
SECOND_LOOK: Final = APART + NS // 2
EVERY: Final = 30 * NS
LONG: Final = 60 * NS
"""A position that differs so long counts though the difference moves: somebody else trades on the account."""
GRACE: Final = 10 * NS
"""Orders younger than this may still be under way, and books this far behind."""


class Books(Protocol):
    """What the broker says, complete or not at all."""

    @property
    def asked_at(self) -> int:
        """When what it says was asked for, ns."""
        ...

    def ask(self) -> bool:
        """Have it said anew. True: it is said at once; False: `BooksRead` tells when."""
        ...

    def knows(self, order: str) -> bool:
        """True where its complete order book has our order of that client id."""
        ...

    def held(self) -> dict[str, int]:
        """Signed units by instrument; flat ones and what was there before us left out."""
        ...

    def in_account(self, instrument: str) -> int:
        """Signed units of an instrument, whoever's they are."""
        ...


class Reconciler:
    """Bars entries while our books and the broker's disagree, and after an unclean stop until they agreed twice."""

    name: ClassVar[str] = "reconciler"
    emits: ClassVar[tuple[type[Event], ...]] = (HealthChanged, OrderEnded)

    def __init__(self, bus: Bus, books: Books, ledger: Ledger, router: OrderRouter) -> None:
        self._bus, self._books, self._ledger, self._router = bus, books, ledger, router
        self._gaps: dict[str, int] = {}
        """By how many units the broker's positions differed in the last look."""
        self._differs_since: dict[str, int] = {}
        """Since when each of them has, in every look."""
        self._missing: dict[str, int] = {}
        """Orders that the last look did not find, with the time of the first that did not."""
        self._disputed: set[str] = set()
        """Instruments of which the books said something else twice: no more is closed than the broker holds."""
        self._barring = False
        self._clean = 0
        self._open: set[str] = set()
        self._looking = False

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Sessions: it looks while any is open; books that come later."""
        yield PhaseChanged, self.on_phase
        yield BooksRead, self.on_books

    def on_phase(self, event: PhaseChanged) -> None:
        """Look while any segment is open."""
        if event.phase == "open":
            self._open.add(event.segment)
        else:
            self._open.discard(event.segment)
        self._begin()

    def _begin(self) -> None:
        if not self._looking:
            self._looking = True
            self._bus.at(self._bus.now + FIRST_LOOK, self._look_twice)

    def start(self, *, unclean: bool) -> None:
        """Begin to look; after an unclean stop only reductions go out until two looks were clean."""
        if unclean:
            self._barring = True
            self._publish("recovering", "restarted: until two clean reconciliations")
            self._begin()

    def _look_twice(self) -> None:
        self._look()
        self._bus.at(self._bus.now + SECOND_LOOK, self._again)

    def _again(self) -> None:
        self._look()
        if self._open or self._barring:
            self._bus.at(self._bus.now + EVERY, self._look_twice)
        else:
            self._looking = False

    def on_books(self, event: BooksRead) -> None:
        """The answer has come."""
        self._compare()

    def _look(self) -> None:
        if self._books.ask():
            self._compare()

    def _compare(self) -> None:
        asked_at, absent, positions = self._books.asked_at, self._absent(), self._positions()
        gaps = {name: theirs - ours for name, (ours, theirs) in positions.items()}
        since = self._differs_since = {name: self._differs_since.get(name, asked_at) for name in gaps}
        stand = [name for name, gap in gaps.items() if gap == self._gaps.get(name) or asked_at - since[name] >= LONG]
        self._gaps = gaps
        self._dispute(gaps, stand)
        differs = [f"{name}: ours {positions[name][0]}, broker's {positions[name][1]}" for name in stand]
        differs += [f"order {name} is not at the broker" for name in absent if name in self._missing]
        self._missing = {name: self._missing.get(name, asked_at) for name in absent}
        for name, first_at in self._missing.items():
            if asked_at - first_at >= APART:  # it never arrived, and is not sent again
                why = "not in the broker's book in two looks"
                self._bus.publish(OrderEnded(self._bus.now, name, State.ABSENT, "absent", why))
        self._clean = 0 if gaps or absent else self._clean + 1
        if differs and not self._barring:
            self._barring = True
            self._publish("paused", "; ".join(differs))
        elif self._barring and self._clean >= 2:
            self._barring = False
            self._publish("healthy", "books agree")

    def _dispute(self, gaps: Iterable[str], stand: Iterable[str]) -> None:
        """Exits of what differs for certain are bound by what the broker has, until it agrees (SPEC 6.3)."""
        before = self._disputed
        self._disputed = before & set(gaps) | set(stand)
        for name in before - self._disputed:
            self._ledger.line(name).gap = 0
        for name in sorted(self._disputed):
            if name not in before or not self._held_lately(name):  # else it cannot be told apart from our own fills
                line = self._ledger.line(name)
                line.gap = self._books.in_account(name) - line.net

    def _positions(self) -> Mapping[str, tuple[int, int]]:
        """Instruments of which the broker holds something else than we: our units and its."""
        ours: dict[str, int] = {}
        for position in self._ledger.positions.values():
            if position.quantity:
                ours[position.instrument] = ours.get(position.instrument, 0) + position.quantity
        theirs = self._books.held()
        both = {name: (ours.get(name, 0), theirs.get(name, 0)) for name in sorted(ours.keys() | theirs.keys())}
        return {
            name: units for name, units in both.items()
            if units[0] != units[1] and units[1] not in self._held_lately(name)
        }  # fmt: skip

    def _held_lately(self, instrument: str) -> set[int]:
        """What was held before each move since the broker's books may have been right."""
        since, units = self._books.asked_at - GRACE, self._ledger.net(instrument)
        held = set()
        for moved in reversed(self._ledger.moves):
            if moved.at < since:
                break
            if moved.instrument == instrument:
                units -= moved.units
                held.add(units)
        return held

    def _absent(self) -> Sequence[str]:
        """Orders that left long enough ago, were never answered, and are not in the broker's book."""
        before = self._books.asked_at - GRACE
        return [
            name
            for name, order in self._router.unanswered.items()
            if order.approved.at <= before and not self._books.knows(name)
        ]

    def _publish(self, state: str, reason: str) -> None:
        self._bus.publish(HealthChanged(self._bus.now, state, reason, self.name))
