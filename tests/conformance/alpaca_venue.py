"""The venue on real sockets, in a thread of its own, for clients that block; and alpaca-py itself."""

import asyncio
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from angelx.adapters.http_server import HttpServer
from angelx.venue.alpaca.server import Plan
from tests.venue.alpaca.alpaca_market import KEY, SECRET, Market

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # It imports websockets.legacy.
    from alpaca.data.historical import OptionHistoricalDataClient, StockHistoricalDataClient
    from alpaca.data.historical.corporate_actions import CorporateActionsClient
    from alpaca.trading.client import TradingClient

Result = TypeVar("Result")
Condition = Callable[[], bool]


class LiveVenue:
    """A market behind a real socket."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.market = Market(plan)
        self.market.open_for_business()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._http = HttpServer(self.market.server)
        asyncio.run_coroutine_threadsafe(self._http.start(), self.loop).result(5)
        self.url = self._http.url
        self.ws = self.url.replace("http", "ws", 1)
        self._sessions: list[Any] = []

    def do(self, work: Callable[[], Result]) -> Result:
        """Run something on the venue's thread: nothing there is made for two."""

        async def on_loop() -> Result:
            return work()

        return asyncio.run_coroutine_threadsafe(on_loop(), self.loop).result(10)

    def quote(self, symbol: str, bid: float, ask: float, **more: Any) -> None:
        self.do(lambda: self.market.quote(symbol, bid, ask, **more))

    def until(self, condition: Condition, within_s: float = 10.0) -> None:
        """Wait for something that other threads do."""
        done = threading.Event()
        for _ in range(int(within_s / 0.01)):
            if condition():
                return
            done.wait(0.01)
        raise AssertionError("it did not come")

    # ------------------------------------------------------------ alpaca-py
    def trading(self, key: str = KEY, secret: str = SECRET) -> Any:  # raw answers or models: alpaca-py's types say both
        return self._kept(TradingClient(key, secret, url_override=self.url))

    def stocks(self) -> Any:  # raw answers or models: alpaca-py's types say both
        return self._kept(StockHistoricalDataClient(KEY, SECRET, url_override=self.url))

    def options(self) -> Any:  # raw answers or models: alpaca-py's types say both
        return self._kept(OptionHistoricalDataClient(KEY, SECRET, url_override=self.url))

    def actions(self) -> Any:  # raw answers or models: alpaca-py's types say both
        return self._kept(CorporateActionsClient(KEY, SECRET, url_override=self.url))

    def _kept(self, client: Any) -> Any:
        self._sessions.append(client._session)
        return client

    @contextmanager
    def running(self, stream: Any) -> Iterator[None]:
        """A stream of alpaca-py in a thread of its own."""
        thread = threading.Thread(target=stream.run, daemon=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            thread.start()
            self.until(lambda: stream._running)
            try:
                yield
            finally:
                stream.stop()
                asyncio.run_coroutine_threadsafe(stream._ws.close(), stream._loop)  # Else it looks up every 5 s only.
                thread.join(10)

    def close(self) -> None:
        for session in self._sessions:
            session.close()
        asyncio.run_coroutine_threadsafe(self._http.stop(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()
