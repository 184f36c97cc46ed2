"""Both brokers traded at once by one daemon at a venue on real sockets, through kills of either and through faults.

At the end both sides say the same: orders, fills, positions; and the journals decide everything again.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.live_rig import BROKERS, HALTED, Rig, agree, proven
from tests.e2e.program import until

pytestmark = pytest.mark.slow
ORDERS = 12
"""Of each book, before something happens and after it."""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_both_brokers_at_once(rig: Rig) -> None:
    rig.start_venue()
    rig.start_daemon()
    rig.trade(2 * ORDERS)
    rig.settle()
    books = rig.end_daemon(code=HALTED)
    counts = agree(rig)
    assert min(counts.values()) >= 2 * ORDERS
    for broker in BROKERS:
        assert books[broker]["level"] == "halt"
        assert books[broker]["fills"] > ORDERS
    proven(rig)


def test_a_stop_waits_for_what_is_on_its_way(rig: Rig) -> None:
    rig.start_venue()
    rig.start_daemon()
    for _ in range(3):
        rig.trade(4)
        books = rig.end_daemon()
        agree(rig)
        assert all(books[broker]["level"] == "running" for broker in BROKERS)
        rig.start_daemon()
    rig.end_daemon()
    agree(rig)
    proven(rig)


@pytest.mark.parametrize("silent", BROKERS)
def test_a_stop_comes_to_an_end_though_one_broker_is_mute(rig: Rig, silent: str) -> None:
    rig.start_venue()
    rig.start_daemon()
    rig.trade(4)
    rig.fault(what="mute", server=silent)
    until(lambda: rig.happened()["mute"] > 0)
    books = rig.end_daemon()
    assert all(books[broker]["level"] == "running" for broker in BROKERS)
    rig.end_faults()
    rig.start_daemon()
    rig.trade(4)
    rig.end_daemon()
    agree(rig)
    proven(rig)


def test_commands_and_signals_reach_the_books_they_are_for(rig: Rig) -> None:
    rig.start_venue()
    rig.start_daemon()
    rig.trade(4)
    india, america = BROKERS
    assert rig.ask(india, "kill")["level"] == "halt"
    assert rig.level(america) == "running"
    assert rig.ask(india, "resume", "--reason", "go on")["level"] == "running"
    rig.trade(2)
    rig.signal(signal.SIGUSR1)
    until(lambda: [rig.level(broker) for broker in BROKERS] == ["halt", "halt"])
    for broker in BROKERS:
        rig.ask(broker, "resume", "--reason", "go on")
    rig.trade(1)
    rig.signal(signal.SIGUSR2)
    until(lambda: all(rig.level(broker) == "flatten" and rig.is_flat(broker) for broker in BROKERS), 60)
    rig.ask(india, "stop")
    rig.ask(america, "stop")
    until(lambda: rig.has_ended)
    rig.end_daemon(code=HALTED)
    agree(rig)
    for broker in BROKERS:
        assert rig.at_venue(broker)[1] == {}


def test_the_venue_is_killed_and_comes_back(rig: Rig) -> None:
    rig.start_venue()
    rig.start_daemon()
    rig.trade(ORDERS)
    rig.kill(rig.venue)
    until(lambda: all(is_barred(rig, broker) for broker in BROKERS))
    rig.start_venue("--resume")
    rig.trade(ORDERS)
    rig.settle()
    rig.end_daemon(code=HALTED)
    agree(rig)
    proven(rig)


def is_barred(rig: Rig, broker: str) -> bool:
    return any(
        change["state"] == "recovering" and change["service"] in ("broker_link", "market_feed")
        for change in rig.of(broker, "HealthChanged")
    )


def test_the_daemon_is_killed_and_comes_back(rig: Rig) -> None:
    rig.start_venue()
    rig.start_daemon()
    rig.trade(ORDERS)
    rig.kill(rig.daemon)
    rig.start_daemon()
    rig.trade(ORDERS)
    rig.settle()
    rig.end_daemon(signal.SIGINT, code=HALTED)
    agree(rig)
    for broker in BROKERS:
        assert [start["resumed"] for start in rig.of(broker, "SessionStarted")] == [False, True]
    proven(rig)


PLACES = {"angelone": "*/placeOrder", "alpaca": "/v2/orders"}


def test_everything_goes_wrong(rig: Rig) -> None:
    rig.start_venue()
    rig.start_daemon()
    rig.trade(4)
    for broker in BROKERS:
        where = PLACES[broker]
        rig.fault(what="lost_reply", server=broker, where=where, method="POST", times=2)
        rig.fault(what="status", server=broker, where=where, method="POST", status=503, after=3, times=1, done=True)
        rig.fault(what="duplicate", server=broker, rate=0.3)
        rig.fault(what="reorder", server=broker, rate=0.2)
        rig.fault(what="slow_reply", server=broker, rate=0.1, delay_s=0.3)
    rig.fault(what="status", server="alpaca", where="/v2/orders", method="POST", status=429, after=4, times=1,
              retry_after_s=1)  # fmt: skip
    rig.fault(what="status", server="angelone", where="*/getPosition", status=403, rate=0.1,
              body="Access denied because of exceeding access rate")  # fmt: skip
    rig.trade(6)
    rig.fault(what="token_expiry", server="angelone")
    rig.fault(what="disconnect")
    rig.trade(4, 90)
    rig.fault(what="mute", for_s=2)
    rig.trade(4, 90)
    happened = rig.happened()
    assert {"lost_reply", "status", "duplicate", "reorder", "disconnect", "token_expiry"} <= set(+happened), happened
    rig.end_faults()
    rig.settle()
    rig.end_daemon(code=HALTED)
    agree(rig)
    proven(rig)


def test_flatten_ends_flat_while_everything_goes_wrong(rig: Rig) -> None:
    rig.start_venue()
    rig.start_daemon()
    rig.trade(6)
    for broker in BROKERS:
        rig.fault(what="lost_reply", server=broker, where=PLACES[broker], method="POST", times=2)
        rig.fault(what="duplicate", server=broker, rate=0.3)
    rig.fault(what="disconnect", for_s=1)
    rig.signal(signal.SIGUSR2)
    until(lambda: all(rig.level(broker) == "flatten" and rig.is_flat(broker) for broker in BROKERS), 90)
    assert {"lost_reply", "disconnect"} <= set(+rig.happened())
    rig.end_faults()
    rig.end_daemon(code=HALTED)
    agree(rig)
    for broker in BROKERS:
        assert rig.at_venue(broker)[1] == {}
    proven(rig)
