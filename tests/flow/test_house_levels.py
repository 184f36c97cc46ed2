"""The kill switch and safe exit in the whole house: what may still be sent, and what is closed."""

import itertools
from collections import Counter

import pytest
from msgspec.structs import replace

from angelx.domain.events import (
    CancelRequested,
    CommandReceived,
    Event,
    HealthChanged,
    IncidentReported,
    LevelChanged,
    OrderAccepted,
    OrderApproved,
    OrderEnded,
    OrderFilled,
    Signal,
    SignalRefused,
    StrategyFailed,
)
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, BID, INSTRUMENT, TickBatch
from angelx.orders.states import State
from angelx.services.kill_switch import LEVELS, MemoryLatch
from angelx.signals.strategy import ScanningStrategy, Strategy
from tests.flow.small_house import CLOSES_AT, LIMITS, OPENS_AT, TICK, Gambler, Holder, Play, cut, market

LATENCY = 50_000_000


def crowd() -> list[Strategy]:
    return [Gambler("one", 1, eager=0.6), Gambler("two", 2, (1, 2), eager=0.6)]


def command(play: Play, verb: str, who: str = "operator") -> None:
    play.bus.publish(CommandReceived(play.bus.now, verb, "a test", who))


class Sends:
    """What reaches the broker from now on."""

    def __init__(self, play: Play) -> None:
        self.orders: list[OrderApproved] = []
        self.cancels: list[str] = []
        broker = play.house.broker
        submit, cancel = broker.submit, broker.cancel

        def submits(order: OrderApproved) -> None:
            self.orders.append(order)
            submit(order)

        def cancels(order: str) -> None:
            self.cancels.append(order)
            cancel(order)

        broker.submit, broker.cancel = submits, cancels  # type: ignore[method-assign]


def after(play: Play, count: int, *kinds: type[Event]) -> list[Event]:
    return [event for event in play.events[count:] if isinstance(event, kinds)]


@pytest.mark.parametrize("latency", [0, LATENCY])
def test_halt_bars_entries_and_lets_exits_go(latency: int) -> None:
    play = Play(crowd(), latency_ns=latency).feed(market(1, 200))
    assert play.held
    sends, count = Sends(play), len(play.events)
    command(play, "halt")
    play.feed(market(2, 300, begins_at=play.bus.now + NS)).pass_time(5)

    assert sends.orders or not latency  # without latency all exits rest already, and fill
    assert all(order.reduces for order in sends.orders)
    assert -1 in {event.side for event in after(play, count, OrderFilled)}  # type: ignore[attr-defined]
    assert "barred" in {event.code for event in play.of(SignalRefused)}
    assert [event.level for event in play.of(LevelChanged)] == ["halt"]


def test_resume_lets_entries_in_again() -> None:
    play = Play(crowd()).feed(market(1, 100))
    command(play, "halt")
    play.feed(market(2, 100, begins_at=play.bus.now + NS))
    sends = Sends(play)
    command(play, "resume")
    play.feed(market(3, 100, begins_at=play.bus.now + NS))
    assert any(not order.reduces for order in sends.orders)
    assert [event.level for event in play.of(LevelChanged)] == ["halt", "running"]


@pytest.mark.parametrize("latency", [0, LATENCY])
def test_flatten_cancels_what_works_closes_everything_and_mutes_strategies(latency: int) -> None:
    play = Play(crowd(), latency_ns=latency).feed(market(1, 200))
    play.feed(market(5, 3, begins_at=play.bus.now + NS))
    assert play.held
    count = len(play.events)
    sends = Sends(play)
    command(play, "flatten")
    play.feed(market(2, 400, begins_at=play.bus.now + NS)).pass_time(5)

    assert not play.held
    assert not play.house.book.live
    assert play.house.exchange.held() == {}
    assert all(order.reduces for order in sends.orders)
    assert {event.why for event in after(play, count, Signal)} == {"safe_exit:flatten"}  # type: ignore[attr-defined]


