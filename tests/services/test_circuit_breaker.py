"""The circuit breaker alone, and at the link: entries wait for a probe, exits, cancels and look-ups never do."""

import asyncio
from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from angelx.bus.bus import Bus
from angelx.domain.errors import (
    AuthExpired,
    BrokerError,
    BrokerUnreachable,
    OrderFateUnknown,
    OrderRejected,
    RateLimited,
)
from angelx.domain.events import BooksRead, Event, HealthChanged, OrderEnded
from angelx.domain.reports import OrderReport
from angelx.services.broker_link import BREAKER, BREAKER_OPEN, BrokerLink
from angelx.services.circuit_breaker import FAILURES, JITTER, OPEN_MOST_S, OPEN_S, CircuitBreaker
from angelx.services.kill_switch import LatchedSends, MemoryLatch
from angelx.sim.loop import simulate
from tests.services.test_broker_link import ENTRY, Stub

UNCLEAR = OrderFateUnknown("a", "timed out")


@given(st.lists(st.sampled_from(("answered", "failed", "probe")), max_size=40), st.integers(0, 99))
def test_it_opens_at_the_third_failure_in_a_row_and_closes_at_a_probe_alone(course: list[str], seed: int) -> None:
    breaker = CircuitBreaker(Random(seed))
    state, row, opened = "closed", 0, 0
    for step in course:
        if step == "probe":
            if state == "closed":
                continue
            breaker.probe()
            state = "half open"
        elif step == "answered":
            row = 0
            assert breaker.answered() == (state == "half open")
            if state == "half open":
                state, opened = "closed", 0
        else:
            row += 1
            opens = state == "half open" or (state == "closed" and row >= FAILURES)
            wait_s = breaker.failed("no answer")
            assert (wait_s > 0.0) == opens
            if opens:
                least = min(OPEN_S * 2.0**opened, OPEN_MOST_S)
                assert least <= wait_s <= least * (1.0 + JITTER)
                state, opened = "open", opened + 1
        assert bool(breaker.why) == (state != "closed")


class OfOrders(Stub):
    """Its books can be read, whatever becomes of orders; unless they cannot."""

    is_readable = True

    async def order_book(self) -> Sequence[OrderReport]:
        if not self.is_readable:
            raise BrokerUnreachable("books")
        return []


class Desk:
    """A link at a broker whose answers are set from outside."""

    def __init__(self) -> None:
        self.stub = OfOrders()
        self.link = BrokerLink(Bus(), self.stub, LatchedSends(MemoryLatch()), Random(1))

    async def send(self, name: str, outcome: BrokerError | None = None, *, reduces: bool = False) -> list[Event]:
        """An order, and what the link says within a second."""
        self.stub.outcome = outcome
        self.link.submit(replace(ENTRY, order=name, reduces=reduces))
        await asyncio.sleep(1.0)
        return self.heard()

    def heard(self) -> list[Event]:
        events = list(self.link._inbox)
        self.link._inbox.clear()
        return events


def play(scenario: "object") -> None:
    async def run() -> None:
        desk = Desk()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(desk.link.run())
            await asyncio.sleep(1.0)  # It is connected, and has read the books.
            await scenario(desk)  # type: ignore[operator]
            task.cancel()

    simulate(run)


def health(events: list[Event]) -> list[str]:
    return [event.state for event in events if isinstance(event, HealthChanged) and event.service == BREAKER]


def test_after_three_sends_without_an_answer_entries_wait_for_a_probe_and_exits_do_not() -> None:
    async def scenario(desk: Desk) -> None:
        stub = desk.stub
        for name in ("a", "b"):
            assert not health(await desk.send(name, BrokerUnreachable("500")))
        assert health(await desk.send("c", UNCLEAR)) == ["recovering"]
        [ended] = [event for event in await desk.send("d") if isinstance(event, OrderEnded)]
        assert (ended.outcome, ended.code) == ("barred", BREAKER_OPEN)
        assert "3 requests in a row without an answer" in ended.detail
        await desk.send("exit", reduces=True)
        assert stub.placed == ["a", "b", "c", "exit"]
        await asyncio.sleep(OPEN_S * (1.0 + JITTER))
        assert health(desk.heard()) == ["healthy"]
        await desk.send("e")
        assert stub.placed[-1] == "e"

    play(scenario)


def test_a_probe_without_an_answer_waits_longer() -> None:
    async def scenario(desk: Desk) -> None:
        for name in ("a", "b", "c"):
            await desk.send(name, BrokerUnreachable("500"))
        desk.stub.is_readable = False
        await asyncio.sleep(OPEN_S * (1.0 + JITTER))
        assert health(desk.heard()) == ["recovering"]
        desk.stub.is_readable = True
        await asyncio.sleep(2 * OPEN_S - OPEN_S * JITTER - 5.0)
        assert not health(desk.heard())
        await asyncio.sleep(2 * OPEN_S)
        assert health(desk.heard()) == ["healthy"]

    play(scenario)


def test_a_refusal_is_an_answer_and_waiting_or_logging_in_is_no_failure() -> None:
    async def scenario(desk: Desk) -> None:
        bad = BrokerUnreachable("500")
        for number, outcome in enumerate((bad, bad, OrderRejected("off_tick: 0.01"), bad, bad, None, bad, bad)):
            assert not health(await desk.send(f"n{number}", outcome))
        for number, wait in enumerate((RateLimited("429", 1.0), AuthExpired("401"), RateLimited("429", 1.0))):
            assert not health(await desk.send(f"w{number}", wait))

    play(scenario)


def test_a_session_that_is_down_bars_entries_itself() -> None:
    async def scenario(desk: Desk) -> None:
        desk.stub.on_state(False, "stream lost")
        for name in ("a", "b", "c", "d"):
            assert not health(await desk.send(name, BrokerUnreachable("refused")))
        assert desk.stub.placed == ["a", "b", "c", "d"]

    play(scenario)


def test_what_it_says_is_an_input_of_the_journal() -> None:
    from angelx.research.journal_replay import _said_by_broker

    assert _said_by_broker(HealthChanged(1, "recovering", "why", BREAKER))
    assert _said_by_broker(OrderEnded(1, "a", "barred", BREAKER_OPEN, ""))
    assert _said_by_broker(BooksRead(1, 1, (), ()))
    assert not _said_by_broker(HealthChanged(1, "recovering", "why", "reconciler"))
