"""Live trading against a broker that loses, repeats and delays answers: nothing doubled, nothing lost."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from angelx.domain.events import (
    BooksRead,
    CommandReceived,
    HealthChanged,
    IncidentReported,
    OrderApproved,
    OrderEnded,
    OrderFilled,
)
from angelx.domain.scalars import NS
from angelx.orders.states import ENDED
from angelx.sim.loop import simulate
from tests.flow.live_house import FAULTS, FickleBroker, LivePlay
from tests.flow.small_house import OPENS_AT, TABLE, Gambler, Holder, market


def played(seed: int, faults: tuple[str, ...] = FAULTS, *, rows: int = 1500, seconds: float = 240.0) -> LivePlay:
    """A hundred seconds of quotes and two minutes in which everything settles."""
    broker = FickleBroker(seed, faults)
    play = LivePlay(broker, market(seed, rows), [Gambler("g", seed, eager=0.2)], seconds)
    return simulate(play.run, seed=seed)


def check(play: LivePlay) -> None:
    """What must hold whatever the broker did."""
    broker, house = play.broker, play.house
    assert max(Counter(broker.posted).values(), default=0) <= 1, "no order left twice"
    assert max(Counter(broker.received).values(), default=0) <= 1
    ledger = Counter[str]()
    for position in house.ledger.positions.values():
        ledger[position.instrument] += position.quantity
    assert {k: v for k, v in ledger.items() if v} == {k: v for k, v in broker.held.items() if v}
    assert {k: v for k, v in ledger.items() if v} == house.book.net
    fills = [event for event in play.of(OrderFilled) if isinstance(event, OrderFilled)]
    by_order = Counter[str]()
    for execution, event in {fill.execution: fill for fill in fills}.items():
        assert execution
        by_order[event.order] += event.quantity
    for name, order in house.router.orders.items():
        assert order.filled == by_order[name]
        assert order.state in ENDED, f"{name}: {broker.fate.get(name)} left it {order.state}"
        report = broker.orders.get(name)
        assert order.filled == (report.filled if report else 0)
    assert not house.router.live
    assert house.book.reserved == 0
    assert all(line.buying == line.selling == 0 for line in house.book.ledger.lines.values())


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_whatever_the_broker_does_the_books_agree_in_the_end(seed: int) -> None:
    play = played(seed)
    check(play)
    assert play.of(OrderApproved)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_alone(fault: str) -> None:
    play = played(7, (fault,), rows=700)
    check(play)
    outcomes = {(e.outcome, e.code) for e in play.of(OrderEnded) if isinstance(e, OrderEnded)}
    expected = {
        "none": set(), "twice": set(), "reports_first": set(), "lost_reply": set(),
        "rejected": {("rejected", "broker")}, "unreachable": {("rejected", "unreachable"), ("barred", "breaker_open")},
        "rate": {("rejected", "rate_limited")}, "never_arrived": {("absent", "absent")},
    }  # fmt: skip
    if fault == "late":  # given up, then adopted, and an entry is asked back
        assert ("absent", "absent") in outcomes
    elif fault == "refused_done":
        assert ("rejected", "rate_limited") in outcomes
    else:
        assert outcomes == expected[fault]


def test_the_same_seed_gives_the_same_journal() -> None:
    assert played(3).journal.records == played(3).journal.records


def test_what_was_held_before_us_is_left_alone_and_told() -> None:
    broker = FickleBroker(1, ("none",))
    broker.foreign = {"NSE:X": 40}
    play = simulate(LivePlay(broker, market(1, 600), [Gambler("g", 1, (1, 2), eager=0.2)], 120.0).run)
    check(play)
    told = [event.what for event in play.of(IncidentReported) if isinstance(event, IncidentReported)]
    assert any("40 units of NSE:X are not ours" in what for what in told)
    assert not [e for e in play.of(HealthChanged) if isinstance(e, HealthChanged) and e.state == "paused"]


def test_a_position_that_nobody_explains_bars_entries() -> None:
    broker = FickleBroker(1, ("none",))
    play = LivePlay(broker, market(1, 900), [Holder()], 120.0)

    async def run() -> LivePlay:
        import asyncio

        loop = asyncio.get_running_loop()
        loop.call_later(20.0, lambda: broker.foreign.update({"NSE:X": 40}))
        return await play.run()

    simulate(run)
    paused = [e for e in play.of(HealthChanged) if isinstance(e, HealthChanged) and e.state == "paused"]
    assert paused
    assert "NSE:X: ours 0, broker's 40" in paused[0].reason


@pytest.mark.parametrize("by_hand", [75, 300, 375])
def test_of_what_a_person_closed_at_the_broker_nothing_is_sold_again(by_hand: int) -> None:
    """In the broker's own app; 375: more than we held."""
    broker = FickleBroker(2, ("none",))
    play = LivePlay(broker, market(2, 3000), [Holder()], 200.0)
    name = TABLE[1].id

    async def run() -> LivePlay:
        loop = asyncio.get_running_loop()
        loop.call_later(20.0, lambda: broker.foreign.update({name: -by_hand}))
        loop.call_later(100.0, play.feed.command, "flatten", "test", "operator")
        return await play.run()

    simulate(run)
    exits = [event for event in play.of(OrderApproved) if isinstance(event, OrderApproved) and event.reduces]
    assert sum(one.quantity for one in exits) == max(300 - by_hand, 0)
    assert broker.held[name] + broker.foreign[name] == min(300 - by_hand, 0)
    told = [event.what for event in play.of(IncidentReported) if isinstance(event, IncidentReported)]
    assert f"FLAT EXCEPT {name}: the broker does not hold it" in told


