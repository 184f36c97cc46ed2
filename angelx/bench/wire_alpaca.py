"""Alpaca's quotes from frames into tick rows: how many a second, in JSON and in msgpack, in batches and one by one.

The baseline decodes the same frames into dictionaries: `json.loads`, and the msgpack library that alpaca-py uses (where
it is installed, else msgspec without types). It makes no rows: the comparison favours it.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from angelx.adapters.alpaca.ticks import TickColumns
from angelx.bench.rows import Row, paired, seconds
from angelx.domain.instruments import Instrument, InstrumentTable, Kind
from angelx.domain.scalars import NS
from angelx.domain.timestamps import instant_of, rfc3339

SYMBOLS: Final = 50
IN_FRAME: Final = 100
"""Quotes in one frame when the market is busy."""
QUOTES: Final = 20_000
ROUNDS: Final = 5
BEGINS: Final = instant_of("2026-01-05T14:31:00Z")


def decode_rows(quotes: int = QUOTES, rounds: int = ROUNDS) -> list[Row]:
    """Quotes decoded per second; the lead's `bench wire` joins them to its own."""
    table = InstrumentTable(
        Instrument(id=f"US:S{n}", symbol=f"S{n}", segment="US", kind=Kind.EQUITY, currency="USD", tick_size=100)
        for n in range(SYMBOLS)
    )
    places = {instrument.symbol: place for place, instrument in enumerate(table)}
    return [
        _row(table, places, is_msgpack=is_msgpack, in_frame=in_frame, quotes=quotes, rounds=rounds)
        for is_msgpack in (False, True)
        for in_frame in (IN_FRAME, 1)
    ]


def _row(
    table: InstrumentTable, places: dict[str, int], *, is_msgpack: bool, in_frame: int, quotes: int, rounds: int
) -> Row:
    encode = _packed if is_msgpack else msgspec.json.encode
    frames = [encode(list(group)) for group in _groups(quotes, in_frame)]
    columns = TickColumns(table, places)
    plain, name = _plain(is_msgpack=is_msgpack)
    measured = partial(_decode, columns, frames, is_msgpack=is_msgpack)
    measured()  # Compiles, and fills the caches that a session has filled.
    ours, theirs = paired(
        lambda: quotes / seconds(measured), lambda: quotes / seconds(partial(_each, plain, frames)), rounds
    )
    if columns.refused:
        raise AssertionError(f"the benchmark's own quotes were refused: {columns.refused}")
    return Row(
        bench="wire",
        case=f"alpaca {'msgpack' if is_msgpack else 'json'}{'' if in_frame > 1 else ' 1'}",
        metric="quotes_per_s",
        value=ours,
        unit="quotes/s",
        baseline=name,
        baseline_value=theirs,
        n=rounds,
    )


def _decode(columns: TickColumns, frames: Sequence[bytes], *, is_msgpack: bool) -> None:
    """Every frame to rows, as the feed does in one turn of the loop."""
    for frame in frames:
        columns.take(frame, BEGINS, msgpack=is_msgpack)
        columns.batch()


def _each(decode: Callable[[bytes], Any], frames: Sequence[bytes]) -> None:
    for frame in frames:
        decode(frame)


def _plain(*, is_msgpack: bool) -> tuple[Callable[[bytes], Any], str]:
    if not is_msgpack:
        return json.loads, "json.loads into dictionaries"
    try:
        import msgpack  # type: ignore[import-untyped]
    except ImportError:
        return msgspec.msgpack.decode, "msgspec.msgpack into dictionaries"
    return msgpack.unpackb, "msgpack.unpackb into dictionaries"


# ---------------------------------------------------------------- the frames
def _groups(quotes: int, in_frame: int) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, quotes, in_frame):
        yield [_quote(number) for number in range(first, min(first + in_frame, quotes))]


def _quote(number: int) -> dict[str, Any]:
    """As Alpaca's feed writes one: every key, times to the nanosecond."""
    price = 30_000 + number * 7919 % 1_000
    return {
        "T": "q", "S": f"S{number % SYMBOLS}", "bx": "V", "bp": price / 100, "bs": number % 9 + 1, "ax": "V",
        "ap": (price + 3) / 100, "as": number % 7 + 1, "c": ["R"], "z": "A",
        "t": rfc3339(BEGINS + number * 1_234_567),
    }  # fmt: skip


def _packed(quotes: list[dict[str, Any]]) -> bytes:
    return msgspec.msgpack.encode([{**quote, "t": _timestamp(instant_of(quote["t"]))} for quote in quotes])


def _timestamp(at: int) -> msgspec.msgpack.Ext:
    second, fraction = divmod(at, NS)
    return msgspec.msgpack.Ext(-1, (fraction << 34 | second).to_bytes(8, "big"))
