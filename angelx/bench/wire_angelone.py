"""Decoding of Angel One's SnapQuote packets: many at a time and one by one, against Python's struct."""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from struct import unpack_from
from typing import Any, Final

from angelx.adapters.angelone.packets import SNAP_QUOTE, PacketDecoder
from angelx.bench.rows import Row, paired, seconds
from angelx.venue.angelone.packets import Quote, packet

INSTRUMENTS: Final = 1000
PER_BATCH: Final = 256
"""What one turn of a busy loop finds waiting."""
BATCHES: Final = 40
ROUNDS: Final = 9
SEED: Final = 1
BASELINE: Final = "struct.unpack of the same fields, packet by packet"


def decode_rows() -> Sequence[Row]:
    """Rows `angelone-batched` and `angelone-single`, packets decoded per second on one core."""
    batches = _batches()
    single = [[raw] for batch in batches for raw in batch]
    rows = []
    for case, parts in (("angelone-batched", batches), ("angelone-single", single)):
        measured, baseline = (partial(_rate, partial(work, parts), batches) for work in (_decode, _unpack))
        value, bare = paired(measured, baseline, ROUNDS)
        rows.append(
            Row(
                bench="wire", case=case, metric="packets_per_s", value=value, unit="packets/s", baseline=BASELINE,
                baseline_value=bare, n=ROUNDS,
            )
        )  # fmt: skip
    return rows


def _batches() -> list[list[bytes]]:
    """SnapQuotes of all instruments in turn, prices moving."""
    random, made = Random(SEED), []
    for number in range(PER_BATCH * BATCHES):
        price = random.randrange(5_000, 50_000)
        quote = Quote(
            2, str(40_000 + number % INSTRUMENTS).encode(), last=price, volume=75 * number,
            at_ms=1_756_441_800_000 + number, interest=75 * random.randrange(10_000),
            buys=[(price - 5 * n, 75 * n, n) for n in range(1, 6)],
            sells=[(price + 5 * n, 75 * n, n) for n in range(1, 6)],
        )  # fmt: skip
        made.append(packet(quote, SNAP_QUOTE, number, 0))
    return [made[start : start + PER_BATCH] for start in range(0, len(made), PER_BATCH)]


def _rate(work: Callable[[], object], batches: Sequence[Sequence[bytes]]) -> float:
    return sum(map(len, batches)) / seconds(work)


_TOKENS: Final = {(2, str(40_000 + number)): number for number in range(INSTRUMENTS)}
_decoders: Final[list[PacketDecoder]] = []


def _decode(parts: Sequence[Sequence[bytes]]) -> None:
    """The client's decoder, to rows of ticks."""
    if not _decoders:
        _decoders.append(PacketDecoder(_TOKENS, INSTRUMENTS))
    decoder = _decoders[0]
    decoder.new_connection()
    decode = decoder.decode
    for part in parts:
        decode(part, 0)
    assert not decoder.refused, "every packet of the benchmark is good"


def _unpack(parts: Sequence[Sequence[bytes]]) -> None:
    """What a client in plain Python would do: the fields a tick has, as a dictionary."""
    for part in parts:
        for raw in part:
            _fields(raw)


def _fields(raw: bytes) -> dict[str, Any]:
    mode, kind, token, sequence, at, last = unpack_from("<BB25sqqq", raw, 0)
    (volume,) = unpack_from("<q", raw, 67)
    (interest,) = unpack_from("<q", raw, 131)
    buy, bid_size, bid, _ = unpack_from("<HqqH", raw, 147)
    sell, ask_size, ask, _ = unpack_from("<HqqH", raw, 247)
    return {
        "mode": mode, "kind": kind, "token": token.rstrip(b"\0").decode(), "sequence": sequence, "at": at,
        "last": last / 100, "volume": volume, "oi": interest, "bid": bid / 100, "bid_size": bid_size,
        "ask": ask / 100, "ask_size": ask_size, "flags": (buy, sell),
    }  # fmt: skip
