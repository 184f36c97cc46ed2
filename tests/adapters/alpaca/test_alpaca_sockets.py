"""The adapter and the server on real sockets, with a kill of the venue's connections in between."""

import asyncio
from random import Random

from angelx.adapters.alpaca.client import AlpacaClient
from angelx.adapters.alpaca.credentials import Credentials
from angelx.adapters.alpaca.feed import AlpacaFeed
from angelx.adapters.http_server import HttpServer
from angelx.adapters.http_transport import HttpTransport
from angelx.domain.events import Event, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.instruments import InstrumentTable
from angelx.domain.ticks import BID, TickBatch
from tests.venue.alpaca.alpaca_market import KEY, SECRET, Market

IBM = "US:IBM"


async def until(condition) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_session_on_sockets_with_the_venue_killed_and_started_again() -> None:
    market = Market()
    market.open_for_business()
    http = HttpServer(market.server)
    await http.start()
    wire = HttpTransport(http.url)
    credentials = Credentials(KEY, SECRET)
    client = AlpacaClient(wire, credentials, now=market.now, random=Random(1), timeout_s=2.0)
    events: list[Event] = []
    states: list[bool] = []
    client.on_report = events.append
    client.on_state = lambda is_up, why: states.append(is_up)
    table = InstrumentTable(await client.instruments())
    await client.connect(table)
    feed = AlpacaFeed(
        wire, wire, credentials, feed="sip", symbol_of=lambda name: name.removeprefix("US:"), now=market.now,
        random=Random(2), is_open=lambda: True,
    )  # fmt: skip
    rows: list[TickBatch] = []
    feed_states: list[bool] = []
    feed.on_rows = rows.append
    feed.on_state = lambda is_up, why: feed_states.append(is_up)
    await feed.subscribe(table, [table.index[IBM]])
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(client.run()), tasks.create_task(feed.run())]
        await until(lambda: states[-1:] == [True] and feed_states[-1:] == [True])

        def approve(number: int, limit: int) -> OrderApproved:
            name = f"axSOCKET{number:010d}"
            return OrderApproved(market.now(), name, number, "s", IBM, 1, 10, limit, False, 0, "", 1.0)

        market.quote("IBM", 299.95, 300.05, size=4)
        await client.place(approve(1, 3_000_500))
        await until(lambda: sum(isinstance(event, OrderFilled) for event in events) == 1)
        await client.place(approve(2, 2_900_000))
        port = http.port
        await http.stop()
        await until(lambda: not states[-1] and not feed_states[-1])
        market.quote("IBM", 299.94, 300.04, size=100)
        again = HttpServer(market.server, port=port)
        await again.start()
        await until(lambda: states[-1] and feed_states[-1])
        fills = [event for event in events if isinstance(event, OrderFilled)]
        assert [(fill.quantity, fill.price) for fill in fills] == [(4, 3_000_500), (6, 3_000_400)]
        assert rows[-1].view[BID, rows[-1].rows - 1] == 2_999_400
        await client.cancel("axSOCKET0000000002")
        await until(lambda: any(isinstance(event, OrderEnded) for event in events))
        market.quote("IBM", 301.0, 301.1)
        await until(lambda: rows[-1].view[BID, rows[-1].rows - 1] == 3_010_000)
        assert market.exchange.position(IBM) == 10
        assert [(one.instrument, one.quantity) for one in await client.positions()] == [(IBM, 10)]
        for task in running:
            task.cancel()
    await client.close()
    await again.stop()
