"""A trading session as a process sees it: prepared from a state directory, run, and closed in order."""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
import structlog

from angelx import __version__
from angelx.adapters.admin import AdminServer
from angelx.adapters.capture import CaptureWriter
from angelx.adapters.journal import JournalReader, SqliteJournal
from angelx.adapters.latch import LEVEL_NAMES, Latch
from angelx.adapters.signals import DeadlineGuard
from angelx.adapters.state_dir import StateDir, durable_write
from angelx.adapters.worker_pool import WorkerPool
from angelx.app.config import Config, config_hash, differences, frozen_json
from angelx.app.config_freeze import freeze
from angelx.app.house import House
from angelx.app.live import Live, LiveSource
from angelx.app.loop_lag import LoopLag
from angelx.app.operator import Operator
from angelx.app.plugins import plugin_digests
from angelx.app.session import (
    HEAD,
    JOURNAL,
    Left,
    archive,
    iv_closes_before,
    journal_key,
    keep_iv_closes,
    keep_tuning,
    left_in,
    parts_of,
    tick_sizes,
    tuning_before,
    verify,
)
from angelx.app.sources import Bounds, open_source
from angelx.app.supervisor import Supervisor, Task
from angelx.bus.bus import Bus
from angelx.bus.clock import PacedClock, SystemClock
from angelx.domain.errors import ConfigInvalid, InputInvalid, JournalBroken
from angelx.domain.events import IncidentReported, SessionStarted, SourceOpened
from angelx.domain.ports import TickSource
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, TickBatch
from angelx.market.differential import Differential
from angelx.market.iv_closes import IvCloses, iv_closes_of
from angelx.market.sessions import Sessions
from angelx.market.state import ASK_CHANGES, BID_CHANGES
from angelx.services.broker_link import BrokerLink
from angelx.services.data_feed import DataFeed
from angelx.services.kill_switch import LatchedSends
from angelx.services.live_feed import LiveFeed
from angelx.signals.tuning import Tuning, tuning_of

log = structlog.get_logger()

MOST_ROWS: Final = 4096
POLL_S: Final = 0.25
SPOOL_S: Final = 1.0
"""Of the host's time between two commits at full speed."""
CAPTURE_S: Final = 1.0
PART_S: Final = 60.0
PART_ROWS: Final = 200_000
LIVE_PART_S: Final = 10.0
LIVE_PART_ROWS: Final = 50_000
"""Live, ticks that are in no part yet outlive the process but not the host: at most so many, so many seconds old."""
FOREVER_S: Final = 1e9
LISTENS_S: Final = 2.0
"""A socket that was removed is there again so soon."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run."""

    mode: str
    """`paper`, `replay` or `run`."""
    config: Config
    bounds: Bounds = Bounds()
    fresh: bool = False
    """Put an unfinished session aside instead of continuing it."""
    most_rows: int = MOST_ROWS
    """Rows given to the bus at once; the result does not depend on it."""
    override: str = ""
    """Why a configuration that is frozen for the day may be another one (`run`)."""
    read_again: Callable[[], Config] | None = None
    """Reads the configuration anew, for SIGHUP."""

    @property
    def speed(self) -> float:
        """Session seconds per second, 0 = as fast as possible. `run` is never as fast as possible."""
        factor = self.config.speed_factor
        if factor == float("inf"):
            return 1.0 if self.mode == "run" else 0.0
        return factor


