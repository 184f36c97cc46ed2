"""What a strategy is: the base class a person's own strategy extends, and the desk it works at.

A strategy says where it wants to be (`desk.long`, `desk.short`, `desk.flat`); how much, whether, and at what price is
decided by filters and risk. It never sees the wall clock, never blocks, and is called by the stream only:

- `on_tick(place)` after each changed row of an instrument in `watches()`, tick by tick;
- `on_timer()` every `every_s` seconds of session time;
- `on_position`, `on_closed`, `on_refused` with what became of its signals.

Faster strategies extend `ScanningStrategy`: they see batches as columns and name the next row at which they decide.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Protocol

from angelx.domain.events import OrderClosed, PositionChanged, SignalRefused
from angelx.domain.instruments import InstrumentTable
from angelx.domain.ticks import TickBatch
from angelx.market.chain_view import Chains
from angelx.market.state import MarketState


class Desk(Protocol):
    """What a strategy may see and do."""

    instruments: InstrumentTable
    market: MarketState
    chains: Chains | None
    """Every option chain; `None` where they are not kept (`uses_chains`)."""

    @property
    def now(self) -> int:
        """Time of the input being processed, ns UTC."""
        ...

    def position(self, place: int) -> int:
        """Signed units this strategy holds."""
        ...

    def working(self, place: int) -> bool:
        """True while a signal or an order of this strategy on the instrument is not settled."""
        ...

    def long(self, place: int, *, stop_distance: int = 0, why: str = "") -> bool:
        """Signal: be long. `stop_distance` in price units, 0 = the configured fraction of the price.

        False where there is nothing to signal: already so, or something is still working.
        """
        ...

    def short(self, place: int, *, stop_distance: int = 0, why: str = "") -> bool:
        """Signal: be short; answers as `long` does."""
        ...

    def flat(self, place: int, *, why: str = "") -> bool:
        """Signal: hold nothing; answers as `long` does."""
        ...


class Strategy:
    """Base of all strategies. Parameters come from configuration as keyword arguments of `__init__`."""

    every_s: ClassVar[float] = 0.0
    """Seconds of session time between calls of `on_timer`; 0 = never."""
    intraday: ClassVar[bool] = True
    """True: flat before the session's end (SPEC 5.7)."""
    uses_chains: ClassVar[bool] = False
    """True: it reads `desk.chains`. Filters that read a scene's chain say so in the same way."""

    name = ""
    """Set by the host; unique in a run."""
    desk: Desk
    """Set by the host before `start`."""
    about = ""
    """What of the market it chose, in words, where `start` sets it: said at the start and in the summary."""
    passed_over: Mapping[str, int] = MappingProxyType({})
    """How often it looked and did not enter, by why, in words, where it counts: shown where nothing was traded."""

    def start(self) -> None:
        """Called once, when the instruments are known."""

    def watches(self) -> Sequence[int]:
        """Places of the instruments whose changed rows call `on_tick`."""
        return ()

    def on_tick(self, place: int) -> None:
        """An instrument's row changed; `desk.market` shows it."""

    def on_timer(self) -> None:
        """`every_s` seconds have passed."""

    def on_position(self, event: PositionChanged) -> None:
        """A fill moved this strategy's position."""

    def on_closed(self, event: OrderClosed) -> None:
        """An order of this strategy ended."""

    def on_refused(self, event: SignalRefused) -> None:
        """A filter or the risk engine said no."""


class ScanningStrategy(Strategy):
    """A strategy that reads columns: it computes over whole batches and names the rows at which it decides.

    `prepare` sees every batch once, in order, and may fold it into state that decisions never change (indicators).
    `scan` and `decide` look at rows of a prepared batch; both must answer from the rows up to the one in question and
    from the desk, so that no cut of the stream changes what is decided.
    """

    @abstractmethod
    def prepare(self, batch: TickBatch) -> None:
        """Compute over a new batch."""

    @abstractmethod
    def scan(self, start: int, stop: int) -> int:
        """The first row in [start, stop) of the prepared batch at which `decide` would signal, else `stop`."""

    @abstractmethod
    def decide(self, row: int) -> None:
        """Signal for a row that `scan` found."""
