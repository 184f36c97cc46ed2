"""Orders that depend on each other: exits that wait for their entry, and exits of which one ends the other."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from angelx.venue.entries import FLIGHT, GONE, HELD, Entry

if TYPE_CHECKING:
    from angelx.venue.floor import Floor


class Links:
    """What the fill or the end of one order means to others.

    Of two exits only the first holds units and money back for both: they never trade both.
    """

    def __init__(self, floor: "Floor") -> None:
        self._floor = floor

    def filled(self, entry: Entry, units: int) -> None:
        """An exit that filled ends its rival, or makes it smaller; an entry that is filled lets its exits go."""
        for rival in entry.rivals:
            if not entry.left:
                self._floor.end(rival, "cancelled", "linked")
            elif rival.where != GONE:
                self._shrink(rival, units)
        if entry.children and not entry.left:
            self._let_go(entry)

    def ended(self, entry: Entry, outcome: str) -> None:
        """The end of an exit ends its rival; that of an entry its exits, or lets them close what it had filled.

        An exit that is refused leaves its rival alone: half a protection is better than none.
        """
        if entry.children and entry.carried + entry.filled:
            self._let_go(entry)
        for child in entry.children:
            if child.where == HELD:
                self._floor.end(child, "cancelled", "entry_ended")
        for rival in entry.rivals:
            if outcome != "rejected" or entry.parent is None:
                self._floor.end(rival, "cancelled", "linked")
            elif rival.where != GONE and not rival.reserves:
                self._bear_alone(rival)

    def _bear_alone(self, entry: Entry) -> None:
        """An exit whose rival was refused holds back by itself."""
        where = entry.where
        if where in (HELD, FLIGHT):
            entry.reserves = True
            return
        self._floor.unshelve(entry)
        entry.reserves = True
        self._floor.put(entry, where, is_behind=False)

    def _shrink(self, entry: Entry, units: int) -> None:
        floor, where = self._floor, entry.where
        if where not in (HELD, FLIGHT):
            floor.unshelve(entry)
        self._resize(entry, entry.request.quantity - units)
        if where not in (HELD, FLIGHT):
            floor.put(entry, where, is_behind=False)

    def _let_go(self, entry: Entry) -> None:
        """The exits of an entry begin to work, for what it filled."""
        units = entry.carried + entry.filled
        for number, child in enumerate(entry.children):
            if child.where == HELD:
                if units != child.request.quantity:
                    self._resize(child, units)
                child.reserves = number == 0 or entry.children[0].where == GONE
                child.where = FLIGHT
                self._floor.place(child)

    def _resize(self, entry: Entry, units: int) -> None:
        entry.ticket.quantity = entry.carried + units
        entry.request = replace(entry.request, quantity=units)
        self._floor.tell(self._floor.desk.changed, entry, "")
