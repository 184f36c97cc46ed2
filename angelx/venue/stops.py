"""Stops: they wait for the last price, trailing ones behind it, and trigger once."""

from typing import TYPE_CHECKING

from angelx.domain.scalars import price_text
from angelx.venue.entries import STOPPED, Entry
from angelx.venue.requests import TRAILING_STOP

if TYPE_CHECKING:
    from angelx.venue.floor import Floor


class Stops:
    """The stops on a floor."""

    def __init__(self, floor: "Floor") -> None:
        self._floor = floor

    def arm(self, entry: Entry) -> None:
        """A stop comes in: refused, waiting, or triggered at once."""
        floor, request = self._floor, entry.request
        last = floor.last(entry.place, request.side)
        if request.kind == TRAILING_STOP and not entry.best:
            if last <= 0:
                floor.end(entry, "rejected", "no_quote", "there is no price to trail")
                return
            entry.best = last
            self.trail(entry)
        if floor.policy.refuses_triggered and last > 0 and (last - entry.stop) * request.side >= 0:
            detail = f"stop {price_text(entry.stop)}, last price {price_text(last)}"
            floor.end(entry, "rejected", "would_trigger", detail)
            return
        objection = floor.objection(entry)
        if objection is not None:
            floor.end(entry, "rejected", *objection)
            return
        floor.shelve(entry, STOPPED)
        floor.tell(floor.desk.trailed, entry, entry.stop, entry.best)
        floor.tell(floor.desk.accepted, entry, "trigger_pending")
        if floor.may_trade(entry):
            self.follow(entry)

    def trail(self, entry: Entry) -> None:
        """Set the stop of a trailing order behind its best price, in whole ticks."""
        request, tick = entry.request, self._floor.table[entry.place].tick_size
        distance = request.trail or int(entry.best * request.trail_pct / 100)
        stop = entry.best + request.side * distance
        entry.stop = max(stop // tick * tick, tick) if request.side < 0 else -(-stop // tick) * tick

    def follow(self, entry: Entry) -> None:
        """What the last price means to a stop: a trailing one moves, one that is reached triggers."""
        if entry.where != STOPPED:
            return
        floor, side = self._floor, entry.request.side
        last = floor.last(entry.place, side)
        if last <= 0:
            return
        if entry.request.kind == TRAILING_STOP and (entry.best - last) * side > 0:
            entry.best = last
            self.trail(entry)
            floor.tell(floor.desk.trailed, entry, entry.stop, entry.best)
        if (last - entry.stop) * side >= 0:
            self._trigger(entry)

    def _trigger(self, entry: Entry) -> None:
        floor = self._floor
        floor.unshelve(entry)
        entry.is_triggered = True
        rivals, entry.rivals = entry.rivals, ()
        for rival in rivals:
            rival.rivals = ()  # Else its end would end this one.
            floor.end(rival, "cancelled", "linked")
        floor.tell(floor.desk.triggered, entry)
        floor.work(entry)
