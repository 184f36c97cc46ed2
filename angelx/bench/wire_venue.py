"""A broker's server on a socket with a stopwatch: from a market packet that leaves to the order that arrives for it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from random import Random
from typing import Final
from unittest import mock

import msgspec
import numpy as np
from aiohttp.web_protocol import RequestHandler
from numpy.typing import NDArray

from angelx.adapters.http_server import HttpServer
from angelx.bus.clock import PacedClock, SystemClock
from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.scalars import SCALE
from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, EXCHANGE_AT, INSTRUMENT, LAST, OI, VOLUME, batch_of
from angelx.domain.wire import Request, Response, Stream, WireServer
from angelx.venue.exchange import Exchange, Policy

DAY: Final = date(2025, 8, 29)
EXPIRY: Final = date(2025, 9, 2)
LOT: Final = 75
SECRETS: Final = {
    "angelone": {
        "client_code": "A1", "pin": "1234", "totp_secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "api_key": "key1",
    },
    "alpaca": {"key_id": "PKBENCH", "secret_key": "bench"},
}  # fmt: skip
"""Of play accounts on this machine, for as long as a measurement takes."""
OPENS: Final = {
    "angelone": datetime(2025, 8, 29, 4, 30, tzinfo=UTC),
    "alpaca": datetime(2025, 8, 29, 14, 30, tzinfo=UTC),
}
PLACES: Final = {"angelone": "/rest/secure/angelbroking/order/v1/placeOrder", "alpaca": "/v2/orders"}
SHARE: Final = "IBM"
ANSWERED: Final = {"angelone": f"NFO:NIFTY:{EXPIRY}:24500:CE", "alpaca": f"US:{SHARE}"}
"""The instrument whose quotes the bot answers."""
BUSY: Final = 101
"""Instruments of a busy market, that one included."""
MARKET_STREAMS: Final = {"angelone": "/smart-stream", "alpaca": "/v2/sip"}


class BenchVenue:
    """A `WireServer` of one broker, without rate limits, its rows fed by hand.

    Parameters
    ----------
    instruments
        So many that can be traded: options around the index, strikes 50 points apart, or shares. The last of the table
        is the one that `tick` quotes: an option at the money, or IBM.
    """

    def __init__(self, broker: str, instruments: int = 1) -> None:
        self.broker = broker
        self.clock = PacedClock(int(OPENS[broker].timestamp() * 1e9), 1.0)
        table = InstrumentTable(_indian(instruments) if broker == "angelone" else _american(instruments))
        self.exchange = Exchange(
            table, cash=10**7 * SCALE, fee=lambda *_: 0, currency="INR" if broker == "angelone" else "USD",
            policy=Policy(unique_client_ids=broker == "alpaca"),
        )  # fmt: skip
        self._inner, self._mark = self._server()
        self._socket = HttpServer(self)
        self._waiting = False
        self._left_ns = 0
        self._arrived: asyncio.Future[int] | None = None
        self._ears = ExitStack()
        self._volume = 0
        self.packets = 0
        """Binary messages sent on the market stream."""

    def _server(self) -> tuple[WireServer, bytes]:
        """And by what a packet of the instrument that `tick` quotes is known."""
        from angelx.venue.alpaca.server import AlpacaServer, Plan
        from angelx.venue.alpaca.server import Credentials as AlpacaKeys
        from angelx.venue.angelone.limits import RateWindows
        from angelx.venue.angelone.logins import Credentials
        from angelx.venue.angelone.server import AngelOneServer

        if self.broker == "alpaca":
            alpaca = AlpacaServer(
                self.exchange, credentials=AlpacaKeys(**SECRETS["alpaca"]), now=self.clock.now, random=Random(1),
                plan=Plan(trading_per_minute=10**6, data_per_minute=10**6),
            )  # fmt: skip
            return alpaca, SHARE.encode()
        one = SECRETS["angelone"]
        login = Credentials(
            client_code=one["client_code"], pin=one["pin"], totp_secret=one["totp_secret"], api_key=one["api_key"]
        )
        server = AngelOneServer(
            self.exchange, credentials=login, now=self.clock.now, random=Random(1),
            wall=SystemClock().now,
        )  # fmt: skip
        server.windows = RateWindows({})
        return server, server.contracts.all[-1].token.encode()

    # ------------------------------------------------------------ the socket
    @property
    def url(self) -> str:
        """Where it listens."""
        return self._socket.url

    async def start(self) -> None:
        """Listen; there are quotes already."""
        for place in range(len(self.exchange.table)):
            self.feed({place: 0})
        self._ears.enter_context(self._listening())
        await self._socket.start()

    async def stop(self) -> None:
        """Listen no more."""
        await self._socket.stop()
        self._ears.close()

    async def handle(self, request: Request) -> Response:
        """As `WireServer`."""
        if request.path == "/venue/clock":
            return Response(200, {}, msgspec.json.encode({"now": self.clock.now(), "speed": 1.0}))
        self.exchange.advance(self.clock.now())
        return await self._inner.handle(request)

    async def serve(self, request: Request, stream: Stream) -> None:
        """As `WireServer`; packets of the market stream start the watch as they go out."""
        is_market = request.path.partition("?")[0] == MARKET_STREAMS[self.broker]
        await self._inner.serve(request, _Watched(stream, self._leaving) if is_market else stream)

    def admits(self, request: Request) -> Response | None:
        """As `WireServer`."""
        return self._inner.admits(request)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """An order stops the watch as its first bytes come out of the socket."""
        receive, head = RequestHandler.data_received, f"POST {PLACES[self.broker]} ".encode()

        def received(handler: RequestHandler, data: bytes) -> None:
            if data.startswith(head) and self._arrived is not None and not self._arrived.done():
                self._arrived.set_result(time.perf_counter_ns())
            receive(handler, data)

        with mock.patch.object(RequestHandler, "data_received", received):
            yield

    def _leaving(self, packet: bytes) -> None:
        self.packets += 1
        if self._waiting and self._mark in packet:
            self._waiting = False
            self._left_ns = time.perf_counter_ns()

    # ------------------------------------------------------------ the market
    def feed(self, steps: dict[int, int]) -> None:
        """Rows: each place's quote, so many ticks above where it began."""
        table, at = self.exchange.table, max(self.clock.now(), self.exchange.now)
        self._volume += 1
        places = np.fromiter(steps, np.int64)
        ticks = np.array([table[place].tick_size for place in steps])
        bid = _price(table, places) + np.fromiter(steps.values(), np.int64) * ticks
        ones = np.ones_like(places)
        self.exchange.feed(
            batch_of(
                {
                    INSTRUMENT: places, AT: at * ones, EXCHANGE_AT: at * ones, BID: bid, ASK: bid + ticks,
                    BID_SIZE: 7500 * ones, ASK_SIZE: 7500 * ones, LAST: bid, VOLUME: self._volume * ones,
                    OI: 75_000 * ones,
                }
            ), 0, len(places),
        )  # fmt: skip

    async def tick(self, number: int, within_s: float = 0.5) -> float | None:
        """Quote once; microseconds to the order that follows, `None` where none did."""
        self._waiting = True
        arrived = self._arrived = asyncio.get_running_loop().create_future()
        self.feed({len(self.exchange.table) - 1: number % 2})
        try:
            async with asyncio.timeout(within_s):
                at: int = await arrived
        except TimeoutError:
            return None
        finally:
            self._waiting = False
        took: float = (at - self._left_ns) / 1e3
        return took