def test_flatten_takes_an_entry_out_that_was_under_way() -> None:
    """The order is on its way when the switch falls: it is cancelled, and what filled of it is closed."""
    play = Play([Holder()], latency_ns=LATENCY)
    batch = market(1, 400)
    row = next(row for row in range(400) if play.feed(cut(batch, row, row + 1)).of(OrderApproved))
    command(play, "flatten")
    play.feed(cut(batch, row + 1, 400)).pass_time(10)
    assert [event.order for event in play.of(CancelRequested)][:1] == [play.of(OrderApproved)[0].order]
    assert not play.held
    assert not play.house.book.live


@pytest.mark.parametrize("latency", [0, LATENCY])
def test_silent_sends_nothing_at_all_up_to_the_close(latency: int) -> None:
    begins = CLOSES_AT - 1_300 * NS
    play = Play(crowd(), latency_ns=latency, begins_at=begins).feed(market(1, 200, begins_at=begins + NS))
    assert play.held
    sends = Sends(play)
    command(play, "silent")
    count = len(play.events)
    play.feed(market(2, 500, begins_at=play.bus.now + NS, pause_ns=60 * NS)).pass_time(5)
    play.bus.advance(CLOSES_AT + NS)
    assert (sends.orders, sends.cancels) == ([], [])
    assert len(after(play, count, Signal)) == 0, "nor does anybody ask in vain"


class Saboteur(Gambler):
    """Raises the latch right after it signalled: the cascade that ends in a send is still running."""

    latch: MemoryLatch
    level = 1

    def on_tick(self, place: int) -> None:
        if self.desk.now > OPENS_AT + 5 * NS and self.desk.long(place, why="sabotage"):
            self.latch.raise_to(self.level, "in the middle", "signal", self.desk.now)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_kill_in_the_middle_of_a_cascade_bars_the_send(level: int) -> None:
    latch = MemoryLatch()
    saboteur = Saboteur("saboteur", 1)
    saboteur.latch, saboteur.level = latch, level
    play = Play([saboteur], latch=latch)
    sends = Sends(play)
    play.feed(market(1, 300))

    approved = play.of(OrderApproved)
    assert len(approved) >= 1
    assert not sends.orders
    assert [(e.order, e.outcome, e.code) for e in play.of(OrderEnded)][:1] == [
        (approved[0].order, "barred", "kill_switch")
    ]
    assert not play.house.book.live
    assert play.house.book.reserved == 0


class Broken(Holder):
    """Buys, then raises at the first tick after it holds."""

    def on_tick(self, place: int) -> None:
        super().on_tick(place)
        if self.desk.position(place):
            raise ZeroDivisionError("a mistake")


class BrokenScanner(ScanningStrategy):
    """Holds, then raises where it looks ahead."""

    name = "broken"

    def prepare(self, batch: TickBatch) -> None:
        self._batch = batch

    def scan(self, start: int, stop: int) -> int:
        if self.desk.position(1):
            raise ZeroDivisionError("a mistake")
        return start if not self.desk.working(1) else stop

    def decide(self, row: int) -> None:
        if self.desk.market.view[3, 1]:
            self.desk.long(1)


@pytest.mark.parametrize("strategy", [Broken("broken"), BrokenScanner()])
@pytest.mark.parametrize("latency", [0, LATENCY])
@pytest.mark.parametrize("size", [1, 500])
def test_a_strategy_that_raises_halts_and_safe_exit_closes_its_positions(
    strategy: Strategy, latency: int, size: int
) -> None:
    play = Play([strategy, Gambler("other", 3, (2,))], latency_ns=latency)
    times: list[int] = []
    play.bus.subscribe(OrderFilled, lambda event: times.append(play.bus.now))
    play.feed(market(1, 500), size).pass_time(5)

    failed = play.of(StrategyFailed)
    assert [(event.strategy, event.error[:29]) for event in failed] == [("broken", "ZeroDivisionError: a mistake ")]
    assert play.latch.level == LEVELS.index("halt")
    assert {event.why for event in play.of(Signal) if event.strategy == "broken"} == {
        *(("hold",) if isinstance(strategy, Broken) else ("",)), "safe_exit:strategy_failed",
    }  # fmt: skip
    assert not {key for key in play.house.book.held if key[0] == "broken"}
    assert times == sorted(times)
    assert [record.event.at for record in play.records] == sorted(record.event.at for record in play.records)


