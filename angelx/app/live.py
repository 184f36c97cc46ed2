"""A live session's outside: a connected broker, the instruments chosen from its master, and the clock."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from angelx.bus.clock import PacingClock
from angelx.domain.instruments import InstrumentTable
from angelx.domain.ports import BrokerClient, FeedClient
from angelx.domain.ticks import TickBatch

LIVE: Final = "live:"
"""Sources whose name begins so were a broker's stream; their rows are in the capture that the reference names."""


class Live:
    """One account at one broker, logged in.

    Parameters
    ----------
    table
        What is watched, `places` of it in order of importance.
    release
        Lets connections go at the very end.
    """

    def __init__(
        self,
        name: str,
        client: BrokerClient,
        feed: FeedClient,
        table: InstrumentTable,
        places: Sequence[int],
        clock: PacingClock,
        scope: str,
        release: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self.name, self.client, self.feed, self.table, self.places = name, client, feed, table, places
        self.clock, self.scope, self.release = clock, scope, release


class LiveSource:
    """A broker's stream as a tick source: its rows come from the live feed, and later from the capture."""

    kind = "stream"
    digest = ""
    rows = 0
    last_at = 0

    def __init__(self, live: Live, capture: Path) -> None:
        self.name = LIVE + live.name
        self.instruments, self.scope = live.table, live.scope
        self.reference = msgspec.json.encode({"path": str(capture)}).decode()
        self.first_at = live.clock.now()

    def batches(self, first_row: int = 0) -> Iterator[TickBatch]:
        """None: nothing is there before it comes."""
        return iter(())
