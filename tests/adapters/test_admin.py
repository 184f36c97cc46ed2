"""Commands over a real socket, on asyncio and on uvloop."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from angelx.adapters import admin
from angelx.adapters.admin import AdminServer, DaemonAbsent, DaemonSilent, RequestRefused, ask
from angelx.adapters.admin_socket import RECORD, SOCKET
from angelx.adapters.state_dir import StateDir
from angelx.domain.errors import InputInvalid

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def go(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main)

    return go


async def echo(verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if verb == "refuse":
        raise InputInvalid("no such thing")
    if verb == "hang":
        await asyncio.sleep(60)
    return {"verb": verb, **arguments}


@contextlib.asynccontextmanager
async def serving(path: Path, handler: admin.Handler = echo, **options: Any) -> Any:
    with StateDir.open(path) as state:
        server = AdminServer(state, handler, **options)
        await server.start()
        try:
            yield server
        finally:
            await server.close()


async def asked(path: Path, verb: str, **arguments: Any) -> dict[str, Any]:
    """What the blocking client sees, from a thread."""
    return await asyncio.to_thread(lambda: ask(path, verb, **arguments))


async def told(server: AdminServer, sent: bytes) -> list[dict[str, Any]]:
    """What a raw connection is answered until the server closes it."""
    reader, writer = await asyncio.open_unix_connection(str(server.path))
    writer.write(sent)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
        writer.write_eof()
    answers = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return [json.loads(line) for line in answers.splitlines()]


def test_a_question_is_answered(tmp_path: Path, run: Run) -> None:
    async def scenario() -> None:
        async with serving(tmp_path / "s") as server:
            assert server.path == tmp_path / "s" / SOCKET
            assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
            assert await asked(tmp_path / "s", "status") == {"verb": "status"}
            assert await asked(tmp_path / "s", "resume", reason="fixed", deep={"a": [1, None]}) == {
                "verb": "resume", "reason": "fixed", "deep": {"a": [1, None]},
            }  # fmt: skip
            together = await asyncio.gather(*(asked(tmp_path / "s", "status", n=n) for n in range(8)))
            assert [answer["n"] for answer in together] == list(range(8))
        assert not server.path.exists()
        assert not (tmp_path / "s" / RECORD).exists()

    run(scenario())


def test_refusals_reach_the_client(tmp_path: Path, run: Run) -> None:
    async def scenario() -> None:
        async with serving(tmp_path / "s", timeout_s=0.2):
            with pytest.raises(RequestRefused, match="no such thing") as refused:
                await asked(tmp_path / "s", "refuse")
            assert refused.value.code == "InputInvalid"
            with pytest.raises(RequestRefused, match=r"hang took more than 0.2 s; it may have been done") as slow:
                await asked(tmp_path / "s", "hang")
            assert slow.value.code == "slow"
            assert await asked(tmp_path / "s", "status") == {"verb": "status"}

    run(scenario())


NONSENSE: dict[str, tuple[bytes, list[list[str]]]] = {
    "empty line": (b"\n", [["malformed"]]),
    "a word": (b"status\n", [["malformed"]]),
    "not text": (b"\xff\xfe\n", [["malformed"]]),
    "a list": (b"[]\n", [["malformed"]]),
    "a number for a verb": (b'{"verb": 3}\n', [["malformed"]]),
    "a list for arguments": (b'{"verb": "a", "arguments": []}\n', [["malformed"]]),
    "an unknown key": (b'{"verb": "a", "more": 1}\n{"verb": "b"}\n', [["malformed", "ok"]]),
    "another line end": (b'{"verb": "a"}\r\n{"verb": "b"}\n', [["ok", "ok"]]),
    "cut off": (b'{"verb": "cut"}', [[]]),
    "nothing": (b"", [[]]),
    "too large": (b"x" * 200_000 + b"\n", [["too-large"]]),
    # How deep is too deep is up to the interpreter.
    "deep": (b'{"verb": "a", "arguments": {"x": %b}}\n' % (b"[" * 5_000 + b"]" * 5_000), [["malformed"], ["ok"]]),
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_is_answered_and_does_no_harm(tmp_path: Path, run: Run, kind: str) -> None:
    sent, codes = NONSENSE[kind]

    async def scenario() -> None:
        async with serving(tmp_path / "s") as server:
            assert [answer["code"] for answer in await told(server, sent)] in codes
            assert await asked(tmp_path / "s", "status") == {"verb": "status"}

    run(scenario())


def test_a_client_that_sleeps_is_let_go(tmp_path: Path, run: Run) -> None:
    async def scenario() -> None:
        async with serving(tmp_path / "s", timeout_s=0.1) as server:
            reader, writer = await asyncio.open_unix_connection(str(server.path))
            writer.write(b'{"verb": ')
            assert await asyncio.wait_for(reader.read(), 2) == b""
            writer.close()

    run(scenario())


def test_more_connections_than_can_be_are_told(tmp_path: Path, run: Run) -> None:
    async def scenario() -> None:
        async with serving(tmp_path / "s") as server:
            open_ones = [await asyncio.open_unix_connection(str(server.path)) for _ in range(16)]
            await asyncio.sleep(0.05)
            assert [answer["code"] for answer in await told(server, b'{"verb": "status"}\n')] == ["busy"]
            for _, writer in open_ones:
                writer.close()
            await asyncio.sleep(0.05)
            assert await asked(tmp_path / "s", "status") == {"verb": "status"}

    run(scenario())


def test_closing_ends_the_connections(tmp_path: Path, run: Run) -> None:
    async def scenario() -> None:
        async with serving(tmp_path / "s") as server:
            reader, writer = await asyncio.open_unix_connection(str(server.path))
            await asyncio.sleep(0.05)
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()

    run(scenario())


def test_a_bug_in_the_handler_is_loud_and_local(tmp_path: Path, run: Run) -> None:
    async def broken(verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"never": 1 // 0} if verb == "bug" else {}

    async def scenario() -> None:
        seen: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context["exception"]))
        async with serving(tmp_path / "s", broken):
            with pytest.raises(DaemonSilent, match="closed the connection without answering 'bug'"):
                await asked(tmp_path / "s", "bug")
            assert await asked(tmp_path / "s", "status") == {}
        assert [type(error) for error in seen] == [ZeroDivisionError]

    run(scenario())


@pytest.mark.skipif(not IS_ROOT or not hasattr(socket, "SO_PEERCRED"), reason="needs root to be somebody else")
def test_another_user_is_not_answered(tmp_path: Path, run: Run) -> None:
    """Even where the file modes would let it in."""
    code = (
        "import os, socket, sys\nos.setgid(12345); os.setuid(12345)\ns = socket.socket(socket.AF_UNIX)\n"
        's.connect(sys.argv[1]); s.sendall(b\'{"verb": "status"}\\n\'); print(s.recv(999).decode())'
    )

    async def scenario() -> None:
        short = Path("/tmp") / f"angelx-test-{os.getpid()}.sock"
        async with serving(tmp_path / "s", socket_path=str(short)) as server:
            server.path.chmod(0o666)
            other = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(short), stdout=subprocess.PIPE)
            out, _ = await other.communicate()
            assert json.loads(out)["code"] == "foreign"

    run(scenario())


# ---------------------------------------------------------------- where it listens
def test_a_long_path_gets_a_short_one_that_is_written_down(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    deep = tmp_path / ("d" * 60) / ("e" * 60)

    async def scenario() -> None:
        async with serving(deep) as server:
            assert len(os.fsencode(server.path)) < 104
            assert server.path.parent.parent in {runtime, Path("/tmp")}
            assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o700
            assert (deep / RECORD).read_bytes() == os.fsencode(server.path) + b"\n"
            assert await asked(deep, "status") == {"verb": "status"}
        assert not server.path.parent.exists()

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    run(scenario())


SERVE = """
import asyncio, sys, time
from pathlib import Path
from angelx.adapters.admin import AdminServer
from angelx.adapters.admin_socket import RECORD, SOCKET
from angelx.adapters.state_dir import StateDir
async def handler(verb, arguments):
    if verb == "block":
        time.sleep(60)
    return {"verb": verb}
