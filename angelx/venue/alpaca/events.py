"""The order stream over HTTP: server-sent events, with what was told before for those who ask since when.

Alpaca's client for Go has no other way to hear of its orders.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from angelx.domain.wire import Response, Stream
from angelx.venue.alpaca.call import Call

HEARTBEAT_S: Final = 10.0
MOST_KEPT: Final = 100_000
"""Events that can be asked for again; the oldest go first."""
ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Of Crockford's base 32."""
FOREVER: Final = 2**62


class Told(msgspec.Struct, frozen=True):
    """One event, written."""

    at: int
    id: str
    part: bytes


class OrderEvents:
    """Everybody who listens over HTTP, and what they may ask for again."""

    def __init__(self) -> None:
        self._told: list[Told] = []
        self._listeners: set[asyncio.Queue[Told]] = set()

    def tell(self, at: int, event_id: str, data: Mapping[str, Any]) -> None:
        """Keep one event, and send it to everybody who listens."""
        told = Told(at, event_id, b"id: " + event_id.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n")
        if len(self._told) >= MOST_KEPT:
            del self._told[: MOST_KEPT // 10]
        self._told.append(told)
        for listener in self._listeners:
            listener.put_nowait(told)

    def answer(self, call: Call, headers: Mapping[str, str]) -> Response:
        """GET /v2/events/trades: from an event or an instant on, both included, or from now on; to an end, or for ever.

        Raises
        ------
        Refusal
            `since` or `until` is no time.
        """
        since, until = call.instant("since", -1), call.instant("until", FOREVER)
        since_id, until_id = call.text("since_id"), call.text("until_id")
        begin = len(self._told)
        if since_id:
            begin = self._place(since_id)
        elif since >= 0:
            begin = bisect_left(self._told, since, key=lambda told: told.at)
        kinds = {"content-type": "text/event-stream", "cache-control": "no-cache"}
        last = self._place(until_id) if until_id else FOREVER
        return Response(
            200, {**headers, **kinds}, b": connected\n\n", lambda stream: self._send(stream, begin, until, last)
        )

    def _place(self, event_id: str) -> int:
        """Of the event, or of the first one that was told after it."""
        place = next((place for place, told in enumerate(self._told) if told.id == event_id), None)
        return bisect_left(self._told, event_id[:10], key=lambda told: told.id[:10]) if place is None else place

    async def _send(self, stream: Stream, begin: int, until: int, last: int) -> None:
        queue: asyncio.Queue[Told] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            past = self._told[begin : last + 1]
            for told in past:
                if told.at > until:
                    return
                await stream.send(told.part)
            if last < len(self._told):
                return
            while True:
                try:
                    told = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
                except TimeoutError:
                    await stream.send(b": heartbeat\n\n")
                    continue
                if told.at > until:
                    return
                await stream.send(told.part)
        finally:
            self._listeners.discard(queue)


def ulid(at: int, name: str) -> str:
    """An id in order of time: 48 bits of milliseconds, 80 of what is named; the same every time."""
    bits = at // 1_000_000 << 80 | int.from_bytes(blake2b(name.encode(), digest_size=10).digest(), "big")
    return "".join(ALPHABET[bits >> shift & 31] for shift in range(125, -5, -5))
