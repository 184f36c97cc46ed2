"""Client and server of Angel One over real sockets: the same code as in memory, on aiohttp."""

import asyncio
import time
from pathlib import Path
from random import Random

from angelx.adapters.angelone.client import AngelOneClient
from angelx.adapters.angelone.feed import AngelOneFeed
from angelx.adapters.angelone.limits import rate_budget
from angelx.adapters.angelone.master import MasterStore
from angelx.adapters.angelone.session import AngelSession
from angelx.adapters.http_server import HttpServer
from angelx.adapters.http_transport import HttpTransport
from angelx.domain.events import Event, OrderAccepted, OrderEnded, OrderFilled
from angelx.domain.ticks import BID, TickBatch
from tests.adapters.angelone_pair import LOGIN, approved
from tests.venue.angelone_floor import RUPEE, START, TABLE, AngelFloor


class _Clock:
    """The floor's time, which passes with the host's."""

    def __init__(self, floor: AngelFloor) -> None:
        self._floor, self._began = floor, time.monotonic_ns()

    def now(self) -> int:
        now = START + time.monotonic_ns() - self._began
        self._floor.now = max(self._floor.now, now)
        self._floor.exchange.advance(self._floor.now)
        return now


async def test_a_round_trip_over_sockets_and_back_after_the_server_was_gone(tmp_path: Path) -> None:
    floor = AngelFloor()
    clock, server = _Clock(floor), HttpServer(floor.server)
    await server.start()
    line = HttpTransport(server.url)
    session = AngelSession(LOGIN, line, rate_budget(), clock, Random(1))
    client = AngelOneClient(
        session, orders=line, master=line, store=MasterStore(tmp_path), fee=lambda *_: 0, random=Random(2)
    )
    events: list[Event] = []
    states: list[bool] = []
    rows: list[TickBatch] = []
    feed = AngelOneFeed(client, line, Random(3))
    client.on_report, client.on_state = events.append, lambda up, why: states.append(up)
    feed.on_rows, feed.on_state = rows.append, lambda up, why: states.append(up)
    floor.quote(100, 101)

    async def until(count: int) -> None:
        async with asyncio.timeout(20):
            while len(states) < count:
                clock.now()
                await asyncio.sleep(0.01)

    try:
        await client.connect(TABLE)
        await feed.subscribe(TABLE, [0, 2])
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.run()), group.create_task(feed.run())]
            await until(2)
            accepted = await client.place(approved("axA"))
            await client.place(approved("axB", limit=90))
            await server.stop()
            await until(4)
            await server.start()
            await until(6)
            await client.cancel("axB")
            floor.quote(102, 103)
            await asyncio.sleep(0.3)
            for task in tasks:
                task.cancel()
        assert states == [True, True, False, False, True, True]
        assert isinstance(accepted, OrderAccepted)
        assert [event.order for event in events if isinstance(event, OrderFilled)] == ["axA"]
        assert [event.order for event in events if isinstance(event, OrderEnded)] == ["axB"]
        assert rows[-1].table[BID, -1] == 102 * RUPEE
    finally:
        await client.close()
        await server.stop()
