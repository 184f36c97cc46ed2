"""A virtual-time event loop: sleeping moves the clock, and waiting for nothing raises (docs/adr/0004).

Real file descriptors (the admin socket, signals) are polled at every turn, so that a session at full speed can be
talked to. Work given to an executor runs inline after a seeded delay: no thread changes the order of things.
"""

import asyncio
import math
import random
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

Result = TypeVar("Result")


class Deadlock(RuntimeError):
    """Every task waits and nothing will wake one."""


class _JumpingSelector(selectors.DefaultSelector):
    """Where the loop would sleep, virtual time passes; what is ready is taken without waiting."""

    elapsed_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Deadlock(f"at {self.elapsed_s:.6f} s of virtual time nothing is ready and nothing is scheduled")
        # At least one step of the float: years into a session a rounded sum could stand still for ever.
        self.elapsed_s = max(self.elapsed_s + timeout, math.nextafter(self.elapsed_s, math.inf))
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Asyncio's own loop on virtual time.

    Parameters
    ----------
    seed
        Of executor delays and, with `shuffle`, of which of two ready tasks steps first.
    shuffle
        Explore other legal orders of task steps (simulation); replays keep asyncio's own.
    """

    def __init__(self, seed: int = 0, *, shuffle: bool = False) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-6
        self._random = random.Random(seed)
        self._shuffle = shuffle

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.elapsed_s

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As asyncio's; with `shuffle`, two task steps that are ready together may change places."""
        handle = super().call_soon(callback, *args, context=context)
        if self._shuffle and _is_step(callback):
            ready = self._ready  # type: ignore[attr-defined]
            if len(ready) > 1 and _is_step(ready[-2]._callback) and self._random.random() < 0.5:  # noqa: SLF001
                ready[-1], ready[-2] = ready[-2], ready[-1]
        return handle

    def run_in_executor(self, executor: Any, func: Callable[..., Result], *args: Any) -> asyncio.Future[Result]:  # type: ignore[override]
        """Run `func` on this thread, a seeded 10 µs to 5 ms of virtual time later."""
        future: asyncio.Future[Result] = self.create_future()
        self.call_later(self._random.uniform(1e-5, 5e-3), _complete, future, func, args)
        return future


def _is_step(callback: Any) -> bool:
    return isinstance(getattr(callback, "__self__", None), asyncio.Task)


def _complete(future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if future.cancelled():
        return
    try:
        future.set_result(func(*args))
    except Exception as error:  # noqa: BLE001 - handed to whoever awaits it
        future.set_exception(error)


def simulate(main: Callable[[], Coroutine[Any, Any, Result]], *, seed: int = 0, shuffle: bool = False) -> Result:
    """Run a coroutine to its end in virtual time.

    Raises
    ------
    Deadlock
        It waits for what cannot come.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed, shuffle=shuffle)) as runner:
        return runner.run(main())
