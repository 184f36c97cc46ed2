"""Which line every option of a run has in the columns of the chain: by underlying, expiry, strike, call before put."""

from collections.abc import Sequence
from datetime import date
from itertools import groupby

import msgspec
import numpy as np
from numpy.typing import NDArray

from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.scalars import SCALE
from angelx.domain.ticks import Table
from angelx.market.black76 import EXPIRY, SIDE, STRIKE, TICK, WIDTH, Floats


class ExpiryLine(msgspec.Struct, frozen=True):
    """One expiry of one underlying."""

    line: int
    """Among all expiries of the run."""
    underlying: str
    expiry: date
    segment: str
    first: int
    stop: int
    """Its contracts are the lines [first, stop)."""
    strikes: Table
    """Ascending, 1/10,000."""
    calls: Table
    """By strike the contract's line, -1 where there is none."""
    puts: Table
    rank: int
    """Among the expiries of its underlying, the nearest 0."""
    lot: int


class ChainLayout:
    """Lines of contracts and expiries, and where they are in the instrument table."""

    def __init__(self, table: InstrumentTable) -> None:
        options = sorted(
            (place for place, instrument in enumerate(table) if instrument.kind is Kind.OPTION),
            key=lambda place: _order(table[place]),
        )
        self.places: Table = np.array(options, np.int64)
        """By line, in the instrument table."""
        self.lines: Table = np.full(len(table), -1, np.int64)
        """By place; -1 for what is no option."""
        self.lines[self.places] = np.arange(len(options))
        self.contracts: Floats = np.zeros((len(options), WIDTH))
        """As `black76.analyse` takes them."""
        self.steps: Table = np.zeros(len(options), np.int64)
        """By contract: which strike of its expiry it has, the lowest 0."""
        self.expiry_of: Table = np.zeros(len(options), np.int64)
        self.ranks: Table = np.zeros(len(options), np.int64)
        self.lots: NDArray[np.float64] = np.array([table[place].lot_size for place in options], np.float64)
        self.expiries: list[ExpiryLine] = []
        self.by_underlying: dict[str, list[ExpiryLine]] = {}
        first = 0
        for _, members in groupby((table[place] for place in options), key=_expiry):
            group = list(members)
            self._add(group, first)
            first += len(group)

    def _add(self, options: Sequence[Instrument], first: int) -> None:
        one = options[0]
        assert one.expiry is not None
        line, stop = len(self.expiries), first + len(options)
        strikes = sorted({option.strike for option in options})
        ordinal = {strike: number for number, strike in enumerate(strikes)}
        legs = {Right.CALL: np.full(len(strikes), -1, np.int64), Right.PUT: np.full(len(strikes), -1, np.int64)}
        for place, option in enumerate(options, first):
            assert option.right is not None
            step, leg = ordinal[option.strike], legs[option.right]
            if leg[step] < 0:  # Of two roots with the same terms (SPX and SPXW) the first by id stands for the strike.
                leg[step] = place
            self.steps[place] = step
            self.contracts[place, STRIKE] = option.strike / SCALE
            self.contracts[place, SIDE] = 1.0 if option.right is Right.CALL else -1.0
            self.contracts[place, EXPIRY] = line
            self.contracts[place, TICK] = option.tick_size / SCALE
        family = self.by_underlying.setdefault(one.underlying, [])
        self.expiry_of[first:stop] = line
        self.ranks[first:stop] = len(family)
        found = ExpiryLine(
            line, one.underlying, one.expiry, one.segment, first, stop, np.array(strikes, np.int64),
            legs[Right.CALL], legs[Right.PUT], len(family), one.lot_size,
        )  # fmt: skip
        family.append(found)
        self.expiries.append(found)

    def __len__(self) -> int:
        return len(self.places)


def _expiry(option: Instrument) -> tuple[str, date]:
    assert option.expiry is not None
    return option.underlying, option.expiry


def _order(option: Instrument) -> tuple[str, date, int, bool, str]:
    assert option.expiry is not None
    return option.underlying, option.expiry, option.strike, option.right is Right.PUT, option.id
