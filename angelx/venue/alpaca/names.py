"""How Alpaca names and writes things: symbols, UUIDs, numbers as text, numbers as numbers."""

from decimal import Decimal
from typing import Final
from uuid import UUID, uuid5

from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.scalars import SCALE, price_text

SPACE: Final = UUID("8c2c9a36-55c0-5d0e-9a4f-2f0f6a3d0a4c")
"""Namespace of every id this server makes: the same thing always has the same id."""


def wire_id(kind: str, name: str) -> str:
    """The UUID of a thing."""
    return str(uuid5(SPACE, f"{kind}:{name}"))


def text(amount: int) -> str:
    """Money or a price as text without exponent and without zeros at the end: `104.5`."""
    return price_text(amount)


def plain(number: Decimal) -> str:
    """A decimal as text without exponent and without zeros at the end."""
    shown = f"{number:f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def number(amount: int) -> float:
    """Money or a price as a JSON number; a double holds its four decimals exactly enough to print them."""
    return amount / SCALE


def occ_symbol(root: str, instrument: Instrument) -> str:
    """An option's symbol: root, YYMMDD, C or P, strike times 1,000 in eight digits."""
    assert instrument.expiry is not None
    letter = "C" if instrument.right is Right.CALL else "P"
    return f"{root}{instrument.expiry:%y%m%d}{letter}{instrument.strike * 1_000 // SCALE:08d}"


class Symbols:
    """The wire symbols of a table's tradable instruments in dollars."""

    def __init__(self, table: InstrumentTable, currency: str = "USD") -> None:
        self.by_symbol: dict[str, Instrument] = {}
        """Shares and options by symbol and by asset id."""
        self.of: dict[str, str] = {}
        """Symbol by instrument id."""
        self.roots: dict[str, str] = {}
        """Option root by instrument id."""
        for instrument in table:
            if instrument.currency == currency and instrument.kind is not Kind.INDEX:
                symbol = self._named(table, instrument)
                self.of[instrument.id] = symbol
                self.by_symbol[symbol] = self.by_symbol[asset_id(instrument)] = instrument

    def _named(self, table: InstrumentTable, instrument: Instrument) -> str:
        if instrument.kind is not Kind.OPTION:
            return instrument.symbol
        below = table.get(instrument.underlying)
        root = below.symbol if below is not None else "XX"
        symbol, number = occ_symbol(root, instrument), 0
        while symbol in self.by_symbol:  # Another class on the same underlying: roots of those end in a digit.
            number += 1
            symbol = occ_symbol(f"{root}{number}", instrument)
        self.roots[instrument.id] = f"{root}{number}" if number else root
        return symbol

    @property
    def shares(self) -> list[Instrument]:
        """Shares, by symbol."""
        return self._all(is_option=False)

    @property
    def options(self) -> list[Instrument]:
        """Options, by symbol."""
        return self._all(is_option=True)

    def _all(self, *, is_option: bool) -> list[Instrument]:
        ordered = sorted((symbol, name) for name, symbol in self.of.items())
        found = (self.by_symbol[symbol] for symbol, _ in ordered)
        return [instrument for instrument in found if (instrument.kind is Kind.OPTION) == is_option]


def asset_id(instrument: Instrument) -> str:
    """UUID of an asset or contract."""
    return wire_id("asset", instrument.id)


def each(instrument: Instrument) -> int:
    """Units in one of what orders count: a share, or a contract."""
    return instrument.lot_size if instrument.kind is Kind.OPTION else 1
