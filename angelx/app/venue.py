"""A venue put together: sources, exchanges, the brokers' servers with their faults, sockets, and the log."""

import asyncio
import importlib
import inspect
import ssl
import time
from base64 import b32encode
from collections.abc import Callable
from datetime import date
from pathlib import Path
from random import Random
from typing import Any, Final, get_type_hints

import msgspec
import structlog

from angelx.adapters.http_server import HttpServer
from angelx.adapters.state_dir import StateDir, durable_write
from angelx.adapters.venue_log import VenueLog
from angelx.app.config_model import SIMULATED_DAY
from angelx.app.sources import Bounds, freeze_of
from angelx.bus.clock import SystemClock
from angelx.domain.errors import InputInvalid
from angelx.domain.instruments import Instrument, Kind
from angelx.domain.ports import TickSource
from angelx.domain.scalars import SCALE
from angelx.domain.wire import WireServer
from angelx.market.rules import freeze_quantity, lot_size
from angelx.market.sessions import Session, Sessions
from angelx.orders.fees import FeeSchedule, FeesUnknown
from angelx.venue.account import Margin
from angelx.venue.admission import Bands, Fee
from angelx.venue.control import VenueControl
from angelx.venue.exchange import Exchange, Policy
from angelx.venue.faults import Fault, FaultyServer, Handles, OffsetClock
from angelx.venue.hours import CalendarHours
from angelx.venue.keeping import Keeps
from angelx.venue.runner import InStep, Lane, VenueRunner

log = structlog.get_logger()

LOG: Final = "venue.jsonl"
ADDRESSES: Final = "venue.json"
MARK_S: Final = 0.25


class Broker(msgspec.Struct, frozen=True):
    """One broker that a venue can be."""

    server: str
    """`module:Class`."""
    currency: str
    policy: Policy
    credentials: Callable[[Random], dict[str, str]]
    """Demo credentials by the names of the server's own type."""
    margin: Margin = Margin()
    bands: Bands = Bands()
    any_order: str = ""
    """`module:NAME` of the `rules` that leave out what it forbids to algorithms; empty where it forbids nothing."""


def _letters(random: Random, count: int) -> str:
    return b32encode(random.randbytes(count))[:count].decode()


BROKERS: Final = {
    "angelone": Broker(
        "angelx.venue.angelone.server:AngelOneServer",
        "INR",
        Policy(refuses_triggered=True),
        lambda random: {
            "client_code": "A" + str(random.randrange(100_000, 1_000_000)),
            "pin": str(random.randrange(1_000, 10_000)),
            "totp_secret": _letters(random, 32),
            "api_key": _letters(random, 8),
        },
        Margin(short_option_pct=12),  # What the server's own margin call says (SHORT_OPTION_PCT).
        any_order="angelx.venue.angelone.orders:ANYTHING_GOES",
    ),
    "alpaca": Broker(
        "angelx.venue.alpaca.server:AlpacaServer",
        "USD",
        Policy(unique_client_ids=True, queues_orders=True, extended_hours=True),
        lambda random: {"key_id": "PK" + _letters(random, 18), "secret_key": _letters(random, 40)},
        Margin(short_option_pct=10),
        Bands(equity_pct=0, option_pct=0),  # A limit may be anywhere: it waits.
    ),
}


class VenuePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run."""

    brokers: tuple[str, ...]
    market: str = "simulated"
    """Or the path of a recording."""
    day: date = date.fromisoformat(SIMULATED_DAY)
    """Of the simulated market."""
    bounds: dict[str, Bounds] = {}
    """Of a recording, by currency."""
    speed: float = 1.0
    seed: int = 1
    capital: int = 100_000 * SCALE
    """Of each account, in its currency."""
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    queue_position: bool = False
    faults: tuple[Fault, ...] = ()
    ports: dict[str, int] = {}
    control_port: int = 0
    state_dir: Path
    resume: bool = False
    """Go on where an earlier process on this directory was killed."""
    stays: bool = False
    """Serve on after the end of the market, until stopped."""
    tls: tuple[Path, Path] | None = None
    """Certificate and key, PEM: the brokers' addresses are https and wss then; the control address is not."""
    algo_rules: bool = True
    """Angel One takes what the rules for retail algorithms leave: no MARKET, no IOC, no stop-market on options."""


