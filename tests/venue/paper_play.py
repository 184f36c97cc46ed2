"""A day of orders through the paper broker, over the real bus."""

from typing import Any

import numpy as np

from angelx.adapters.paper import PaperBroker
from angelx.bus.bus import Bus
from angelx.domain.events import CancelRequested, OrderApproved
from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, INSTRUMENT, LAST, Rows, batch_of
from angelx.market.state import MarketState
from angelx.venue.admission import Bands
from tests.venue.market_day import TABLE, TICK, Day, Recorder, Script, always, fee

MONEY = 10**15
END = 10**12
"""Later than any row or report."""


class MixedPaperBroker(PaperBroker):
    """Time in force by order, as a wire server would have it."""

    def __init__(self, *args: Any, tifs: dict[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.tifs = tifs

    def submit(self, order: OrderApproved) -> None:
        self._tif = self.tifs.get(order.order, "DAY")
        super().submit(order)


def broker_on(bus: Bus, *, tifs: dict[str, str] | None = None, **options: Any) -> PaperBroker:
    """A wired broker: rows, probe, orders and cancels."""
    state = MarketState(TABLE)
    defaults: dict[str, Any] = {
        "cash": MONEY, "fee": fee, "is_open": always, "seed": 7, "bands": Bands(equity_pct=0, option_pct=0),
    }  # fmt: skip
    broker = MixedPaperBroker(bus, state, TABLE, tifs=tifs or {}, **defaults | options)
    bus.subscribe(Rows, state.fold)
    bus.subscribe(Rows, broker.fold)
    bus.probe(broker.probe)
    bus.subscribe(OrderApproved, broker.submit)
    bus.subscribe(CancelRequested, lambda event: broker.cancel(event.order))
    return broker


def feed(bus: Bus, asks: list[int], *, at: int = 100, every: int = 10, place: int = 0, size: int = 75_000) -> None:
    """Rows of one instrument, the bid a tick below the ask."""
    ask = np.array(asks, np.int64) * TICK
    times = at + every * np.arange(len(asks))
    batch = batch_of(
        {INSTRUMENT: place, AT: times, BID: ask - TICK, ASK: ask, BID_SIZE: size, ASK_SIZE: size, LAST: ask}
    )
    bus.feed(batch, 0, batch.rows)


def play(day: Day, size: int, **options: Any) -> tuple[PaperBroker, Recorder]:
    """A day in batches of `size` rows; every timer due after it fires."""
    bus = Bus()
    recorder = Recorder(bus)
    broker = broker_on(bus, tifs={f"o{number}": act.tif for number, act in enumerate(day.acts)}, **options)
    script = Script(bus, day.acts)
    bus.subscribe(Rows, script.fold)
    bus.probe(script.probe)
    for batch in day.batches(size):
        bus.feed(batch, 0, batch.rows)
    bus.advance(END)
    return broker, recorder
