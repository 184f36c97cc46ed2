"""Random days for the venue: rows of three instruments, orders and cancels at some of them, and the stage that plays
them over the real bus.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from random import Random

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from angelx.bus.bus import Bus
from angelx.domain.events import CancelRequested, Event, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, FIELDS, INSTRUMENT, LAST, Rows, TickBatch

START = 1_000_000
TICK = 500
EQUITY, CALL, PUT = "US:X", "NFO:C", "NFO:P"


def option(name: str, right: Right) -> Instrument:
    return Instrument(
        id=name, symbol=name, segment="NFO", kind=Kind.OPTION, currency="INR", tick_size=TICK, lot_size=75,
        freeze_quantity=1800, underlying="NSE:N", expiry=date(2025, 9, 2), strike=100 * TICK, right=right,
    )  # fmt: skip


TABLE = InstrumentTable(
    [
        Instrument(
            id=EQUITY, symbol="X", segment="US", kind=Kind.EQUITY, currency="INR", tick_size=TICK, freeze_quantity=1000
        ),
        option(CALL, Right.CALL),
        option(PUT, Right.PUT),
        Instrument(id="NSE:N", symbol="N", segment="NSE", kind=Kind.INDEX, currency="INR", tick_size=TICK),
    ]
)
LOTS = [instrument.lot_size for instrument in TABLE]


def fee(instrument: Instrument, side: int, quantity: int, notional: int, at: int) -> int:
    """20 an order, and a share that rounds: not the sum over its parts."""
    return 200_000 + (notional * 3 + 500) // 1000 + (side < 0) * quantity


def always(instrument: Instrument, at: int) -> bool:
    return True


@dataclass(frozen=True)
class Act:
    """After row `row`: an order, or the cancel of the order number `cancels`."""

    row: int
    place: int
    side: int
    lots: int
    limit: int
    tif: str
    cancels: int | None

    def event(self, at: int, number: int) -> Event:
        if self.cancels is not None:
            return CancelRequested(at, f"o{self.cancels}", "test")
        name, lot = TABLE[self.place].id, LOTS[self.place]
        return OrderApproved(
            at, f"o{number}", number, "s", name, self.side, self.lots * lot, self.limit * TICK, False, 0, "", 1.0
        )


@dataclass(frozen=True)
class Day:
    table: NDArray[np.int64]
    acts: tuple[Act, ...]

    @property
    def rows(self) -> int:
        return int(self.table.shape[1])

    def batches(self, size: int) -> list[TickBatch]:
        return [TickBatch(self.table[:, i : i + size].copy()) for i in range(0, self.rows, size)]


def day_of(seed: int, rows: int, acts: int, tifs: Sequence[str]) -> Day:
    """A day whose quotes often stand still, are one-sided, locked, crossed or smaller than a lot.

    Fewer rows or acts are the beginning of the same day.
    """
    random, table, at = Random(seed), np.zeros((FIELDS, rows), np.int64), START
    quotes = [[100, 101, 3, 3] for _ in range(3)]
    for row in range(rows):
        place = row if row < 3 else random.randrange(3)
        at += random.choice((0, 0, 1, 1, 3))
        quote = quotes[place]
        for field, values in enumerate(((98, 99, 99, 100, 100, 101, 0), (-1, 0, 1, 1, 1, 2, 9), range(5), range(5))):
            if random.random() < 0.3:
                value = random.choice(values)
                quote[field] = value if field != 1 else 0 if value == 9 else max(quote[0], 98) + value
        bid, ask, bid_size, ask_size = quote
        lot = LOTS[place]
        table[[INSTRUMENT, AT, BID, ASK], row] = [place, at, bid * TICK, ask * TICK]
        table[[BID_SIZE, ASK_SIZE, LAST], row] = [bid_size * lot, ask_size * lot + (5 if lot > 1 else 0), 100 * TICK]
    random = Random(seed + 1)
    played = []
    for number in range(acts):
        place, side = random.randrange(3), random.choice((1, 1, -1))
        limit = 100 + side * random.choice((-2, -1, 0, 0, 1, 2)) + (side < 0)
        cancels = random.randrange(number) if number and random.random() < 0.25 else None
        played.append(
            Act(random.randrange(rows), place, side, random.randint(1, 9), limit, random.choice(tifs), cancels)
        )
    return Day(table, tuple(sorted(played, key=lambda act: act.row)))


def days(
    rows: int = 80, acts: int = 30, tifs: Sequence[str] = ("DAY", "DAY", "DAY", "IOC", "FOK")
) -> st.SearchStrategy[Day]:
    """Random days."""
    return st.builds(day_of, st.integers(0, 2**32), st.integers(3, rows), st.integers(0, acts), st.just(tifs))


class Script:
    """A stage that decides at the rows of a script: publishes its acts, and hands approved orders to the broker."""

    def __init__(self, bus: Bus, acts: Sequence[Act]) -> None:
        self._bus = bus
        self._acts = list(enumerate(acts))

    def probe(self, batch: TickBatch, start: int, stop: int) -> int:
        if not self._acts:
            return stop
        return min(stop, start + self._acts[0][1].row - self._bus.row + 1)

    def fold(self, rows: Rows) -> None:
        bus = self._bus
        while self._acts and self._acts[0][1].row == bus.row - 1:
            number, act = self._acts.pop(0)
            bus.publish(act.event(bus.now, number))


REPORTS = (OrderAccepted, OrderFilled, OrderEnded)
RECORDED = (OrderApproved, CancelRequested, *REPORTS)


class Recorder:
    """Everything published, with its number and the rows before it."""

    def __init__(self, bus: Bus) -> None:
        self.entries: list[tuple[int, int, Event]] = []
        for kind in RECORDED:
            bus.subscribe(kind, lambda event: self.entries.append((bus.seq, bus.row, event)))

    @property
    def events(self) -> list[Event]:
        return [event for _, _, event in self.entries]

    @property
    def reports(self) -> list[Event]:
        return [event for event in self.events if isinstance(event, REPORTS)]