class Venue:
    """Everything of one process: `start`, then `run`, and always `close`.

    Raises
    ------
    InputInvalid
        The market has nothing that the broker could trade, or the log is of another one.
    StateLocked
        Another venue holds the state directory.
    """

    def __init__(self, plan: VenuePlan) -> None:
        self.plan = plan
        for fault in plan.faults:
            if fault.server not in ("*", *BROKERS):
                raise InputInvalid(f"fault {fault.what}: server {fault.server!r} is none of {', '.join(BROKERS)}, *")
        self.sessions = Sessions.load(trade_special_sessions=True)
        self.lanes: dict[str, Lane] = {}
        self.servers: dict[str, FaultyServer] = {}
        self.credentials: dict[str, dict[str, str]] = {}
        self._offsets: dict[str, OffsetClock] = {}
        self._inner: dict[str, WireServer] = {}
        for name in plan.brokers:
            self._build(name, BROKERS[name])
        self.runner = VenueRunner(tuple(self.lanes.values()))
        for name, lane in self.lanes.items():
            self.servers[name] = self._faulty(name, lane)
        self.token = _letters(Random(f"{plan.seed} control"), 24)
        control = VenueControl(self.servers, tuple(self.lanes.values()), token=self.token)
        tls = None if plan.tls is None else tls_of(*plan.tls)
        self._sockets = {
            name: HttpServer(server, port=plan.ports.get(name, 0), tls=tls) for name, server in self.servers.items()
        }
        self._control = HttpServer(control, port=plan.control_port)
        self._log: VenueLog | None = None
        self._state: StateDir | None = None
        self._has_resumed = False

    def _build(self, name: str, broker: Broker) -> None:
        plan = self.plan
        source = source_of(plan, broker.currency, self.sessions)
        tradable = [one for one in source.instruments if one.tradable and one.currency == broker.currency]
        if not tradable:
            others = {one.currency for one in source.instruments if one.tradable}
            able = [other for other, has in BROKERS.items() if has.currency in others]
            hint = f": --broker {able[0]} could" if able else ""
            raise InputInvalid(f"{plan.market}: nothing in {broker.currency} that {name} could trade{hint}")
        policy = msgspec.structs.replace(
            broker.policy,
            latency_ns=int(plan.latency_ms * 1e6),
            jitter_ns=int(plan.jitter_ms * 1e6),
            queue_position=plan.queue_position,
        )
        exchange = Exchange(
            source.instruments, cash=plan.capital, fee=fee_of(self.sessions), hours=CalendarHours(self.sessions),
            policy=policy, currency=broker.currency, seed=plan.seed, margin=broker.margin, bands=broker.bands,
        )  # fmt: skip
        lane = self.lanes[name] = Lane(name, source, exchange, speed=plan.speed, ticker=time.monotonic_ns)
        clock = self._offsets[name] = OffsetClock(lane.now)
        self.credentials[name] = broker.credentials(Random(f"{plan.seed} {name}"))
        self._inner[name] = server_of(
            broker,
            exchange,
            self.credentials[name],
            now=clock,
            random=Random(f"{plan.seed} server {name}"),
            algo_rules=plan.algo_rules,
        )

    def _faulty(self, name: str, lane: Lane) -> FaultyServer:
        inner = self._inner[name]
        handles = Handles(getattr(inner, "expire_tokens", None), self._offsets[name], lane.exchange.inject)
        in_step = InStep(inner, lane, self.runner)
        return FaultyServer(in_step, name=name, random=Random(f"{self.plan.seed} faults {name}"), handles=handles)

    # ------------------------------------------------------------ running
    async def start(self) -> dict[str, Any]:
        """Take the log up, listen, begin; where it is and how to log in."""
        plan = self.plan
        self._state = StateDir.open(plan.state_dir)
        path = plan.state_dir / LOG
        if path.exists() and not plan.resume:
            path.replace(path.with_suffix(".old"))
        self._log = VenueLog(path, {name: lane.source.digest for name, lane in self.lanes.items()}, terms_of(plan))
        self._has_resumed = bool(self._log.notes)
        self.runner.start(self._log.notes)
        for name, lane in self.lanes.items():
            self._log.follow(lane)
            self._follow(self._inner[name], lane, self._log)
        for socket in (*self._sockets.values(), self._control):  # Nobody is answered before everything is as it was.
            await socket.start()
        for fault in plan.faults:
            for name, server in self.servers.items():
                if fault.server in ("*", name):
                    server.add(fault)
        ready = self.ready()
        durable_write(plan.state_dir / ADDRESSES, msgspec.json.encode(ready))
        return ready

    @staticmethod
    def _follow(server: WireServer, lane: Lane, log: VenueLog) -> None:
        """Give a server back what it kept, and write down what it keeps from now on."""
        if isinstance(server, Keeps):
            server.restore(log.kept(lane.name))
            server.kept.on_change.append(lambda kept: log.keep(lane, kept))

    def ready(self) -> dict[str, Any]:
        """Addresses and demo credentials."""
        return {
            "ok": True,
            "event": "ready",
            "market": self.plan.market,
            "speed": self.plan.speed,
            "resumed": self._has_resumed,
            "servers": {
                name: {
                    "url": socket.url,
                    "stream": socket.url.replace("http", "ws", 1),
                    "credentials": self.credentials[name],
                    "now": self.lanes[name].exchange.now,
                }
                for name, socket in self._sockets.items()
            },
            "control": {"url": self._control.url, "token": self.token},
        }

    async def run(self) -> None:
        """Serve until the market is over, or until stopped."""
        await asyncio.gather(self._drive(), self._mark())

    async def _drive(self) -> None:
        await self.runner.run(stays=self.plan.stays)

    async def _mark(self) -> None:
        """Write down now and then how far the lanes are."""
        while not self.runner.is_over:
            for lane in self.lanes.values():
                if self._log is not None:
                    self._log.mark(lane)
            await self.runner.sleep(MARK_S)

    def stop(self) -> None:
        """End `run`."""
        self.runner.stop()

    async def close(self) -> dict[str, Any]:
        """Listen no more; what happened."""
        for socket in (*self._sockets.values(), self._control):
            await socket.stop()
        if self._log is not None:
            self._log.close()
        if self._state is not None:
            (self.plan.state_dir / ADDRESSES).unlink(missing_ok=True)
            self._state.close()
        return {"ok": True, "event": "ended", "servers": {name: summary(lane) for name, lane in self.lanes.items()}}


