"""Lanes at some speed, and a venue that goes on after it was killed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest

from angelx.adapters.venue_log import VenueLog
from angelx.domain.errors import InputInvalid
from angelx.domain.instruments import InstrumentTable
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, TickBatch
from angelx.sim.loop import simulate
from angelx.venue.exchange import Exchange, OrderRequest, Policy, Refused
from angelx.venue.keeping import Kept
from angelx.venue.runner import GAP, Lane, VenueRunner
from tests.venue.floor import OPEN_BANDS, no_fee
from tests.venue.market_day import LOTS, TABLE, TICK, day_of

START = 1_000 * NS


class Source:
    """The rows of a made-up day, one every tenth of a second."""

    name = kind = scope = reference = digest = "test"
    instruments: InstrumentTable = TABLE
    first_at = START
    last_at = 0

    def __init__(self, rows: int = 600, size: int = 64, night_after: int = 0) -> None:
        self.rows = rows
        self._table = day_of(7, rows, 0, ("DAY",)).table.copy()
        self._table[AT] = START + np.arange(rows) * NS // 10
        if night_after:
            self._table[AT, night_after:] += 10 * GAP
        self._size = size

    def batches(self, first_row: int = 0) -> Iterator[TickBatch]:
        for i in range(0, self.rows, self._size):
            yield TickBatch(self._table[:, i : i + self._size].copy())


def lane_of(source: Source, *, speed: float = 1.0, latency_ns: int = 0, ticks: list[int] | None = None) -> Lane:
    policy = Policy(latency_ns=latency_ns, jitter_ns=latency_ns // 2, reject_rate=0.1)
    exchange = Exchange(TABLE, cash=10**12, fee=no_fee, policy=policy, bands=OPEN_BANDS, seed=5)
    if ticks is not None:
        return Lane("x", source, exchange, speed=speed, ticker=lambda: ticks[0])
    loop = asyncio.get_running_loop()
    return Lane("x", source, exchange, speed=speed, ticker=lambda: int(loop.time() * NS))


def test_a_lane_keeps_its_speed_and_ends_after_its_source() -> None:
    async def main() -> None:
        lane = lane_of(Source(), speed=10)
        seen = []
        lane.exchange.on_rows.append(lambda batch, start, stop: seen.append(stop - start))
        runner = VenueRunner([lane])
        runner.start()
        await runner.run()
        assert sum(seen) == lane.exchange.rows == 600
        assert asyncio.get_running_loop().time() == pytest.approx(6.0 + 0.5, abs=0.1)
        assert lane.exchange.now >= START + 60 * NS

    simulate(main)


def test_a_night_is_jumped_over() -> None:
    async def main() -> None:
        lane = lane_of(Source(night_after=300))
        runner = VenueRunner([lane])
        runner.start()
        await runner.run()
        assert asyncio.get_running_loop().time() < 200
        assert lane.exchange.now > START + 10 * GAP

    simulate(main)


def act(exchange: Exchange, random: Random, lot: int, name: str) -> None:
    orders = [order for order in exchange.orders() if order.is_working]
    try:
        if orders and random.random() < 0.3:
            exchange.cancel(random.choice(orders).id)
        elif orders and random.random() < 0.3:
            order = random.choice(orders)
            exchange.replace(order.id, limit=random.randint(97, 102) * TICK, keep_id=random.random() < 0.5)
        else:
            request = OrderRequest(
                instrument=name, side=random.choice((1, 1, -1)), quantity=lot * random.randint(1, 4),
                limit=random.randint(97, 102) * TICK,
            )  # fmt: skip
            exchange.submit(request, keep_refused=True)
    except Refused:
        pass


@pytest.mark.parametrize("latency_ns", [0, NS // 7])
@pytest.mark.parametrize("killed_at", [0, 1, 40, 77, 119])
@pytest.mark.parametrize("is_marked", [True, False])
def test_a_venue_that_was_killed_goes_on_as_if_it_had_not_been(
    tmp_path: Path, latency_ns: int, killed_at: int, is_marked: bool
) -> None:
    """The same requests at the same times; once in one process, once in two.

    Without a mark at its last moment market time goes back a little, but never before what a client was told.
    """

    def play(path: Path, kill_at: int) -> tuple[object, ...]:
        ticks = [0]
        random = Random(11)
        lane, log = begin(path, ticks)
        for step in range(120):
            ticks[0] += NS // 2 + 12_345_678  # Between two rows.
            lane.catch_up()
            if step == kill_at:
                told, ended = lane.exchange.fills(), len([one for one in lane.exchange.orders() if one.ended_at])
                if is_marked:
                    log.mark(lane)
                log._file.close()
                lane, log = begin(path, ticks)
                assert lane.exchange.fills() == told
                assert len([one for one in lane.exchange.orders() if one.ended_at]) == ended
            place = random.randrange(3)
            act(lane.exchange, random, LOTS[place], TABLE[place].id)
        ticks[0] += 10 * NS
        while not lane.catch_up():
            pass
        log.close()
        exchange = lane.exchange
        return exchange.orders(), exchange.fills(), exchange.positions(), exchange.funds(), exchange.rows

    def begin(path: Path, ticks: list[int]) -> tuple[Lane, VenueLog]:
        lane = lane_of(Source(size=50), latency_ns=latency_ns, ticks=ticks)
        log = VenueLog(path, {"x": "test"})
        lane.start(log.notes)
        log.follow(lane)
        return lane, log

    whole, broken = play(tmp_path / "a", -1), play(tmp_path / "b", killed_at)
    assert len(whole[1]) > 10  # type: ignore[arg-type]
    assert broken == whole or not is_marked


def test_the_log_of_another_market_is_refused_and_a_torn_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "venue.jsonl"
    with VenueLog(path, {"x": "a"}) as log:
        lane = lane_of(Source(), ticks=[0])
        log.mark(lane)
        log.mark(lane)
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"lane":"x","ro')
    with VenueLog(path, {"x": "a"}) as log:
        assert len(log.notes) == 2
    assert path.read_bytes() == whole
    with pytest.raises(InputInvalid, match="another market"):
        VenueLog(path, {"x": "b"})
    with VenueLog(path, {"x": "a"}, {"capital": 5}) as log:  # One that does not say its terms may go on.
        assert len(log.notes) == 2
    path.write_text("nonsense\n")
    with pytest.raises(InputInvalid, match="not a venue's log"):
        VenueLog(path, {"x": "a"})


@pytest.mark.parametrize("change", ["cut", "moved", "edited", "repeated"])
def test_a_log_that_was_changed_is_refused(tmp_path: Path, change: str) -> None:
    """Without one request all that came after it ends otherwise: not what clients were told."""
    path = tmp_path / "venue.jsonl"
    with VenueLog(path, {"x": "a"}) as log:
        for rows in range(6):
            log.keep(SimpleNamespace(name="x", exchange=SimpleNamespace(rows=rows, now=rows)), Kept("a", rows))  # type: ignore[arg-type]
    lines = path.read_bytes().splitlines(keepends=True)
    place = 3
    if change == "cut":
        del lines[place]
    elif change == "moved":
        lines[place : place + 2] = lines[place + 1], lines[place]
    elif change == "repeated":
        lines.insert(place, lines[place])
    else:
        lines[place] = lines[place].replace(b'"rows":2', b'"rows":3')
    path.write_bytes(b"".join(lines))
    with pytest.raises(InputInvalid, match=f"line {place + 1 + (change == 'repeated')} was edited, or one before"):
        VenueLog(path, {"x": "a"})


def test_other_terms_than_those_it_began_with_are_named(tmp_path: Path) -> None:
    """The same orders would end otherwise with less money or a longer way: not what clients were told."""
    path = tmp_path / "venue.jsonl"
    terms = {"capital": 100_000, "queue": False}
    with VenueLog(path, {"x": "a"}, terms):
        pass
    with VenueLog(path, {"x": "a"}, terms):
        pass
    with pytest.raises(InputInvalid, match="began with --capital 100000: "):
        VenueLog(path, {"x": "a"}, terms | {"capital": 5})
