"""Real signals to this process, and an alarm that stops code which never returns."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from angelx.adapters.latch import FLATTEN, HALT, RUNNING, Latch
from angelx.adapters.signals import DeadlineGuard, SignalControl, Standby, StrategyTimeout

ROOT = Path(__file__).parents[2]
Run = Callable[[Coroutine[Any, Any, None]], None]
Commands = list[tuple[str, str]]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def go(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main)

    return go


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        assert signal.getsignal(number) is handler or signal.getsignal(number) == handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def listening(path: Path) -> tuple[SignalControl, Latch, Commands]:
    latch, commands = Latch.load(path), Commands()
    control = SignalControl(
        asyncio.get_running_loop(), latch, lambda: 77, lambda verb, who: commands.append((verb, who))
    )
    control.install()
    return control, latch, commands


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def later(number: int, delay_s: float = 0.05) -> threading.Timer:
    timer = threading.Timer(delay_s, send, (number,))
    timer.start()
    return timer


def sleep(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 - to block is the point


def spin(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


# ---------------------------------------------------------------- signals
def test_each_signal_asks_for_its_own(tmp_path: Path, run: Run) -> None:
    async def scenario() -> None:
        control, latch, commands = listening(tmp_path)
        for number, level in ((signal.SIGHUP, RUNNING), (signal.SIGUSR1, HALT), (signal.SIGUSR2, FLATTEN)):
            send(number)
            assert latch.level == level  # Before the loop has run anything.
        await asyncio.sleep(0.01)
        assert commands == [("reload", "SIGHUP"), ("halt", "SIGUSR1"), ("flatten", "SIGUSR2")]
        assert (latch.reason, latch.who, latch.at) == ("SIGUSR2", "signal", 77)
        assert Latch.load(tmp_path).level == FLATTEN
        control.restore()

    run(scenario())


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_asked_for_again_is_faster(tmp_path: Path, run: Run, first: int) -> None:
    async def scenario() -> None:
        control, latch, commands = listening(tmp_path)
        send(first)
        send(signal.SIGTERM)
        await asyncio.sleep(0.01)
        assert commands == [("stop", signal.Signals(first).name), ("stop-now", "SIGTERM")]
        assert latch.level == RUNNING  # Stopping is no halt.
        control.restore()

    run(scenario())


def test_before_there_is_a_session_and_after_it_levels_are_latched_all_the_same(tmp_path: Path, run: Run) -> None:
    """Each by the default would end the process, with nothing latched for the one that a supervisor starts next."""

    async def scenario() -> None:
        control, latch, commands = listening(tmp_path)
        for number in standby.told():
            control.hear(number)
        assert not standby.told(), "each is told once"
        await asyncio.sleep(0.01)
        assert (latch.level, commands) == (HALT, [("halt", "SIGUSR1")])
        control.restore()

    standby, numbers = Standby(lambda: 77), (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # As the program has it while it is imported.
    try:
        for number in numbers[:2]:
            signal.pthread_kill(threading.get_ident(), number)  # Other threads block nothing.
        standby.listen()
        assert Latch.load(tmp_path).level == RUNNING, "no state directory is known yet"
        standby.latch_in(tmp_path)
        assert Latch.load(tmp_path).level == HALT
        run(scenario())
        send(signal.SIGHUP)
        send(signal.SIGUSR2)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    after = Latch.load(tmp_path)
    assert (after.level, after.reason, after.who, after.at) == (FLATTEN, "SIGUSR2", "signal", 77)


@pytest.mark.parametrize("busy", [spin, sleep], ids=["python", "sleeping"])
@pytest.mark.parametrize(
    ("number", "level", "verb"), [(signal.SIGUSR1, HALT, "halt"), (signal.SIGUSR2, FLATTEN, "flatten")]
)
def test_the_latch_rises_while_the_loop_is_blocked(
    tmp_path: Path, run: Run, number: int, level: int, verb: str, busy: Callable[[float], None]
) -> None:
    """A thread sends the signal; the loop's only thread sees the level before it gives the loop back."""

    async def scenario() -> None:
        control, latch, commands = listening(tmp_path)
        timer = later(number)
        busy(0.2)
        assert (latch.level, Latch.load(tmp_path).level, commands) == (level, level, [])
        await asyncio.sleep(0.02)
        assert [asked for asked, _ in commands] == [verb]
        timer.join()
        control.restore()

    run(scenario())


@pytest.mark.parametrize("thread_gets_it", [False, True])
def test_a_sleeping_loop_is_woken(tmp_path: Path, run: Run, thread_gets_it: bool) -> None:
    """Nothing else would wake it for a minute, not even where another thread is the one to get the signal."""

    def deliver() -> None:
        if thread_gets_it:
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        else:
            send(signal.SIGUSR1)

    async def scenario() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        control = SignalControl(loop, Latch.load(tmp_path), lambda: 77, lambda *_: done.set())
        control.install()
        begun = loop.time()
        timer = threading.Timer(0.02, deliver)
        timer.start()
        async with asyncio.timeout(60):
            await done.wait()
        assert loop.time() - begun < 2
        timer.join()
        control.restore()

    run(scenario())


