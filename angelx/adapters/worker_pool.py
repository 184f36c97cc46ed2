"""Slow work in processes of its own: a bounded number at a time, each killed when it is late (SPEC 2.4).

A process per piece of work, started fresh (`spawn`): nothing of ours is inherited, a crash takes nothing with it, and a
hang can be ended. That costs some tenths of a second, so it is for training, fits and rendering, not for every tick.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import Full, Queue
from typing import Any, Final

import msgspec

CHILD_GRACE_S: Final = 10.0
"""A worker whose parent is gone ends itself this long after its time."""
START_S: Final = 30.0
"""What starting a process may take beyond the time of the work."""
NICENESS: Final = 10


class Answer(msgspec.Struct, frozen=True):
    """What became of a piece of work."""

    outcome: str
    """`done`, `raised`, `timeout`, `died` or `full`."""
    text: str
    """The result as JSON, or what happened."""


class _Work(msgspec.Struct, frozen=True):
    number: int
    function: Callable[..., Any]
    args: tuple[Any, ...]
    timeout_s: float
    done: threading.Event


class WorkerPool:
    """Runs functions of modules (what pickle can name) in processes.

    Parameters
    ----------
    most
        Processes at a time.
    waiting
        Pieces of work that may wait for one; more are answered `full`.
    """

    def __init__(self, *, most: int = 1, waiting: int = 8) -> None:
        if most < 1 or waiting < 1:
            raise ValueError(f"a worker pool needs most >= 1 and waiting >= 1, was {most} and {waiting}")
        self._most = most
        self._queue: Queue[_Work | None] = Queue(waiting)
        self._answers: dict[int, Answer] = {}
        self._events: dict[int, threading.Event] = {}
        self._threads: list[threading.Thread] = []
        self._processes: set[Any] = set()
        self._lock = threading.Lock()
        self._closed = False

    def start(self, number: int, function: Callable[..., Any], args: tuple[Any, ...], timeout_s: float) -> None:
        """Begin a piece of work, or let it wait for its turn; returns at once."""
        done = threading.Event()
        self._events[number] = done
        try:
            self._queue.put_nowait(_Work(number, function, args, timeout_s, done))
        except Full:
            self._answer(number, done, Answer("full", f"{self._queue.maxsize} others wait"))
            return
        if len(self._threads) < self._most:
            thread = threading.Thread(target=self._serve, name=f"worker_pool-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def answer(self, number: int, now: int, *, wait: bool) -> Answer | None:
        """What became of it, once; `None` where it still runs. With `wait` it blocks until that is known."""
        if wait and number in self._events:
            self._events[number].wait()
        with self._lock:
            found = self._answers.pop(number, None)
        if found is not None:
            del self._events[number]
        return found

    def close(self) -> None:
        """End whatever runs; nothing is answered any more."""
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()
        for _ in self._threads:
            try:
                self._queue.put_nowait(None)
            except Full:
                break
        for thread in self._threads:
            thread.join(timeout=2.0)

    # ------------------------------------------------------------ in a thread each
    def _serve(self) -> None:
        while not self._closed and (work := self._queue.get()) is not None:
            self._answer(work.number, work.done, self._run(work))

    def _answer(self, number: int, done: threading.Event, answer: Answer) -> None:
        with self._lock:
            self._answers[number] = answer
        done.set()

    def _run(self, work: _Work) -> Answer:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_child, args=(theirs, work.timeout_s), daemon=True)
        try:
            process.start()
        except Exception as error:  # noqa: BLE001 - whatever keeps it from starting, somebody waits for the answer
            return Answer("died", f"could not start: {type(error).__name__}: {error}")
        theirs.close()
        with self._lock:
            self._processes.add(process)
        try:
            return _converse(ours, work)
        finally:
            process.kill()
            process.join()
            ours.close()
            with self._lock:
                self._processes.discard(process)


def _converse(ours: Connection, work: _Work) -> Answer:
    """Wait for the child to be there, give it its work, wait for the answer."""
    try:
        if not ours.poll(START_S):
            return Answer("died", f"was not there within {START_S:g} s")
        ours.recv_bytes()
        try:
            ours.send((work.function, work.args))
        except Exception as error:  # noqa: BLE001 - pickle raises whatever the objects raise
            return Answer("raised", f"cannot be sent to a process: {type(error).__name__}: {error}")
        if not ours.poll(work.timeout_s):
            return Answer("timeout", f"no answer within {work.timeout_s:g} s")
        done, text = msgspec.json.decode(ours.recv_bytes(), type=tuple[bool, str])
    except (EOFError, OSError):
        return Answer("died", "the process ended without an answer")
    return Answer("done" if done else "raised", text)


def _child(theirs: Connection, timeout_s: float) -> None:
    """In the process: ready, work, answer. Ctrl-C is the parent's business; a parent that is gone ends us late."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, timeout_s + CHILD_GRACE_S)
    os.nice(NICENESS)
    theirs.send_bytes(b"ready")
    try:
        function, args = theirs.recv()
        answer = (True, msgspec.json.encode(function(*args)).decode())
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        answer = (False, f"{type(error).__name__}: {error}")
    theirs.send_bytes(msgspec.json.encode(answer))
    theirs.close()
