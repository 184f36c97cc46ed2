"""A start at a broker that says it is asked too much."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from angelx.app import brokers
from angelx.app.config import load_config
from angelx.app.live import Before
from angelx.domain.errors import AngelxError, AuthExpired, BrokerError, ConfigInvalid, OrderRejected, RateLimited
from angelx.sim.loop import simulate


def started(monkeypatch: pytest.MonkeyPatch, says: list[BrokerError], state: str = "a") -> tuple[object, list[float]]:
    """What a start came to, and when it asked."""
    asked: list[float] = []

    async def angelone(*_: Any) -> Any:
        asked.append(asyncio.get_running_loop().time())
        if says:
            raise says.pop(0)
        return "connected"

    monkeypatch.setattr(brokers, "_angelone", angelone)
    config = load_config(None, {"broker": "angelone"}, environ={})
    found: object
    try:
        found = simulate(lambda: cast("Any", brokers.connect(config, Path(state), Before())))
    except AngelxError as error:
        found = error
    return found, asked


def test_it_waits_as_long_as_told_and_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = started(monkeypatch, [RateLimited("too much", 60.0), RateLimited("too much", 10.0)])
    assert found == "connected"
    assert 60 <= asked[1] <= 75
    assert 10 <= asked[2] - asked[1] <= 12.5
    _, other = started(monkeypatch, [RateLimited("too much", 60.0)], "b")
    assert other[1] != asked[1], "two that start together do not come back together"


def test_it_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = started(monkeypatch, [RateLimited("too much", 1.0) for _ in range(9)])
    assert isinstance(found, RateLimited)
    assert len(asked) == brokers.TOO_MANY + 1


def test_what_is_no_matter_of_waiting_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = started(monkeypatch, [AuthExpired("wrong pin")])
    assert isinstance(found, AuthExpired)
    assert len(asked) == 1


def test_another_brokers_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = started(monkeypatch, [OrderRejected("404: Not Found")])
    assert isinstance(found, ConfigInvalid)
    assert str(found) == "broker angelone: what answers at its own hosts is not it: 404: Not Found"
    assert len(asked) == 1
