"""What a person's own strategy may get wrong: it ends that strategy or the start, never the house or its journal."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from angelx.domain.errors import InputInvalid
from angelx.domain.events import Signal, StrategyFailed
from angelx.signals.strategy import Strategy
from tests.flow.small_house import Play, market


class Asks(Strategy):
    """Goes long with whatever it was given, at the first changed row of the call."""

    name = "asks"

    def __init__(self, *, place: Any = None, raises: str = "", **words: Any) -> None:
        self._place, self._words, self._raises = place, words, raises

    def watches(self) -> Sequence[int]:
        return (1,)

    def on_tick(self, place: int) -> None:
        if self._raises:
            raise RuntimeError(self._raises)
        self.desk.long(place if self._place is None else self._place, **self._words)


def play(strategy: Strategy) -> Play:
    return Play([strategy]).feed(market(3, 200))


@pytest.mark.parametrize(
    ("asks", "says"),
    [
        ({"place": -1}, "ValueError: -1 is no place; allowed: a whole number from 0 to 2"),
        ({"place": 3}, "ValueError: 3 is no place"),
        ({"place": 1.0}, "ValueError: 1.0 is no place"),
        ({"place": "NSE:X"}, "ValueError: 'NSE:X' is no place"),
        ({"stop_distance": 500.5}, "ValueError: stop_distance: 500.5 is not allowed; allowed: a whole number of"),
        ({"stop_distance": float("nan")}, "ValueError: stop_distance: nan is not allowed"),
        ({"stop_distance": -500}, "ValueError: stop_distance: -500 is not allowed"),
        ({"stop_distance": 10**30}, "ValueError: stop_distance: 1000"),
        ({"why": None}, "TypeError: why: None is not allowed; allowed: a text"),
        ({"why": "\ud800"}, "UnicodeEncodeError: "),
        ({"raises": "\ud800"}, r"RuntimeError: \ud800 ("),
    ],
)
def test_a_signal_the_journal_could_not_keep_ends_the_strategy(asks: dict[str, Any], says: str) -> None:
    played = play(Asks(**asks))
    (failed,) = played.of(StrategyFailed)
    assert failed.error.startswith(says)
    assert not played.of(Signal)


def test_numbers_of_numpy_are_numbers() -> None:
    (signal, *_) = play(Asks(place=np.int64(1), stop_distance=np.int64(500), why="über")).of(Signal)
    assert (signal.instrument, signal.stop_distance, signal.why) == ("NFO:call", 500, "über")
    assert type(signal.stop_distance) is int


def with_(**members: Any) -> Callable[[], Strategy]:
    return type("Odd", (Strategy,), {"name": "odd", **members})


async def later(_self: Strategy, _place: int) -> None:
    """Never awaited."""


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (with_(every_s=-1), "ValueError: every_s: -1 is not allowed; allowed: 0 (never), or 0.001 to 86400 seconds"),
        (with_(every_s=1e-6), "ValueError: every_s: 1e-06 is not allowed"),
        (with_(every_s=float("nan")), "ValueError: every_s: nan is not allowed"),
        (with_(every_s=float("inf")), "ValueError: every_s: inf is not allowed"),
        (with_(every_s="5"), "ValueError: every_s: '5' is not allowed"),
        (with_(watches=lambda _: [-1]), "ValueError: -1 is no place"),
        (with_(watches=lambda _: ["NSE:X"]), "ValueError: 'NSE:X' is no place"),
        (with_(watches=lambda _: None), "TypeError: 'NoneType' object is not iterable"),
        (with_(on_tick=later), "TypeError: on_tick is async"),
    ],
)
def test_one_that_could_not_work_does_not_start(odd: Callable[[], Strategy], says: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        Play([odd()])
    assert str(refused.value).startswith(f"strategy odd cannot start: {says}")
