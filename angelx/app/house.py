"""THE picture: every service, in the order in which it sees the stream.

A tick run goes down the list once; what a service publishes comes back to the top of it when the run is done.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from angelx.adapters.paper import PaperBroker
from angelx.bus.bus import Bus
from angelx.bus.records import Record
from angelx.bus.service import Service, wire
from angelx.domain.client_ids import ClientIds
from angelx.domain.events import (
    BooksRead,
    CancelRequested,
    EquityMarked,
    Event,
    InstrumentUsed,
    OrderAccepted,
    OrderApproved,
    OrderEnded,
    OrderFilled,
    PhaseChanged,
    PositionChanged,
    Signal,
    SignalRefused,
    StrategyFailed,
)
from angelx.domain.instruments import Instrument, InstrumentTable, Kind
from angelx.domain.ports import Journal
from angelx.domain.ticks import Rows, TickBatch
from angelx.market.chain import ChainSettings, OptionChains
from angelx.market.expiry_time import Settlements
from angelx.market.freshness import Freshness
from angelx.market.iv_closes import IvCloses
from angelx.market.reference_price import ReferencePrice
from angelx.market.sessions import Sessions
from angelx.market.smile import IvHistory
from angelx.market.state import MarketState
from angelx.orders.ledger import Ledger
from angelx.risk.book import Book
from angelx.risk.limits import Limits
from angelx.services.announcer import Announcer
from angelx.services.broker_link import RecordedLink
from angelx.services.chain_engine import ChainEngine
from angelx.services.failover_watchdog import FailoverWatchdog
from angelx.services.filter_chain import FilterChain
from angelx.services.forecasts import Forecasts
from angelx.services.guard import Guard
from angelx.services.isolation import InlinePool, Isolation, Pool
from angelx.services.kill_switch import KillSwitch, Latch, LatchedSends
from angelx.services.learner import Learner
from angelx.services.ledger_keeper import LedgerKeeper
from angelx.services.order_router import OrderRouter, SendLatch
from angelx.services.paper_exchange import MarketKeeper, PaperExchange
from angelx.services.patience import Patience
from angelx.services.performance_monitor import PerformanceMonitor, StageClock
from angelx.services.reconciler import Reconciler
from angelx.services.recorder import Recorder
from angelx.services.risk_engine import RiskEngine
from angelx.services.safe_exit import SafeExit
from angelx.services.session_phases import OPEN, SessionPhases
from angelx.services.strategy_host import StrategyHost
from angelx.signals.filters.base import Filter
from angelx.signals.judge import ChainMemory, judge
from angelx.signals.strategy import Strategy
from angelx.signals.tuning import Tuning
from angelx.venue.admission import Bands

Fee = Callable[[Instrument, int, int, int, int], int]
"""Cumulative fee of an order: instrument, side, quantity, notional (money), at (ns)."""


def no_fee(instrument: Instrument, side: int, quantity: int, notional: int, at: int) -> int:
    """Nothing is charged."""
    return 0


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """How the paper broker behaves; times in ns, money in 1/10,000."""

    fee: Fee
    latency_ns: int = 0
    jitter_ns: int = 0
    reject_rate: float = 0.0
    time_in_force: str = "DAY"
    bands: Bands | None = None
    """Price bands; `None` = the exchange's as the broker knows them."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a house is made of."""

    instruments: InstrumentTable
    source_kind: str
    strategies: Sequence[Strategy]
    filters: Sequence[Filter]
    limits: Limits
    paper: Paper
    sessions: Sessions
    run: str
    """Journal instance."""
    capital: int
    seed: int
    flat_before_close_ns: int = 20 * 60 * 1_000_000_000
    exit_wait_ns: int = 2 * 1_000_000_000
    entry_wait_ns: int = 10 * 1_000_000_000
    """How long an order may rest; 0 = to the end of the day."""
    silent_feed_ns: int = 5 * 1_000_000_000
    chain: ChainSettings | None = None
    """How option chains are kept up to date; `None` = they are not."""
    pool: Pool | None = None
    """Where slow work runs; `None` = here, at once."""
    waits: bool = True
    """At full speed the stream waits for slow work at its place."""
    tuning: Tuning = Tuning()
    iv_closes: IvCloses = IvCloses()
    """Of sessions before this one."""
    config_hash: str = ""
    """Of the configuration it was made from."""
    tunes: bool = True
    """What a session taught applies from the next one on."""


