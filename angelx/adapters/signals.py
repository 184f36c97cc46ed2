"""What signals ask for, and the alarm that stops a strategy that never returns.

Handlers are Python-level (`signal.signal`): they run between two bytecodes of the main thread, so HALT and FLATTEN are
latched while the event loop is busy with something else. What is to be published waits for the loop. Inside one long
call of C code (a compiled kernel, SQLite) nothing of Python runs; the handler runs when it returns.
"""

import asyncio
import atexit
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from angelx.adapters.latch import FLATTEN, HALT, LEVEL_NAMES, Latch

P = ParamSpec("P")
T = TypeVar("T")


class Raising(Protocol):
    """What a level is raised on: a latch, or several."""

    def raise_to(self, level: int, reason: str, who: str, at: int) -> object:
        """Raise it, durably."""
        ...


Command = Callable[[str, str], None]
"""`command(verb, signal_name)`: `stop`, `stop-now`, `halt`, `flatten` or `reload`, called in the event loop."""

STOPS: Final = (signal.SIGTERM, signal.SIGINT)
LEVELS: Final = {signal.SIGUSR1: HALT, signal.SIGUSR2: FLATTEN}


class SignalControl:
    """SIGTERM and SIGINT stop in order, a second one faster, a third at once as by default; SIGUSR1 is HALT, SIGUSR2
    FLATTEN, both latched in the handler; SIGHUP reloads.

    Parameters
    ----------
    loop
        Runs the commands; may be blocked when the signal comes.
    now
        Nanoseconds UTC, for the latch's record.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, latch: Raising, now: Callable[[], int], command: Command
    ) -> None:
        self._loop = loop
        self._latch = latch
        self._now = now
        self._command = command
        self._stops = 0
        self._before: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Handle the signals from now on. The loop is running.

        Raises
        ------
        RuntimeError
            Not called in the main thread: Python runs signal handlers nowhere else.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("signals can be handled in the main thread only")
        for number in (*STOPS, *LEVELS, signal.SIGHUP):
            self._before[number] = signal.getsignal(number)
            # Through the loop first: that makes the kernel's delivery wake it, in whatever thread it happens.
            self._loop.add_signal_handler(number, _nothing)
            signal.signal(number, self._handle)
        # A loop that is blocked for long does not empty that pipe: a full one is no reason to fill the log.
        signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)

    def restore(self) -> None:
        """Leave the signals as they were found."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._before)  # In between, one would end the process.
        for number, handler in self._before.items():
            self._loop.remove_signal_handler(number)
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._before)
        self._before.clear()

    def hear(self, number: signal.Signals) -> None:
        """A signal that came before there was anything to handle it."""
        self._handle(number, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        known = signal.Signals(number)
        if known in LEVELS:
            level = LEVELS[known]
            self._latch.raise_to(level, known.name, "signal", self._now())
            self._tell(LEVEL_NAMES[level], known)
        elif known is signal.SIGHUP:
            self._tell("reload", known)
        else:
            self._stop(known)

    def _stop(self, known: signal.Signals) -> None:
        self._stops += 1
        if self._stops > 2:
            signal.signal(known, signal.SIG_DFL)
            os.kill(os.getpid(), known)
        else:
            self._tell("stop" if self._stops == 1 else "stop-now", known)

    def _tell(self, verb: str, known: signal.Signals) -> None:
        self._loop.call_soon_threadsafe(self._command, verb, known.name)


class Standby:
    """Hears HALT and FLATTEN while a session is not there yet, and while it is closed: by default they would end the
    process, and a supervisor would start it again as if nothing had been asked.

    They are latched in every state directory that is known, at once or when it becomes known, and told to the session.
    SIGHUP has nothing to reload then.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._heard: list[signal.Signals] = []
        self._directories: list[Path] = []

    def listen(self) -> None:
        """Handle them from now on, to the end of the process; those that were blocked until now come at once."""
        if threading.current_thread() is threading.main_thread():
            numbers = (*LEVELS, signal.SIGHUP)
            for number in numbers:
                signal.signal(number, self._handle)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
            # Python takes its handlers away as the last thing: what comes then must not look like a crash.
            for number in numbers:
                atexit.register(signal.signal, number, signal.SIG_IGN)

    def latch_in(self, directory: Path) -> None:
        """A state directory is open: what was asked for holds there."""
        self._directories.append(directory)
        for number in self._heard:
            self._latch(directory, number)

    def told(self) -> Sequence[signal.Signals]:
        """What was asked for until now, once."""
        heard, self._heard = self._heard, []
        return heard

    def _handle(self, number: int, frame: FrameType | None) -> None:
        known = signal.Signals(number)
        if known in LEVELS:
            self._heard.append(known)
            for directory in self._directories:
                self._latch(directory, known)

    def _latch(self, directory: Path, number: signal.Signals) -> None:
        Latch.load(directory).raise_to(LEVELS[number], number.name, "signal", self._now())


def _nothing() -> None:
    """The loop's own part of a signal: to wake up."""


class StrategyTimeout(BaseException):
    """A strategy's call ran longer than it may. Not an `Exception`: its own `except Exception` must let this by."""


class DeadlineGuard:
    """Stops pure Python code that runs longer than its budget, from a 50 ms alarm (SIGALRM).

    The alarm counts itself while the same call is inside, so time in which the process was stopped or swapped out does
    not count. It raises only where the interrupted frame was called by `call`: never in the code around it, never in a
    signal handler that interrupted it, never when nothing is inside. Code that catches even `BaseException` is stopped
    again after each further budget.

    Only the main thread has alarms: elsewhere `start` answers False and calls run unguarded.
    """

    EVERY_S: Final = 0.05

    def __init__(self, budget_s: float) -> None:
        self.budget_s = budget_s
        self._budget = max(1, round(budget_s / self.EVERY_S))
        self._calls = 0
        self._inside = 0
        self._seen = 0
        self._alarms = 0
        self._before: Any = None

    def start(self) -> bool:
        """Begin to watch; False where this thread cannot."""
        if threading.current_thread() is not threading.main_thread():
            return False
        self._before = signal.signal(signal.SIGALRM, self._alarm)
        signal.siginterrupt(signal.SIGALRM, False)  # C code need not care about the alarm.
        signal.setitimer(signal.ITIMER_REAL, self.EVERY_S, self.EVERY_S)
        atexit.register(self.stop)  # An alarm after Python has let go of its handlers would kill the process.
        return True

    def stop(self) -> None:
        """Watch no longer."""
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)
            atexit.unregister(self.stop)
            self._before = None

    def call(self, function: Callable[P, T], /, *args: P.args, **keywords: P.kwargs) -> T:
        """Call the function; costs about 0.15 µs.

        Raises
        ------
        StrategyTimeout
            It ran longer than the budget.
        """
        self._calls += 1
        self._inside = self._calls
        try:
            return function(*args, **keywords)
        finally:
            self._inside = 0

    def _alarm(self, number: int, frame: FrameType | None) -> None:
        inside = self._inside
        if inside != self._seen:
            self._seen = inside
            self._alarms = 0
        elif inside:
            self._alarms += 1
            if self._alarms >= self._budget and _in_user_code(frame):
                self._alarms = 0
                raise StrategyTimeout(f"ran longer than {self.budget_s:g} s")


def _in_user_code(frame: FrameType | None) -> bool:
    """Whether the frame was called, directly or not, by `DeadlineGuard.call`, and is no signal handler of ours."""
    depth = 0
    while frame is not None:
        if frame.f_code is DeadlineGuard.call.__code__:
            return depth > 0
        if frame.f_code is SignalControl._handle.__code__:  # noqa: SLF001 - the latch is being written
            return False
        frame = frame.f_back
        depth += 1
    return False
