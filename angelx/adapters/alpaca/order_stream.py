"""The connection that tells what happens to orders: text or binary frames of JSON; what was missed is not repeated."""

import asyncio
from contextlib import suppress
from typing import Final

import msgspec

from angelx.adapters.alpaca.credentials import Credentials
from angelx.adapters.alpaca.messages import StreamAnswer, StreamMessage, UpdateData
from angelx.domain.errors import AuthExpired, BrokerUnreachable
from angelx.domain.wire import Stream, StreamClosed, Transport

PATH: Final = "/stream"
CHANNEL: Final = "trade_updates"


class OrderStream:
    """One connection at a time."""

    def __init__(self, transport: Transport, credentials: Credentials, *, timeout_s: float) -> None:
        self._transport, self._credentials, self._timeout_s = transport, credentials, timeout_s
        self._stream: Stream | None = None
        self.received = 0
        """Messages that came, good and bad."""
        self.malformed = 0

    async def open(self) -> None:
        """Connect, log in, and ask for the updates; what comes from here on is not lost.

        Raises
        ------
        BrokerUnreachable, AuthExpired, RateLimited
            No connection, or it was refused.
        """
        self._stream = await self._transport.open(PATH, headers={}, timeout_s=self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send(self._credentials.order_stream_login())
                answer = await self._answer("authorization")
                if answer.status != "authorized":
                    raise AuthExpired(f"the order stream says {answer.status or 'nothing'}")
                await self._send({"action": "listen", "data": {"streams": [CHANNEL]}})
                heard = await self._answer("listening")
                if CHANNEL not in (heard.streams or ()):
                    raise BrokerUnreachable(f"the order stream listens to {heard.streams}")
        except TimeoutError as error:
            raise BrokerUnreachable("the order stream does not answer") from error

    async def receive(self) -> UpdateData | None:
        """The next update; `None` for what is none.

        Raises
        ------
        BrokerUnreachable
            The connection is over.
        AuthExpired
            It was taken from us.
        """
        message = _decoded(await self._next())
        if message is None:
            self.malformed += 1
            return None
        if message.stream == "authorization" and _answer_of(message).status != "authorized":
            raise AuthExpired("the order stream withdrew its authorization")
        if message.stream != CHANNEL:
            return None
        try:
            return msgspec.json.decode(message.data, type=UpdateData)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            self.malformed += 1
            return None

    async def close(self) -> None:
        """End the connection; whoever waits in `receive` is told."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(StreamClosed):
                await stream.close()

    async def _answer(self, kind: str) -> StreamAnswer:
        while True:
            message = _decoded(await self._next())
            if message is not None and message.stream in (kind, "authorization"):
                answer = _answer_of(message)
                if message.stream == "authorization" and answer.status != "authorized":
                    raise AuthExpired(f"the order stream says {answer.status or 'nothing'}")
                if message.stream == kind:
                    return answer

    async def _send(self, message: object) -> None:
        if self._stream is None:
            raise BrokerUnreachable("the order stream is closed")
        try:
            await self._stream.send(msgspec.json.encode(message).decode())
        except StreamClosed as error:
            raise BrokerUnreachable(f"the order stream: {error}") from error

    async def _next(self) -> str | bytes:
        if self._stream is None:
            raise BrokerUnreachable("the order stream is closed")
        try:
            frame = await self._stream.receive()
        except StreamClosed as error:
            raise BrokerUnreachable(f"the order stream: {error}") from error
        self.received += 1
        return frame


def _decoded(frame: str | bytes) -> StreamMessage | None:
    try:
        return msgspec.json.decode(frame, type=StreamMessage)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _answer_of(message: StreamMessage) -> StreamAnswer:
    try:
        return msgspec.json.decode(message.data, type=StreamAnswer)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return StreamAnswer()
