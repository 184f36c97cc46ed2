"""Whether an instrument trades now: its segment's hours, halts, and the instant in which an auction crosses."""

from collections.abc import Callable

from angelx.domain.instruments import Instrument, InstrumentTable
from angelx.venue.agenda import NEVER, Agenda
from angelx.venue.hours import Hours


class Phases:
    """The phases of a table's segments.

    Parameters
    ----------
    extended_hours
        `pre_open` trades, for orders that say so.
    on_edge
        Called when a segment's phase changes: segment, and the phase before.
    """

    def __init__(
        self,
        table: InstrumentTable,
        hours: Hours,
        agenda: Agenda,
        on_edge: Callable[[str, str], None],
        *,
        extended_hours: bool,
    ) -> None:
        self.hours = hours
        self.halted: set[str] = set()
        """Instruments and segments."""
        self.is_crossing = False
        """The end of an auction: what waits trades whatever the phase."""
        self._table, self._agenda, self._on_edge = table, agenda, on_edge
        self._extended = extended_hours
        self._has_begun = False

    def begin(self, at: int) -> None:
        """Time begins: from now on edges are expected. Once."""
        if not self._has_begun:
            self._has_begun = True
            self._agenda.now = max(self._agenda.now, at)
            for segment in sorted({instrument.segment for instrument in self._table}):
                self._expect(segment)

    def of(self, instrument: Instrument) -> str:
        """The phase now, or `halted`."""
        phase = self.hours.phase(instrument.segment, self._agenda.now)
        return "halted" if phase != "closed" and self.is_halted(instrument) else phase

    def is_halted(self, instrument: Instrument) -> bool:
        """By itself or with its segment."""
        return bool(self.halted) and (instrument.id in self.halted or instrument.segment in self.halted)

    def is_open(self, instrument: Instrument, at: int) -> bool:
        """Whether orders in the book may fill."""
        if self.is_crossing:
            return True
        phase = self.hours.phase(instrument.segment, at)
        trades = phase == "open" or (phase == "pre_open" and self._extended)
        return trades and not self.is_halted(instrument)

    def admits(self, instrument: Instrument, *, extended_hours: bool) -> bool:
        """Whether an order may be in the book now."""
        if not self.is_open(instrument, self._agenda.now):
            return False
        return extended_hours or self.is_crossing or self.of(instrument) == "open"

    def _expect(self, segment: str) -> None:
        edge = self.hours.next_change(segment, self._agenda.now)
        if edge < NEVER:
            self._agenda.at(edge, self._edge, segment, self.hours.phase(segment, self._agenda.now))

    def _edge(self, segment: str, before: str) -> None:
        self._on_edge(segment, before)
        self._expect(segment)
