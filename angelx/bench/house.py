"""The whole house around the benchmark's market: what `replay` and `tick-to-order` measure."""

from pathlib import Path

from angelx.adapters.journal import MemoryJournal, SqliteJournal
from angelx.app.house import House, Paper, Parts, no_fee
from angelx.bench.market import QuoteSource
from angelx.bus.bus import Bus
from angelx.domain.ports import Journal
from angelx.domain.ticks import TickBatch
from angelx.market.differential import Differential
from angelx.market.sessions import Sessions
from angelx.risk.limits import BENCH
from angelx.services.guard import Unguarded
from angelx.services.kill_switch import MemoryLatch
from angelx.signals.ema_cross import EmaCross
from angelx.signals.filters.standard import FreshnessFilter, SessionFilter, SpreadFilter

CAPITAL = 10**16


class BenchHouse:
    """Strategy, filters, risk, router, paper broker, ledger and journal on one instrument.

    Parameters
    ----------
    journal
        A file: SQLite, spooled or durable; `None`: in memory.
    latency_ns
        Of the paper broker; 0 fills in the same cascade.
    trading
        False: no strategy.
    """

    def __init__(
        self,
        source: QuoteSource,
        journal: Path | None = None,
        *,
        durable: bool = False,
        latency_ns: int = 0,
        trading: bool = True,
    ) -> None:
        strategy = EmaCross(shorts=True)
        strategy.name = "ema_cross"
        self.bus = Bus()
        self.journal: Journal = (
            MemoryJournal(self.bus) if journal is None else SqliteJournal(self.bus, journal, durable=durable)
        )
        parts = Parts(
            instruments=source.instruments,
            source_kind=source.kind,
            strategies=[strategy] if trading else [],
            filters=[SessionFilter(), FreshnessFilter(), SpreadFilter(max_bps=10.0)],
            limits=BENCH,
            paper=Paper(fee=no_fee, latency_ns=latency_ns),
            sessions=Sessions.load(),
            run="bench",
            capital=CAPITAL,
            seed=1,
        )
        self.house = House(self.bus, parts, self.journal, MemoryLatch(), Unguarded())
        self._source = source
        self._differential = Differential(1, [instrument.tick_size for instrument in source.instruments])
        self.house.host.start()
        self.bus.advance(source.first_at)
        self.house.start()

    def replay(self, rows_at_once: int = 4096) -> None:
        """Every row of the source through the stream."""
        feed, process = self.bus.feed, self._differential.process
        for raw in self._source.batches():
            batch = process(raw)
            for start in range(0, batch.rows, rows_at_once):
                feed(batch, start, min(start + rows_at_once, batch.rows))

    def validated(self, raw: TickBatch) -> TickBatch:
        """A batch as the feed would pass it on."""
        return self._differential.process(raw)

    def close(self) -> None:
        """Let the journal's file go."""
        if isinstance(self.journal, SqliteJournal):
            self.journal.close()

    @property
    def orders(self) -> int:
        """Orders sent."""
        return len(self.house.router.orders)

    @property
    def pnl(self) -> int:
        """Money, at the mid."""
        return self.house.ledger.cash + self.house.keeper.value() - CAPITAL