class TradingSession:
    """Everything of one book: play it with `run`, and always `close` it.

    Parameters
    ----------
    guard
        Stops strategies that do not return; started by whoever owns the process, as signals are.
    live
        A connected broker; `None` trades on paper.
    """

    def __init__(self, plan: Plan, state: StateDir, guard: DeadlineGuard, live: Live | None = None) -> None:
        self.plan, self.state = plan, state
        self._plugins = plugin_digests(plan.config)
        self.began = time.monotonic()
        config = plan.config
        self.sessions = Sessions.load(trade_special_sessions=config.market.trade_special_sessions)
        self.live = live
        self.source: TickSource = (
            LiveSource(live, self._capture_directory()) if live else open_source(config, self.sessions, plan.bounds)
        )
        self.latch = Latch.load(state.path)
        self.guard = guard
        if plan.mode == "run":
            day = self.sessions.day_of(self.source.instruments[0].segment, self.source.first_at)
            freeze(state.path, config, day, at=SystemClock().now(), reason=plan.override)
        self.left = self._left()
        self.bus = Bus()
        self.tuning, self.iv_closes = self._tuning(), self._iv_closes()
        run = self.left.started.run if self.left else self._instance()
        self.pool = WorkerPool()
        parts = parts_of(
            config, self.source, self.sessions, run, tuning=self.tuning, iv_closes=self.iv_closes, pool=self.pool,
            waits=not plan.speed,
        )  # fmt: skip
        key = journal_key(config)
        if self.left is None:  # Only now, when nothing of what was asked for is missing.
            archive(state.path)
        self.journal = SqliteJournal(
            self.bus,
            state.path / JOURNAL,
            durable=bool(plan.speed) and config.journal.durability == "intent",
            block_records=config.journal.block_records,
            key=key,
        )
        self.link = BrokerLink(self.bus, live.client, LatchedSends(self.latch), Random(config.seed)) if live else None
        self.house = House(self.bus, parts, self.journal, self.latch, self.guard, link=self.link)
        self.house.learner.on_learned = lambda tuning: keep_tuning(state.path, tuning)
        if self.house.chain_engine is not None:
            self.house.chain_engine.on_session_end = lambda histories: keep_iv_closes(state.path, histories)
        self.differential = Differential(len(self.source.instruments), tick_sizes(self.source))
        self.feed = self._feed()
        self.feed.on_gap = self.house.phases.skip_until
        self.supervisor = Supervisor(self._restarted)
        self.capture: CaptureWriter | None = None
        self.loop_lag = LoopLag(config.watchdog.loop_lag_ms)
        self.operator = Operator(self.latch, self.feed, self.house, reload=self._reload, facts=self._facts)
        self._from_row = 0
        self._poll_at = self._head_at = self._flush_at = 0.0
        self.on_reload: Callable[[Config], None] = _ignore
        """Called with a configuration that was read anew."""
        self.on_breath: Callable[[], None] = lambda: None
        """Called a few times a second of the host's time: the live view."""

    # ------------------------------------------------------------ preparing
    def _capture_directory(self) -> Path:
        return Path(self.plan.config.capture.directory or self.state.path / "capture")

    def _feed(self) -> DataFeed:
        live, link = self.live, self.link
        if live is None or link is None:
            return DataFeed(
                self.bus, self.source, self.differential, clock=None, most_rows=self.plan.most_rows,
                ends_at=self._ends_at,
            )  # fmt: skip
        return LiveFeed(
            self.bus, self.source, self.differential, feed=live.feed, link=link, clock=live.clock,
            ends_at=self._over_at,
        )  # fmt: skip

    def _over_at(self, now: int) -> int:
        """When a live day is over: some time after the last segment closed; 0 while none has been open."""
        segments = self.house.phases.segments.values()
        if any(segment.phase == "open" for segment in segments):
            return 0
        closed = self._ends_at(now)
        return closed + int(self.plan.config.live.stop_after_close_min * 60 * NS) if closed else 0

    def _left(self) -> Left | None:
        """What is to be continued."""
        path = self.state.path / JOURNAL
        try:
            left = None if self.plan.fresh else left_in(path)
        except JournalBroken as error:
            raise JournalBroken(f"{error}; look at it with angelx journal, or put it aside with --fresh") from error
        if left is None or left.finished:
            return None
        config = self.plan.config
        what = []
        if self.plan.mode != "run" and left.started.config_hash != config_hash(config):
            what += differences(left.started.config, frozen_json(config))
        if left.source.digest != self.source.digest:
            what.append("the source has other rows")
        if left.started.plugins != _as_json(self._plugins):
            what.append("a strategy or filter file changed")
        if what:
            raise InputInvalid(
                f"{self.state.path} holds an unfinished {left.started.mode} session that was run differently: "
                f"{'; '.join(what)}. Run it as it was, or put it aside with --fresh."
            )
        for fault in verify(path, journal_key(config)).faults:
            raise JournalBroken(f"{path}: {fault.what}; it is not continued")
        return left

    def _tuning(self) -> Tuning:
        """What a session that is continued began with, else what was learned before it."""
        if self.left is not None:
            return tuning_of(self.left.started.tuning, str(self.state.path / JOURNAL))
        applies = self.plan.config.tuning.apply == "next_session"
        first_at = self.source.first_at or SystemClock().now()
        return tuning_before(self.state.path, first_at, applies=applies)

    def _iv_closes(self) -> IvCloses:
        """The same of the volatilities at earlier closes."""
        if self.left is not None:
            return iv_closes_of(self.left.started.iv_closes, str(self.state.path / JOURNAL))
        return iv_closes_before(self.state.path, self.source.first_at or SystemClock().now())

    def _instance(self) -> str:
        """Name of a new journal: for replays the same for the same input, else unique for life."""
        plan, tuning, iv_closes = self.plan, self.tuning, self.iv_closes
        if plan.mode == "run":
            return secrets.token_hex(8)
        seed = f"{plan.mode}\0{config_hash(plan.config)}\0{self.source.digest}\0{_as_json(self._plugins)}"
        if tuning.version:
            seed = f"{seed}\0{tuning.digest}"
        if iv_closes.closes:
            seed = f"{seed}\0{iv_closes.digest}"
        return hashlib.sha256(seed.encode()).hexdigest()[:16]

    def _batches(self) -> Iterator[TickBatch]:
        """Restore what was left, then the rows that are still to come."""
        if self.left is not None:
            reader = JournalReader(self.state.path / JOURNAL)
            try:
                self.house.restore(reader.records())
            finally:
                reader.close()
            self.house.learner.keep()
        if self.live is not None and self.capture is not None:
            self.bus.skip(max(self.capture.next_row - self.bus.row, 0))
        return self.feed.accepted(self.bus.row, self.house.warm)

    def _ends_at(self, now: int) -> int:
        """Close of the last session that is open at `now` or was just; 0 where none is known."""
        return max((segment.closes_at for segment in self.house.phases.segments.values()), default=0)

    # ------------------------------------------------------------ running
    async def run(self) -> None:
        """Play the session to its end, beside everything that listens.

        Raises
        ------
        ServiceFailed
            Something failed that must not; trading was halted first.
        InputInvalid
            The source has no usable row.
        """
        plan = self.plan
        self.house.host.start()
        for name, told in self.told().items():
            if told["about"]:
                log.warning("strategy_chose", strategy=name, about=told["about"])
        self._capture()
        batches = self._batches()
        if self.live is not None and self.link is not None:
            self.link.begin(self.live.early, self.live.asked_at, self.live.held)
        first = next(batches, None)
        if self.live is not None:
            first = TickBatch.empty()
            self.bus.advance(self.live.clock.now())
        elif first is None:
            if self.left is None:
                refused = self.differential.refused
                raise InputInvalid(
                    f"{plan.config.market.source}: no usable row; refused: {refused or 'none, it is empty'}"
                )
            first = TickBatch.empty()
        else:
            self.bus.advance(first.view[AT, 0])
        if plan.speed and self.live is None:
            self.feed.clock = PacedClock(self.bus.now, plan.speed)
        self._from_row = self.bus.row
        self.began = time.monotonic()
        self._begin()
        try:
            await self.supervisor.run(
                Task("data_feed", lambda: self.feed.run(_chain(first, batches))),
                [
                    Task("admin", self._admin, restart=True),
                    Task("announcer", self.house.announcer.run, restart=True),
                    *self._measuring(),
                    *self._capturing(),
                    *self._linking(),
                ],
            )
        except BaseException as error:
            self._halt_on(error)
            raise

    def _capture(self) -> None:
        """Have every batch recorded, from the first on."""
        if self._captures:
            directory, source = self._capture_directory(), self.source
            capture = self.capture = CaptureWriter(
                directory, source.instruments, scope=source.scope, kind=source.kind, outlives=self.live is not None,
                part_seconds=LIVE_PART_S if self.live else PART_S, part_rows=LIVE_PART_ROWS if self.live else PART_ROWS,
            )  # fmt: skip

            def received(batch: TickBatch, row: int) -> None:
                """Rows that a recording gives again after a restart are there already."""
                start = min(max(capture.next_row - row, 0), batch.rows)
                capture.append(batch, start, batch.rows, row + start)

            self.feed.received = received

    def _begin(self) -> None:
        bus, plan, config = self.bus, self.plan, self.plan.config
        self.feed.on_breath, self.feed.on_settled = self._breathe, self._settle
        bus.publish(
            SessionStarted(
                bus.now, self.house.parts.run, plan.mode, frozen_json(config), config_hash(config), __version__,
                config.seed, config.capital_money, config.currency, self.left is not None, _as_json(self._plugins),
                self.tuning.to_json() if self.tuning.version else "",
                self.iv_closes.to_json() if self.iv_closes.closes else "",
            )
        )  # fmt: skip
        bus.publish(
            SourceOpened(
                bus.now, self.source.name, self.source.reference, self.source.digest, len(self.source.instruments)
            )
        )
        self.house.start(unclean=self.left is not None and self.left.ended is None)

    def _halt_on(self, error: BaseException) -> None:
        """Something failed that must not: latch first, then whatever can still be written is written."""
        self.latch.raise_to(
            LEVEL_NAMES.index("halt"), f"{type(error).__name__}: {error}", "supervisor", self.feed.now()
        )
        log.error("trading_halted", error=repr(error), action="resume after finding out why")

    def _breathe(self) -> None:
        now = time.monotonic()
        if now >= self._poll_at:
            self._poll_at = now + POLL_S
            self.operator.poll()
        self._settle()
        if now >= self._head_at:
            self._head_at = now + self.plan.config.journal.head_every_s
            self._keep_head()
        self.on_breath()

    def _settle(self) -> None:
        """What a person or a broker may have been told of is in the journal, or will be within a second of spooling."""
        if self.journal.pending and (self.journal.durable or time.monotonic() >= self._flush_at):
            self._flush_at = time.monotonic() + SPOOL_S
            self.journal.flush()

    def _keep_head(self) -> None:
        """The newest record's number and hash go to a second file, so that a cut tail is seen."""
        self.journal.flush()
        durable_write(self.state.path / HEAD, msgspec.json.encode(self.journal.head))

    def _measuring(self) -> list[Task]:
        """Lateness of the loop means something only where its seconds are the host's."""
        return [Task("loop_lag", self.loop_lag.run, restart=True)] if self.plan.speed else []

    def _capturing(self) -> list[Task]:
        return [Task("capture", self._write_capture)] if self._captures else []

    @property
    def _captures(self) -> bool:
        """Live, the ticks that the journal refers to are nowhere else."""
        return self.plan.config.capture.enabled or self.live is not None

    def _linking(self) -> list[Task]:
        """A real broker's tasks: neither may fail quietly."""
        live, link = self.live, self.link
        if live is None or link is None:
            return []

        async def watch() -> None:
            await live.feed.subscribe(live.table, live.places)
            await live.feed.run()

        keeper = [Task("venue_time", live.keep_time, restart=True)] if live.keep_time is not None else []
        return [Task("broker_link", link.run), Task("market_feed", watch), *keeper]

    async def _write_capture(self) -> None:
        """Ticks are written beside the loop, never on it; what cannot be written ends the session loudly."""
        capture = self.capture
        with ThreadPoolExecutor(1, "capture") as writer:  # One thread: each keeps some memory of its own for good.
            while capture is not None:
                await asyncio.sleep(CAPTURE_S)
                if capture.due(self.bus.now):
                    await asyncio.get_running_loop().run_in_executor(writer, capture.flush)

    # ------------------------------------------------------------ listeners
    def _reload(self) -> None:
        """Take over what may change while it runs: how it logs and reports, nothing that decides.

        Raises
        ------
        ConfigInvalid
            It cannot be read, or a key or a file that decides has changed.
        """
        if self.plan.read_again is None:
            raise ConfigInvalid("this session was not started from a configuration file")
        fresh = self.plan.read_again()
        changed = differences(frozen_json(self.plan.config), frozen_json(fresh))
        if changed:
            raise ConfigInvalid(f"these keys are frozen while it runs: {'; '.join(changed)}")
        files = sorted(use for use, digest in plugin_digests(fresh).items() if self._plugins.get(use) != digest)
        if files:
            raise ConfigInvalid(f"these files changed, what runs is still the code from before: {', '.join(files)}")
        self.plan = msgspec.structs.replace(self.plan, config=fresh)
        self.on_reload(fresh)
        log.info("reloaded", log_level=fresh.log.level, report=fresh.report.enabled)

    async def _admin(self) -> None:
        server = AdminServer(
            self.state,
            self.operator.answer,
            self.plan.config.admin.socket,
            timeout_s=10.0 if self.plan.speed else FOREVER_S,  # at full speed the loop's seconds are virtual
        )
        await server.serve(LISTENS_S if self.plan.speed else None)

    def _restarted(self, service: str, what: str) -> None:
        self.bus.publish(IncidentReported(self.bus.now, service, what))

    # ------------------------------------------------------------ what it shows
    def _facts(self) -> dict[str, Any]:
        return {
            "mode": self.plan.mode,
            "restarts": self.supervisor.restarts,
            "loop_lag_p99_ms": self.loop_lag.p99_ms,
            "pid_token": self.state.token,
        }

    def metrics(self) -> dict[str, Any]:
        """What is measured about the process; no part of the journal."""
        elapsed = time.monotonic() - self.began
        return {
            "elapsed_s": round(elapsed, 3),
            "ticks_per_s": round((self.bus.row - self._from_row) / elapsed) if elapsed else 0,
            "latency": self.house.monitor.as_dict(),
            "ticks_refused": self.differential.refused,
            "ticks_first_refused": {
                reason: {"row": row, "instrument": self._named(place)}
                for reason, (row, place) in self.differential.first_refused.items()
            },
            "ticks_unchanged": self.differential.unchanged,
            "scope": self.source.scope,
            "quoted": self._quoted(),
            "strategies": self.told(),
        }

    def _named(self, place: int) -> str:
        """The instrument there; a row may have been refused because it names none."""
        instruments = self.source.instruments
        return instruments[place].id if 0 <= place < len(instruments) else f"place {place}"

    def _quoted(self) -> tuple[int, int]:
        """How many of the tradable instruments were quoted on both sides since the start, and how many there are."""
        columns = self.house.market.columns
        tradable = [place for place, one in enumerate(self.source.instruments) if one.tradable]
        both = (columns[BID_CHANGES, tradable] > 0) & (columns[ASK_CHANGES, tradable] > 0)
        return int(both.sum()), len(tradable)

    def told(self) -> dict[str, dict[str, Any]]:
        """What strategies say of themselves, by name: `about` and `passed_over`. Of their own code nothing is run."""
        return {one.name: _told_by(vars(one)) for one in self.house.parts.strategies}

    def close(self) -> None:
        """Flush and let go of everything; may be called after a failure."""
        self.house.announcer.drain()
        self.pool.close()
        try:
            if self.capture is not None:
                self.capture.flush()
        finally:
            try:
                self._keep_head()
                self.journal.close()
            finally:
                self.state.close()


def _as_json(digests: Mapping[str, str]) -> str:
    return json.dumps(digests, sort_keys=True)


def _told_by(kept: Mapping[str, object]) -> dict[str, Any]:
    """The same of one, from its attributes: they are a person's own and may be anything."""
    about, passed_over = kept.get("about"), kept.get("passed_over")
    try:
        counts = msgspec.convert(passed_over, dict[str, int])
    except msgspec.ValidationError:
        counts = {}
    return {"about": about if isinstance(about, str) else "", "passed_over": counts}


def _chain(first: TickBatch, rest: Iterator[TickBatch]) -> Iterator[TickBatch]:
    yield first
    yield from rest


def _ignore(config: Config) -> None:
    """Nobody asked to hear of it."""
