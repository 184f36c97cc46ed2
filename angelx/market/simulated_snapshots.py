"""A chain as snapshots, the form in which the simulated market is compared with a recorded day.

The day was recorded as pages of the whole chain some 65 s apart; a simulated stream is looked at in the same way.
Prices are in ticks (0.05 rupees), quantities in lots, 0 = no quote, no trade.
"""

from collections.abc import Iterable
from datetime import date
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from angelx.domain.instruments import InstrumentTable, Right
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, EXCHANGE_AT, INSTRUMENT, LAST, OI, VOLUME, TickBatch
from angelx.market.simulated_chain import STEPS, TICK, liquidity_classes
from angelx.market.simulated_pricing import Floats, Integers

QUOTED: Final = ("bid", "ask", "bid_size", "ask_size", "last", "volume", "oi")
"""The fields of a snapshot, in the order of their first axis."""
_PRICES: Final = ("bid", "ask", "last")
_COLUMNS: Final = (BID, ASK, BID_SIZE, ASK_SIZE, LAST, VOLUME, OI)


class Snapshots(NamedTuple):
    """A chain at S moments: C contracts of E expiries."""

    session: date
    opens_at: int
    closes_at: int
    at: Integers
    """Shape (S,), ns, ascending."""
    expiries: tuple[date, ...]
    expiry: Integers
    """Shape (C,): place in `expiries`."""
    strike: Floats
    """Shape (C,), ticks."""
    call: NDArray[np.bool_]
    fields: Integers
    """Shape (7, S, C), in the order of `QUOTED`: prices in ticks, quantities in lots."""

    @property
    def elapsed(self) -> Floats:
        """Share of the session gone at each moment, shape (S,)."""
        return (self.at - self.opens_at) / (self.closes_at - self.opens_at)

    @property
    def classes(self) -> Integers:
        """Liquidity class of each contract, shape (C,)."""
        return np.array(liquidity_classes(self.session, self.expiries))[self.expiry]


def sampled(
    table: InstrumentTable, batches: Iterable[TickBatch], moments: Integers, span: tuple[int, int], session: date
) -> Snapshots:
    """What a snapshot page would have shown at `moments` (ns, ascending) of a stream; `span` is open and close."""
    chain = table.options("NSE:NIFTY")
    current = np.zeros((len(_COLUMNS), len(table)), np.int64)
    pages = np.zeros((len(_COLUMNS), moments.shape[0], len(table)), np.int64)
    page = 0
    for batch in batches:
        at, start = batch.table[EXCHANGE_AT], 0
        while page < moments.shape[0] and at[-1] > moments[page]:
            stop = int(np.searchsorted(at, moments[page], side="right"))
            _fold(current, batch, start, stop)
            pages[:, page] = current
            page, start = page + 1, stop
        _fold(current, batch, start, batch.rows)
    pages[:, page:] = current[:, None]
    options = [table[place] for place in chain]
    expiries = tuple(sorted({option.expiry for option in options if option.expiry is not None}))
    lots = np.array([option.lot_size for option in options])
    for n, name in enumerate(QUOTED):
        pages[n][:, list(chain)] //= TICK if name in _PRICES else lots
    return Snapshots(
        session, *span, moments, expiries,
        np.array([expiries.index(option.expiry) for option in options if option.expiry is not None]),
        np.array([option.strike / TICK for option in options]),
        np.array([option.right is Right.CALL for option in options]),
        pages[:, :, list(chain)],
    )  # fmt: skip


def _fold(current: Integers, batch: TickBatch, start: int, stop: int) -> None:
    """The last row of each instrument counts: numpy keeps the last of repeated indices in an assignment."""
    if stop > start:
        current[:, batch.table[INSTRUMENT, start:stop]] = batch.table[list(_COLUMNS), start:stop]


def on_ladder(s: Snapshots, spot_ticks: float, strikes: int) -> Snapshots:
    """Only the contracts that a simulated chain of that spot and number of strikes lists, so that like meets like."""
    step = np.array(STEPS)[s.classes] * 10_000 // TICK
    middle = np.round(spot_ticks / step) * step
    off = (s.strike - middle) / step
    keep = (s.strike % step == 0) & (off >= -((strikes - 1) // 2)) & (off <= strikes // 2)
    return s._replace(
        expiry=s.expiry[keep], strike=s.strike[keep], call=s.call[keep], fields=s.fields[:, :, keep]
    )  # fmt: skip


def recorded(path: str, opens_at: int, closes_at: int) -> Snapshots:
    """A recorded chain day (columns as in its README: quantities in units, volume and OI in lots), one page once.

    Pages whose exchange stamp repeats the one before are left out; a contract missing from a page has no quote there.
    """
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        name: column.to_numpy() for name, column in zip(*_table(pq.read_table(path)), strict=True)
    }
    stamps, first = np.unique(columns["ts_exch"].astype("datetime64[ns]").astype(np.int64), return_index=True)
    pages = columns["ts"][first]
    page = np.searchsorted(pages, columns["ts"])
    page = np.where((page < pages.shape[0]) & (pages[np.minimum(page, pages.shape[0] - 1)] == columns["ts"]), page, -1)
    expiries, expiry = np.unique(columns["expiry"].astype("datetime64[D]"), return_inverse=True)
    strike = np.round(columns["strike"] * 10_000 / TICK).astype(np.int64)
    contracts, place = np.unique((expiry << 40) + (strike << 1) + (columns["right"] == "CE"), return_inverse=True)
    fields = np.zeros((len(QUOTED), stamps.shape[0], contracts.shape[0]), np.int64)
    lot = columns["lot_size"]
    values = [
        *(np.round(np.nan_to_num(columns[name]) * 10_000 / TICK) for name in ("bid", "ask")),
        columns["bid_qty"] // lot, columns["ask_qty"] // lot,
        np.round(np.nan_to_num(columns["ltp"]) * 10_000 / TICK), columns["volume"], columns["oi"],
    ]  # fmt: skip
    on = page >= 0
    for n, value in enumerate(values):
        fields[n, page[on], place[on]] = value[on]
    days = tuple(date.fromisoformat(str(day)) for day in expiries)
    session = date.fromisoformat(str(stamps[0].astype("datetime64[ns]").astype("datetime64[D]")))
    return Snapshots(
        session, opens_at, closes_at, stamps, days,
        contracts >> 40, ((contracts >> 1) % (1 << 39)).astype(np.float64), contracts % 2 == 1, fields,
    )  # fmt: skip


def _table(table: Any) -> tuple[list[str], list[Any]]:
    return table.column_names, table.columns
