"""Instruments from the columns of recordings. Nothing is parsed out of a symbol.

What the columns do not say comes from the exchanges' own rules, stated beside each constant.
"""

from collections.abc import Callable, Iterable
from datetime import date
from typing import Final

from angelx.adapters.recorded.days import INDIA, date_of
from angelx.adapters.recorded.layouts import NSE_CHAIN, OPTION_BARS, OPTION_OI, OPTION_QUOTE_BARS, Layout
from angelx.adapters.recorded.survey import Key, Survey, call_or_put
from angelx.domain.errors import InputInvalid
from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.scalars import SCALE, price_text

PAISE_5: Final = 500
"""NSE: options and most shares are quoted in steps of 0.05 rupees."""
CENT: Final = 100
"""US: quotes from a dollar up are in steps of 0.01 (Regulation NMS, rule 612). Options that are quoted in steps of 0.05
or 0.10 only are quoted on cents too; which they are is not in the recordings."""
US_MULTIPLIER: Final = 100
"""Shares of one standard US option contract; sizes, volume and open interest of these recordings are contracts."""
US_LARGEST: Final = 999_999
"""Most shares (or contracts) in one order (Nasdaq Equity 4, rule 4703; Cboe likewise)."""

Freeze = Callable[[str, date], int]
_OPTIONS: Final = (OPTION_BARS, OPTION_QUOTE_BARS, OPTION_OI)


class Catalogue:
    """Names instruments of several files in one way, and keeps those asked for in a table.

    Parameters
    ----------
    surveys
        All files of the recording: which symbols are indices is seen from all of them.
    freeze
        Freeze quantity of an NSE underlying on a date, units; `None` = unknown.
    glance
        A contract whose lot size changes keeps its first one.
    """

    def __init__(self, surveys: Iterable[Survey], freeze: Freeze | None, *, glance: bool = False) -> None:
        self._freeze, self._glance = freeze, glance
        self._found: dict[str, Instrument] = {}
        self._where: dict[str, str] = {}
        self._indices: set[tuple[str, str]] = set()
        for survey in surveys:
            self._note_indices(survey)

    def _note_indices(self, survey: Survey) -> None:
        """An index underlies a chain or European options, has bars without volume, or a file named for it."""
        layout, market = survey.layout, "NSE" if survey.zone == INDIA else "US"
        for key, _ in survey.groups:
            if layout in _OPTIONS:
                is_index = key[2] == "european"
            elif layout is NSE_CHAIN:
                is_index = True
            else:
                is_bar_of_index = survey.stored.path.name.startswith("index_bars") or key not in survey.traded
                is_index = layout.name == "bars" and is_bar_of_index
            if is_index:
                self._indices.add((market, key[0]))

    def identity(self, survey: Survey, key: Key) -> str:
        """The id of the instrument that a key of the file names."""
        if survey.layout is NSE_CHAIN:
            symbol, expiry, strike, right, _ = key
            return f"NFO:{symbol}:{expiry}:{_strike_text(strike)}:{call_or_put(right)}"
        if survey.layout in _OPTIONS:
            _, root, _, expiry, strike, right = key
            return f"OPRA:{root}:{expiry}:{_strike_text(strike)}:{call_or_put(right)[0]}"
        return underlying_id(survey, key[0])

    def add(self, survey: Survey, key: Key, day: int, row: int) -> Instrument:
        """Keep the instrument of a key, and what underlies it; `day` and `row` are of its first row.

        Raises
        ------
        InputInvalid
            The same contract has another lot size elsewhere in the recording.
        """
        name = self.identity(survey, key)
        instrument = self._instrument(name, survey, key, day)
        known = self._found.setdefault(name, instrument)
        source = self._where.setdefault(name, str(survey.stored.path))
        if known.lot_size != instrument.lot_size and not self._glance:
            raise InputInvalid(
                f"{survey.stored.path}: column lot_size, row {row}: {name} has lots of {instrument.lot_size}, but of "
                f"{known.lot_size} in {source}: replay the days apart (--from, --to)"
            )
        if instrument.underlying:
            self._found.setdefault(instrument.underlying, self._spot(survey, key[0]))
        return known

    def table(self) -> InstrumentTable:
        """All that was added: underlyings and shares first, then options by underlying, expiry, strike and right."""
        return InstrumentTable(sorted(self._found.values(), key=_order))

    def _instrument(self, name: str, survey: Survey, key: Key, day: int) -> Instrument:
        layout: Layout = survey.layout
        if layout is NSE_CHAIN:
            symbol, expiry, strike, right, lot = key
            return Instrument(
                id=name,
                symbol=f"{symbol} {expiry} {_strike_text(strike)} {call_or_put(right)}",
                segment="NFO",
                kind=Kind.OPTION,
                currency="INR",
                tick_size=PAISE_5,
                lot_size=int(lot),
                freeze_quantity=0 if self._freeze is None else self._freeze(symbol, date_of(day)),
                underlying=underlying_id(survey, symbol),
                expiry=expiry,
                strike=_strike(strike),
                right=_right(right),
            )
        if layout in _OPTIONS:
            underlying, root, _, expiry, strike, right = key
            return Instrument(
                id=name,
                symbol=f"{root} {expiry} {_strike_text(strike)} {call_or_put(right)[0]}",
                segment="OPRA",
                kind=Kind.OPTION,
                currency="USD",
                tick_size=CENT,
                lot_size=US_MULTIPLIER,
                freeze_quantity=US_LARGEST * US_MULTIPLIER,
                underlying=underlying_id(survey, underlying),
                expiry=expiry,
                strike=_strike(strike),
                right=_right(right),
            )
        return self._spot(survey, key[0])

    def _spot(self, survey: Survey, symbol: str) -> Instrument:
        """A share or an index, by its symbol."""
        market = "NSE" if survey.zone == INDIA else "US"
        is_index = (market, symbol) in self._indices
        is_indian_share = market == "NSE" and not is_index
        return Instrument(
            id=underlying_id(survey, symbol),
            symbol=symbol,
            segment=market,
            kind=Kind.INDEX if is_index else Kind.EQUITY,
            currency="INR" if market == "NSE" else "USD",
            tick_size=PAISE_5 if is_indian_share else CENT,
            freeze_quantity=0 if is_index or is_indian_share else US_LARGEST,
            tradable=not is_index,
        )


def underlying_id(survey: Survey, symbol: str) -> str:
    """The id of a share or an index of the file's market."""
    return f"NSE:{symbol}" if survey.zone == INDIA else f"US:{symbol}"


def _strike(strike: float) -> int:
    return round(strike * SCALE)


def _strike_text(strike: float) -> str:
    return price_text(_strike(strike))


def _right(right: str) -> Right:
    return Right.CALL if call_or_put(right) == "CE" else Right.PUT


def _order(instrument: Instrument) -> tuple[bool, str, date, int, str, str]:
    is_option = instrument.kind is Kind.OPTION
    expiry = instrument.expiry or date.min
    return (is_option, instrument.underlying, expiry, instrument.strike, str(instrument.right), instrument.id)
