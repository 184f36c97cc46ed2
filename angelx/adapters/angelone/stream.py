"""Keeping one WebSocket alive: open, heartbeat, notice that it is mute, come back with a jittered wait."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import structlog

from angelx.adapters.angelone.backoff import Backoff
from angelx.adapters.angelone.session import AngelSession
from angelx.domain.errors import AuthExpired, BrokerError, BrokerUnreachable, RateLimited
from angelx.domain.wire import Stream, StreamClosed, Transport

log = structlog.get_logger()

PING_S: Final = 5.0
MUTE_S: Final = 12.0
"""Nothing at all for so long, though we pinged twice: the connection is dead."""
OPEN_S: Final = 10.0
STEADY_S: Final = 30.0
"""A connection that lasted so long was a good one: the next wait is short again."""


class Mute(BrokerError):
    """The stream is open and says nothing, not even to a ping."""


class StreamKeeper:
    """One stream that is opened again whenever it ends, until cancelled.

    Parameters
    ----------
    work
        Is given each new stream and reads it until it ends; then it raises or returns.
    on_down
        Told why, each time it ends or cannot be opened.
    must_answer
        Its pings are answered for certain. Else only a stream whose server ever did is mute for not doing it.
    """

    def __init__(
        self,
        session: AngelSession,
        transport: Transport,
        path: str,
        random: Random,
        *,
        work: Callable[["LiveStream"], Awaitable[None]],
        on_down: Callable[[str], None],
        name: str,
        must_answer: bool = False,
    ) -> None:
        self._session = session
        self._transport = transport
        self._path = path
        self._backoff = Backoff(random)
        self._work = work
        self._on_down = on_down
        self._name = name
        self.is_answering = must_answer
        self.opened = 0

    async def run(self) -> None:
        """Open, work, wait, again."""
        loop = asyncio.get_running_loop()
        was_refused = False
        while True:
            jwt, began, wait_s, is_refused = self._session.jwt, loop.time(), 0.0, False
            try:
                await self._session.ensure()
                jwt = self._session.jwt
                await self._once()
                why = "ended"
            except AuthExpired as error:
                why, is_refused = str(error), True
                wait_s = await self._renew(jwt)
            except RateLimited as error:
                why, wait_s = str(error), error.wait_s
            except (BrokerError, StreamClosed) as error:
                why = str(error)
            if loop.time() - began > STEADY_S:
                self._backoff.reset()
            if not is_refused or was_refused or wait_s:  # With a new session at once, but only once.
                wait_s = max(wait_s, self._backoff.wait_s())
            was_refused = is_refused
            why = self._session.redacted(why)
            self._on_down(why)
            log.info("stream_down", stream=self._name, why=why, wait_ms=int(wait_s * 1000), action="reconnect")
            await asyncio.sleep(wait_s)

    async def _renew(self, jwt: str) -> float:
        """A new session after a refused stream; how long to wait if there is none."""
        try:
            await self._session.renew(jwt)
        except RateLimited as limited:
            return limited.wait_s
        except BrokerError:
            return 5.0
        return 0.0

    async def _once(self) -> None:
        stream = await self._transport.open(self._path, headers=self._session.stream_headers(), timeout_s=OPEN_S)
        self.opened += 1
        live = LiveStream(stream, self)
        try:
            async with asyncio.TaskGroup() as group:
                heart = group.create_task(live.beat())
                try:
                    await self._work(live)
                finally:
                    heart.cancel()
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        finally:
            await stream.close()


class LiveStream:
    """One open stream with its heartbeat."""

    def __init__(self, stream: Stream, keeper: StreamKeeper) -> None:
        self._stream = stream
        self._keeper = keeper
        self._time = asyncio.get_running_loop().time
        self._heard_at = self._time()
        self.heard = asyncio.Event()
        """Set by the first message: an open stream may still be mute."""

    async def send(self, message: str) -> None:
        """As `Stream`."""
        await self._stream.send(message)

    async def receive(self) -> str | bytes:
        """The next message that is no pong."""
        while True:
            message = await self._stream.receive()
            self._heard_at = self._time()
            self.heard.set()
            if message != "pong":
                return message
            self._keeper.is_answering = True

    async def beat(self) -> None:
        """Ping, and raise `Mute` when nothing comes back."""
        while True:
            await self._stream.send("ping")
            await asyncio.sleep(PING_S)
            silent_s = self._time() - self._heard_at
            if silent_s > MUTE_S and self._keeper.is_answering:
                raise Mute(f"nothing heard for {silent_s:.1f} s")


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the stream, of several things that followed from it; bugs first."""
    leaves = list(_leaves(errors))
    for leaf in leaves:
        if not isinstance(leaf, (BrokerError, StreamClosed)):
            return leaf
    return next(
        (leaf for leaf in leaves if isinstance(leaf, Mute)), leaves[0] if leaves else BrokerUnreachable("ended")
    )


def _leaves(errors: BaseExceptionGroup[BaseException]) -> "list[BaseException]":
    found: list[BaseException] = []
    for error in errors.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
