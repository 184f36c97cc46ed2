"""On the wire: from a market packet that leaves a venue to the order that arrives for it; decoding; load."""

import asyncio
import importlib.util
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import structlog

from angelx.bench.rows import Row
from angelx.bench.wire_venue import BUSY, BenchVenue

log = structlog.get_logger()

CLIENTS: Final = {"angelone": ("smartapi-python", "SmartApi"), "alpaca": ("alpaca-py", "alpaca")}
"""Official client of each broker, and the module it is."""
SAMPLES: Final = 200
WARM: Final = 40
"""Orders left out at the start."""
MOST_MISSED: Final = 240
"""Quotes without an answer, half a second each, until it is given up."""
PAUSE_S: Final = (0.02, 0.03)
"""Between an order and the next quote: its report has come back by then."""
INSTRUMENTS: Final = 999
"""Options that are watched under load, beside their index."""
PER_TURN, TURNS_PER_S = 100, 100
"""Quotes of a busy market, beside the one that is answered."""
LOAD_S: Final = float(os.environ.get("ANGELX_BENCH_SECONDS", "8"))
"""How long the load lasts; `ANGELX_BENCH_SECONDS=60` is the full measure."""


class NoAnswers(RuntimeError):
    """A bot left too many quotes without an order."""


def run() -> Sequence[Row]:
    """Cases `angelone` and `alpaca`, metrics `p50_us` and `p99_us`; decoding of packets; `load`.

    The baseline is the same bot on the broker's official client, in the same run; without it there is none. It keeps
    no record of what it does: `…-spooled` is ours with the journal written in the background, so that the difference is
    what it costs that each order is on the disk before it is sent. `…-busy` are both while 10,000 quotes a second of a
    hundred other instruments come over the same stream.
    """
    from angelx.bench.wire_alpaca import decode_rows as alpaca_rows
    from angelx.bench.wire_angelone import decode_rows as angelone_rows

    rows: list[Row] = []
    for broker in CLIENTS:
        rows += latency_rows(broker)
    return [*rows, *angelone_rows(), *alpaca_rows(), *load_rows()]


# ---------------------------------------------------------------- packet to order
def latency_rows(broker: str, samples: int = SAMPLES) -> list[Row]:
    """Microseconds from packet to order, ours beside the official client's."""
    client, module = CLIENTS[broker]
    is_there = importlib.util.find_spec(module) is not None
    if not is_there:
        log.warning("no_baseline", broker=broker, why=f"{client} is not installed: pip install {client}")
    theirs = asyncio.run(_measure(broker, client, samples)) if is_there else None
    try:
        busy = asyncio.run(_measure(broker, f"{client}-busy", samples)) if is_there else None
    except NoAnswers as error:
        log.warning("no_baseline", broker=broker, why=str(error))
        busy = None
    return [
        row
        for case in (broker, f"{broker}-spooled", f"{broker}-busy")
        for row in _percentiles(
            case, client, asyncio.run(_measure(broker, case, samples)), busy if case.endswith("-busy") else theirs
        )
    ]


def _percentiles(case: str, client: str, ours: list[float], theirs: list[float] | None) -> list[Row]:
    return [
        Row(
            bench="wire", case=case, metric=f"p{percent}_us", value=float(np.percentile(ours, percent)), unit="us",
            baseline="" if theirs is None else f"the same bot on {client}",
            baseline_value=None if theirs is None else float(np.percentile(theirs, percent)), n=len(ours),
        )
        for percent in (50, 99)
    ]  # fmt: skip


async def _measure(broker: str, who: str, samples: int) -> list[float]:
    """Microseconds of each order of one bot."""
    random, missed, number = Random(1), 0, 0
    took: list[float] = []
    is_busy = who.endswith("-busy")
    async with _bot(BenchVenue(broker, BUSY if is_busy else 1), who) as (venue, _), asyncio.TaskGroup() as others:
        market = others.create_task(_drive_others(venue, Random(2))) if is_busy else None
        while len(took) < samples + WARM and missed <= MOST_MISSED:
            number += 1
            found = await venue.tick(number)
            if found is None:
                missed += 1
                continue
            took.append(found)
            await asyncio.sleep(random.uniform(*PAUSE_S))
        if market is not None:
            market.cancel()
    if len(took) < samples + WARM:
        raise NoAnswers(f"{who} does not answer quotes: {len(took)} orders for {number}")
    return took[WARM:]