def test_what_was_closed_by_hand_and_bought_back_is_closed() -> None:
    broker = FickleBroker(2, ("none",))
    play = LivePlay(broker, market(2, 3000), [Holder()], 250.0)
    name = TABLE[1].id

    async def run() -> LivePlay:
        loop = asyncio.get_running_loop()
        loop.call_later(20.0, lambda: broker.foreign.update({name: -300}))
        loop.call_later(80.0, play.feed.command, "flatten", "test", "operator")
        loop.call_later(120.0, broker.foreign.clear)
        return await play.run()

    simulate(run)
    check(play)
    assert not broker.held[name]


def test_books_that_cannot_be_read_are_no_empty_books() -> None:
    broker = FickleBroker(5, ("none",))
    play = LivePlay(broker, market(5, 900), [Holder()], 150.0)

    async def run() -> LivePlay:
        import asyncio

        asyncio.get_running_loop().call_later(30.0, lambda: setattr(broker, "reads_fail", True))
        return await play.run()

    simulate(run)
    assert play.of(BooksRead)
    assert not [e for e in play.of(HealthChanged) if isinstance(e, HealthChanged) and e.state == "paused"]
    assert any("books cannot be read" in e.what for e in play.of(IncidentReported) if isinstance(e, IncidentReported))


def test_a_halt_bars_what_waits_to_be_sent() -> None:
    broker = FickleBroker(2, ("none",))
    play = LivePlay(broker, market(2, 900), [Gambler("g", 2, eager=0.3)], 120.0)

    async def run() -> LivePlay:
        import asyncio

        def halt() -> None:
            play.latch.raise_to(3, "test", "operator", play.clock.now())
            play.feed.command("silent", "test", "operator")

        asyncio.get_running_loop().call_later(10.0, halt)
        return await play.run()

    simulate(run)
    at = next(e.at for e in play.of(CommandReceived))
    approved = [e for e in play.of(OrderApproved) if e.at > at]
    assert not {e.order for e in approved if isinstance(e, OrderApproved)} & set(broker.posted)


def interrupted(broker: FickleBroker, verb: str) -> LivePlay:
    """A command while the first order is on its way."""
    play = LivePlay(broker, market(2, 300), [Gambler("g", 2, eager=1.0)], 60.0)

    def told(event: object) -> None:
        if len(play.of(OrderApproved)) == 1:
            asyncio.get_running_loop().call_later(0.005, play.feed.command, verb, "test", "operator")

    play.bus.subscribe(OrderApproved, told)
    return simulate(play.run)


