"""Functions for the worker pool: what pickle finds by name in another process."""

import os
import time
from typing import Any


def doubled(numbers: list[float]) -> list[float]:
    return [2 * number for number in numbers]


def broken(what: str) -> None:
    raise ValueError(what)


def hanging() -> None:
    while True:
        time.sleep(0.01)  # noqa: TID251 - another process, or no loop


def dying() -> None:
    os._exit(3)


def unspeakable() -> Any:
    return object()