async def _drive_others(venue: BenchVenue, random: Random) -> None:
    """The rest of a busy market, until it is cancelled."""
    while True:
        await _drive(venue, random, 1.0)


@asynccontextmanager
async def _bot(venue: BenchVenue, who: str) -> AsyncIterator[tuple[BenchVenue, Any]]:
    """A venue in this process and a bot in another, on loopback; the bot's directory is gone afterwards."""
    await venue.start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "angelx.bench.wire_bot", who, venue.url, directory, cwd=directory,
            env={**os.environ, "PYTHONPATH": path}, stdout=asyncio.subprocess.DEVNULL,
            stderr=None if os.environ.get("ANGELX_BENCH_TALKS") else asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield venue, (process, Path(directory) / "state")
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await venue.stop()


# ---------------------------------------------------------------- load
def load_rows(seconds: float = LOAD_S) -> list[Row]:
    """1,000 instruments at 10,000 packets a second through the whole daemon: what grows, and what was conflated."""
    return asyncio.run(_load(seconds))


async def _load(seconds: float) -> list[Row]:
    from angelx.adapters.admin import ask

    loop, random = asyncio.get_running_loop(), Random(1)
    async with _bot(BenchVenue("angelone", INSTRUMENTS), "load") as (venue, (process, state)):

        async def status() -> dict[str, Any]:
            return await loop.run_in_executor(None, lambda: ask(state, "status"))

        while venue.packets < 1:  # It is subscribed once something reaches it.
            _turn(venue, random)
            await asyncio.sleep(0.2)
        await _drive(venue, random, 3.0)
        before, first, sent = await status(), _resident(process.pid), venue.packets
        began = loop.time()
        lags: list[float] = []
        half = first
        while loop.time() - began < seconds:
            await _drive(venue, random, 1.0)
            found = await status()
            lags.append(found["tick_age_s"] or 0.0)
            if loop.time() - began < seconds / 2:
                half = _resident(process.pid)
        took = loop.time() - began
        after, last = await status(), _resident(process.pid)
    packets = venue.packets - sent
    feed_before, feed_after = before["feed"], after["feed"]
    figures = {
        "packets_per_s": (packets / took, "packets/s"),
        "rows_per_s": ((after["rows"] - before["rows"]) / took, "rows/s"),
        "conflated_per_s": ((feed_after["conflated"] - feed_before["conflated"]) / took, "rows/s"),
        "waiting": (float(feed_after["waiting"]), "batches"),
        "tick_age_p50_ms": (float(np.median(lags)) * 1e3, "ms"),
        "tick_age_most_ms": (max(lags) * 1e3, "ms"),
        "grown_first_half_mb": ((half - first) / 2**20, "MB"),
        "grown_second_half_mb": ((last - half) / 2**20, "MB"),
    }
    return [
        Row(
            bench="wire", case="load", metric=metric, value=value, unit=unit, baseline="", baseline_value=None,
            n=int(took),
        )
        for metric, (value, unit) in figures.items()
    ]  # fmt: skip


async def _drive(venue: BenchVenue, random: Random, seconds: float) -> None:
    """So many turns at their times."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(int(seconds * TURNS_PER_S)):
        _turn(venue, random)
        await asyncio.sleep(max(began + (number + 1) / TURNS_PER_S - loop.time(), 0.0))


def _turn(venue: BenchVenue, random: Random) -> None:
    """Quotes of all but the instrument that a bot answers."""
    chosen = random.sample(range(len(venue.exchange.table) - 1), PER_TURN)
    venue.feed({place: random.randrange(100) for place in chosen})


def _resident(pid: int) -> int:
    """Bytes of a process in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