class _Watched:
    """A stream that says when a binary message goes out."""

    def __init__(self, stream: Stream, leaving: Callable[[bytes], None]) -> None:
        self._stream, self._leaving = stream, leaving
        self.receive, self.close = stream.receive, stream.close

    async def send(self, message: str | bytes) -> None:
        """As `Stream`."""
        if isinstance(message, bytes):
            self._leaving(message)
        await self._stream.send(message)


def _indian(options: int) -> list[Instrument]:
    index = Instrument(
        id="NSE:NIFTY", symbol="NIFTY", segment="NSE", kind=Kind.INDEX, currency="INR", tick_size=500, tradable=False
    )
    return [index, *(_option(number) for number in reversed(range(options)))]


def _option(number: int) -> Instrument:
    """Calls and puts in turn, strikes ever farther from the money."""
    distance = (number // 2 + 1) // 2
    strike = 24_500 + 50 * distance * (-1) ** (number // 2)
    right = (Right.CALL, Right.PUT)[number % 2]
    name = f"{strike}:{'CE' if right is Right.CALL else 'PE'}"
    return Instrument(
        id=f"NFO:NIFTY:{EXPIRY}:{name}", symbol=f"NIFTY {EXPIRY} {name}", segment="NFO", kind=Kind.OPTION,
        currency="INR", tick_size=500, lot_size=LOT, freeze_quantity=1800, underlying="NSE:NIFTY", expiry=EXPIRY,
        strike=strike * SCALE, right=right,
    )  # fmt: skip


def shares(number: int) -> list[str]:
    """Symbols, the one that is traded last."""
    return [*(f"S{one}" for one in range(1, number)), SHARE]


def _american(number: int) -> list[Instrument]:
    return [
        Instrument(id=f"US:{name}", symbol=name, segment="US", kind=Kind.EQUITY, currency="USD", tick_size=100)
        for name in shares(number)
    ]


def _price(table: InstrumentTable, places: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([24_500 * SCALE if table[int(place)].kind is Kind.INDEX else 100 * SCALE for place in places])
