"""The fault menu: what goes wrong between a client and a venue, on purpose, by plan or by hand.

`FaultyServer` stands before any `WireServer`, on sockets and in memory alike. Its faults come from a file, from code or
from the control address (docs/venue.md); the same plan, seed and requests give the same faults.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from random import Random
from typing import Final, Literal, Protocol, runtime_checkable

import msgspec
from msgspec.structs import replace

from angelx.domain.errors import InputInvalid
from angelx.domain.scalars import NS
from angelx.domain.wire import NoAnswer, Request, Response, Stream, StreamClosed, WireServer

What = Literal[
    "lost_request", "lost_reply", "slow_reply", "status", "mute", "disconnect", "lost_event", "duplicate", "reorder",
    "slow_event", "token_expiry", "clock_offset", "reject_burst",
]  # fmt: skip

MENU: Final[dict[str, str]] = {
    "lost_request": "the connection breaks before the request is done",
    "lost_reply": "the request is done, the connection breaks instead of an answer",
    "slow_reply": "the request is done, the answer comes `delay_s` later",
    "status": "HTTP `status` with `body` instead of an answer; with `done: true` the request is done nevertheless",
    "mute": "requests are done and never answered; open streams stay open and say nothing",
    "disconnect": "open streams break, once; with `for_s` new ones break too while it lasts",
    "lost_event": "a message of a stream is not sent",
    "duplicate": "a message of a stream is sent twice",
    "reorder": "a message of a stream is sent after the next one, or `delay_s` later where none comes",
    "slow_event": "messages of a stream come `delay_s` late, in order",
    "token_expiry": "every session token is void from now on",
    "clock_offset": "the server's clock is `offset_s` ahead",
    "reject_burst": "the exchange refuses good orders; GET requests do not count",
}
OF_REQUESTS: Final = ("lost_request", "lost_reply", "slow_reply", "status", "mute")
OF_STREAMS: Final = ("mute", "lost_event", "duplicate", "reorder", "slow_event")


LONGEST_S: Final = 86_400.0 * 3_650
"""Ten years."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing that goes wrong, when, where, and how often."""

    what: What
    server: str = "*"
    """`angelone`, `alpaca`, or any."""
    where: str = "*"
    """Which paths, without their query: `*/placeOrder`, `/v2/orders*`."""
    method: str = "*"
    at_s: float = 0.0
    """Begins so many seconds after it was put on the menu."""
    after: int = 0
    """And after so many requests or stream messages that it would apply to."""
    for_s: float = 0.0
    """Lasts so many seconds from its begin; 0 = until it is taken off."""
    times: int = 0
    """Happens so often; 0 = without end."""
    rate: float = 1.0
    """Happens to this share of what it applies to."""
    delay_s: float = 0.05
    status: int = 503
    body: str = ""
    content_type: str = "text/plain"
    retry_after_s: int = 0
    """Of `status`: the header, where it is not 0."""
    done: bool = False
    offset_s: float = 0.0

    def __post_init__(self) -> None:
        if min(self.at_s, self.after, self.for_s, self.times, self.delay_s) < 0 or not 0 < self.rate <= 1:
            raise ValueError("at_s, after, for_s, times and delay_s are not negative, rate lies in (0, 1]")
        if not 400 <= self.status <= 599:
            raise ValueError(f"status must be an error from 400 to 599, was {self.status}")
        seconds = (self.at_s, self.for_s, self.delay_s, abs(self.offset_s))
        if not all(one <= LONGEST_S for one in seconds):  # So worded that what is not a number is refused too.
            raise ValueError(f"at_s, for_s, delay_s and offset_s are at most {LONGEST_S:g}")
        if not self.content_type.isprintable():
            raise ValueError(f"content_type {self.content_type!r} cannot stand in a header")


