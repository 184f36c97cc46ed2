"""One whole session: opened, played on the loop its speed asks for, closed, summed up and reported."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from angelx.adapters.journal import Head, JournalReader
from angelx.adapters.latch import LEVEL_NAMES
from angelx.adapters.signals import DeadlineGuard, SignalControl, Standby
from angelx.adapters.state_dir import StateDir, durable_write
from angelx.adapters.terminal import FillLine, LatencyLine, OrderLine, PositionLine, Progress, Snapshot
from angelx.app.config import Config
from angelx.app.live import Before, Live
from angelx.app.session import JOURNAL
from angelx.app.supervisor import ServiceFailed
from angelx.app.trading import Plan, TradingSession
from angelx.domain.errors import AngelxError
from angelx.domain.events import OrderFilled, SignalRefused
from angelx.research.session_facts import ZONES, SessionFacts
from angelx.research.untraded import chosen, untraded
from angelx.services.quiet_memory import quiet_memory
from angelx.sim.loop import VirtualLoop

SHOW_EVERY_S: Final = 0.2
SHOWN: Final = 8
NOTE_S: Final = 10.0
"""What strategies chose of the market is shown so long."""
METRICS: Final = "metrics.json"


class Outcome(msgspec.Struct, frozen=True):
    """What a session came to."""

    summary: dict[str, Any]
    level: str
    """The kill switch at the end."""


def play(
    plans: Sequence[Plan], progress: Progress, standby: Standby, on_reload: Callable[[Config], None] | None = None
) -> tuple[Outcome, ...]:
    """Run sessions to their ends: one, or a book for each broker beside each other on one loop.

    Signals are heard by `standby` before and after.

    Raises
    ------
    AngelxError
        One could not be run, and all have stopped; whatever had happened is in their journals.
    """
    books: list[TradingSession] = []
    guard = DeadlineGuard(min(plan.config.watchdog.strategy_budget_ms for plan in plans) / 1000)
    with asyncio.Runner(loop_factory=_loop_factory(plans[0])) as runner:
        watcher: Watcher | None = None
        try:
            runner.run(_open(plans, guard, books, standby))
            watcher = Watcher(books[0], progress)
            books[0].on_breath = watcher.breathe
            books[0].on_reload = on_reload or books[0].on_reload
            with quiet_memory():
                runner.run(_trade(books, guard, standby))
        finally:
            for book in books:
                book.close()
                if book.live is not None:
                    runner.run(book.live.release())
            if watcher is not None:
                progress.close(watcher.snapshot())
    return tuple(Outcome(_summed_up(book), book.latch.name) for book in books)


async def _open(plans: Sequence[Plan], guard: DeadlineGuard, books: list[TradingSession], standby: Standby) -> None:
    """Every session in its turn; those that are there are there, also when the next one cannot be opened."""
    for plan in plans:
        book = await _opened(plan, guard, standby)
        books.append(book)


async def _opened(plan: Plan, guard: DeadlineGuard, standby: Standby) -> TradingSession:
    """A session that is ready to run, its broker connected."""
    config = plan.config
    state = StateDir.open(Path(config.state_dir))
    standby.latch_in(state.path)
    live: Live | None = None
    try:
        if plan.mode == "run" and config.broker != "paper":
            from angelx.app.brokers import connect

            capture = Path(config.capture.directory or state.path / "capture")
            live = await connect(config, state.path, Before() if plan.fresh else Before.found(state.path, capture))
        return TradingSession(plan, state, guard, live)
    except BaseException:
        if live is not None:
            await live.release()
        state.close()
        raise


async def _trade(books: Sequence[TradingSession], guard: DeadlineGuard, standby: Standby) -> None:
    """All books at once; signals are for all of them."""

    def signalled(verb: str, name: str) -> None:
        for book in books:
            book.operator.signalled(verb, name)

    control = SignalControl(asyncio.get_running_loop(), _Latches(books), books[0].feed.now, signalled)
    guard.start()
    control.install()
    for number in standby.told():
        control.hear(number)
    try:
        if len(books) == 1:
            await books[0].run()
            return
        async with asyncio.TaskGroup() as group:
            for book in books:
                group.create_task(book.run(), name=book.source.name)
    except* (AngelxError, ServiceFailed) as failures:
        raise failures.exceptions[0] from None
    finally:
        guard.stop()
        control.restore()


class _Latches:
    """The kill switch of every book."""

    def __init__(self, books: Sequence[TradingSession]) -> None:
        self._books = books

    def raise_to(self, level: int, reason: str, who: str, at: int) -> None:
        """Raise all of them."""
        for book in self._books:
            book.latch.raise_to(level, reason, who, at)


def _loop_factory(plan: Plan) -> Callable[[], asyncio.AbstractEventLoop]:
    if not plan.speed:
        return lambda: VirtualLoop(plan.config.seed)
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


def _summed_up(session: TradingSession) -> dict[str, Any]:
    plan, directory = session.plan, session.state.path
    metrics = session.metrics()
    durable_write(directory / METRICS, msgspec.json.encode(metrics))
    facts, head = _facts(directory / JOURNAL)
    report = _report(facts, metrics, directory, plan.mode, session.source.name) if plan.config.report.enabled else None
    return {
        **facts.summary(),
        "untraded": untraded(facts, metrics),
        "chosen": chosen(metrics),
        "mode": plan.mode,
        "source": session.source.name,
        "scope": session.source.scope,
        "currency": plan.config.currency,
        "ticks": session.bus.row,
        "ticks_refused": metrics["ticks_refused"],
        "ticks_first_refused": metrics["ticks_first_refused"],
        "ticks_per_s": metrics["ticks_per_s"],
        "elapsed_s": metrics["elapsed_s"],
        "level": LEVEL_NAMES[session.latch.level],
        "level_reason": session.latch.reason if session.latch.level else "",
        "resumed": session.left is not None,
        "journal": str(directory / JOURNAL),
        "journal_records": head.last if head else 0,
        "journal_head": head.hash if head else "",
        "report": str(report) if report else None,
        "state_dir": os.fspath(directory),
    }


def report_of(directory: Path) -> dict[str, Any]:
    """Write the report of a state directory's journal again.

    Raises
    ------
    JournalBroken
        There is none, or it cannot be read.
    """
    facts, _ = _facts(directory / JOURNAL)
    measured = directory / METRICS
    metrics = msgspec.json.decode(measured.read_bytes()) if measured.exists() else {}
    mode = facts.started.mode if facts.started else ""
    report = _report(facts, metrics, directory, mode, facts.sources[-1].source if facts.sources else "")
    return {"ok": True, "report": str(report), **facts.summary(), "untraded": untraded(facts, metrics)}


def _facts(journal: Path) -> tuple[SessionFacts, Head | None]:
    reader = JournalReader(journal)
    try:
        return SessionFacts.of(record.event for record in reader.records()), reader.head
    finally:
        reader.close()


def _report(facts: SessionFacts, metrics: Mapping[str, object], directory: Path, mode: str, source: str) -> Path:
    from angelx.research.report import write_report

    return write_report(facts, metrics, directory / "report.html", title=f"angelx {mode}: {source}")


class Watcher:
    """Makes a snapshot for the person who watches, a few times a second, and keeps count of refusals and fills."""

    def __init__(self, session: TradingSession, progress: Progress) -> None:
        self._session, self._progress = session, progress
        self._next = 0.0
        self._refusals: dict[str, int] = {}
        self._fills: list[FillLine] = []
        self._filled = 0
        session.bus.subscribe(SignalRefused, self._on_refused)
        session.bus.subscribe(OrderFilled, self._on_filled)

    def _on_refused(self, event: SignalRefused) -> None:
        self._refusals[event.code] = self._refusals.get(event.code, 0) + 1

    def _on_filled(self, event: OrderFilled) -> None:
        self._filled += 1
        self._fills.append(FillLine(event.at, event.instrument, event.side, event.quantity, event.price))
        if len(self._fills) > 10 * SHOWN:
            del self._fills[:-SHOWN]

    def breathe(self) -> None:
        """Send a snapshot where one is due."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + SHOW_EVERY_S
            self._progress.send(self.snapshot())

    def snapshot(self) -> Snapshot:
        """The session at this moment."""
        session = self._session
        house, bus, source, config = session.house, session.bus, session.source, session.plan.config
        elapsed = time.monotonic() - session.began
        ledger = house.ledger
        return Snapshot(
            mode=session.plan.mode,
            source=source.name,
            zone=ZONES.get(config.currency, "UTC"),
            at=bus.now,
            first_at=source.first_at,
            last_at=source.last_at,
            rows=bus.row,
            rows_total=source.rows and source.rows - sum(session.differential.refused.values()),
            elapsed_s=elapsed,
            ticks_per_s=bus.row / elapsed if elapsed else 0.0,
            currency=config.currency,
            capital=house.parts.capital,
            equity=ledger.cash + house.keeper.value(),
            realised=ledger.realised,
            fees=ledger.fees,
            signals=house.host.signals,
            refused=sum(self._refusals.values()),
            orders=len(house.router.orders),
            fills=self._filled,
            refusals=dict(self._refusals),
            latency={name: _line(stage) for name, stage in house.monitor.stages.items() if stage.count},
            health=house.risk.health.state,
            level=session.latch.name,
            note=session.latch.reason if session.latch.level else self._chosen() if elapsed < NOTE_S else "",
            positions=tuple(self._positions())[:SHOWN],
            working=tuple(self._working())[:SHOWN],
            recent=tuple(self._fills[: -SHOWN - 1 : -1]),
        )

    def _chosen(self) -> str:
        """What strategies chose of the market."""
        return "; ".join(f"{name} {about}" for name, about in chosen({"strategies": self._session.told()}).items())

    def _positions(self) -> list[PositionLine]:
        house = self._session.house
        lines = []
        for position in house.ledger.positions.values():
            if position.quantity:
                value = house.keeper.worth(position)
                lines.append(
                    PositionLine(
                        position.instrument, position.strategy, position.quantity, position.cost, value - position.cost
                    )
                )
        return lines

    def _working(self) -> list[OrderLine]:
        house = self._session.house
        lines = []
        for name in house.book.live:
            order = house.router.orders[name]
            approved = order.approved
            lines.append(
                OrderLine(
                    approved.at, approved.instrument, approved.side, approved.quantity, order.filled, approved.limit
                )
            )
        return lines


def _line(stage: Any) -> LatencyLine:
    p50, p95, p99, most = stage.percentiles((50.0, 95.0, 99.0, 100.0))
    return LatencyLine(p50, p95, p99, most)
