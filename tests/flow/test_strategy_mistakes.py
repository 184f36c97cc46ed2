"""What a person's own strategy may get wrong: it ends that strategy or the start, never the house or its journal."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import pytest

from angelx.adapters.signals import DeadlineGuard
from angelx.domain.errors import InputInvalid
from angelx.domain.events import Signal, StrategyFailed
from angelx.domain.ticks import BID
from angelx.signals.strategy import ScanningStrategy, Strategy
from tests.flow.small_house import Play, market


class Asks(Strategy):
    """Goes long with whatever it was given, at the first changed row of the call."""

    name = "asks"

    def __init__(self, *, place: Any = None, raises: BaseException | None = None, **words: Any) -> None:
        self._place, self._words, self._raises = place, words, raises

    def watches(self) -> Sequence[int]:
        return (1,)

    def on_tick(self, place: int) -> None:
        if self._raises is not None:
            raise self._raises
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
        ({"why": "x" * 201}, "ValueError: why: 'xxxxxxxxxxxxxxxxxxxx'… has 201 characters; allowed: at most 200"),
        ({"raises": RuntimeError("\ud800")}, r"RuntimeError: \ud800 ("),
        ({"raises": SystemExit(3)}, "SystemExit: 3 ("),
        ({"raises": GeneratorExit()}, "GeneratorExit: "),
        ({"raises": asyncio.CancelledError()}, "CancelledError: "),
    ],
)
def test_a_signal_the_journal_could_not_keep_ends_the_strategy(asks: dict[str, Any], says: str) -> None:
    played = play(Asks(**asks))
    (failed,) = played.of(StrategyFailed)
    assert failed.error.startswith(says)
    assert not played.of(Signal)


def test_what_it_raises_does_not_fill_the_journal() -> None:
    (failed,) = play(Asks(raises=RuntimeError("x" * 10**6))).of(StrategyFailed)
    assert len(failed.error) < 2_100


def test_numbers_of_numpy_are_numbers() -> None:
    (signal, *_) = play(Asks(place=np.int64(1), stop_distance=np.int64(500), why="über")).of(Signal)
    assert (signal.instrument, signal.stop_distance, signal.why) == ("NFO:call", 500, "über")
    assert type(signal.stop_distance) is int


def with_(**members: Any) -> Callable[[], Strategy]:
    return type("Odd", (Strategy,), {"name": "odd", **members})


async def later(_self: Strategy, _place: int) -> None:
    """Never awaited."""


def yields(_self: Strategy) -> Iterator[int]:
    """Never begun."""
    yield 1


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
        (with_(start=later), "TypeError: start is async"),
        (with_(on_timer=yields), "TypeError: on_timer has a yield, so that calling it runs nothing of it"),
    ],
)
def test_one_that_could_not_work_does_not_start(odd: Callable[[], Strategy], says: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        Play([odd()])
    assert str(refused.value).startswith(f"strategy odd cannot start: {says}")


# ---------------------------------------------------------------- what nobody would call
def nothing(_self: Strategy, *_given: Any) -> None:
    """A method."""


def scanner(**members: Any) -> Callable[[], Strategy]:
    return type("Odd", (ScanningStrategy,), {"name": "odd", **members})


SCANS = dict.fromkeys(("prepare", "scan", "decide"), nothing)


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (with_(on_ticks=nothing), "on_ticks is never called; is on_tick meant?"),
        (with_(onTick=nothing), "onTick is never called; is on_tick meant?"),
        (with_(on_close=nothing), "on_close is never called; is on_closed meant?"),
        (with_(on_positions=staticmethod(nothing)), "on_positions is never called; is on_position meant?"),
        (with_(on_bar=nothing), "on_bar is never called; there are start, watches, on_tick, on_timer, on_position, "),
        (with_(watch=nothing, on_tick=nothing), "watch is never called; is watches meant?"),
        (with_(every=5), "every is never read; is every_s meant?"),
        (with_(use_chains=True), "use_chains is never read; is uses_chains meant?"),
        (with_(on_tick=nothing), "on_tick is never called: there is no watches()"),
        (with_(on_timer=nothing), "on_timer is never called: there is no every_s"),
        (scanner(prepare=nothing, decide=nothing), "a ScanningStrategy has prepare, scan and decide; scan is missing"),
        (scanner(**SCANS, on_tick=nothing), "on_tick is never called; there are start, on_timer, "),
    ],
)
def test_a_method_that_nobody_would_call_is_named(odd: Callable[[], Strategy], says: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        Play([odd()])
    assert str(refused.value).startswith(f"strategy odd cannot start: TypeError: {says}")


class Own(Strategy):
    """Methods of its own, called by its own code, whatever their names."""

    name = "own"
    watched, starts, timer_s = (1,), 0, 5

    def __init__(self) -> None:
        self.every_s = 5.0  # type: ignore[misc]
        self.called = {"on_late": lambda: None}

    def watches(self) -> Sequence[int]:
        return self.watched

    def on_tick(self, place: int) -> None:
        self.on_quote(place)
        for name in ("on_trade",):
            getattr(self, name)(place)

    def on_quote(self, place: int) -> None:
        """Called by its own name."""

    def on_trade(self, place: int) -> None:
        """Called by its name as a text."""

    def on_timer(self) -> None:
        self.watch()

    def watch(self) -> None:
        """Almost a hook, and called."""


class Heir(Own):
    """Inherits what calls, and what is called."""

    def on_quote(self, place: int) -> None:
        super().on_quote(place)


@pytest.mark.parametrize("kind", [Own, Heir])
def test_methods_of_its_own_are_its_own_affair(kind: type[Strategy]) -> None:
    assert not Play([kind()]).feed(market(3, 20)).of(StrategyFailed)


def test_places_without_end_are_a_strategy_that_does_not_return() -> None:
    def watches(_self: Strategy) -> Iterator[int]:
        yield from repeat(0)

    guard = DeadlineGuard(0.1)
    assert guard.start()
    try:
        with pytest.raises(InputInvalid, match=r"strategy odd cannot start: StrategyTimeout: ran longer than 0\.1 s"):
            Play([with_(watches=watches)()], guard=guard)
    finally:
        guard.stop()


# ---------------------------------------------------------------- the market is not its to change
@pytest.mark.parametrize(
    "change",
    [
        lambda market: market.columns.__setitem__((BID, 1), 1),
        lambda market: np.add(market.columns[BID], 1, out=market.columns[BID]),
        lambda market: market.view.__setitem__((BID, 1), 1),
        lambda market: market.quotes[1].__setitem__(BID, 1),
        lambda market: market.of(1).__setitem__(BID, 1),
    ],
)
def test_what_others_decide_from_is_read_only(change: Callable[[Any], None]) -> None:
    class Writes(Strategy):
        name = "writes"

        def watches(self) -> Sequence[int]:
            return (1,)

        def on_tick(self, _place: int) -> None:
            change(self.desk.market)

    (failed,) = play(Writes()).of(StrategyFailed)
    assert "read-only" in failed.error
