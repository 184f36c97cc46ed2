"""What every service last said of its health; the worst of it is the daemon's (SPEC 7.1)."""

from typing import Final

from angelx.domain.events import HealthChanged

STATES: Final = ("healthy", "degraded", "recovering", "paused", "critical")
"""From best to worst."""
ENTRIES_ALLOWED: Final = frozenset(STATES[:2])
"""States in which new risk may be taken."""


class HealthBoard:
    """A fold of `HealthChanged`: only who saw a state can take it back."""

    def __init__(self) -> None:
        self._unwell: dict[str, HealthChanged] = {}
        self.is_heard = False
        """Whether any service has said anything."""

    def take(self, event: HealthChanged) -> None:
        """Keep what a service says, in place of what it said before."""
        self.is_heard = True
        self._unwell.pop(event.service, None)
        if event.state != STATES[0]:
            self._unwell[event.service] = event

    @property
    def state(self) -> str:
        """The worst of all."""
        return max((event.state for event in self._unwell.values()), key=_rank, default=STATES[0])

    @property
    def reasons(self) -> dict[str, str]:
        """State and reason by service, of those that are not healthy; who said it first comes first."""
        return {name: f"{event.state}: {event.reason}" for name, event in self._unwell.items()}

    @property
    def bars_entries(self) -> str:
        """State and reason of the first that allows no new risk; empty where there is none."""
        for event in self._unwell.values():
            if event.state not in ENTRIES_ALLOWED:
                return f"{event.state}: {event.reason}"
        return ""


def _rank(state: str) -> int:
    """The higher, the worse; a journal of a later version may know others, which count as the worst."""
    return STATES.index(state) if state in STATES else len(STATES)