@pytest.mark.parametrize("verb", ["halt", "stop"])
def test_an_entry_that_is_on_its_way_is_taken_back_once_it_is_there(verb: str) -> None:
    broker = FickleBroker(2, ("none",))
    broker.fills = False
    play = interrupted(broker, verb)
    assert broker.received
    assert {order.state for order in broker.orders.values()} == {"cancelled"}
    assert not play.house.router.live
    if verb == "stop":
        ended = [e for e in play.of(OrderEnded) if isinstance(e, OrderEnded)]
        assert {e.order for e in ended} == set(play.house.router.orders)


def test_an_entry_that_was_refused_and_is_there_all_the_same_is_taken_back() -> None:
    broker = FickleBroker(2, ("refused_done",))
    broker.fills = False
    play = LivePlay(broker, market(2, 300), [Gambler("g", 2, eager=1.0)], 60.0)
    simulate(play.run)
    assert broker.received
    assert {order.state for order in broker.orders.values()} == {"cancelled"}
    check(play)


def test_a_cancel_that_does_not_get_through_is_asked_until_it_does() -> None:
    """HALT takes an entry back that works while nobody can be reached, as soon as somebody can."""
    broker = FickleBroker(2, ("none",))
    broker.fills, broker.cancels_fail = False, True
    play = LivePlay(broker, market(2, 300), [Holder()], 120.0)

    async def run() -> LivePlay:
        loop = asyncio.get_running_loop()
        loop.call_later(10.0, play.feed.command, "halt", "test", "operator")
        loop.call_later(60.0, lambda: setattr(broker, "cancels_fail", False))
        return await play.run()

    simulate(run)
    assert broker.received
    assert {order.state for order in broker.orders.values()} == {"cancelled"}
    told = [event.what for event in play.of(IncidentReported) if isinstance(event, IncidentReported)]
    assert len([what for what in told if "did not get through" in what]) == 1
    check(play)


def test_a_cancel_that_was_asked_for_before_a_crash_is_asked_again_after_it() -> None:
    broker = FickleBroker(2, ("none",))
    broker.fills, broker.cancels_fail = False, True
    play = LivePlay(broker, market(2, 300), [Holder()], 20.0)

    async def killed() -> LivePlay:
        asyncio.get_running_loop().call_later(10.0, play.feed.command, "stop", "test", "operator")
        return await play.run()

    simulate(killed)
    assert {order.state for order in broker.orders.values()} == {"working"}
    broker.cancels_fail = False
    again = LivePlay(broker, market(3, 300), [Holder()], 120.0)
    again.restore(play.journal.records)
    simulate(again.run)
    assert {order.state for order in broker.orders.values()} == {"cancelled"}
    check(again)


def lost(seconds: float) -> LivePlay:
    """A first order that never arrives, and books that are read again and again."""
    play = LivePlay(FickleBroker(2, ("never_arrived",)), market(2, 300), [Holder()], seconds)

    async def run() -> LivePlay:
        loop = asyncio.get_running_loop()
        for tenths in range(3, 600, 3):
            loop.call_later(tenths / 10, play.link.ask)
        return await play.run()

    return simulate(run)


def test_an_order_is_absent_after_two_reads_seconds_apart_however_often_the_books_are_read() -> None:
    play = lost(60.0)
    (ended,) = play.of(OrderEnded)
    assert isinstance(ended, OrderEnded)
    since = (play.of(OrderApproved)[0].at - OPENS_AT) / NS + 10
    counted = [read for read in play.broker.read_at if since <= read <= (ended.at - OPENS_AT) / NS]
    assert counted[-1] - counted[0] >= 3
    assert counted[-2] - counted[0] < 3, "not later than it has to be"


