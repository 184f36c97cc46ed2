"""Supervisor: runs the coroutine services, restarts what may be restarted, and ends them in order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import structlog

from angelx.domain.errors import AngelxError

log = structlog.get_logger()

RESTARTS: Final = 3
BACKOFF_S: Final = 0.5
STOP_WITHIN_S: Final = 5.0


class Task(msgspec.Struct, frozen=True):
    """One coroutine service."""

    name: str
    run: Callable[[], Awaitable[None]]
    restart: bool = False
    """True: started again when it fails, up to `RESTARTS` times; False: its failure ends the process loudly."""


class ServiceFailed(Exception):
    """A service that must not fail has failed."""

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(f"service {name} failed: {type(error).__name__}: {error}")
        self.service, self.error = name, error


class Supervisor:
    """Owns every task of the process.

    Parameters
    ----------
    report
        Told of each restart: service and what happened.
    """

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._report = report
        self.restarts: dict[str, int] = {}

    async def run(self, main: Task, services: Sequence[Task]) -> None:
        """Run `main` to its end with the services beside it, then end those within `STOP_WITHIN_S`.

        Raises
        ------
        ServiceFailed
            `main`, or a service that may not be restarted any more, failed; everything else was cancelled.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._keep(service), name=service.name) for service in services]
                await group.create_task(self._keep(main), name=main.name)
                await _end(tasks)
        except* ServiceFailed as failures:
            raise failures.exceptions[0] from None

    async def _keep(self, service: Task) -> None:
        delay = BACKOFF_S
        while True:
            try:
                await service.run()
            except Exception as error:
                count = self.restarts.get(service.name, 0) + 1
                if not service.restart or count > RESTARTS:
                    say = log.error if isinstance(error, AngelxError) else log.exception
                    say("service_failed", service=service.name, why=str(error), action="halt")
                    raise ServiceFailed(service.name, error) from error
                self.restarts[service.name] = count
                log.warning("service_restarted", service=service.name, error=repr(error), count=count)
                self._report(service.name, f"restarted after {type(error).__name__}: {error}")
                await asyncio.sleep(delay)
                delay *= 2
            else:
                return


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=STOP_WITHIN_S)
        for task in late:
            log.error("service_did_not_stop", service=task.get_name(), within_s=STOP_WITHIN_S)
