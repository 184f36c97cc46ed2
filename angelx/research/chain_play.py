"""A recording played through the chain engine up to a moment: what `angelx chain` shows."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from angelx.app.config import Config
from angelx.app.house import chains_of, memories_of
from angelx.app.session import chain_settings, tick_sizes
from angelx.bus.bus import Bus
from angelx.bus.service import wire
from angelx.domain.errors import InputInvalid
from angelx.domain.instruments import Kind
from angelx.domain.ports import TickSource
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, TickBatch
from angelx.domain.timestamps import rfc3339
from angelx.market.chain import OptionChains, Work
from angelx.market.differential import Differential
from angelx.market.expiry_time import Settlements
from angelx.market.freshness import Freshness
from angelx.market.iv_closes import IvCloses
from angelx.market.sessions import Sessions
from angelx.market.state import MarketState
from angelx.services.chain_engine import ChainEngine
from angelx.services.data_feed import GAP
from angelx.services.failover_watchdog import FailoverWatchdog
from angelx.services.paper_exchange import MarketKeeper
from angelx.services.session_phases import SessionPhases

MOST_ROWS: Final = 4096


class Played(msgspec.Struct):
    """Chains as they stood at a moment, and what they were made from."""

    chains: OptionChains
    settlements: Settlements
    market: MarketState
    at: int
    """Stream time, ns."""
    rows: int
    refused: dict[str, int]
    """Rows that the differential processor left out, by reason."""
    unchanged: int
    last_row_at: int
    max_age_ns: int
    work: Work
    """What the steps did, before everything was computed once more for whoever looks."""


class ChainPlay:
    """Plays a source through the daemon's own chain engine, without strategies and orders.

    Parameters
    ----------
    iv_closes
        Of sessions before the first of the source.

    Raises
    ------
    InputInvalid
        The source has no options.
    """

    def __init__(
        self, source: TickSource, config: Config, sessions: Sessions, iv_closes: IvCloses | None = None
    ) -> None:
        table = source.instruments
        if not any(instrument.kind is Kind.OPTION for instrument in table):
            raise InputInvalid(f"{config.market.source}: there are no options in it")
        self._source = source
        self.bus = Bus()
        self.market = MarketState(table)
        self.freshness = Freshness(source.kind, int(config.watchdog.stale_feed_s * NS))
        self._phases = SessionPhases(self.bus, sessions, (instrument.segment for instrument in table))
        self.chains = chains_of(
            self.market, sessions, lambda: self.bus.now, chain_settings(config), memories_of(table),
            (iv_closes or IvCloses()).histories(),
        )  # fmt: skip
        self.differential = Differential(len(table), tick_sizes(source))
        self._settlements = Settlements(sessions)
        engine = ChainEngine(self.bus, self.chains, self.freshness, sessions)
        keeper, watchdog = MarketKeeper(self.market), FailoverWatchdog(self.bus, self.freshness)
        wire(self.bus, [keeper, self._phases, watchdog, engine])
        self._last_at = 0

    def until(self, at: int | None, progress: Callable[[int], None]) -> Played:
        """Play up to and including `at`, ns, or to the end; `progress` hears the stream's time now and then.

        Raises
        ------
        InputInvalid
            There is no row up to that time.
        """
        for raw in self._source.batches():
            batch = self.differential.process(raw)
            stop = batch.rows if at is None else int(batch.table[AT].searchsorted(at, side="right"))
            if stop:
                self._feed(batch, stop)
                progress(self.bus.now)
            if stop < batch.rows:
                break
        if not self._last_at:
            until = f" up to {rfc3339(at)}" if at is not None else ""
            raise InputInvalid(f"{self._source.name}: no usable row{until}")
        if at is not None:
            self.bus.advance(at)
        work = replace(self.chains.work)
        self.chains.settle(self.bus.now, self.freshness.max_age_ns)
        return Played(
            self.chains, self._settlements, self.market, self.bus.now, self.bus.row, self.differential.refused,
            self.differential.unchanged, self._last_at, self.freshness.max_age_ns, work,
        )  # fmt: skip

    def _feed(self, batch: TickBatch, stop: int) -> None:
        first = batch.view[AT, 0]
        if not self._last_at:
            self.bus.advance(first)
            self._phases.start(self.bus.now)
        elif first - self._last_at > GAP:
            self._phases.skip_until(first)
        for start in range(0, stop, MOST_ROWS):
            self.bus.feed(batch, start, min(start + MOST_ROWS, stop))
        self._last_at = batch.view[AT, stop - 1]


def underlying_of(chains: OptionChains, name: str) -> str:
    """The id of the underlying a person names by id or symbol; the one with most options where they do not.

    Raises
    ------
    InputInvalid
        There is none of that name, or more than one.
    """
    sizes = {key: sum(one.stop - one.first for one in lines) for key, lines in chains.layout.by_underlying.items()}
    if not name:
        return max(sizes, key=lambda key: sizes[key])
    table = chains.market.table
    found = [key for key in sizes if name == key or ((one := table.get(key)) is not None and one.symbol == name)]
    if len(found) != 1:
        raise InputInvalid(f"--underlying {name}: there are options on {', '.join(sorted(sizes))}")
    return found[0]


def as_data(value: Any) -> Any:
    """As JSON has it; every number in it is finite."""
    return msgspec.to_builtins(value, str_keys=True)
