"""Angel One's server on a real socket, in a thread with a loop of its own; its clock moves only when told to."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from angelx.adapters.http_server import HttpServer
from tests.venue.angelone_floor import AngelFloor

Result = TypeVar("Result")


class Sockets:
    """A floor that is served."""

    def __init__(self, floor: AngelFloor) -> None:
        self.floor = floor
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server = HttpServer(floor.server)

    @property
    def url(self) -> str:
        return self._server.url

    def do(self, act: Callable[[], Result]) -> Result:
        """Run on the server's loop."""

        async def acting() -> Result:
            return act()

        return asyncio.run_coroutine_threadsafe(acting(), self._loop).result(10)

    def wait(self, seconds: float = 1.001) -> None:
        """Let the exchange's time pass."""
        self.do(lambda: self.floor.wait(int(seconds * 1e9)))

    def quote(self, bid: float, ask: float, **more: Any) -> None:
        self.do(lambda: self.floor.quote(bid, ask, **more))

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextmanager
def served(floor: AngelFloor) -> Iterator[Sockets]:
    sockets = Sockets(floor)
    sockets.start()
    try:
        yield sockets
    finally:
        sockets.stop()