class OffsetClock:
    """A server's clock that can be put wrong."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.offset_ns = 0

    def __call__(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        return self._now() + self.offset_ns


class Handles(msgspec.Struct, frozen=True):
    """What faults beyond the wire turn; what a server does not have is left out."""

    expire_tokens: Callable[[], None] | None = None
    clock: OffsetClock | None = None
    reject: Callable[[float], None] | None = None
    """Share of good orders to refuse from now on."""


class _Active:
    """A fault on the menu, with what it did."""

    def __init__(self, number: int, fault: Fault, begins_at: float) -> None:
        self.number, self.fault = number, fault
        self.begins_at = begins_at
        self.seen = self.happened = 0
        self.is_on = False
        self.gone = asyncio.Event()
        """It was taken off the menu."""

    def is_in_time(self, now: float) -> bool:
        fault = self.fault
        return now >= self.begins_at and (not fault.for_s or now < self.begins_at + fault.for_s)

    def is_used_up(self) -> bool:
        return bool(self.fault.times) and self.happened >= self.fault.times


class FaultyServer:
    """A `WireServer` with faults.

    Parameters
    ----------
    now_s
        Seconds of a clock that never goes back; the loop's by default.
    """

    def __init__(
        self,
        inner: WireServer,
        *,
        name: str = "",
        random: Random,
        handles: Handles | None = None,
        now_s: Callable[[], float] | None = None,
    ) -> None:
        self.inner, self.name = inner, name
        self._random = random
        self._handles = handles or Handles()
        self._now_s = now_s or (lambda: asyncio.get_running_loop().time())
        self._active: list[_Active] = []
        self._numbers = 0
        self._streams: dict[FaultyStream, str] = {}

    # ------------------------------------------------------------ the menu
    def add(self, fault: Fault) -> int:
        """Put a fault on the menu; its number. Called on a running loop.

        Raises
        ------
        InputInvalid
            This server has no handle for it.
        """
        missing = {
            "token_expiry": self._handles.expire_tokens,
            "clock_offset": self._handles.clock,
            "reject_burst": self._handles.reject,
        }
        if fault.what in missing and missing[fault.what] is None:
            raise InputInvalid(f"{fault.what}: the server {self.name or '?'} has no handle for it")
        self._numbers += 1
        active = _Active(self._numbers, fault, self._now_s() + fault.at_s)
        self._active.append(active)
        loop = asyncio.get_running_loop()
        if fault.at_s:
            loop.call_later(fault.at_s, self._look, active)
        if fault.for_s:
            loop.call_later(fault.at_s + fault.for_s, self._look, active)
        self._look(active)
        return self._numbers

    def remove(self, number: int | None = None) -> int:
        """Take a fault off, or all of them; how many that were."""
        gone = [active for active in self._active if number is None or active.number == number]
        self._active = [active for active in self._active if active not in gone]
        for active in gone:
            active.gone.set()
            self._switch(active, is_on=False)
        return len(gone)

    def menu(self) -> list[dict[str, object]]:
        """Every fault on the menu, and what it did so far."""
        now = self._now_s()
        return [
            {"number": active.number, "server": self.name, "fault": msgspec.to_builtins(active.fault),
             "applies": active.is_in_time(now) and not active.is_used_up(), "seen": active.seen,
             "happened": active.happened}
            for active in self._active
        ]  # fmt: skip

    # ------------------------------------------------------------ when they apply
    def _look(self, active: _Active) -> None:
        """Begin or end what lasts, by the clock."""
        is_in_time = active.is_in_time(self._now_s()) and active in self._active
        if is_in_time and not active.fault.after and not active.is_used_up():
            self._switch(active, is_on=True)
        elif not is_in_time:
            self._switch(active, is_on=False)

    def _switch(self, active: _Active, *, is_on: bool) -> None:
        """Turn what is not of single requests."""
        fault = active.fault
        if active.is_on == is_on:
            return
        active.is_on = is_on
        handles = self._handles
        if fault.what == "token_expiry" and is_on and handles.expire_tokens:
            active.happened += 1
            handles.expire_tokens()
        elif fault.what == "clock_offset" and handles.clock:
            active.happened += is_on
            handles.clock.offset_ns += int(fault.offset_s * NS) * (1 if is_on else -1)
        elif fault.what == "reject_burst" and handles.reject:
            handles.reject(fault.rate if is_on else 0.0)
        elif fault.what == "disconnect" and is_on:
            for stream in [stream for stream, path in self._streams.items() if self._breaks(fault, path)]:
                active.happened += 1
                stream.lose()

    def _breaks(self, fault: Fault, path: str) -> bool:
        return fault.what == "disconnect" and fnmatchcase(path, fault.where)

    def _hits(self, path: str, method: str, kinds: Iterable[str]) -> _Active | None:
        """The first fault that happens to this request or message now; every one that might have counts it."""
        now, hit = self._now_s(), None
        for active in self._active:
            fault = active.fault
            if not (fnmatchcase(path, fault.where) and fault.method in ("*", method)):
                continue
            if fault.what not in kinds:
                continue
            active.seen += 1
            if hit is not None or active.seen <= fault.after or active.is_used_up() or not active.is_in_time(now):
                continue
            if fault.rate < 1 and self._random.random() >= fault.rate:
                continue
            active.happened += 1
            hit = active
        return hit

    def _count(self, path: str, method: str) -> None:
        """A request came: what lasts and waits for a number of them may begin, or end after its times."""
        for active in tuple(self._active):
            fault = active.fault
            if fault.what not in ("token_expiry", "clock_offset", "reject_burst", "disconnect"):
                continue
            if fault.what == "reject_burst" and method == "GET":
                continue  # No order comes by it.
            if fnmatchcase(path, fault.where) and fault.method in ("*", method) and active.is_in_time(self._now_s()):
                active.seen += 1
                if fault.what == "reject_burst" and active.is_on:
                    active.happened += 1
                is_on = active.seen > fault.after
                if fault.what in ("reject_burst", "clock_offset") and fault.times:
                    is_on = is_on and active.seen <= fault.after + fault.times
                if is_on != active.is_on and (is_on or fault.what in ("reject_burst", "clock_offset")):
                    self._switch(active, is_on=is_on)

    # ------------------------------------------------------------ the server
    async def handle(self, request: Request) -> Response:
        """As `WireServer`."""
        path = request.path.partition("?")[0]
        self._count(path, request.method)
        active = self._hits(path, request.method, OF_REQUESTS)
        if active is None:
            return self._going_on(path, await self.inner.handle(request))
        fault = active.fault
        if fault.what == "lost_request":
            raise NoAnswer("lost on the way in")
        if fault.what == "status" and not fault.done:
            return _failure(fault)
        response = await self.inner.handle(request)
        if fault.what == "lost_reply":
            raise NoAnswer("lost on the way out")
        if fault.what == "status":
            return _failure(fault)
        if fault.what == "slow_reply":
            await asyncio.sleep(fault.delay_s)
        else:
            await self._until_over(active)
        return self._going_on(path, response)

    def _going_on(self, path: str, response: Response) -> Response:
        """An answer that goes on is a stream from its body on."""
        more = response.more
        return response if more is None else replace(response, more=lambda stream: self._through(path, stream, more))

    async def _until_over(self, active: _Active) -> None:
        """As long as a mute lasts the answer does not come, and then the connection breaks."""
        fault = active.fault
        left = active.begins_at + fault.for_s - self._now_s() if fault.for_s else None
        try:
            async with asyncio.timeout(left):
                await active.gone.wait()
        except TimeoutError:
            pass
        raise NoAnswer("mute")

    def admits(self, request: Request) -> Response | None:
        """As `WireServer`."""
        path = request.path.partition("?")[0]
        self._count(path, request.method)
        active = self._hits(path, request.method, ("status",))
        return _failure(active.fault) if active is not None else self.inner.admits(request)

    async def serve(self, request: Request, stream: Stream) -> None:
        """As `WireServer`."""
        path = request.path.partition("?")[0]
        await self._through(path, stream, lambda faulty: self.inner.serve(request, faulty))

    async def _through(self, path: str, stream: Stream, work: Callable[[Stream], Awaitable[None]]) -> None:
        faulty = FaultyStream(stream, lambda kinds: self._of(path, kinds))
        if any(one.is_on and one.fault.for_s and self._breaks(one.fault, path) for one in self._active):
            await stream.close(1006)
            return
        self._streams[faulty] = path
        try:
            await asyncio.gather(self._work(work, faulty), faulty.send_late())
        finally:
            del self._streams[faulty]

    @staticmethod
    async def _work(work: Callable[[Stream], Awaitable[None]], stream: "FaultyStream") -> None:
        try:
            await work(stream)
        finally:
            stream.end()

    def _of(self, path: str, kinds: Iterable[str]) -> Fault | None:
        active = self._hits(path, "GET", kinds)
        return None if active is None else active.fault


@runtime_checkable
class Breakable(Protocol):
    """A stream whose connection can be broken without a word."""

    def lose(self) -> None:
        """Break it now, at both ends."""
        ...


class FaultyStream:
    """The server's end of a stream, with what happens to its messages."""

    def __init__(self, inner: Stream, fault: Callable[[Iterable[str]], Fault | None]) -> None:
        self._inner, self._fault = inner, fault
        self._kept: list[tuple[str | bytes, float]] = []
        """At most one message that waits for the next one, and for how long."""
        self._changed = asyncio.Event()
        self._is_over = False

    async def send(self, message: str | bytes) -> None:
        """As `Stream`."""
        fault = self._fault(OF_STREAMS)
        if fault is None or fault.what == "reorder":
            if fault is not None and not self._kept:
                self._kept.append((message, fault.delay_s))
                self._changed.set()
                return
            await self._inner.send(message)
        elif fault.what == "slow_event":
            await asyncio.sleep(fault.delay_s)
            await self._inner.send(message)
        elif fault.what == "duplicate":
            await self._inner.send(message)
            await self._inner.send(message)
        await self._send_kept()

    async def receive(self) -> str | bytes:
        """As `Stream`."""
        return await self._inner.receive()

    async def close(self, code: int = 1000) -> None:
        """As `Stream`."""
        if self._kept:
            await self._send_kept()
        await self._inner.close(code)

    def lose(self) -> None:
        """Break the connection."""
        if isinstance(self._inner, Breakable):
            self._inner.lose()

    # ------------------------------------------------------------ what was kept back
    async def send_late(self) -> None:
        """Send what was kept back when nothing came after it, until the stream is over."""
        while not self._is_over:
            await self._changed.wait()
            self._changed.clear()
            if self._kept and not self._is_over:
                kept = self._kept[0]
                await asyncio.sleep(kept[1])
                if self._kept and self._kept[0] is kept:
                    await self._send_kept()

    def end(self) -> None:
        """The server is done with the stream."""
        self._is_over = True
        self._changed.set()

    async def _send_kept(self) -> None:
        if self._kept:
            message, _ = self._kept.pop()
            try:
                await self._inner.send(message)
            except StreamClosed:
                self._is_over = True


