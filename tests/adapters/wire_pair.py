"""A small protocol to put on sockets and into memory: echoes, waits, breaks, and streams."""

import asyncio

from angelx.domain.wire import NoAnswer, Request, Response, Stream


class EchoServer:
    """`/echo` answers what came; `/slow` late; `/mute` never; `/break` breaks; `/refuse` admits no stream."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.ended: list[str] = []

    async def handle(self, request: Request) -> Response:
        self.seen.append(request)
        if request.path.startswith("/mute"):
            await asyncio.Event().wait()
        if request.path.startswith("/slow"):
            await asyncio.sleep(0.2)
        if request.path.startswith("/break"):
            raise NoAnswer("broken on purpose")
        return Response(201, {"content-type": "text/plain", "x-seen": "yes"}, request.body)

    def admits(self, request: Request) -> Response | None:
        status = {"/refuse": 401, "/many": 429, "/wrong": 500}.get(request.path, 0)
        return Response(status, {"retry-after": "7"}, b"no") if status else None

    async def serve(self, request: Request, stream: Stream) -> None:
        await stream.send("hello")
        try:
            while True:
                message = await stream.receive()
                if message == "bye":
                    await stream.close(4001)
                    return
                if message == "lose":
                    await stream.close(1006)
                    return
                await stream.send(message)
        finally:
            self.ended.append(request.path)
