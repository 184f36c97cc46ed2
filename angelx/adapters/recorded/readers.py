"""Rows of each schema as updates (docs/recordings.md says what every column becomes)."""

from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from angelx.adapters.recorded.choice import Chosen, Group
from angelx.adapters.recorded.columns import Column, Flags, Ints, flags, nanoseconds, nulls, prices, units
from angelx.adapters.recorded.days import day_number, start_of
from angelx.adapters.recorded.layouts import (
    CONTRACT,
    NSE_CHAIN,
    OPTION_OI,
    QUOTE_TICKS,
    TRADE_TICKS,
    Role,
)
from angelx.adapters.recorded.stored import distinct
from angelx.adapters.recorded.survey import Heads, keys_of
from angelx.adapters.recorded.updates import DAY, TRADED, UNSET, updates
from angelx.domain.errors import InputInvalid
from angelx.domain.instruments import InstrumentTable
from angelx.domain.ticks import (
    ASK,
    ASK_SIZE,
    AT,
    BID,
    BID_SIZE,
    EXCHANGE_AT,
    INSTRUMENT,
    LAST,
    OI,
    VOLUME,
    Table,
)

NOT_LAST: Final = sum(1 << bit for bit in (1, 2, 3, 9, 11, 14, 18, 20, 22, 24, 25, 26, 31))
"""Sale conditions of trades whose price is not the last price, although their volume counts: cash, next day, seller,
derivatively priced, sold late, out of sequence, stock-option, average price, price variation, official close, prior
reference price, official open, odd lot. Bits of LEAN's TradeConditionFlags; rules of the consolidated tapes (CTS and
UTP specifications, eligibility of sale conditions to update the last price). Trades of extended hours stay."""


_ROWS: Final = 30_000
"""Read at once of each file: several files are open at the same time."""


