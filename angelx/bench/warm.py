"""Compiles every kernel into numba's cache by using each once, so that a session starts at once."""

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from angelx import sources

if TYPE_CHECKING:
    from angelx.app.house import Parts
    from angelx.domain.ports import TickSource

KEPT_S: Final = 14 * 86_400.0
DONE: Final = "warm.json"
"""File in the kernels' directory: of which sources everything is compiled, and in which files that is."""
WARM_NS: Final = 600 * 1_000_000_000


def ensure_warm(tell: Callable[[str], None]) -> None:
    """Compile now what would otherwise compile in the middle of a session; nothing where it was done before.

    A strategy whose first call had to wait for a compiler would be stopped for running too long.
    """
    if not _is_warm(Path(os.environ["NUMBA_CACHE_DIR"])):
        warm_up(tell)


def _is_warm(cache: Path) -> bool:
    """Whether everything was compiled of these sources, and is there still: caches are swept by others."""
    try:
        done = json.loads((cache / DONE).read_bytes())
        return bool(done["sources"] == sources() and all((cache / name).exists() for name in done["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _keep_done(cache: Path) -> None:
    files = sorted(str(path.relative_to(cache)) for path in cache.rglob("*.nb?"))
    (cache / DONE).write_text(json.dumps({"sources": sources(), "files": files}), encoding="utf-8")


def warm_up(tell: Callable[[str], None]) -> dict[str, float]:
    """Seconds that each part took; next to nothing where the cache was warm. `tell` hears of each as it begins."""
    took: dict[str, float] = {}
    parts = {
        "market": _market,
        "stream": _stream,
        "chains": _chains,
        "analytics": _chain,
        "wire": _wire,
        "venue": _venue,
    }
    tell("compiling kernels: about a minute, once after an installation")
    for number, (name, work) in enumerate(parts.items(), 1):
        tell(f"kernels: {name}, {number} of {len(parts)}")
        began = time.perf_counter()
        work()
        took[name] = round(time.perf_counter() - began, 3)
    _forget_old()
    with suppress(OSError):  # A directory that cannot be written keeps no kernels either.
        _keep_done(Path(os.environ["NUMBA_CACHE_DIR"]))
    return took


def _forget_old() -> None:
    """Kernels of sources that have been gone for weeks are removed."""
    own = Path(os.environ["NUMBA_CACHE_DIR"])
    if not own.is_dir():
        return
    newest = own.stat().st_mtime
    for other in own.parent.glob("kernels-*"):
        if newest - other.stat().st_mtime > KEPT_S:
            shutil.rmtree(other, ignore_errors=True)


def _market() -> None:
    from angelx.market.sessions import Session, Sessions
    from angelx.market.simulated import SimulatedMarket

    session = Sessions.load().on("NFO", date(2026, 10, 21))
    assert isinstance(session, Session)
    market = SimulatedMarket(
        seed=1, session=session.day, opens_at=session.opens_at, closes_at=session.closes_at, expiries=1, strikes=2
    )
    next(iter(market.batches()))


def _chain() -> None:
    """Every kernel of the chain engine, on a second of the smallest market."""
    from angelx.app.config import load_config
    from angelx.app.sources import Bounds, open_source
    from angelx.bench.chain_greeks import warm_up as analytics
    from angelx.market.sessions import Sessions
    from angelx.research.chain_picture import expiry_of, picture
    from angelx.research.chain_play import ChainPlay, underlying_of

    analytics()
    config = load_config(None, {"market.expiries": 2, "market.strikes": 6}, environ={})
    sessions = Sessions.load()
    source = open_source(config, sessions, Bounds())
    played = ChainPlay(source, config, sessions).until(source.first_at + 10_000_000_000, _quietly)
    name = underlying_of(played.chains, "")
    picture(played, name, expiry_of(played, name, None))


def _stream() -> None:
    from angelx.app.house import Paper, Parts, no_fee
    from angelx.bench.market import QuoteSource
    from angelx.market.sessions import Sessions
    from angelx.risk.limits import BENCH
    from angelx.signals.ema_cross import EmaCross

    source = QuoteSource(2_000)
    strategy = EmaCross(shorts=True)
    strategy.name = "warm"
    parts = Parts(
        instruments=source.instruments, source_kind="stream", strategies=[strategy], filters=[], limits=BENCH,
        paper=Paper(fee=no_fee, latency_ns=1_000_000),
        sessions=Sessions.load(), run="warm", capital=10**15, seed=1,
    )  # fmt: skip
    _play(source, parts)


def _chains() -> None:
    """Ten minutes of a small simulated day through the option strategy, the chain engine and every filter."""
    from angelx.app.config import load_config
    from angelx.app.session import parts_of
    from angelx.app.sources import Bounds, open_source
    from angelx.market.sessions import Sessions

    sessions = Sessions.load()
    config = load_config(None, {"market.expiries": 2, "market.strikes": 12}, environ={})
    source = open_source(config, sessions, Bounds())
    _play(source, parts_of(config, source, sessions, "warm"))


def _play(source: "TickSource", parts: "Parts") -> None:
    """`WARM_NS` of a source, or all of a shorter one, through a whole house."""
    from angelx.adapters.journal import MemoryJournal
    from angelx.app.house import House
    from angelx.app.session import tick_sizes
    from angelx.bus.bus import Bus
    from angelx.market.differential import Differential
    from angelx.services.guard import Unguarded
    from angelx.services.kill_switch import MemoryLatch

    bus = Bus()
    house = House(bus, parts, MemoryJournal(bus), MemoryLatch(), Unguarded())
    differential = Differential(len(source.instruments), tick_sizes(source))
    house.host.start()
    bus.advance(source.first_at)
    house.start()
    for raw in source.batches():
        batch = differential.process(raw)
        bus.feed(batch, 0, batch.rows)
        if bus.now > source.first_at + WARM_NS:
            return


def _wire() -> None:
    """What brokers' market data is decoded with: both compile when they are made."""
    from angelx.adapters.alpaca.ticks import TickColumns
    from angelx.adapters.angelone.packets import PacketDecoder
    from angelx.domain.instruments import InstrumentTable

    PacketDecoder({}, 1)
    TickColumns(InstrumentTable([]), {})


def _venue() -> None:
    from angelx.market.sessions import Session, Sessions
    from angelx.market.simulated_us import Parameters, SimulatedUs
    from angelx.venue.exchange import Exchange

    session = Sessions.load().on("US", date(2026, 10, 21))
    assert isinstance(session, Session)
    market = SimulatedUs(
        Parameters(seed=1, session=session.day, opens_at=session.opens_at, closes_at=session.closes_at)
    )
    batch = next(iter(market.batches()))
    Exchange(market.instruments, cash=1, fee=lambda *_: 0).feed(batch, 0, batch.rows)


def _quietly(now: int) -> None:
    """Nobody waits for progress."""
