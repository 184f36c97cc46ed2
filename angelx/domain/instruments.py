"""What can be quoted or traded, and the dense table that gives each instrument its column index."""

from collections.abc import Iterable, Iterator
from datetime import date
from enum import StrEnum
from typing import Final

import msgspec

UNBOUNDED: Final = 2**62


class Kind(StrEnum):
    """What an instrument is."""

    INDEX = "index"
    EQUITY = "equity"
    OPTION = "option"


class Right(StrEnum):
    """What an option gives the right to: a call buys, a put sells."""

    CALL = "call"
    PUT = "put"


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument of one segment, as its broker's or recording's master describes it."""

    id: str
    """Stable name, unique in a run: `NFO:NIFTY:2025-09-02:24500:CE`, `US:IBM`. Never parsed."""
    symbol: str
    segment: str
    """`NSE` (cash and indices), `NFO` (NSE derivatives), `US` (equities), `OPRA` (US options)."""
    kind: Kind
    currency: str
    tick_size: int
    """Smallest price step, 1/10,000."""
    lot_size: int = 1
    """Units in one lot; every order is a multiple of it."""
    freeze_quantity: int = 0
    """Largest units in one order; 0 = unknown, then one lot (SPEC 1.1)."""
    underlying: str = ""
    """`id` of the underlying; empty for what has none."""
    expiry: date | None = None
    strike: int = 0
    """Price, 1/10,000; 0 for what has none."""
    right: Right | None = None
    tradable: bool = True

    def __post_init__(self) -> None:
        if self.tick_size <= 0 or self.lot_size <= 0 or self.freeze_quantity < 0:
            raise ValueError(f"{self.id}: tick_size and lot_size must be positive, freeze_quantity not negative")
        if self.kind is Kind.OPTION and (self.expiry is None or self.right is None or self.strike <= 0):
            raise ValueError(f"{self.id}: an option needs expiry, strike and right")

    @property
    def largest_order(self) -> int:
        """Units that one order may carry: the freeze quantity in whole lots; where it is unknown one lot of an option,
        and of others any number.
        """
        if not self.freeze_quantity and self.kind is not Kind.OPTION:
            return UNBOUNDED
        return max(self.freeze_quantity // self.lot_size, 1) * self.lot_size


class InstrumentTable:
    """Instruments in a fixed order; an instrument's place is its column index in every tick batch.

    Raises
    ------
    ValueError
        Two instruments share an id.
    """

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self.all = tuple(instruments)
        """By place."""
        self.index = {instrument.id: place for place, instrument in enumerate(self.all)}
        if len(self.index) != len(self.all):
            raise ValueError("two instruments share an id")

    def __len__(self) -> int:
        return len(self.all)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self.all)

    def __getitem__(self, place: int) -> Instrument:
        return self.all[place]

    def get(self, instrument_id: str) -> Instrument | None:
        """The instrument of that id, `None` where it is unknown."""
        place = self.index.get(instrument_id)
        return None if place is None else self.all[place]

    @property
    def currency(self) -> str | None:
        """What can be traded is traded in this; `None` where nothing can."""
        return next((instrument.currency for instrument in self.all if instrument.tradable), None)

    def options(self, underlying: str) -> tuple[int, ...]:
        """Places of all options on an underlying, in table order."""
        return tuple(
            place
            for place, instrument in enumerate(self.all)
            if instrument.kind is Kind.OPTION and instrument.underlying == underlying
        )