class Reader(msgspec.Struct, kw_only=True):
    """Reads what was chosen of one file."""

    chosen: Chosen
    instruments: InstrumentTable
    spread: dict[Group, float]
    """Groups of bars that get a made-up touch, with its width as a fraction of the price."""
    begin: int | None
    end: int | None
    rounded: int = 0
    """Prices read so far that lay between two integers of 1/10,000."""

    def tables(self) -> Iterator[Table]:
        """Updates in order of time, from the start of the exchange day of `begin` to `end`."""
        survey = self.chosen.survey
        layout, stored = survey.layout, survey.stored
        extra = ["suspicious"] if layout.ticks else []
        if layout is NSE_CHAIN and "ts_exch" in stored.optional:
            extra.append("ts_exch")
        if self.chosen.spots:
            extra.append("spot")
        low = -(2**63) if self.begin is None else start_of(day_number(self.begin, survey.zone), survey.zone)
        high = 2**63 - 1 if self.end is None else self.end
        index = self.instruments.index
        places = {group: index[name] for group, name in self.chosen.groups.items() if name in index}
        heads = Heads()
        for batch in stored.batches(["ts", *layout.key, *layout.numbers, *layout.texts, *extra], _ROWS):
            stamps = nanoseconds(batch.column("ts"))
            known_at = stamps + survey.length_ns
            if known_at[-1] < low:
                continue
            if known_at[0] >= high:
                return
            which, _, groups = keys_of(batch, layout, stamps, survey.zone)
            table = updates(len(stamps))
            table[AT] = table[EXCHANGE_AT] = known_at
            table[INSTRUMENT] = np.array([places.get(group, -1) for group in groups], np.int64)[which]
            table[DAY] = np.array([day for _, day in groups], np.int64)[which]
            used = (known_at >= low) & (known_at < high) & (table[INSTRUMENT] >= 0)
            if layout.ticks:
                used &= ~flags(batch.column("suspicious"))
            self._fill(table, batch, which, groups)
            if "spot" in extra:
                spots = self._spots(batch, table, heads.of(batch, stamps) & (known_at >= low) & (known_at < high))
                table = _with_spots(table, used, spots)
            elif not used.all():
                table = table[:, used]
            if table.shape[1]:
                yield table

    # ------------------------------------------------------------ each schema
    def _fill(self, table: Table, batch: pa.RecordBatch, which: Ints, groups: list[Group]) -> None:
        layout = self.chosen.survey.layout
        if layout is NSE_CHAIN:
            self._chain(table, batch, np.array([int(key[-1]) for key, _ in groups], np.int64)[which])
            return
        per_lot = 100 if layout.key == CONTRACT else 1
        if layout is QUOTE_TICKS:
            self._side(table, batch.column("bid"), batch.column("bid_size"), 1, BID)
            self._side(table, batch.column("ask"), batch.column("ask_size"), 1, ASK)
        elif layout.role is Role.QUOTES:
            self._side(table, batch.column("bid_close"), batch.column("bid_size"), per_lot, BID)
            self._side(table, batch.column("ask_close"), batch.column("ask_size"), per_lot, ASK)
        elif layout is TRADE_TICKS:
            self._trades(table, batch)
        elif layout is OPTION_OI:
            table[OI] = units(batch.column("open_interest"), per_lot, 0)
        else:
            table[LAST] = self._prices(batch.column("close"), 0)
            table[TRADED] = units(batch.column("volume"), per_lot, 0)
            if self.spread:
                self._made_up_touch(table, per_lot, np.array([self.spread.get(group, 0.0) for group in groups])[which])

    def _prices(self, column: Column, absent: int) -> Ints:
        result, rounded = prices(column, absent)
        self.rounded += rounded
        return result

    def _chain(self, table: Table, batch: pa.RecordBatch, lots: Ints) -> None:
        """A row of the chain says everything about its contract: what is null is not there."""
        if "ts_exch" in batch.schema.names:
            stamps = batch.column("ts_exch")
            table[EXCHANGE_AT] = np.where(nulls(stamps), table[AT], nanoseconds(stamps))
        table[BID] = self._prices(batch.column("bid"), 0)
        table[ASK] = self._prices(batch.column("ask"), 0)
        table[BID_SIZE] = units(batch.column("bid_qty"), 1, 0)
        table[ASK_SIZE] = units(batch.column("ask_qty"), 1, 0)
        table[LAST] = self._prices(batch.column("ltp"), 0)
        table[VOLUME] = units(batch.column("volume"), lots, 0)
        table[OI] = units(batch.column("oi"), lots, 0)

    def _side(self, table: Table, price: Column, size: Column, per_lot: int, field: int) -> None:
        """One side of a quote; where its price is null the row says nothing of it."""
        table[field] = self._prices(price, UNSET)
        silent = table[field] == UNSET
        table[BID_SIZE if field == BID else ASK_SIZE] = np.where(silent, UNSET, units(size, per_lot, 0))

    def _trades(self, table: Table, batch: pa.RecordBatch) -> None:
        which, _, values = distinct([batch.column("sale_condition")])
        conditions = np.array([self._condition(value) for (value,) in values], np.int64)
        is_last = conditions[which] & NOT_LAST == 0
        price = self._prices(batch.column("price"), UNSET)
        table[LAST] = np.where(is_last | (price < 0), price, UNSET)
        table[TRADED] = units(batch.column("size"), 1, 0)

    def _condition(self, text: str | None) -> int:
        try:
            return int(text or "0", 16)
        except ValueError as error:
            path = self.chosen.survey.stored.path
            raise InputInvalid(f"{path}: column sale_condition: expected hexadecimal flags, was {text!r}") from error

    def _made_up_touch(self, table: Table, per_lot: int, spread: NDArray[np.float64]) -> None:
        """Bid and ask half the spread away from the close, outwards to the tick, never closer than one; as much is
        shown as was traded in the bar, at least one lot.
        """
        last, traded = table[LAST], table[TRADED]
        made = (spread > 0) & (last > 0) & (traded >= 0)
        ticks = np.array([instrument.tick_size for instrument in self.instruments], np.int64)
        tick = ticks[np.maximum(table[INSTRUMENT], 0)]
        half = np.rint(last * spread / 2).astype(np.int64)
        bid = (last - half) // tick * tick
        ask = -((-last - half) // tick) * tick
        ask = np.maximum(ask, bid + tick)
        size = np.maximum(traded, per_lot)
        for field, column in ((BID, bid), (ASK, ask), (BID_SIZE, size), (ASK_SIZE, size)):
            table[field] = np.where(made, np.maximum(column, 0), UNSET)

    # ------------------------------------------------------------ the underlying's value in a chain
    def _spots(self, batch: pa.RecordBatch, table: Table, heads: Flags) -> Table:
        """An update of the underlying before each snapshot that has its value; elsewhere a place of -1."""
        column = batch.column("spot")
        spots = updates(table.shape[1])
        spots[AT], spots[EXCHANGE_AT], spots[DAY] = table[AT], table[EXCHANGE_AT], table[DAY]
        spots[LAST] = self._prices(column, UNSET)
        spots[INSTRUMENT] = -1
        rows = np.flatnonzero(heads & ~nulls(column))
        names = batch.column("symbol")
        for row in rows.tolist():
            name = self.chosen.spots.get((names[row].as_py(), int(table[DAY, row])))
            if name is not None:
                spots[INSTRUMENT, row] = self.instruments.index.get(name, -1)
        return spots


def _with_spots(table: Table, used: Flags, spots: Table) -> Table:
    """Used rows, each after the spot of its snapshot."""
    both = np.stack((spots, table), axis=2).reshape(table.shape[0], -1)
    keep = np.stack((spots[INSTRUMENT] >= 0, used), axis=1).reshape(-1)
    return np.ascontiguousarray(both[:, keep])
