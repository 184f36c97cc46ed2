"""What the market stream sends: binary packets of modes 1 to 4, little-endian, prices in paise."""

from collections.abc import Sequence
from struct import Struct
from typing import Final

import msgspec

LTP: Final = 1
QUOTE: Final = 2
SNAP_QUOTE: Final = 3
DEPTH_20: Final = 4

_HEAD: Final = Struct("<BB25sqqq")
_QUOTE: Final = Struct("<qqqddqqqq")
_SNAP: Final = Struct("<qqd")
_LEVEL: Final = Struct("<HqqH")
_LIMITS: Final = Struct("<qqqq")
_DEPTH_HEAD: Final = Struct("<BB25sqq")
_DEPTH_LEVEL: Final = Struct("<iih")
_DEPTH_5: Final = 5
_LEVELS_20: Final = 20
_BUY: Final = 1
_SELL: Final = 0
_NOTHING: Final = (0, 0, 0)

Level = tuple[int, int, int]
"""Price in paise, quantity, number of orders."""


class Quote(msgspec.Struct):
    """All that is known of one instrument, in the wire's units: paise, units, ms and s since the epoch."""

    exchange_type: int
    token: bytes
    last: int = 0
    last_quantity: int = 0
    average: int = 0
    volume: int = 0
    total_buy: int = 0
    total_sell: int = 0
    open: int = 0
    high: int = 0
    low: int = 0
    close: int = 0
    """Of the previous session."""
    traded_s: int = 0
    at_ms: int = 0
    interest: int = 0
    buys: Sequence[Level] = ()
    """Best first, as many as are known."""
    sells: Sequence[Level] = ()
    upper: int = 0
    lower: int = 0
    year_high: int = 0
    year_low: int = 0


def packet(quote: Quote, mode: int, sequence: int, received_ms: int) -> bytes:
    """The quote as one packet of a mode; `received_ms` is in mode 4 only, `sequence` in all others."""
    if mode == DEPTH_20:
        return _depth_20(quote, received_ms)
    head = _HEAD.pack(mode, quote.exchange_type, quote.token, sequence, quote.at_ms, quote.last)
    if mode == LTP:
        return head
    body = _QUOTE.pack(
        quote.last_quantity, quote.average, quote.volume, quote.total_buy, quote.total_sell, quote.open, quote.high,
        quote.low, quote.close,
    )  # fmt: skip
    if mode == QUOTE:
        return head + body
    return b"".join(
        (
            head,
            body,
            _SNAP.pack(quote.traded_s, quote.interest, 0.0),
            *(_LEVEL.pack(_BUY, quantity, price, orders) for price, quantity, orders in _padded(quote.buys, _DEPTH_5)),
            *(
                _LEVEL.pack(_SELL, quantity, price, orders)
                for price, quantity, orders in _padded(quote.sells, _DEPTH_5)
            ),
            _LIMITS.pack(quote.upper, quote.lower, quote.year_high, quote.year_low),
        )
    )


def _depth_20(quote: Quote, received_ms: int) -> bytes:
    sides = (*_padded(quote.buys, _LEVELS_20), *_padded(quote.sells, _LEVELS_20))
    return _DEPTH_HEAD.pack(DEPTH_20, quote.exchange_type, quote.token, quote.at_ms, received_ms) + b"".join(
        _DEPTH_LEVEL.pack(quantity, price, orders) for price, quantity, orders in sides
    )


def _padded(levels: Sequence[Level], count: int) -> Sequence[Level]:
    known = levels[:count]
    return (*known, *[_NOTHING] * (count - len(known)))
