"""The venue's instruments in Angel One's words: tokens, trading symbols, the scrip master, search."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.scalars import SCALE, price_text
from angelx.venue.angelone.replies import Refusal

EXCHANGE_TYPES: Final = {"NSE": 1, "NFO": 2, "BSE": 3, "BFO": 4}
"""The market stream's number of a segment."""
SEGMENTS: Final = {"NSE": "nse_cm", "NFO": "nse_fo", "BSE": "bse_cm", "BFO": "bse_fo"}
"""Its name: in profiles, on the old stream."""
INDICES: Final = {
    ("NSE", "NIFTY"): (99926000, "Nifty 50"),
    ("NSE", "BANKNIFTY"): (99926009, "Nifty Bank"),
    ("NSE", "FINNIFTY"): (99926037, "Nifty Fin Service"),
    ("BSE", "SENSEX"): (99919000, "SENSEX"),
}
"""Token and trading symbol of an index by its exchange and name: options on it have the name."""
_FIRST_INDEX: Final = 99926100
_FIRST_SHARE: Final = 1001
_FIRST_OPTION: Final = 35001
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MOST_FOUND: Final = 100


class Contract(msgspec.Struct, frozen=True):
    """One instrument as its broker names it."""

    place: int
    instrument: Instrument
    exchange: str
    token: str
    symbol: str
    """Trading symbol."""
    name: str
    """Of the underlying, for an option."""
    type: str
    """`OPTIDX`, `OPTSTK`, `AMXIDX`, empty for cash."""
    expiry: str
    """`28OCT2025`, empty without."""

    @property
    def option_type(self) -> str:
        """`CE`, `PE`, empty for what is no option."""
        right = self.instrument.right
        return "" if right is None else "CE" if right is Right.CALL else "PE"


class Contracts:
    """Every instrument of the table that trades in India; tokens are by place, so they are re-used on other days."""

    def __init__(self, table: InstrumentTable) -> None:
        self.all = tuple(
            _contract(table, place, instrument)
            for place, instrument in enumerate(table)
            if instrument.segment in EXCHANGE_TYPES
        )
        self.by_token = {(contract.exchange, contract.token): contract for contract in self.all}
        self.by_symbol = {(contract.exchange, contract.symbol): contract for contract in self.all}
        self.by_place = {contract.place: contract for contract in self.all}
        self.by_id = {contract.instrument.id: contract for contract in self.all}
        self.by_stream = {(EXCHANGE_TYPES[contract.exchange], contract.token): contract for contract in self.all}
        self._master: bytes = b""

    def of(self, exchange: str, token: str, symbol: str = "") -> Contract:
        """The contract of a token; a trading symbol, where given, must be its.

        Raises
        ------
        Refusal
            AB1009.
        """
        contract = self.by_token.get((exchange, token))
        if contract is None or (symbol and symbol != contract.symbol):
            raise Refusal("AB1009")
        return contract

    def search(self, body: Mapping[str, Any]) -> list[dict[str, str]]:
        """Trading symbols of an exchange that contain a text, in upper or lower case."""
        exchange, wanted = str(body.get("exchange")), str(body.get("searchscrip") or "").upper()
        found = [one for one in self.all if one.exchange == exchange and wanted in one.symbol.upper()]
        return [
            {"exchange": one.exchange, "tradingsymbol": one.symbol, "symboltoken": one.token}
            for one in found[:_MOST_FOUND]
        ]

    def chain(self, name: str, expiry: str) -> Sequence[Contract]:
        """The options of an underlying's name and an expiry."""
        return [one for one in self.all if one.name == name and one.expiry == expiry and one.option_type]

    def master(self) -> bytes:
        """The scrip master: a JSON array in which every value is a string."""
        if not self._master:
            self._master = msgspec.json.encode([_master_row(contract) for contract in self.all])
        return self._master


def _contract(table: InstrumentTable, place: int, instrument: Instrument) -> Contract:
    exchange = instrument.segment
    if instrument.kind is Kind.OPTION:
        underlying = table.get(instrument.underlying)
        name = instrument.underlying.rpartition(":")[2] if underlying is None else underlying.symbol
        is_on_index = underlying is None or underlying.kind is Kind.INDEX
        expiry, symbol = _option_words(instrument, name)
        kind, token = "OPTIDX" if is_on_index else "OPTSTK", _FIRST_OPTION + place
    elif instrument.kind is Kind.INDEX:
        name, expiry, kind = instrument.symbol, "", "AMXIDX"
        token, symbol = INDICES.get((exchange, name), (_FIRST_INDEX + place, name))
    else:
        name, expiry, kind, token = instrument.symbol, "", "", _FIRST_SHARE + place
        symbol = f"{name}-EQ" if exchange == "NSE" else name
    return Contract(place, instrument, exchange, str(token), symbol, name, kind, expiry)


def _option_words(option: Instrument, name: str) -> tuple[str, str]:
    assert option.expiry is not None, "an option has an expiry"
    day = option.expiry
    month, strike = _MONTHS[day.month - 1], price_text(option.strike)
    right = "CE" if option.right is Right.CALL else "PE"
    return f"{day:%d}{month}{day:%Y}", f"{name}{day:%d}{month}{day:%y}{strike}{right}"


def _master_row(contract: Contract) -> dict[str, Any]:
    instrument = contract.instrument
    is_index = instrument.kind is Kind.INDEX
    strike = _paise(instrument.strike) if instrument.strike else "0.000000" if is_index else "-1.000000"
    return {
        "token": contract.token, "symbol": contract.symbol, "name": contract.name, "expiry": contract.expiry,
        "strike": strike, "lotsize": str(instrument.lot_size), "instrumenttype": contract.type,
        "exch_seg": contract.exchange, "tick_size": "0.000000" if is_index else _paise(instrument.tick_size),
    }  # fmt: skip


def _paise(price: int) -> str:
    """A price x 100, as the master has strikes and ticks: `2440000.000000`."""
    return f"{price // (SCALE // 100)}.{price % (SCALE // 100):02d}0000"