def terms_of(plan: VenuePlan) -> dict[str, Any]:
    """What decides how requests end beside the market, by option."""
    return {
        "capital": plan.capital // SCALE, "seed": plan.seed, "latency-ms": plan.latency_ms,
        "jitter-ms": plan.jitter_ms, "queue": plan.queue_position,
    }  # fmt: skip


def summary(lane: Lane) -> dict[str, Any]:
    """What an exchange has come to."""
    exchange = lane.exchange
    funds = exchange.funds()
    states: dict[str, int] = {}
    for order in exchange.orders():
        states[order.status] = states.get(order.status, 0) + 1
    return {
        "now": exchange.now, "rows": exchange.rows, "orders": states, "fills": len(exchange.fills()),
        "positions": {position.instrument: position.quantity for position in exchange.positions()},
        "cash": funds.cash, "equity": funds.equity, "most_behind_ms": lane.most_behind_ns / 1e6,
    }  # fmt: skip


# ---------------------------------------------------------------- parts
def server_of(
    broker: Broker,
    exchange: Exchange,
    credentials: dict[str, str],
    *,
    now: Callable[[], int],
    random: Random,
    algo_rules: bool = True,
) -> WireServer:
    """A broker's server, made of its class's own kind of credentials.

    A server that takes `wall` is given the host's clock too: one-time passwords are made by people's real clocks.
    """
    kind = _named(broker.server)
    takes = inspect.signature(kind).parameters
    more: dict[str, Any] = {"wall": SystemClock().now} if "wall" in takes else {}
    if broker.any_order and not algo_rules:
        more["rules"] = _named(broker.any_order)
    made = get_type_hints(kind.__init__)["credentials"](**credentials)
    server: WireServer = kind(exchange, credentials=made, now=now, random=random, **more)
    return server


def _named(where: str) -> Any:
    """What is at `module:NAME`.

    Raises
    ------
    InputInvalid
        Nothing.
    """
    module, _, name = where.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputInvalid(f"this installation has no {where}: {error}") from error


def tls_of(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server needs to be spoken to in private.

    Raises
    ------
    InputInvalid
        The files are not there, or no certificate with its key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # A wrong key or file is an SSLError, which is one.
        raise InputInvalid(f"{certificate}, {key}: no certificate with its key: {error}") from error
    return context


def source_of(plan: VenuePlan, currency: str, sessions: Sessions) -> TickSource:
    """The rows of one lane."""
    if plan.market != "simulated":
        from angelx.adapters.recorded import open_recording

        path, bounds = Path(plan.market).expanduser().resolve(), plan.bounds.get(currency, Bounds())
        return open_recording(path, begin=bounds.begin, end=bounds.end, freeze=freeze_of)
    segment = "NFO" if currency == "INR" else "US"
    session = sessions.on(segment, plan.day)
    if not isinstance(session, Session):
        raise InputInvalid(f"{plan.day} cannot be simulated for {segment}: {session.reason}")
    if currency == "INR":
        from angelx.market.simulated import SimulatedMarket

        return SimulatedMarket(
            seed=plan.seed, session=plan.day, opens_at=session.opens_at, closes_at=session.closes_at, expiries=4,
            lot_size=lot_size("NIFTY", plan.day) or 1, freeze_quantity=freeze_quantity("NIFTY", plan.day) or 0,
        )  # fmt: skip
    from angelx.market.simulated_us import Parameters, SimulatedUs

    return SimulatedUs(
        Parameters(seed=plan.seed, session=plan.day, opens_at=session.opens_at, closes_at=session.closes_at)
    )


def fee_of(sessions: Sessions) -> Fee:
    """Fees by the dated table; what it does not know costs nothing, and is said once."""
    schedule = FeeSchedule.load()
    unknown: set[tuple[str, Kind]] = set()

    def fee(instrument: Instrument, side: int, quantity: int, notional: int, at: int) -> int:
        try:
            day = sessions.day_of(instrument.segment, at)
            return schedule.charge(instrument, side, quantity, notional, day).total
        except FeesUnknown as error:
            if (instrument.segment, instrument.kind) not in unknown:
                unknown.add((instrument.segment, instrument.kind))
                log.warning("venue_fees_unknown", segment=instrument.segment, kind=str(instrument.kind), why=str(error))
            return 0

    return fee
