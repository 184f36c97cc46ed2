"""Commands through a local socket: one JSON object a line, one answer a line.

The socket lies in the state directory with mode 0600, and only our own user and root are answered. Where that path is
too long for a socket a short one is used; the file `admin` in the state directory always says where it is.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from angelx.adapters.admin_socket import MOST_CONNECTIONS, RECORD, choose, is_ours, listen, remove_short
from angelx.adapters.state_dir import StateDir, durable_write, lock_holder
from angelx.domain.errors import AngelxError, InputInvalid

log = structlog.get_logger()

_LARGEST_REQUEST: Final = 64 * 1024
_LARGEST_ANSWER: Final = 16 * 1024 * 1024
_LOOKS: Final = 5
_BETWEEN_S: Final = 0.05

Handler = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client asks."""

    verb: str
    arguments: dict[str, Any] = {}


class Answer(msgspec.Struct, frozen=True):
    """What it is told: `code` is `ok`, else `error` says why."""

    code: str
    answer: dict[str, Any] = {}
    error: str = ""


class DaemonAbsent(AngelxError):
    """No daemon is running on this state directory."""


class DaemonSilent(AngelxError):
    """A daemon is there but did not answer: what was asked may or may not have been done."""


class RequestRefused(AngelxError):
    """The daemon said no; `code` is stable: `malformed`, `too-large`, `busy`, `slow`, or a class of error."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class AdminServer:
    """Answers requests one connection at a time each, in the event loop, until closed.

    Parameters
    ----------
    state
        The open state directory: holding its lock is what makes it safe to replace a socket found there.
    handler
        Answers a verb with its arguments. An `AngelxError` of it is told to the client; anything else is a bug, closes
        the connection without an answer and goes to the loop's exception handler.
    socket_path
        `auto`, or where to listen.
    timeout_s
        Longest silence of a client, and longest work on a request.
    """

    def __init__(self, state: StateDir, handler: Handler, socket_path: str = "auto", timeout_s: float = 10.0) -> None:
        self._state = state
        self._handler = handler
        self._asked_path = socket_path
        self._timeout_s = timeout_s
        self._server: asyncio.AbstractServer | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.path = Path()
        """Where it listens, once started."""

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        InputInvalid
            The path cannot be used: says why.
        """
        self.path = choose(self._state.path, self._asked_path)
        try:
            listener = listen(self.path)
            durable_write(self._state.path / RECORD, os.fsencode(self.path) + b"\n")
        except OSError as error:
            remove_short(self.path)
            raise InputInvalid(f"admin socket {self.path}: {error.strerror}") from error
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=_LARGEST_REQUEST)

    async def serve(self, look_s: float | None) -> None:
        """Listen until cancelled; every `look_s` seconds, unless `None`, make a socket anew that somebody removed.

        Raises as `start`, the first time; later it tries again and again: the daemon has more to do than to listen.
        """
        await self.start()
        try:
            if look_s is None:
                await asyncio.get_running_loop().create_future()
            else:
                await self._look_after(look_s)
        finally:
            await self.close()

    async def _look_after(self, look_s: float) -> None:
        while True:
            await asyncio.sleep(look_s)
            if not (self.path.is_socket() and (self._state.path / RECORD).is_file()):
                await self.close()
                await self._start_again()

    async def _start_again(self) -> None:
        try:
            await self.start()
        except InputInvalid as error:
            log.warning("admin_socket_gone", why=str(error), action="trying again")
        else:
            log.warning("admin_socket_gone", path=str(self.path), action="made anew: somebody had removed it")

    async def close(self) -> None:
        """Stop listening, end all connections, remove the socket. Not from inside a handler."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._connections):
            writer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * self._timeout_s):
                await self._idle.wait()
                await self._server.wait_closed()
        for path in (self.path, self._state.path / RECORD):
            path.unlink(missing_ok=True)
        remove_short(self.path)
        self._server = None

    # ------------------------------------------------------------ connections
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        self._idle.clear()
        try:
            if len(self._connections) > MOST_CONNECTIONS:
                await _turn_away(reader, writer, Answer("busy", error=f"more than {MOST_CONNECTIONS} connections"))
            elif not is_ours(writer.get_extra_info("socket")):
                await _turn_away(reader, writer, Answer("foreign", error="only the daemon's own user may ask"))
            else:
                await self._converse(reader, writer)
        except (ConnectionError, TimeoutError):
            pass  # The client left or went to sleep; there is nobody to tell.
        finally:
            writer.close()
            self._connections.discard(writer)
            if not self._connections:
                self._idle.set()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(self._timeout_s):
                    line = await reader.readline()
            except ValueError:
                why = f"a request has at most {_LARGEST_REQUEST} bytes"
                await _turn_away(reader, writer, Answer("too-large", error=why))
                return
            if not line.endswith(b"\n"):
                return
            async with asyncio.timeout(2 * self._timeout_s):
                await _tell(writer, await self._answer(line))

    async def _answer(self, line: bytes) -> Answer:
        try:
            request = msgspec.json.decode(line, type=Request)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Answer("malformed", error=f"not a request: {error}")
        try:
            async with asyncio.timeout(self._timeout_s):
                return Answer("ok", await self._handler(request.verb, request.arguments))
        except TimeoutError:
            return Answer("slow", error=f"{request.verb} took more than {self._timeout_s:g} s; it may have been done")
        except AngelxError as error:
            return Answer(type(error).__name__, error=str(error))


async def _tell(writer: asyncio.StreamWriter, answer: Answer) -> None:
    writer.write(msgspec.json.encode(answer) + b"\n")
    await writer.drain()


async def _turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
    """Answer, and read what the client still sends for a moment: closing on it would take the answer away from it."""
    await _tell(writer, answer)
    writer.write_eof()
    async with asyncio.timeout(1):
        while await reader.read(_LARGEST_REQUEST):
            pass


# ---------------------------------------------------------------- the client
def ask(state_dir: Path, verb: str, /, *, timeout_s: float = 5.0, **arguments: object) -> dict[str, Any]:
    """Ask the daemon that runs on a state directory, and wait for its answer.

    Raises
    ------
    DaemonAbsent
        None is running there: nothing was asked.
    DaemonSilent
        It did not answer in `timeout_s`: what was asked may have been done. Or it does not listen: nothing was asked.
    RequestRefused
        It said no, and why.
    """
    deadline = time.monotonic() + timeout_s
    with _connected(state_dir, timeout_s) as connection:
        try:
            connection.sendall(msgspec.json.encode(Request(verb, arguments)) + b"\n")
            line = _line(connection, deadline)
        except OSError as error:
            raise _silent(state_dir, verb, timeout_s, error) from error
    if not line.endswith(b"\n"):
        raise DaemonSilent(f"the daemon on {state_dir} closed the connection without answering {verb!r}; see its log")
    try:
        answer = msgspec.json.decode(line, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DaemonSilent(f"{state_dir}: answered {verb!r} with something that is no answer") from error
    if answer.code != "ok":
        raise RequestRefused(answer.code, answer.error)
    return answer.answer


def _connected(state_dir: Path, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        path = (state_dir.expanduser() / RECORD).read_bytes().rstrip(b"\n")
        connection.connect(path)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        connection.close()
        if (holder := _holder(state_dir.expanduser())) is None:
            raise DaemonAbsent(f"no daemon is running on {state_dir}") from error
        why = "it is starting or ending, or its socket was removed"
        raise DaemonSilent(f"the daemon on {state_dir} ({holder}) does not listen: {why}") from error
    except OSError as error:
        connection.close()
        raise _silent(state_dir, "", timeout_s, error) from error
    return connection


def _holder(state_dir: Path) -> str | None:
    """Who holds a state directory for longer than a command does; `None` where nobody does."""
    holder = None
    for _ in range(_LOOKS):
        with contextlib.suppress(OSError):
            holder = lock_holder(state_dir)
        if holder is None:
            return None
        time.sleep(_BETWEEN_S)  # noqa: TID251 - in a command of its own
    return holder


def _line(connection: socket.socket, deadline: float) -> bytes:
    """Bytes up to the first line end, or up to where the other side stopped."""
    parts = bytearray()
    while not parts.endswith(b"\n") and len(parts) < _LARGEST_ANSWER:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        part = connection.recv(65_536)
        if not part:
            break
        parts += part
    return bytes(parts)


def _silent(state_dir: Path, verb: str, timeout_s: float, error: OSError) -> DaemonSilent:
    why = f"did not answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else f"failed: {error.strerror}"
    asked = f" to {verb!r}, which may have been done" if verb else ""
    return DaemonSilent(f"the daemon on {state_dir} {why}{asked}")