def test_after_a_restart_what_was_read_before_the_session_is_no_look() -> None:
    before = lost(8.0)
    assert not before.of(OrderEnded)
    before.broker.read_at.clear()
    play = LivePlay(before.broker, market(3, 300), [Holder()], 180.0)
    play.restore(before.journal.records)
    began, play.broker.reads_fail = play.clock.origin, True

    async def run() -> LivePlay:
        asyncio.get_running_loop().call_later(20.0, lambda: setattr(play.broker, "reads_fail", False))
        return await play.run()

    simulate(run)
    ended = play.of(OrderEnded)[0]
    counted = [read for read in play.broker.read_at if read <= (ended.at - began) / NS]
    assert counted[-1] - counted[0] >= 3
    check(play)


def test_what_is_held_and_gone_from_the_list_does_not_keep_the_rest_from_being_closed() -> None:
    """An option that expired while nobody was there to see the session end."""
    broker = FickleBroker(2, ("none",))
    before = LivePlay(broker, market(2, 300), [Holder(places=(0, 1))], 30.0)
    simulate(before.run)
    (seq, row, _), at = before.journal.records[-1], before.bus.now
    entry = OrderApproved(at, "axGONE", 99, "holder", "NFO:GONE", 1, 75, 500, False, 500, "fixed", 1.0)
    fill = OrderFilled(at, "axGONE", "NFO:GONE", 1, 75, 500, 0, "GONE")
    works = replace(entry, order="axWORKS", signal=100)
    broker.held["NFO:GONE"] = 75
    assert sum(broker.held.values()) > 75
    play = LivePlay(broker, market(3, 900), [Holder()], 120.0)
    play.restore([*before.journal.records, (seq + 1, row, entry), (seq + 2, row, fill), (seq + 3, row, works)])

    async def run() -> LivePlay:
        broker.told.append(OrderFilled(0, "axWORKS", "NFO:GONE", 1, 25, 500, 0, "LATE"))
        broker.told.append(OrderEnded(0, "axWORKS", "expired", "day_over", ""))
        asyncio.get_running_loop().call_later(20.0, play.feed.command, "flatten", "test", "operator")
        return await play.run()

    simulate(run)
    assert {name: units for name, units in broker.held.items() if units} == {"NFO:GONE": 75}
    told = [event.what for event in play.of(IncidentReported) if isinstance(event, IncidentReported)]
    assert [what for what in told if "FLAT EXCEPT" in what] == [
        "FLAT EXCEPT NFO:GONE: it is not among today's instruments"
    ]
    assert not play.house.router.live


def test_a_stop_waits_for_fills_on_their_way_and_sends_nothing_new() -> None:
    broker = FickleBroker(2, ("none",))
    broker.takes_back = False
    play = interrupted(broker, "stop")
    check(play)
    stopped = next(e.at for e in play.of(CommandReceived))
    assert [e for e in play.of(OrderFilled) if e.at > stopped]
    later = {e.order for e in play.of(OrderApproved) if isinstance(e, OrderApproved) and e.at > stopped}
    assert later
    assert not later & set(broker.posted)
    assert {e.code for e in play.of(OrderEnded) if isinstance(e, OrderEnded)} == {"stopping"}


def test_a_stop_leaves_what_does_not_end_after_some_seconds() -> None:
    broker = FickleBroker(2, ("none",))
    broker.fills = broker.takes_back = False
    play = interrupted(broker, "stop")
    stopped = next(e.at for e in play.of(CommandReceived))
    assert play.house.router.live
    assert 5 * NS <= play.bus.now - stopped < 6 * NS


def test_a_fill_of_an_order_that_has_ended_goes_through_and_a_second_end_does_not() -> None:
    play = played(4, ("rejected",), rows=400, seconds=60.0)
    name = next(iter(play.house.router.orders))
    order = play.house.router.orders[name].approved
    late = OrderFilled(0, name, order.instrument, order.side, 75, order.limit, 0, "LATE")
    for event in (late, OrderEnded(0, name, "cancelled", "requested", "")):
        play.broker.on_report(event)
    assert [type(event) for event in play.link.take(play.bus.now)] == [OrderFilled]
