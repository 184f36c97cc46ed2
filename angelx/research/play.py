"""One whole session: opened, played on the loop its speed asks for, closed, summed up and reported."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from angelx.adapters.journal import Head, JournalReader
from angelx.adapters.latch import LEVEL_NAMES
from angelx.adapters.state_dir import StateDir, durable_write
from angelx.adapters.terminal import FillLine, LatencyLine, OrderLine, PositionLine, Progress, Snapshot
from angelx.app.config import Config
from angelx.app.session import JOURNAL
from angelx.app.trading import Plan, TradingSession
from angelx.domain.events import OrderFilled, SignalRefused
from angelx.research.session_facts import ZONES, SessionFacts
from angelx.services.quiet_memory import quiet_memory
from angelx.sim.loop import VirtualLoop

SHOW_EVERY_S: Final = 0.2
SHOWN: Final = 8
METRICS: Final = "metrics.json"


class Outcome(msgspec.Struct, frozen=True):
    """What a session came to."""

    summary: dict[str, Any]
    level: str
    """The kill switch at the end."""


def play(plan: Plan, progress: Progress, on_reload: Callable[[Config], None] | None = None) -> Outcome:
    """Run a session to its end.

    Raises
    ------
    AngelxError
        It could not be run; whatever had happened is in the journal.
    """
    state = StateDir.open(Path(plan.config.state_dir))
    try:
        session = TradingSession(plan, state)
    except BaseException:
        state.close()
        raise
    watcher = Watcher(session, progress)
    session.on_breath = watcher.breathe
    if on_reload is not None:
        session.on_reload = on_reload
    try:
        with quiet_memory(), asyncio.Runner(loop_factory=_loop_factory(plan)) as runner:
            runner.run(session.run())
    finally:
        session.close()
        progress.close(watcher.snapshot())
    return Outcome(_summed_up(session), session.latch.name)


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
        "mode": plan.mode,
        "source": session.source.name,
        "scope": session.source.scope,
        "currency": plan.config.currency,
        "ticks": session.bus.row,
        "ticks_refused": metrics["ticks_refused"],
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
    return {"ok": True, "report": str(report), **facts.summary()}


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
            rows_total=source.rows,
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
            health=house.watchdog.state,
            level=session.latch.name,
            note=session.latch.reason if session.latch.level else "",
            positions=tuple(self._positions())[:SHOWN],
            working=tuple(self._working())[:SHOWN],
            recent=tuple(self._fills[: -SHOWN - 1 : -1]),
        )

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
        for name in house.book.orders:
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
