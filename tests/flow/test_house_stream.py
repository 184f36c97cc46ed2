"""The whole house on the whole bus: one answer per signal, one journal whatever the batches, true declarations."""

import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from angelx.app.graph import bare_house, emitters, wiring
from angelx.bus.bus import Bus
from angelx.bus.service import consumes
from angelx.domain.events import (
    CancelRequested,
    Event,
    OrderAccepted,
    OrderApproved,
    OrderClosed,
    OrderFilled,
    PositionChanged,
    Signal,
    SignalRefused,
)
from angelx.domain.scalars import NS
from angelx.domain.ticks import Rows
from angelx.signals.ema_cross import EmaCross
from angelx.signals.filters.standard import FreshnessFilter
from angelx.signals.strategy import Strategy
from tests.flow.small_house import CLOSES_AT, LIMITS, OPENS_AT, Gambler, Play, Sampler, market

LATENCY = 50_000_000


def crowd() -> list[Strategy]:
    """Two gamblers and a scanner that share instruments."""
    ema = EmaCross(fast=3, slow=6, instruments=["NSE:X", "NFO:call"])
    ema.name = "ema"
    return [Gambler("one", 1), Gambler("two", 2, (1, 2)), ema]


@pytest.mark.parametrize("latency", [0, LATENCY])
def test_every_signal_gets_exactly_one_answer(latency: int) -> None:
    play = Play(crowd(), latency_ns=latency, limits=replace(LIMITS, max_positions=2), reject_rate=0.1)
    play.feed(market(3, 1_500)).pass_time(10)

    signals = [event.signal for event in play.of(Signal)]
    answers = Counter(event.signal for event in play.of(OrderApproved, SignalRefused))

    assert signals == list(range(1, len(signals) + 1))
    assert len(signals) > 100
    assert answers == Counter(signals)
    assert play.of(SignalRefused)


def test_every_order_ends_and_only_once() -> None:
    play = Play(crowd(), latency_ns=LATENCY, reject_rate=0.1)
    closed: list[OrderClosed] = []
    play.bus.subscribe(OrderClosed, closed.append)
    play.feed(market(3, 800))
    play.bus.advance(CLOSES_AT + NS)

    assert Counter(event.order for event in closed) == Counter(event.order for event in play.of(OrderApproved))
    assert {event.outcome for event in closed} >= {"filled", "rejected"}
    filled = Counter[str]()
    for event in play.of(OrderFilled):
        filled[event.order] += event.quantity
    approved = {event.order: event.quantity for event in play.of(OrderApproved)}
    assert all(event.filled == filled[event.order] for event in closed)
    assert all(event.filled + event.unfilled == approved[event.order] for event in closed)
    assert not play.house.book.live


# ---------------------------------------------------------------- batches
def patient() -> list[Strategy]:
    """Scanners only, so that runs are long; two share an instrument."""
    ema = EmaCross(fast=20, slow=60, instruments=["NSE:X"])
    ema.name = "ema"
    return [Sampler("a", 1), Sampler("b", 2, 7), Sampler("c", 2, 17), ema]


@pytest.mark.parametrize(("latency", "jitter"), [(0, 0), (LATENCY, 0), (LATENCY, 20_000_000)])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_journal_whatever_the_batches(seed: int, latency: int, jitter: int) -> None:
    """Several instruments and strategies, resting orders, partial fills, rejects, the end of the session."""
    batch = market(seed, 1_500, begins_at=CLOSES_AT - 1_380 * NS, pause_ns=22 * NS)
    runs: list[int] = []

    def played(size: int) -> Play:
        play = Play(patient(), latency_ns=latency, jitter_ns=jitter, reject_rate=0.05, begins_at=CLOSES_AT - 1_500 * NS)
        runs.clear()
        play.bus.subscribe(Rows, lambda rows: runs.append(rows.stop - rows.start))
        play.feed(batch, size)
        play.bus.advance(CLOSES_AT + NS)
        return play

    one = played(1)
    filled = {event.order for event in one.of(OrderFilled)}
    assert len(one.of(OrderFilled)) > len(filled) > 30, "partial fills"
    assert any(":square_off" in event.why for event in one.of(Signal))
    whys = {event.why for event in one.of(CancelRequested)}
    assert "patience:exit after 2 s" in whys, "what rests is taken back"
    assert "patience:entry after 10 s" in whys or not latency
    for size in (7, 256, 4096):
        assert played(size).journal.records == one.journal.records, f"batches of {size}"
    assert len(runs) < batch.rows / 2, "rows come in runs"