def test_a_storm_of_signals_is_one_change(tmp_path: Path, run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        control, latch, commands = listening(tmp_path)
        for _ in range(200):
            send(signal.SIGUSR1)
            send(signal.SIGUSR2)
        await asyncio.sleep(0.01)
        assert latch.level == FLATTEN
        assert len(commands) == 400
        assert len((tmp_path / "latch").read_bytes().splitlines()) == 2
        control.restore()

    run(scenario())
    assert capfd.readouterr().err == ""


def test_only_the_main_thread_can_handle_signals(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(RuntimeError, match="in the main thread only"):
            listening(tmp_path)

    thread = threading.Thread(target=lambda: asyncio.run(scenario()))
    thread.start()
    thread.join()


PROCESS = """
import asyncio, sys, time
from pathlib import Path
from angelx.adapters.latch import Latch
from angelx.adapters.signals import SignalControl
async def main():
    latch = Latch.load(Path(sys.argv[1]))
    SignalControl(asyncio.get_running_loop(), latch, time.time_ns, print).install()
    print("ready", flush=True)
    while True:
        pass
asyncio.run(main())
"""


def test_a_process_that_never_comes_back_can_be_latched_and_stopped(tmp_path: Path) -> None:
    """Its loop is blocked for good: HALT is on the disk all the same, and a third SIGTERM ends it."""
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 5
        while Latch.load(tmp_path).level != HALT and time.monotonic() < deadline:
            spin(0.001)
        assert Latch.load(tmp_path).level == HALT
        for _ in range(3):
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            spin(0.05)
        assert process.wait(5) == -signal.SIGTERM


# ---------------------------------------------------------------- the alarm
@pytest.fixture
def guard() -> Iterator[DeadlineGuard]:
    guard = DeadlineGuard(0.1)
    assert guard.start()
    yield guard
    guard.stop()


def forever() -> None:
    while True:
        pass


def test_code_that_never_returns_is_stopped(guard: DeadlineGuard) -> None:
    begun = time.perf_counter()
    with pytest.raises(StrategyTimeout, match=r"ran longer than 0.1 s"):
        guard.call(forever)
    assert 0.1 <= time.perf_counter() - begun < 1
    assert guard.call(int, "ff", base=16) == 255  # And the next call is served.


def test_sleeping_is_running_too(guard: DeadlineGuard) -> None:
    with pytest.raises(StrategyTimeout):
        guard.call(sleep, 5)


def test_quick_calls_are_never_stopped_however_many(guard: DeadlineGuard) -> None:
    until = time.perf_counter() + 0.4
    while time.perf_counter() < until:
        guard.call(spin, 0.01)


def test_outside_of_calls_nothing_is_stopped(guard: DeadlineGuard) -> None:
    guard.call(int)
    spin(0.4)


def test_its_own_except_does_not_help_it(guard: DeadlineGuard) -> None:
    def stubborn() -> None:
        while True:
            with contextlib.suppress(Exception):  # What a careless strategy does.
                forever()

    with pytest.raises(StrategyTimeout):
        guard.call(stubborn)


def test_not_even_a_bare_except_helps_for_ever(guard: DeadlineGuard) -> None:
    caught = 0

    def stubborn() -> None:
        nonlocal caught
        while caught < 2:
            try:
                forever()
            except BaseException:  # noqa: BLE001
                caught += 1
        forever()

    with pytest.raises(StrategyTimeout):
        guard.call(stubborn)
    assert caught == 2


def test_errors_and_answers_pass_through(guard: DeadlineGuard) -> None:
    with pytest.raises(ZeroDivisionError):
        guard.call(lambda: 1 // 0)
    assert guard.call(lambda: "answer") == "answer"
    spin(0.3)


def test_a_stopped_process_did_not_run_long(tmp_path: Path) -> None:
    """SIGSTOP for longer than the budget in the middle of a call: the time does not count against it."""
    code = (
        "import time\nfrom angelx.adapters.signals import DeadlineGuard\nguard = DeadlineGuard(0.5)\nguard.start()\n"
        "def work():\n    print('in', flush=True)\n    until = time.process_time() + 0.03\n"
        "    while time.process_time() < until:\n        pass\n"
        "guard.call(work)\nprint('out', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        sleep(0.8)
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == "out\n"
        assert process.wait(5) == 0


def test_the_latch_is_not_torn_out_of_a_signal_handler(tmp_path: Path, run: Run, guard: DeadlineGuard) -> None:
    """A strategy runs too long while a handler that interrupted it is still writing: the handler finishes first."""

    async def scenario() -> None:
        control, latch, _ = listening(tmp_path)
        finished = False

        def slow_now() -> int:
            nonlocal finished
            spin(0.4)
            finished = True
            return 5

        def strategy() -> None:
            send(signal.SIGUSR1)
            forever()

        control._now = slow_now
        with pytest.raises(StrategyTimeout):
            guard.call(strategy)
        assert finished
        assert latch.level == Latch.load(tmp_path).level == HALT
        control.restore()

    run(scenario())


def test_other_threads_have_no_alarm() -> None:
    answers: list[object] = []

    def elsewhere() -> None:
        guard = DeadlineGuard(0.05)
        answers.append(guard.start())
        guard.call(spin, 0.2)
        answers.append("done")
        guard.stop()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert answers == [False, "done"]


def test_a_guarded_thread_is_the_only_one_stopped(guard: DeadlineGuard) -> None:
    """Another thread inside the same guard's `call` is not interrupted by the alarm of the main thread."""
    done: list[str] = []

    def other() -> None:
        spin(0.3)
        done.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    with pytest.raises(StrategyTimeout):
        guard.call(forever)
    thread.join()
    assert done == ["other"]


def test_a_call_costs_next_to_nothing(guard: DeadlineGuard) -> None:
    """Generous: about 0.15 µs on a quiet machine."""
    begun = time.perf_counter()
    for _ in range(20_000):
        guard.call(int)
    assert (time.perf_counter() - begun) / 20_000 < 5e-6
