"""The fault menu, in memory and in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import msgspec
import pytest

from angelx.domain.errors import InputInvalid
from angelx.domain.scalars import NS
from angelx.domain.wire import NoAnswer, Request, StreamClosed
from angelx.sim.loop import simulate
from angelx.sim.memory_transport import MemoryTransport
from angelx.venue.control import VenueControl
from angelx.venue.faults import MENU, Fault, FaultyServer, Handles, OffsetClock, read_faults
from tests.adapters.wire_pair import EchoServer


class Stage:
    def __init__(self) -> None:
        self.echo = EchoServer()
        self.expired = 0
        self.rates: list[float] = []
        self.clock = OffsetClock(lambda: 0)
        handles = Handles(expire_tokens=self._expire, clock=self.clock, reject=self.rates.append)
        self.server = FaultyServer(self.echo, name="echo", random=Random(3), handles=handles)
        self.client = MemoryTransport(self.server)

    def _expire(self) -> None:
        self.expired += 1

    async def get(self, path: str = "/echo", method: str = "POST", timeout_s: float = 1.0) -> int:
        return (await self.client.request(method, path, headers={}, body=b"x", timeout_s=timeout_s)).status

    async def outcomes(self, count: int, path: str = "/echo") -> str:
        """`.` for an answer, `e` for an error status, `x` for none."""
        said = ""
        for _ in range(count):
            try:
                said += "." if await self.get(path) < 400 else "e"
            except NoAnswer:
                said += "x"
        return said


def play(main: Callable[[Stage], Awaitable[None]]) -> None:
    async def scenario() -> None:
        stage = Stage()
        await main(stage)
        for task in tuple(stage.client._tasks):
            task.cancel()
        await stage.client.close()

    simulate(scenario)


def test_a_lost_reply_was_done_and_a_lost_request_was_not() -> None:
    async def main(stage: Stage) -> None:
        stage.server.add(Fault(what="lost_reply", times=1))
        stage.server.add(Fault(what="lost_request", times=1))
        assert await stage.outcomes(3) == "xx."
        assert len(stage.echo.seen) == 2

    play(main)


def test_a_fault_begins_after_so_many_requests_and_happens_so_often() -> None:
    async def main(stage: Stage) -> None:
        stage.server.add(Fault(what="status", status=429, retry_after_s=9, after=2, times=2, where="/echo"))
        assert await stage.outcomes(1, "/other") == "."
        assert await stage.outcomes(6) == "..ee.."
        assert stage.server.menu()[0]["happened"] == 2

    play(main)


def test_a_fault_lasts_as_long_as_it_says() -> None:
    async def main(stage: Stage) -> None:
        stage.server.add(Fault(what="status", status=503, at_s=10, for_s=5))
        assert await stage.outcomes(1) == "."
        await asyncio.sleep(12)
        assert await stage.outcomes(2) == "ee"
        await asyncio.sleep(5)
        assert await stage.outcomes(1) == "."

    play(main)


def test_a_share_of_requests_is_drawn_from_the_seed() -> None:
    async def main(stage: Stage) -> None:
        stage.server.add(Fault(what="status", rate=0.3))
        first = await stage.outcomes(60)
        assert 5 < first.count("e") < 35

    play(main)


def test_an_error_may_hide_that_the_request_was_done() -> None:
    async def main(stage: Stage) -> None:
        stage.server.add(Fault(what="status", status=504, done=True, times=1))
        assert await stage.outcomes(2) == "e."
        assert len(stage.echo.seen) == 2

    play(main)


def test_mute_answers_nothing_and_streams_nothing_until_it_is_taken_off() -> None:
    async def main(stage: Stage) -> None:
        stream = await stage.client.open("/s", headers={}, timeout_s=1)
        assert await stream.receive() == "hello"
        number = stage.server.add(Fault(what="mute"))
        assert await stage.outcomes(2) == "xx"
        await stream.send("unheard")
        await asyncio.sleep(60)
        stage.server.remove(number)
        await stream.send("heard")
        assert await stream.receive() == "heard"
        assert await stage.outcomes(1) == "."

    play(main)


def test_disconnect_breaks_what_is_open_and_what_is_opened() -> None:
    async def main(stage: Stage) -> None:
        stream = await stage.client.open("/s", headers={}, timeout_s=1)
        await stream.receive()
        stage.server.add(Fault(what="disconnect", at_s=5, for_s=5))
        await asyncio.sleep(6)
        with pytest.raises(StreamClosed):
            await stream.receive()
        again = await stage.client.open("/s", headers={}, timeout_s=1)
        with pytest.raises(StreamClosed):
            await again.receive()
        await asyncio.sleep(5)
        last = await stage.client.open("/s", headers={}, timeout_s=1)
        assert await last.receive() == "hello"
        other = await stage.client.open("/t", headers={}, timeout_s=1)
        assert await other.receive() == "hello"
        stage.server.add(Fault(what="disconnect", where="/t"))
        with pytest.raises(StreamClosed):
            await other.receive()
        await last.send("still here")
        assert await last.receive() == "still here"
        once_more = await stage.client.open("/t", headers={}, timeout_s=1)
        assert await once_more.receive() == "hello"

    play(main)


def test_messages_are_doubled_swapped_lost_and_late() -> None:
    async def main(stage: Stage) -> None:
        async def heard(fault: Fault, messages: str) -> str:
            number = stage.server.add(fault)
            for message in messages:
                await stream.send(message)
            said = ""
            try:
                async with asyncio.timeout(10):
                    while True:
                        said += str(await stream.receive())
            except TimeoutError:
                stage.server.remove(number)
                return said

        stream = await stage.client.open("/s", headers={}, timeout_s=1)
        await stream.receive()
        assert await heard(Fault(what="duplicate", after=1, times=1), "abc") == "abbc"
        assert await heard(Fault(what="reorder", times=1), "abc") == "bac"
        assert await heard(Fault(what="reorder", after=2), "abc") == "abc"
        assert await heard(Fault(what="lost_event", after=1, times=1), "abc") == "ac"
        assert await heard(Fault(what="slow_event", delay_s=1), "abc") == "abc"

    play(main)


def test_tokens_clock_and_rejects_have_handles() -> None:
    async def main(stage: Stage) -> None:
        stage.server.add(Fault(what="token_expiry", after=1))
        await stage.outcomes(1)
        assert stage.expired == 0
        await stage.outcomes(3)
        assert stage.expired == 1
        stage.server.add(Fault(what="clock_offset", offset_s=-2.5, for_s=3))
        assert stage.clock() == -int(2.5 * NS)
        await asyncio.sleep(4)
        assert stage.clock() == 0
        stage.server.add(Fault(what="reject_burst", times=2, where="/order"))
        assert stage.rates == [1.0]
        assert await stage.get("/order", "GET") == 201
        await stage.outcomes(2, "/order")
        assert stage.rates == [1.0]
        await stage.outcomes(2, "/order")
        assert stage.rates == [1.0, 0.0]

    play(main)


def test_what_a_server_has_no_handle_for_is_said() -> None:
    async def main(stage: Stage) -> None:
        server = FaultyServer(stage.echo, random=Random(1))
        with pytest.raises(InputInvalid, match="token_expiry"):
            server.add(Fault(what="token_expiry"))

    play(main)


def test_every_fault_of_the_menu_is_known() -> None:
    assert set(MENU) == set(Fault.__annotations__["what"].__args__)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- what: none_such", "fault 1"),
        ("what: mute", "list"),
        ("- what: mute\n- what: status\n  status: 200", "fault 2"),
        ("- what: mute\n  wher: x", "wher`; there are what, server, where, method"),
        ("- what: mut", "`what` is one of lost_request, lost_reply"),
        ("- where: x", "`what` is one of lost_request, lost_reply"),
        ("- what: mute\n  times: x", r"Expected `int`, got `str` - at `\$\.times`$"),
        ("- what: clock_offset\n  offset_s: 1.0e+300", "at most"),
        ("- what: clock_offset\n  offset_s: -.inf", "at most"),
        ("- what: mute\n  for_s: .nan", "at most"),
        ('- what: status\n  content_type: "a\\r\\nb"', "cannot stand in a header"),
        ("- [", "faults.yaml"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(InputInvalid, match=said):
        read_faults(path)


def test_a_file_of_faults_is_read(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(
        "- {what: lost_reply, where: '*/placeOrder', after: 3, times: 1}\n- what: mute\n  at_s: 60\n  for_s: 20\n"
    )
    assert read_faults(path) == [
        Fault(what="lost_reply", where="*/placeOrder", after=3, times=1),
        Fault(what="mute", at_s=60, for_s=20),
    ]


def test_faults_are_switched_over_the_control_address_with_its_token() -> None:
    async def main(stage: Stage) -> None:
        control = VenueControl({"echo": stage.server}, (), token="t")

        async def ask(method: str, path: str, body: object = None, token: str = "t") -> tuple[int, object]:
            content = b"" if body is None else msgspec.json.encode(body)
            answer = await control.handle(Request(method, path, {"authorization": f"Bearer {token}"}, content))
            return answer.status, msgspec.json.decode(answer.body)

        assert (await ask("GET", "/venue/faults", token="wrong"))[0] == 401
        assert await ask("POST", "/venue/faults", {"what": "status", "status": 403}) == (201, {"echo": 1})
        assert await stage.outcomes(1) == "e"
        assert (await ask("POST", "/venue/faults", {"what": "nonsense"}))[0] == 400
        assert (await ask("POST", "/venue/faults", {"what": "mute", "server": "other"}))[0] == 400
        assert (await ask("DELETE", "/venue/faults/echo/1")) == (200, {"removed": 1})
        assert (await ask("DELETE", "/venue/faults/echo/1"))[0] == 404
        assert await stage.outcomes(1) == "."
        assert (await ask("GET", "/venue/faults")) == (200, [])
        assert (await ask("GET", "/elsewhere"))[0] == 404

    play(main)