def test_orders_rest_and_fill_later() -> None:
    """What the test above is about does happen: an order waits for rows to come to it."""
    play = Play(crowd(), latency_ns=LATENCY).feed(market(1, 1_000))
    arrived: dict[str, int] = {}
    for event in play.of(OrderAccepted, OrderFilled):
        arrived.setdefault(event.order, event.at)
    waited = [event.at - arrived[event.order] for event in play.of(OrderFilled)]
    assert sum(wait > NS for wait in waited) > 5


def test_the_same_journal_where_a_scanner_has_a_timer() -> None:
    """A signal of a timer makes void what the scanner said of later rows."""

    def played(size: int) -> tuple[Play, Sampler]:
        scanner = Sampler("timed", 0, 5, every_s=1.0)
        return Play([scanner], latency_ns=LATENCY).feed(market(4, 1_500), size), scanner

    one, first = played(1)
    assert len(first.decisions) > 20
    for size in (16, 1_500):
        other, scanner = played(size)
        assert scanner.decisions == first.decisions
        assert other.journal.records == one.journal.records


def test_the_same_journal_from_a_source_of_snapshots() -> None:
    """Cadence and lag are measured per snapshot, whoever cuts the stream."""
    batch = market(5, 900, gap_ns=400_000_000)
    batch.table[1] -= batch.table[1] % (5 * NS)  # all instruments every five seconds
    batch.table[2] = batch.table[1] - (np.arange(900) * 7919 % 5) * NS  # each instrument with a lag of its own

    def played(size: int) -> Play:
        return Play([Sampler("one", 1)], source_kind="snapshot", filters=[FreshnessFilter()]).feed(batch, size)

    one = played(1)
    for size in (3, 50, 900):
        other = played(size)
        assert other.house.freshness.snapshot_age_ns == one.house.freshness.snapshot_age_ns
        assert other.journal.records == one.journal.records


# ---------------------------------------------------------------- declarations
class ListeningBus(Bus):
    """Notes which service published what."""

    owners: dict[int, str]
    said: set[tuple[str, str]]

    def publish(self, event: Event) -> None:
        frame: Any = sys._getframe(1)
        while frame is not None:
            name = self.owners.get(id(frame.f_locals.get("self")))
            if name is not None:
                self.said.add((name, type(event).__name__))
                break
            frame = frame.f_back
        super().publish(event)


class Clumsy(Gambler):
    """Raises after a while."""

    def on_tick(self, place: int) -> None:
        super().on_tick(place)
        if self.desk.now > OPENS_AT + 20 * NS and self.desk.position(place):
            raise ValueError("clumsy")