def _failure(fault: Fault) -> Response:
    headers = {"content-type": fault.content_type}
    if fault.retry_after_s:
        headers["retry-after"] = str(fault.retry_after_s)
    return Response(fault.status, headers, fault.body.encode())


# ---------------------------------------------------------------- from a file
def read_faults(path: Path) -> list[Fault]:
    """The faults of a YAML file: a list of mappings with the keys of `Fault`.

    Raises
    ------
    InputInvalid
        The message names file, place and what is wrong.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe", pure=True).load(path.read_text())
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise InputInvalid(f"{path}: {error}") from error
    if not isinstance(found, list):
        raise InputInvalid(f"{path}: needs a list of faults, was {type(found).__name__}")
    return [fault_of(entry, f"{path}: fault {number}") for number, entry in enumerate(found, 1)]


def fault_of(entry: object, where: str) -> Fault:
    """One fault from plain data.

    Raises
    ------
    InputInvalid
        The message begins with `where`.
    """
    try:
        return msgspec.convert(entry, Fault, strict=False)
    except msgspec.ValidationError as error:
        raise InputInvalid(f"{where}: {error}{_hint(str(error))}") from error


def _hint(error: str) -> str:
    """What would have been right."""
    if "what`" in error:
        return f"; `what` is one of {', '.join(MENU)}"
    return f"; there are {', '.join(Fault.__struct_fields__)}" if "unknown field" in error else ""
