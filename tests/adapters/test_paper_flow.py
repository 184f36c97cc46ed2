"""The paper broker over the real bus: it reports what a slow, obvious exchange reports, however the rows came."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from angelx.bus.bus import Bus
from angelx.domain.events import CancelRequested, Event, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, INSTRUMENT, Rows, TickBatch
from tests.venue.market_day import EQUITY, TABLE, Day, Recorder, day_of, days, fee
from tests.venue.paper_play import END, broker_on, play
from tests.venue.venue_oracle import Oracle


def expected(day: Day, latency: int) -> Oracle:
    oracle = Oracle(TABLE, latency, fee, fills_accept=True)
    acts = list(enumerate(day.acts))
    for row in range(day.rows):
        place, at, bid, ask, bid_size, ask_size = (
            int(x) for x in day.table[[INSTRUMENT, AT, BID, ASK, BID_SIZE, ASK_SIZE], row]
        )
        oracle.row(TABLE[place].id, (bid, ask, bid_size, ask_size), at)
        while acts and acts[0][1].row == row:
            number, act = acts.pop(0)
            event = act.event(at, number)
            if isinstance(event, OrderApproved):
                oracle.submit(event, act.tif, at)
            elif isinstance(event, CancelRequested):
                oracle.cancel(event.order, at)
    oracle.until(END, inclusive=True)
    return oracle


def without_prose(events: list[Event]) -> list[Event]:
    """Reports without their details and without answers to cancels of orders that were never sent."""
    return [
        replace(event, detail="") if isinstance(event, OrderEnded) else event
        for event in events
        if not isinstance(event, OrderEnded) or event.outcome != "absent"
    ]


@settings(max_examples=250, deadline=None)
@given(day=days(), latency=st.sampled_from((0, 0, 1, 2, 5)))
def test_it_reports_what_a_slow_obvious_exchange_reports(day: Day, latency: int) -> None:
    oracle = expected(day, latency)
    for size in (1, 7, 64, day.rows):
        broker, recorder = play(day, size, latency_ns=latency)
        assert without_prose(recorder.reports) == oracle.reports
        assert {held.instrument: held.quantity for held in broker.positions()} == {
            name: units for name, units in oracle.positions.items() if units
        }


@settings(max_examples=60, deadline=None)
@given(
    day=days(rows=150),
    latency=st.sampled_from((0, 1, 3)),
    jitter=st.sampled_from((0, 4)),
    reject_rate=st.sampled_from((0.0, 0.3)),
)
def test_the_same_numbered_events_whatever_the_batch_size(
    day: Day, latency: int, jitter: int, reject_rate: float
) -> None:
    options = {"latency_ns": latency, "jitter_ns": jitter, "reject_rate": reject_rate}
    first, *others = (play(day, size, **options)[1].entries for size in (1, 7, 64, day.rows))
    for other in others:
        assert other == first


class Joiner:
    """A strategy whose next decision hangs on its last fill: joins its own side, cancels after 12 rows."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._order = ""
        self._give_up_at = 0
        self._open = self._count = self._position = 0
        bus.subscribe(OrderFilled, self.on_filled)
        bus.subscribe(OrderEnded, self.on_ended)

    def _wants(self, batch: TickBatch, row: int) -> bool:
        view = batch.view
        has_bid = view[INSTRUMENT, row] == 0 and view[BID, row] > 0
        return has_bid and (view[ASK, row] // 500 + view[BID_SIZE, row]) % 3 > 0

    def probe(self, batch: TickBatch, start: int, stop: int) -> int:
        if self._order:
            row = self._give_up_at - self._bus.row + start
            return row + 1 if start <= row < stop else stop
        return next((row + 1 for row in range(start, stop) if self._wants(batch, row)), stop)

    def fold(self, rows: Rows) -> None:
        bus, row = self._bus, rows.stop - 1
        if self._order:
            if bus.row - 1 == self._give_up_at:
                bus.publish(CancelRequested(bus.now, self._order, "too old"))
        elif self._wants(rows.batch, row):
            self._count += 1
            self._order, self._give_up_at, self._open = f"j{self._count}", bus.row + 11, 20
            side = 1 if self._position <= 0 else -1
            limit = rows.batch.view[BID if side > 0 else ASK, row] or 50_000
            bus.publish(
                OrderApproved(bus.now, self._order, 0, "joiner", EQUITY, side, self._open, limit, False, 0, "", 1.0)
            )

    def on_filled(self, event: OrderFilled) -> None:
        self._position += event.side * event.quantity
        self._open -= event.quantity
        if not self._open:
            self._order = ""

    def on_ended(self, event: OrderEnded) -> None:
        if event.order == self._order:
            self._order = ""


@pytest.mark.parametrize("latency", [0, 2])
@pytest.mark.parametrize("jitter", [0, 3])
@pytest.mark.parametrize("seed", range(5))
def test_a_strategy_that_waits_for_its_fills_decides_the_same_whatever_the_batch_size(
    seed: int, latency: int, jitter: int
) -> None:
    day = day_of(seed, 1500, 0, ("DAY",))

    def played(size: int) -> list[tuple[int, int, Event]]:
        bus = Bus()
        recorder = Recorder(bus)
        broker_on(bus, latency_ns=latency, jitter_ns=jitter)
        joiner = Joiner(bus)
        bus.subscribe(Rows, joiner.fold)
        bus.probe(joiner.probe)
        for batch in day.batches(size):
            bus.feed(batch, 0, batch.rows)
        return recorder.entries

    first = played(1)
    assert sum(isinstance(event, OrderFilled) for _, _, event in first) > 20
    for size in (7, 64, day.rows):
        assert played(size) == first