class House:
    """Everything between ticks in and orders out, wired on one bus.

    Parameters
    ----------
    bars
        Asked before each send; the kill switch where `None`.
    link
        The way to a real broker; the paper broker where `None`.
    """

    def __init__(
        self,
        bus: Bus,
        parts: Parts,
        journal: Journal,
        latch: Latch,
        guard: Guard,
        bars: SendLatch | None = None,
        link: RecordedLink | None = None,
    ) -> None:
        table = parts.instruments
        self.bus, self.parts, self.latch = bus, parts, latch
        self.market = MarketState(table)
        self.ledger = Ledger(parts.capital)
        self.freshness = Freshness(parts.source_kind, parts.silent_feed_ns)
        self.monitor = PerformanceMonitor(bus)
        self.phases = SessionPhases(bus, parts.sessions, (instrument.segment for instrument in table))
        if link is None:
            self.broker = self._paper_broker(parts.paper)
            """Only on paper."""
        self.exchange: PaperExchange | RecordedLink = link or PaperExchange(self.broker)
        self.memories = memories_of(table) if parts.chain is not None else {}
        """What is judged of each underlying's chain rests on this."""
        self.chain_engine = self._chain_engine(parts.chain) if parts.chain is not None else None
        self.host = StrategyHost(bus, self.market, table, parts.strategies, guard, self.chains)
        self.book = Book(self.ledger, parts.limits)
        self.router = OrderRouter(bus, journal, link or self.broker, bars or LatchedSends(latch), self.book)
        reference = ReferencePrice(self.market, lambda: self.phases.opened_at, self.chains)
        self.keeper = LedgerKeeper(bus, self.market, table, self.ledger, reference)
        self.risk = RiskEngine(
            bus, self.market, table, self.phases, self.book, ClientIds(parts.run), self.freshness, self.keeper.mark
        )
        self.safe_exit = SafeExit(
            bus, self.market, table, self.phases, self.host, self.router, self.ledger, parts.flat_before_close_ns
        )
        self.patience = Patience(
            bus, self.market, table, self.phases, self.host, self.book, self.safe_exit,
            exit_wait_ns=parts.exit_wait_ns, entry_wait_ns=parts.entry_wait_ns,
        )  # fmt: skip
        self.router.on_part = self.patience.watch
        self.watchdog = FailoverWatchdog(bus, self.freshness)
        self.kill_switch = KillSwitch(bus, latch)
        self.reconciler = Reconciler(bus, self.exchange, self.ledger, self.router)
        self.announcer = Announcer()
        memories = self.memories
        self.forecasts = Forecasts(bus, self.chains, self.phases, table, lambda name: memories[name].evidence)
        self.isolation = Isolation(bus, parts.pool or InlinePool(), waits=parts.waits)
        self.learner = Learner(
            bus, self.isolation, self.phases, parts.filters, memories, parts.tuning, applies=parts.tunes
        )
        self.learner.on_used = self._decided_by
        self._decided_by(parts.tuning)
        self.services: tuple[Service, ...] = (
            Recorder(journal),
            StageClock(self.monitor),
            MarketKeeper(self.market),
            self.exchange,
            self.phases,
            self.watchdog,
            *([self.chain_engine] if self.chain_engine is not None else []),
            self.host,
            FilterChain(
                bus,
                self.market,
                table,
                self.phases,
                parts.filters,
                self.freshness,
                guard,
                self.risk.answer,
                self.chains,
            ),
            self.forecasts,
            self.isolation,
            self.learner,
            self.risk,
            self.keeper,
            self.patience,
            self.router,
            self.safe_exit,
            self.reconciler,
            self.kill_switch,
            self.announcer,
            self.monitor,
        )
        wire(bus, self.services)
        if link is not None:
            link.orders = self.router.orders

    def _decided_by(self, tuning: Tuning) -> None:
        """Orders say what they rest on (SPEC 4.6)."""
        self.book.decided_by = f"{self.parts.config_hash[:12]}/{tuning.version}/{tuning.trap.digest[:8]}"

    def _paper_broker(self, paper: Paper) -> PaperBroker:
        parts = self.parts
        return PaperBroker(
            self.bus, self.market, parts.instruments, cash=parts.capital, fee=paper.fee, is_open=self._is_open,
            seed=parts.seed, latency_ns=paper.latency_ns, jitter_ns=paper.jitter_ns, reject_rate=paper.reject_rate,
            time_in_force=paper.time_in_force, bands=paper.bands,
        )  # fmt: skip

    @property
    def chains(self) -> OptionChains | None:
        """Every chain of the run; `None` where they are not kept."""
        return self.chain_engine.chains if self.chain_engine is not None else None

    def _chain_engine(self, settings: ChainSettings) -> ChainEngine:
        parts, bus = self.parts, self.bus
        chains = chains_of(
            self.market, parts.sessions, lambda: bus.now, settings, self.memories, parts.iv_closes.histories()
        )
        return ChainEngine(bus, chains, self.freshness, parts.sessions)

    def warm(self, batch: TickBatch) -> None:
        """Rows of before a restart: state and indicators take them, nobody decides."""
        if self.chain_engine is not None:
            self.chain_engine.warm(batch)
        else:
            self.market.fold(Rows(batch, 0, batch.rows))
        self.host.warm(batch)

    def _is_open(self, instrument: Instrument, at: int) -> bool:
        return self.phases.segments[instrument.segment].phase == OPEN

    def start(self, *, unclean: bool = False) -> None:
        """Publish the kill switch's level and the phase of every segment; `host.start` was called before."""
        self.host.tell_held()
        self.kill_switch.start()
        self.reconciler.start(unclean=unclean)
        self.patience.start()
        self.phases.start(self.bus.now)

    def restore(self, records: Iterable[Record]) -> None:
        """Be what these records, from a journal's first on, made of an earlier house: State = fold(journal)."""
        last: Record | None = None
        orders: list[Event] = []
        signals = 0
        used: list[str] = []
        failed: list[str] = []
        asked: dict[int, Signal] = {}
        for record in records:
            last, event = record, record.event
            self._restore_books(event)
            self.forecasts.restore(event)
            self.isolation.restore(event)
            self.learner.restore(event)
            if isinstance(event, OrderApproved | SignalRefused):
                self._restore_guard(event, asked.pop(event.signal, None))
            if self._is_for_broker(event):
                orders.append(event)
            elif isinstance(event, Signal):
                signals = event.signal
                asked[signals] = event
            elif isinstance(event, InstrumentUsed):
                used.append(event.instrument)
            elif isinstance(event, StrategyFailed):
                failed.append(event.strategy)
        if last is None:
            return
        self.bus.resume(last.seq, last.row, last.event.at)
        self.exchange.restore(orders)
        held = [
            PositionChanged(last.event.at, p.instrument, p.strategy, p.quantity, p.cost, 0)
            for p in self.ledger.positions.values()
            if p.quantity
        ]
        working = [order.approved for order in self.router.live.values()]
        self.host.restore(signals, held, used, failed)
        for order in working:
            self.host.hold(order.strategy, order.instrument, order.signal)
        self.safe_exit.restore(failed)
        self._restore_chains(held, working)

    def _is_for_broker(self, event: Event) -> bool:
        """Books of a real broker, and what became of orders of ours."""
        if isinstance(event, OrderApproved | OrderAccepted | OrderFilled | OrderEnded | CancelRequested):
            return event.order in self.router.orders
        return isinstance(event, BooksRead)

    def _restore_chains(self, held: Sequence[PositionChanged], working: Sequence[OrderApproved]) -> None:
        """What is held or works is computed first."""
        if self.chain_engine is not None:
            self.chain_engine.restore(held, working)

    def _restore_guard(self, answer: OrderApproved | SignalRefused, signal: Signal | None) -> None:
        """What came as far as the duplicate guard, it remembers."""
        if signal is None:
            return
        if isinstance(answer, OrderApproved):
            if not answer.reduces:
                self.book.remember(signal, answer.side)
        elif answer.code == "duplicate":
            self.book.remember(signal, signal.direction)

    def _restore_books(self, event: Event) -> None:
        self.router.restore(event)
        self.patience.restore(event)
        if isinstance(event, EquityMarked):
            self.book.mark(event)
        elif isinstance(event, PhaseChanged) and event.phase == "open":
            self.book.new_day(event.session)


def memories_of(table: InstrumentTable) -> dict[str, ChainMemory]:
    """What is known of each underlying with options besides its view: nothing yet."""
    options = [instrument for instrument in table if instrument.kind is Kind.OPTION]
    return {one.underlying: ChainMemory("US" if one.currency == "USD" else "NSE") for one in options}


def chains_of(
    market: MarketState,
    sessions: Sessions,
    now: Callable[[], int],
    settings: ChainSettings,
    memories: Mapping[str, ChainMemory],
    histories: Mapping[str, IvHistory] | None = None,
) -> OptionChains:
    """The chains of a market, with settlements and auctions by the calendar, judged."""
    settlements, table = Settlements(sessions), market.table

    def spot_is_open(underlying: str) -> bool:
        """A spot is defined in continuous trading only, not in its closing auction (SPEC 1.2)."""
        instrument = table.get(underlying)
        return instrument is not None and sessions.phase(instrument.segment, now()) == OPEN

    return OptionChains(
        market, lambda one: settlements.of(one.segment, one.expiry).at, now, settings,
        judge=lambda view: judge(view, memories[view.underlying]), histories=histories, spot_is_open=spot_is_open,
    )  # fmt: skip
