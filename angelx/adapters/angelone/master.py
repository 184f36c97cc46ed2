"""The scrip master: Angel One's instruments as ours, and how the broker names each; one file a trading date.

Every value of the file is a string. Strikes and ticks are x 100; a token means something only together with its
exchange and the file's date. Nothing is parsed out of a symbol, with one exception the file forces on us: whether an
option is a call or a put is said nowhere but in the symbol's last two letters.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Final

import msgspec

from angelx.adapters.state_dir import durable_write
from angelx.domain.instruments import Instrument, Kind, Right
from angelx.domain.scalars import price_of, price_text

EXCHANGE_TYPES: Final = {"NSE": 1, "NFO": 2, "BSE": 3, "BFO": 4}
"""Segments we know, and their numbers on the market stream."""
SPOT: Final = {"NFO": "NSE", "BFO": "BSE"}
"""Where the underlyings of a derivatives segment trade."""
OPTIONS: Final = ("OPTIDX", "OPTSTK")
INDEX: Final = "AMXIDX"
INDEX_TICK: Final = 500
"""The file has 0 for indices: NSE publishes them in steps of 0.05."""
RIGHTS: Final = {"CE": Right.CALL, "PE": Right.PUT}
_MONTHS: Final = {
    name: number + 1
    for number, name in enumerate(("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"))
}
_PER_RUPEE: Final = 100

Freeze = Callable[[str, date], int | None]
"""Largest order in derivatives of an underlying's name on a date, units; `None` = unknown."""


class ScripRow(msgspec.Struct):
    """One line of the file."""

    token: str
    symbol: str
    name: str
    expiry: str
    strike: str
    lotsize: str
    instrumenttype: str
    exch_seg: str
    tick_size: str


class Contract(msgspec.Struct, frozen=True):
    """An instrument and what the broker calls it today."""

    instrument: Instrument
    exchange: str
    token: str
    symbol: str
    exchange_type: int


class ScripMaster:
    """The instruments of one trading date.

    Parameters
    ----------
    refused
        Lines that were not taken, by reason.
    """

    def __init__(self, day: date, contracts: Iterable[Contract], refused: Mapping[str, int]) -> None:
        self.day = day
        self.by_id = {contract.instrument.id: contract for contract in contracts}
        self.by_token = {(contract.exchange, contract.token): contract for contract in self.by_id.values()}
        self.refused = dict(refused)


def read_master(raw: bytes, day: date, freeze: Freeze) -> ScripMaster:
    """The file of a day.

    Raises
    ------
    ValueError
        It is no such file, or holds nothing we know.
    """
    try:
        rows = msgspec.json.decode(raw, type=list[ScripRow])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"scrip master of {day}: {error}") from error
    refused: Counter[str] = Counter()
    contracts: dict[str, Contract] = {}
    for row in rows:
        try:
            contract = _contract(row, day, freeze)
        except ValueError as error:
            refused[f"bad line: {str(error).partition(':')[0]}"] += 1
            continue
        if contract is None:
            refused["other segment or kind"] += 1
        elif contracts.setdefault(contract.instrument.id, contract) is not contract:
            refused["same instrument twice"] += 1
    if not contracts:
        raise ValueError(f"scrip master of {day}: {len(rows)} lines, none that we know")
    return ScripMaster(day, contracts.values(), refused)


def _contract(row: ScripRow, day: date, freeze: Freeze) -> Contract | None:
    exchange = row.exch_seg
    if exchange not in EXCHANGE_TYPES or not row.token or not row.name:
        return None
    if row.instrumenttype in OPTIONS:
        instrument = _option(row, day, freeze)
    elif row.instrumenttype in {INDEX, ""} and exchange not in SPOT:
        instrument = _spot(row)
    else:
        return None
    return (
        None if instrument is None else Contract(instrument, exchange, row.token, row.symbol, EXCHANGE_TYPES[exchange])
    )


def _spot(row: ScripRow) -> Instrument:
    """An index or a share. The ordinary series of a share has its name; others keep their symbol."""
    if row.instrumenttype == INDEX:
        return Instrument(
            id=f"{row.exch_seg}:{row.name}", symbol=row.name, segment=row.exch_seg, kind=Kind.INDEX, currency="INR",
            tick_size=_paise("tick_size", row.tick_size) or INDEX_TICK, tradable=False,
        )  # fmt: skip
    symbol = row.name if row.symbol in {row.name, f"{row.name}-EQ"} else row.symbol
    return Instrument(
        id=f"{row.exch_seg}:{symbol}", symbol=symbol, segment=row.exch_seg, kind=Kind.EQUITY, currency="INR",
        tick_size=_paise("tick_size", row.tick_size), lot_size=_units(row.lotsize),
    )  # fmt: skip


def _option(row: ScripRow, day: date, freeze: Freeze) -> Instrument | None:
    right = RIGHTS.get(row.symbol[-2:])
    expiry = _expiry(row.expiry)
    if right is None:
        raise ValueError("symbol: ends with neither CE nor PE")
    if expiry < day:
        return None
    strike = _paise("strike", row.strike)
    return Instrument(
        id=f"{row.exch_seg}:{row.name}:{expiry}:{price_text(strike)}:{row.symbol[-2:]}", symbol=row.symbol,
        segment=row.exch_seg, kind=Kind.OPTION, currency="INR", tick_size=_paise("tick_size", row.tick_size),
        lot_size=_units(row.lotsize),
        freeze_quantity=freeze(row.name, day) or 0, underlying=f"{SPOT[row.exch_seg]}:{row.name}", expiry=expiry,
        strike=strike, right=right,
    )  # fmt: skip


def _paise(name: str, text: str) -> int:
    """A price that the file has x 100, 1/10,000."""
    price = price_of(text)
    if price % _PER_RUPEE:
        raise ValueError(f"{name}: finer than 1/10,000 of a rupee")
    return price // _PER_RUPEE


def _units(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or not int(text):
        raise ValueError("lotsize: no whole number above 0")
    return int(text)


def _expiry(text: str) -> date:
    """`28OCT2025`."""
    day, month, year = text[:2], _MONTHS.get(text[2:5]), text[5:]
    if month is None or len(text) != 9 or not (text.isascii() and day.isdecimal() and year.isdecimal()):
        raise ValueError("expiry: not DDMMMYYYY")
    return date(int(year), month, int(day))


class MasterStore:
    """Files of scrip masters in a directory, one per trading date; a file is there whole or not at all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, day: date) -> Path:
        """Where a day's file is."""
        return self._directory / f"angelone-scrips-{day}.json"

    def load(self, day: date) -> bytes | None:
        """The file of a day, `None` where there is none."""
        try:
            return self.path(day).read_bytes()
        except FileNotFoundError:
            return None

    def store(self, day: date, raw: bytes) -> None:
        """Keep the file of a day, and no others: tokens of other days mean other instruments."""
        self._directory.mkdir(parents=True, exist_ok=True)
        durable_write(self.path(day), raw)
        for other in self._directory.glob("angelone-scrips-*.json"):
            if other != self.path(day):
                other.unlink(missing_ok=True)