@pytest.mark.parametrize("latency", [0, LATENCY])
def test_intraday_positions_are_closed_before_the_session_ends(latency: int) -> None:
    begins = CLOSES_AT - 1_400 * NS
    carrying = Holder("carrier", (2,))
    carrying.intraday = False  # type: ignore[misc]
    play = Play([Holder("intra", (1,)), carrying], latency_ns=latency, begins_at=begins)
    play.feed(market(1, 1_400, begins_at=begins + NS, pause_ns=20 * NS))

    assert set(play.house.book.held) == ({("carrier", "NFO:put")} if not latency else set())  # its entry never filled
    exits = [event for event in play.of(OrderApproved) if event.reduces]
    assert exits
    assert all(event.at >= CLOSES_AT - 1_200 * NS for event in exits)
    assert exits[0].at < CLOSES_AT - 1_190 * NS


def test_exits_go_two_seconds_apart_and_further_each_time() -> None:
    """Every exit is refused by the venue: the next goes after two seconds, not at once."""
    play = Play([Holder()], limits=replace(LIMITS, orders_per_s=10**6)).feed(market(1, 60))
    play.house.broker._venue._reject_rate = 1.0
    command(play, "flatten")
    play.feed(market(2, 200, begins_at=play.bus.now + NS, gap_ns=100_000_000))

    exits = [event for event in play.of(OrderApproved) if event.reduces]
    gaps = [b.at - a.at for a, b in itertools.pairwise(exits)]
    assert len(exits) > 3
    assert min(gaps) >= 2 * NS - 10
    beyond = [(event.touch - event.limit) // 500 for event in exits]
    assert beyond[:5] == [0, 1, 2, 4, 4][: len(beyond[:5])]


def test_working_exits_never_exceed_the_position() -> None:
    """At every moment, with partial fills, latency, a flatten and a square-off."""
    play = Play(crowd(), latency_ns=LATENCY, reject_rate=0.1)
    router = play.house.router

    def check(event: Event) -> None:
        exits, net = Counter[tuple[str, int]](), play.house.book.net
        for order in router.orders.values():
            if order.state in ("sending", "working", "partially_filled", "cancel_pending") and order.approved.reduces:
                exits[order.approved.instrument, order.approved.side] += order.approved.quantity - order.filled
        for (instrument, side), units in exits.items():
            assert -side * net.get(instrument, 0) >= units > 0

    for kind in (OrderAccepted, OrderFilled, OrderEnded, CancelRequested):
        play.bus.subscribe(kind, check)
    play.feed(market(1, 500))
    command(play, "flatten")
    play.feed(market(2, 100, begins_at=play.bus.now + NS))
    command(play, "resume")
    play.feed(market(3, 300, begins_at=play.bus.now + NS))
    assert len(play.of(OrderFilled)) > 100


# ---------------------------------------------------------------- losses, silence, differences
def test_the_day_s_loss_halts() -> None:
    play = Play([Holder()], limits=replace(LIMITS, daily_loss_ppm=1)).feed(market(1, 60))
    assert play.held
    play.feed(market(2, 60, begins_at=play.bus.now + NS, pause_ns=60 * NS))

    (halt,) = (event for event in play.of(CommandReceived) if event.verb == "halt")
    assert halt.who == "risk_engine"
    assert halt.reason.startswith("daily_loss: equity ")
    assert play.latch.level == LEVELS.index("halt")


def without(batch: TickBatch, side: int, place: int = 1) -> TickBatch:
    """The batch with one side of an instrument's quotes gone."""
    batch.table[side, batch.table[INSTRUMENT] == place] = 0
    return batch


def test_a_loss_that_only_one_mark_sees_halts_nothing() -> None:
    play = Play([Holder()], limits=replace(LIMITS, daily_loss_ppm=30_000)).feed(market(1, 60))
    lost, ledger, keeper = play.house.ledger.capital // 25, play.house.ledger, play.house.keeper
    ledger.cash -= lost
    keeper.mark()
    assert play.house.book.equity <= play.house.book.loss_floor
    ledger.cash += lost
    play.pass_time(5)
    assert play.latch.level == LEVELS.index("running")
    ledger.cash -= lost
    keeper.mark()
    marked = play.bus.now
    play.pass_time(5)
    (halt,) = (event for event in play.of(CommandReceived) if event.verb == "halt")
    assert halt.at - marked == NS
    assert play.latch.level == LEVELS.index("halt")


@pytest.mark.parametrize("gone", [(BID,), (ASK,), (BID, ASK)])
def test_a_side_that_goes_missing_is_no_loss_until_it_stays_away(gone: tuple[int, ...]) -> None:
    play = Play([Holder()], silent_feed_ns=10**15).feed(market(1, 60, calm=True)).pass_time(60)
    keeper, (position,) = play.house.keeper, (p for p in play.house.ledger.positions.values() if p.quantity)
    before = keeper.worth(position)
    batch = market(2, 60, begins_at=play.bus.now + NS, calm=True)
    for side in gone:
        without(batch, side)
    play.feed(batch).pass_time(60)
    assert 0 < keeper.worth(position) <= before
    play.pass_time(300)
    assert keeper.worth(position) == (0 if BID in gone else before - position.quantity * TICK // 2)


def test_a_new_holding_does_not_go_by_the_mid_of_an_old_one() -> None:
    play = Play([Holder()], silent_feed_ns=10**15).feed(market(1, 60, calm=True)).pass_time(60)
    keeper, (position,) = play.house.keeper, [p for p in play.house.ledger.positions.values() if p.quantity]
    quantity, cost, position.quantity = position.quantity, position.cost, 0
    play.pass_time(400)
    play.feed(without(market(2, 60, begins_at=play.bus.now + NS, calm=True), BID))
    position.quantity, position.cost = quantity, cost
    keeper.mark()
    assert keeper.worth(position) == cost


def test_many_rejects_in_a_minute_halt() -> None:
    play = Play(crowd(), limits=replace(LIMITS, rejects_per_min=5), reject_rate=1.0).feed(market(1, 300))
    assert "reject_burst" in {event.code for event in play.of(SignalRefused)}
    assert play.latch.level == LEVELS.index("halt")
    assert len(play.of(OrderEnded)) == 5


def test_a_silent_feed_bars_entries_until_it_speaks_again() -> None:
    play = Play(crowd(), silent_feed_ns=5 * NS).feed(market(1, 60)).pass_time(10)
    assert [(e.service, e.state) for e in play.of(HealthChanged)][-1] == ("failover_watchdog", "recovering")
    play.feed(market(2, 120, begins_at=play.bus.now + NS))
    states = [event.state for event in play.of(HealthChanged)]
    assert states == ["healthy", "recovering", "healthy"]


def test_an_order_that_never_arrived_is_absent_only_after_two_looks_and_never_sent_again() -> None:
    play = Play([Holder()])
    lost: list[OrderApproved] = []
    submit = play.house.broker.submit
    play.house.broker.submit = lost.append  # type: ignore[method-assign, assignment]
    play.feed(market(1, 40))
    assert len(lost) == 1
    play.house.broker.submit = submit  # type: ignore[method-assign]
    play.pass_time(10)
    assert play.house.router.orders[lost[0].order].state == State.SENDING
    play.feed(market(2, 1_000, begins_at=play.bus.now + NS))

    (ended,) = play.of(OrderEnded)
    assert (ended.order, ended.outcome) == (lost[0].order, "absent")
    looks = [OPENS_AT + int(seconds * NS) for seconds in (10, 13.5, 43.5, 47)]
    assert ended.at in looks
    assert ended.at - lost[0].at >= 13 * NS
    assert len(play.of(OrderApproved)) == 1
    assert play.house.book.reserved == 0
    assert [event.state for event in play.of(HealthChanged) if event.service == "reconciler"][:1] == ["paused"]


def test_an_order_that_never_arrived_and_is_cancelled_does_not_stay_for_ever() -> None:
    play = Play([Holder()])
    submit, lost = play.house.broker.submit, list[OrderApproved]()
    play.house.broker.submit = lost.append  # type: ignore[method-assign, assignment]
    play.feed(market(1, 40))
    play.house.broker.submit = submit  # type: ignore[method-assign]
    command(play, "flatten")
    play.pass_time(60)
    assert play.house.router.orders[lost[0].order].state == State.ABSENT
    assert not play.house.book.live


def test_what_differs_twice_bars_entries_until_it_agrees() -> None:
    play = Play(crowd()).feed(market(1, 60))
    held = play.house.exchange.held
    play.house.exchange.held = lambda: {**held(), "NSE:X": 1 + held().get("NSE:X", 0)}  # type: ignore[method-assign]
    play.feed(market(4, 850, begins_at=play.bus.now + NS))  # in which both looks see the same
    play.house.exchange.held = held  # type: ignore[method-assign]
    play.feed(market(3, 1_500, begins_at=play.bus.now + NS))
    found = [(event.state, event.at) for event in play.of(HealthChanged) if event.service == "reconciler"]
    assert [state for state, _ in found] == ["paused", "healthy"]
    inside = [e for e in play.of(OrderApproved) if found[0][1] < e.at < found[1][1]]
    assert inside
    assert all(event.reduces for event in inside)


# ---------------------------------------------------------------- fills that should not be
def test_a_fill_reported_twice_is_one_fill() -> None:
    play = Play([Holder()], latency_ns=LATENCY).feed(market(1, 200))
    for event in play.of(OrderFilled):
        play.bus.publish(event)
    fills = {event.execution: event for event in play.of(OrderFilled)}
    units = sum(event.quantity for event in fills.values())
    house = play.house
    assert play.held == house.book.net == {"NFO:call": units} == house.exchange.held()
    assert sum(order.filled for order in house.router.orders.values()) == units


def test_a_fill_after_the_end_is_real_and_can_be_closed() -> None:
    """It moves every book, belongs to its strategy, and is closed like any other position."""
    play = Play([Gambler("one", 1, (1,), eager=1.0)], latency_ns=LATENCY)
    play.feed(market(1, 40))
    ended = next(
        event for event in play.of(OrderApproved) if str(play.house.router.orders[event.order].state) == "filled"
    )
    before = dict(play.house.book.held)
    late = OrderFilled(play.bus.now, ended.order, "NFO:call", 1, 75, 1_000_000, 0, "LATE")
    play.bus.publish(late)
    after_fill = play.house.book.held.get(("one", "NFO:call"), 0)
    assert after_fill == before.get(("one", "NFO:call"), 0) + 75
    assert play.house.ledger.positions["one", "NFO:call"].quantity == after_fill
    assert any("had ended" in event.what for event in play.of(IncidentReported))


def test_nothing_is_bought_with_money_that_is_not_there() -> None:
    play = Play(crowd(), latency_ns=LATENCY).feed(market(1, 300))
    assert play.house.broker.funds().available >= 0
    assert play.house.ledger.cash > 0
