"""The documented schemas of recordings, and which of them a file's columns are of. Names of files say nothing."""

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Any, Final

import msgspec
import pyarrow as pa

BAR_PRICES: Final = ("open", "high", "low", "close")
QUOTE_BAR_PRICES: Final = tuple(f"{side}_{price}" for side in ("bid", "ask") for price in BAR_PRICES)
CONTRACT: Final = ("underlying", "root", "style", "expiry", "strike", "right")


class Role(StrEnum):
    """What a file tells about an instrument; of the same thing only the finest source of a day is used."""

    CHAIN = "chain"
    QUOTES = "quotes"
    TRADES = "trades"
    OPEN_INTEREST = "open interest"


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """One documented schema."""

    name: str
    role: Role
    key: tuple[str, ...]
    """Columns that say which instrument a row is about."""
    numbers: tuple[str, ...]
    texts: tuple[str, ...] = ()
    ticks: bool = False
    """Single events with `seq`, their order in the source, and `suspicious`; else snapshots or bars."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column a file of this schema must have; further ones are welcome."""
        extra = ("seq", "suspicious") if self.ticks else ()
        return ("ts", *extra, *self.key, *self.numbers, *self.texts)


NSE_CHAIN: Final = Layout(
    name="nse-chain",
    role=Role.CHAIN,
    key=("symbol", "expiry", "strike", "right", "lot_size"),
    numbers=("ltp", "bid", "ask", "bid_qty", "ask_qty", "volume", "oi"),
)
BARS: Final = Layout(name="bars", role=Role.TRADES, key=("symbol",), numbers=(*BAR_PRICES, "volume"))
QUOTE_BARS: Final = Layout(
    name="quote-bars", role=Role.QUOTES, key=("symbol",), numbers=(*QUOTE_BAR_PRICES, "bid_size", "ask_size")
)
QUOTE_TICKS: Final = Layout(
    name="quote-ticks",
    role=Role.QUOTES,
    key=("symbol",),
    numbers=("bid", "bid_size", "ask", "ask_size"),
    texts=("exchange",),
    ticks=True,
)
TRADE_TICKS: Final = Layout(
    name="trade-ticks",
    role=Role.TRADES,
    key=("symbol",),
    numbers=("price", "size"),
    texts=("exchange", "sale_condition"),
    ticks=True,
)
OPTION_BARS: Final = Layout(name="option-bars", role=Role.TRADES, key=CONTRACT, numbers=(*BAR_PRICES, "volume"))
OPTION_QUOTE_BARS: Final = Layout(
    name="option-quote-bars", role=Role.QUOTES, key=CONTRACT, numbers=(*QUOTE_BAR_PRICES, "bid_size", "ask_size")
)
OPTION_OI: Final = Layout(
    name="option-open-interest", role=Role.OPEN_INTEREST, key=CONTRACT, numbers=("open_interest",)
)

LAYOUTS: Final = (
    NSE_CHAIN, BARS, QUOTE_BARS, QUOTE_TICKS, TRADE_TICKS, OPTION_BARS, OPTION_QUOTE_BARS, OPTION_OI,
)  # fmt: skip


def layout_of(columns: Collection[str]) -> Layout | None:
    """The schema whose columns are all there, the one with most of them; `None` where there is none."""
    fitting = [layout for layout in LAYOUTS if set(layout.columns) <= set(columns)]
    return max(fitting, key=lambda layout: len(layout.columns), default=None)


def why_not(columns: Collection[str]) -> str:
    """What the nearest schema expects and what is there instead."""
    there = set(columns)
    nearest = max(LAYOUTS, key=lambda layout: len(there & set(layout.columns)) / len(layout.columns))
    missing = [column for column in nearest.columns if column not in there]
    return (
        f"its columns fit no known schema; nearest is {nearest.name}, which lacks {', '.join(missing)} "
        f"(there are: {', '.join(columns) or 'none'})"
    )


def wrong_type(layout: Layout, schema: pa.Schema) -> str | None:
    """What is wrong with the schema's columns, of which there is one each; `None` where nothing is."""
    optional = [column for column in ("spot",) if column in schema.names]
    for column in (*layout.columns, *optional):
        if (many := schema.names.count(column)) > 1:
            return f"column {column}: there are {many} of that name"
        kind = schema.field(column).type
        if isinstance(kind, pa.DictionaryType):
            kind = kind.value_type
        expected = _expected(layout, column)
        if expected == "timestamp":
            if not pa.types.is_timestamp(kind):
                return f"column {column}: expected timestamp[us, tz=UTC], found {kind}"
        elif not _FITS[expected](kind):
            return f"column {column}: expected {expected}, found {kind}"
    return None


def _expected(layout: Layout, column: str) -> str:
    if column in layout.numbers or column == "spot":
        return "numbers"
    return _SPECIAL.get(column, "text")


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


_SPECIAL: Final = {
    "ts": "timestamp",
    "expiry": "a date",
    "suspicious": "true or false",
    "strike": "a number",
    "lot_size": "a number",
    "seq": "a whole number",
}
_FITS: Final[dict[str, Callable[[Any], bool]]] = {
    "numbers": lambda kind: _is_number(kind) or pa.types.is_null(kind),  # Null: the column has no value at all.
    "a number": _is_number,
    "a whole number": pa.types.is_integer,
    "a date": pa.types.is_date32,
    "true or false": pa.types.is_boolean,
    "text": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
}