async def main():
    with StateDir.open(Path(sys.argv[1])) as state:
        server = AdminServer(state, handler)
        await server.start()
        print(server.path, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def other_daemon(path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.mark.parametrize("deep", [False, True])
def test_what_a_killed_daemon_left_is_replaced(tmp_path: Path, run: Run, deep: bool) -> None:
    path = tmp_path / ("d" * 90) if deep else tmp_path / "s"
    with other_daemon(path) as other:
        left = Path((path / RECORD).read_text().strip())
        assert ask(path, "status") == {"verb": "status"}
        other.kill()
        other.wait(10)
    assert left.exists()
    with pytest.raises(DaemonAbsent, match=f"no daemon is running on {path}"):
        ask(path, "status")

    found: list[bool] = []

    async def scenario() -> None:
        async with serving(path):
            assert await asked(path, "status") == {"verb": "status"}
            found.append(await asyncio.to_thread(left.exists))

    run(scenario())
    assert found == [not deep]
    assert not left.exists()
    assert left.parent.exists() is not deep


def test_a_blocked_or_stopped_daemon_is_silent_not_absent(tmp_path: Path) -> None:
    with other_daemon(tmp_path / "s") as other:
        with pytest.raises(DaemonSilent, match=r"did not answer within 0.2 s to 'block', which may have been done"):
            ask(tmp_path / "s", "block", timeout_s=0.2)
        with pytest.raises(DaemonSilent, match=r"did not answer within 0.2 s to 'status'"):
            ask(tmp_path / "s", "status", timeout_s=0.2)
        other.send_signal(signal.SIGKILL)
        other.wait(10)


def test_a_daemon_that_never_ran_is_absent(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DaemonAbsent):
            ask(path, "status")


@pytest.mark.parametrize("content", [b"", b"\n", b"\x00\n", b"nowhere.sock\n", b"x" * 300])
def test_a_damaged_record_is_an_error_of_ours(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises((DaemonAbsent, DaemonSilent)):
        ask(tmp_path, "status")


def test_an_answer_that_is_none_is_an_error_of_ours(tmp_path: Path, run: Run) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"what?\n")
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_unix_server(babble, tmp_path / "x.sock")
        (tmp_path / RECORD).write_text(f"{tmp_path / 'x.sock'}\n")
        with pytest.raises(DaemonSilent, match="answered 'status' with something that is no answer"):
            await asked(tmp_path, "status")
        server.close()

    run(scenario())


def test_what_lies_at_a_chosen_path_is_not_removed(tmp_path: Path, run: Run) -> None:
    file, taken = tmp_path / "file", tmp_path / "taken"
    file.write_text("mine")

    async def scenario() -> None:
        listener = await asyncio.start_unix_server(lambda *_: None, taken)
        cases = [(file, "something that is no socket is there"), (taken, "another process listens there")]
        cases += [(tmp_path / ("x" * 200), "longer than 103 bytes"), (tmp_path / "no" / "x", "No such file")]
        for path, why in cases:
            with pytest.raises(InputInvalid, match=why):
                async with serving(tmp_path / "s", socket_path=str(path)):
                    pass
        listener.close()

    run(scenario())
    assert file.read_text() == "mine"


def test_requests_are_what_the_client_sends() -> None:
    """The wire, pinned: one JSON object a line."""
    sent = msgspec.json.encode(admin.Request("halt", {"reason": "x"}))
    assert sent == b'{"verb":"halt","arguments":{"reason":"x"}}'
    waiting: Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]] = echo
    assert asyncio.run(waiting("halt", {"reason": "x"})) == {"verb": "halt", "reason": "x"}  # type: ignore[arg-type]


# ---------------------------------------------------------------- somebody removes the socket
@pytest.mark.parametrize("gone", [SOCKET, RECORD])
def test_a_socket_that_was_removed_is_made_anew(run: Run, tmp_path: Path, gone: str) -> None:
    async def there() -> None:
        while not (tmp_path / gone).exists():  # noqa: ASYNC110 - another's file
            await asyncio.sleep(0.01)

    async def main() -> None:
        with StateDir.open(tmp_path) as state, contextlib.suppress(asyncio.CancelledError):
            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                serving = group.create_task(AdminServer(state, echo).serve(0.01))
                for _ in range(3):
                    await there()
                    (tmp_path / gone).unlink()
                await there()
                assert await asyncio.to_thread(ask, tmp_path, "status") == {"verb": "status"}
                serving.cancel()
        assert not (tmp_path / gone).exists()

    run(main())


def test_a_daemon_that_does_not_listen_is_not_said_to_be_absent(tmp_path: Path) -> None:
    with StateDir.open(tmp_path), pytest.raises(DaemonSilent, match=rf"\(pid {os.getpid()} .*\) does not listen: "):
        ask(tmp_path, "status")
    with pytest.raises(DaemonAbsent):
        ask(tmp_path, "status")
