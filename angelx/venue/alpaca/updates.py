"""The order stream: who listens is told what happens to every order, in the order in which it happens."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from angelx.domain.wire import Request, Stream, StreamClosed

CHANNEL: Final = "trade_updates"
MSGPACK: Final = "application/msgpack"
OAUTH: Final = "oauth"
"""Key id of those who have an OAuth token: here the secret key is one."""


class Listener:
    """One connection."""

    __slots__ = ("is_msgpack", "queue", "streams")

    def __init__(self, *, is_msgpack: bool) -> None:
        self.is_msgpack = is_msgpack
        self.streams: tuple[str, ...] = ()
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()


class OrderUpdates:
    """All connections of the order stream.

    Parameters
    ----------
    may_enter
        Whether a key and a secret are the account's.
    is_binary
        Frames of JSON are binary, as on paper; live they are text.
    """

    def __init__(self, may_enter: Callable[[str, str], bool], *, is_binary: bool = True) -> None:
        self._may_enter, self._is_binary = may_enter, is_binary
        self._listeners: set[Listener] = set()

    @property
    def listening(self) -> int:
        """Connections that get updates now."""
        return sum(CHANNEL in listener.streams for listener in self._listeners)

    def tell(self, data: dict[str, Any]) -> None:
        """Send one event to everybody who listens."""
        message = {"stream": CHANNEL, "data": data}
        frames: dict[bool, bytes] = {}
        for listener in self._listeners:
            if CHANNEL in listener.streams:
                if listener.is_msgpack not in frames:
                    frames[listener.is_msgpack] = _encoded(message, is_msgpack=listener.is_msgpack)
                listener.queue.put_nowait(frames[listener.is_msgpack])

    async def serve(self, request: Request, stream: Stream) -> None:
        """Work one connection until it closes."""
        listener = Listener(is_msgpack=request.headers.get("content-type", "").startswith(MSGPACK))
        self._listeners.add(listener)
        try:
            async with asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(self._send(listener, stream))
                await self._obey(listener, stream)
                sender.cancel()
        finally:
            self._listeners.discard(listener)

    async def _send(self, listener: Listener, stream: Stream) -> None:
        try:
            while True:
                frame = await listener.queue.get()
                await stream.send(frame if listener.is_msgpack or self._is_binary else frame.decode())
        except StreamClosed:
            return

    async def _obey(self, listener: Listener, stream: Stream) -> None:
        is_in = False
        while True:
            try:
                message = _decoded(await stream.receive())
            except StreamClosed:
                return
            action = message.get("action")
            if action in ("authenticate", "auth"):
                is_in = self._log_in(listener, message)
            elif action in ("listen", "unlisten") and not is_in:
                self._answer(listener, "authorization", {"status": "unauthorized", "action": "listen"})
            elif action in ("listen", "unlisten"):
                self._listen(listener, message, is_more=action == "listen")
            else:
                self._answer(listener, "listening", {"error": "unknown action or malformed message"})

    def _log_in(self, listener: Listener, message: dict[str, Any]) -> bool:
        data = message.get("data")
        data = data if isinstance(data, dict) else {}
        key = data.get("key_id", message.get("key", ""))
        secret = data.get("secret_key", message.get("secret", ""))
        if "oauth_token" in data:
            key, secret = OAUTH, data["oauth_token"]
        is_in = isinstance(key, str) and isinstance(secret, str) and self._may_enter(key, secret)
        if not is_in:
            listener.streams = ()
        status = "authorized" if is_in else "unauthorized"
        self._answer(listener, "authorization", {"status": status, "action": "authenticate"})
        return is_in

    def _listen(self, listener: Listener, message: dict[str, Any], *, is_more: bool) -> None:
        """`listen` says all that is wanted; `unlisten`, of older clients, what is not wanted any more."""
        data = message.get("data")
        wanted = data.get("streams") if isinstance(data, dict) else None
        wanted = wanted if isinstance(wanted, list) else []
        if is_more:
            listener.streams = tuple(name for name in wanted if name == CHANNEL)
        elif CHANNEL in wanted:
            listener.streams = ()
        self._answer(listener, "listening", {"streams": list(listener.streams)})

    @staticmethod
    def _answer(listener: Listener, stream: str, data: dict[str, Any]) -> None:
        listener.queue.put_nowait(_encoded({"stream": stream, "data": data}, is_msgpack=listener.is_msgpack))

    def withdraw(self) -> None:
        """Take every log-in back, as when keys are revoked."""
        for listener in self._listeners:
            listener.streams = ()
            self._answer(listener, "authorization", {"status": "unauthorized", "action": "authenticate"})


def _encoded(message: dict[str, Any], *, is_msgpack: bool) -> bytes:
    return msgspec.msgpack.encode(message) if is_msgpack else msgspec.json.encode(message)


def _decoded(frame: str | bytes) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        try:
            message = msgspec.msgpack.decode(frame) if isinstance(frame, bytes) else None
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            message = None
    return message if isinstance(message, dict) else {}