def test_services_publish_what_they_declare_and_nothing_else() -> None:
    bus = ListeningBus()
    bus.owners, bus.said, bus.emit = {}, set(), bus.publish
    play = Play([*crowd(), Clumsy("clumsy", 9)], bus=bus, latency_ns=LATENCY, start=False, silent_feed_ns=5 * NS)
    house = play.house
    bus.owners = {id(service): service.name for service in house.services} | {id(house.broker): "paper_broker"}
    bus.advance(OPENS_AT)
    house.start()
    play.feed(market(3, 1_500)).pass_time(60)
    play.feed(market(6, 100, begins_at=bus.now + NS))
    bus.advance(CLOSES_AT + NS)

    declared = {(service.name, kind.__name__) for service in house.services for kind in service.emits}
    assert bus.said <= declared
    silent = declared - bus.said
    assert silent <= {
        ("order_router", "SignalRefused"), ("order_router", "IncidentReported"), ("safe_exit", "IncidentReported"),
        ("order_router", "OrderEnded"), ("filter_chain", "SignalRefused"),
        ("reconciler", "HealthChanged"), ("reconciler", "OrderEnded"), ("risk_engine", "CommandReceived"),
            ("filter_chain", "SignalJudged"), ("forecasts", "ForecastMade"), ("forecasts", "ForecastScored"),
            ("isolation", "WorkDone"), ("isolation", "WorkFailed"), ("learner", "TuningLearned"),
            ("learner", "IncidentReported"),
        ("filter_chain", "CommandReceived"), ("kill_switch", "IncidentReported"), ("order_router", "CancelRequested"),
        ("patience", "IncidentReported"),
    }, silent  # fmt: skip


def test_every_consumed_event_has_an_emitter() -> None:
    services = bare_house().services
    sources = emitters(services)
    orphans = {(service.name, kind.__name__) for service in services for kind in consumes(service)}
    assert not {(name, kind) for name, kind in orphans if not sources.get(kind)}


def test_every_emitted_event_is_acted_on_or_recorded() -> None:
    targets = {arrow.event for arrow in wiring()}
    emitted = set(emitters(bare_house().services))
    assert emitted <= targets


def test_only_the_risk_engine_declares_approvals() -> None:
    assert emitters(bare_house().services)["OrderApproved"] == ["risk_engine"]


def test_the_recorder_is_first_and_the_market_is_folded_before_anybody_looks() -> None:
    names = [service.name for service in bare_house().services]
    assert names[0] == "recorder"
    before = ["market_keeper", "paper_broker", "strategy_host", "filter_chain", "risk_engine", "order_router"]
    assert [name for name in names if name in before] == before


def test_an_intent_is_recorded_before_it_is_sent_and_after_its_signal() -> None:
    play = Play(crowd())
    sent: list[tuple[str, int]] = []
    submit = play.house.broker.submit
    play.house.broker.submit = lambda order: (sent.append((order.order, len(play.journal.records))), submit(order))[1]  # type: ignore[method-assign,func-returns-value]
    play.feed(market(3, 500))

    numbers = {record.event.order: record.number for record in play.records if isinstance(record.event, OrderApproved)}
    signals = {record.event.signal: record.number for record in play.records if isinstance(record.event, Signal)}
    assert sent == list(numbers.items()) and len(sent) > 40
    for event in play.of(OrderApproved):
        assert signals[event.signal] < numbers[event.order]


def test_positions_are_the_sum_of_fills_everywhere() -> None:
    play = Play(crowd(), latency_ns=LATENCY)
    last: dict[tuple[str, str], int] = {}
    play.bus.subscribe(PositionChanged, lambda e: last.update({(e.strategy, e.instrument): e.quantity}))
    play.feed(market(7, 800)).pass_time(5)

    owner = {event.order: event.strategy for event in play.of(OrderApproved)}
    summed = Counter[tuple[str, str]]()
    cash = play.house.parts.capital
    for event in play.of(OrderFilled):
        summed[owner[event.order], event.instrument] += event.side * event.quantity
        cash -= event.side * event.quantity * event.price + event.fee
    held = {key: units for key, units in summed.items() if units}
    book, broker = play.house.book, play.house.broker
    assert {key: units for key, units in last.items() if units} == held == book.held
    assert play.held == book.net == play.house.exchange.held()
    assert cash == play.house.ledger.cash == broker.funds().cash
    assert {event.why.partition(":")[0] for event in play.of(CancelRequested)} == {"patience"}
