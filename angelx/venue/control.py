"""The control address of a venue: look at it, switch faults, halt instruments. HTTP and JSON, behind a token."""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from angelx.domain.errors import InputInvalid
from angelx.domain.wire import Request, Response, Stream
from angelx.venue.faults import MENU, FaultyServer, fault_of
from angelx.venue.runner import Lane

Answer = tuple[int, Any]


class VenueControl:
    """A `WireServer`; every request needs `Authorization: Bearer TOKEN`.

    GET /venue
        How far each lane is.
    GET, POST, DELETE /venue/faults
        The faults that are on; put one on (the keys of `Fault`); take all off. DELETE /venue/faults/SERVER/NUMBER: one.
    GET /venue/menu
        What can go wrong.
    POST, DELETE /venue/halts/NAME
        Halt or resume an instrument or a segment.
    """

    def __init__(self, servers: Mapping[str, FaultyServer], lanes: Sequence[Lane], *, token: str) -> None:
        self._servers, self._lanes, self._token = servers, lanes, token

    async def handle(self, request: Request) -> Response:
        """As `WireServer`."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), self._token.encode()):
            return _json(401, {"error": "needs the venue's token"})
        try:
            return _json(*self._answer(request))
        except InputInvalid as error:
            return _json(400, {"error": str(error)})

    def admits(self, request: Request) -> Response | None:
        """No streams here."""
        return _json(404, {"error": "no streams here"})

    async def serve(self, request: Request, stream: Stream) -> None:
        """Never called."""
        await stream.close()

    # ------------------------------------------------------------ answers
    def _answer(self, request: Request) -> Answer:
        parts = [part for part in request.path.partition("?")[0].split("/") if part]
        if parts[:1] != ["venue"]:
            return _nothing(request)
        if request.method == "GET":
            return self._read(request, parts[1:])
        return self._write(request, parts[1:])

    def _read(self, request: Request, parts: list[str]) -> Answer:
        match parts:
            case []:
                return 200, {"lanes": [_lane(lane) for lane in self._lanes]}
            case ["menu"]:
                return 200, MENU
            case ["faults"]:
                return 200, [line for server in self._servers.values() for line in server.menu()]
        return _nothing(request)

    def _write(self, request: Request, parts: list[str]) -> Answer:
        match request.method, parts:
            case "POST", ["faults"]:
                return 201, self._add(request.body)
            case "DELETE", ["faults"]:
                return 200, {"removed": sum(server.remove() for server in self._servers.values())}
            case "DELETE", ["faults", name, number] if number.isdecimal() and name in self._servers:
                removed = self._servers[name].remove(int(number))
                return (200 if removed else 404), {"removed": removed}
            case ("POST" | "DELETE") as method, ["halts", name]:
                return self._halt(name, ends=method == "DELETE")
        return _nothing(request)

    def _add(self, body: bytes) -> dict[str, int]:
        try:
            entry = msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            raise InputInvalid(f"not JSON: {error}") from error
        fault = fault_of(entry, "fault")
        chosen = {name: server for name, server in self._servers.items() if fault.server in ("*", name)}
        if not chosen:
            raise InputInvalid(f"server: no {fault.server!r} here, only {', '.join(self._servers)}")
        return {name: server.add(fault) for name, server in chosen.items()}

    def _halt(self, name: str, *, ends: bool) -> Answer:
        touched = []
        for lane in self._lanes:
            table = lane.exchange.table
            if name in table.index or any(instrument.segment == name for instrument in table):
                (lane.exchange.resume if ends else lane.exchange.halt)(name)
                touched.append(lane.name)
        return (200 if touched else 404), {"lanes": touched}


def _nothing(request: Request) -> Answer:
    return 404, {"error": f"no {request.method} {request.path}"}


def _lane(lane: Lane) -> dict[str, object]:
    exchange = lane.exchange
    return {
        "name": lane.name, "now": exchange.now, "rows": exchange.rows, "orders": len(exchange.orders()),
        "fills": len(exchange.fills()), "positions": len(exchange.positions()),
        "most_behind_ms": lane.most_behind_ns / 1e6, "is_over": lane.is_over,
    }  # fmt: skip


def _json(status: int, body: object) -> Response:
    return Response(status, {"content-type": "application/json"}, msgspec.json.encode(body))
