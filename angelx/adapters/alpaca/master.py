"""The instrument master: Alpaca's assets and option contracts, kept per trading date (SPEC 1.1).

Nothing is parsed out of a symbol: the files say root, underlying, expiry, strike and right. What they lack comes from
the dated rule tables: ticks (an option class that is not in them gets `UNKNOWN_CLASS_TICK`) and the largest order.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from angelx.adapters.alpaca.messages import WireAsset, WireContract
from angelx.adapters.state_dir import durable_write
from angelx.domain.instruments import Instrument, Kind, Right
from angelx.domain.scalars import SCALE, price_of, price_text
from angelx.market import rules

EQUITIES: Final = "US"
OPTIONS: Final = "OPRA"
DOLLAR: Final = SCALE
LARGEST_ORDER: Final = 999_999
"""Most shares, or contracts, in one order (Nasdaq Equity 4, rule 4703; Cboe likewise)."""
UNKNOWN_CLASS_TICK: Final = 500
"""0.05 is a step of every US option class below 3 dollars; above, a class outside the Penny Program steps by 0.10 and
the broker refuses what lies between."""
STANDARD: Final = Decimal(100)
"""Shares of a standard contract; adjusted ones are not traded (SPEC 1.7)."""


class Listing(msgspec.Struct, frozen=True):
    """One instrument and what else the broker says of it."""

    instrument: Instrument
    symbol: str
    """What the broker calls it on the wire."""
    broker_id: str
    shortable: bool = False
    easy_to_borrow: bool = False
    fractionable: bool = False
    open_interest: int = 0
    """Units, as of the day before."""


class Kept(msgspec.Struct, frozen=True):
    """What is written for a trading date."""

    day: date
    underlyings: tuple[str, ...]
    listings: tuple[Listing, ...]
    refused: dict[str, int]
    """Lines of the broker's lists that are no instrument, by reason."""


class Master:
    """Today's instruments by our id and by the broker's symbol."""

    def __init__(self, kept: Kept) -> None:
        self.day = kept.day
        self.refused: Mapping[str, int] = kept.refused
        self.by_id = {listing.instrument.id: listing for listing in kept.listings}
        self.by_symbol = {listing.symbol: listing for listing in kept.listings}

    @property
    def instruments(self) -> Sequence[Instrument]:
        """All of them, shares first."""
        return tuple(listing.instrument for listing in self.by_id.values())


def listings_of(assets: Iterable[WireAsset], contracts: Iterable[WireContract], day: date) -> Kept:
    """The broker's lists as instruments; a line that cannot be one is counted, and the first of two alike stays."""
    found: dict[str, Listing] = {}
    refused: dict[str, int] = {}
    share_tick = rules.tick_size(EQUITIES, "", day, DOLLAR)
    lines: list[WireAsset | WireContract] = [*assets, *contracts]
    for line in lines:
        try:
            listing = _share(line, share_tick) if isinstance(line, WireAsset) else _option(line, day)
        except ValueError as error:
            reason = str(error)
            refused[reason] = refused.get(reason, 0) + 1
            continue
        found.setdefault(listing.instrument.id, listing)
    ordered = sorted(
        found.values(), key=lambda listing: (listing.instrument.kind is Kind.OPTION, listing.instrument.id)
    )
    return Kept(day, (), tuple(ordered), refused)


def _share(asset: WireAsset, tick: int | None) -> Listing:
    if tick is None:
        raise ValueError("no tick is known for that day")
    instrument = Instrument(
        id=f"{EQUITIES}:{asset.symbol}",
        symbol=asset.symbol,
        segment=EQUITIES,
        kind=Kind.EQUITY,
        currency="USD",
        tick_size=tick,
        freeze_quantity=LARGEST_ORDER,
        tradable=asset.tradable and asset.status == "active",
    )
    return Listing(instrument, asset.symbol, asset.id, asset.shortable, asset.easy_to_borrow, asset.fractionable)


def _option(contract: WireContract, day: date) -> Listing:
    if contract.size != STANDARD:
        raise ValueError("adjusted contract")
    if contract.type not in ("call", "put") or not contract.strike_price.is_finite():
        raise ValueError("no such contract")
    expiry, strike, units = date.fromisoformat(contract.expiration_date), price_of(contract.strike_price), int(STANDARD)
    right = Right.CALL if contract.type == "call" else Right.PUT
    tick = rules.tick_size(OPTIONS, contract.underlying_symbol, day, DOLLAR * 1_000_000) or UNKNOWN_CLASS_TICK
    instrument = Instrument(
        id=f"{OPTIONS}:{contract.root_symbol}:{expiry}:{price_text(strike)}:{contract.type[0].upper()}",
        symbol=contract.symbol,
        segment=OPTIONS,
        kind=Kind.OPTION,
        currency="USD",
        tick_size=tick,
        lot_size=units,
        freeze_quantity=LARGEST_ORDER * units,
        underlying=f"{EQUITIES}:{contract.underlying_symbol}",
        expiry=expiry,
        strike=strike,
        right=right,
        tradable=contract.tradable and contract.status == "active",
    )
    interest = contract.open_interest
    known = int(interest) * units if interest is not None and interest.is_finite() else 0
    return Listing(instrument, contract.symbol, contract.id, open_interest=known)


# ---------------------------------------------------------------- the cache
def cache_path(folder: Path, day: date) -> Path:
    """Where the master of a trading date is kept."""
    return folder / f"alpaca-{day}.json"


def load(folder: Path, day: date, underlyings: Sequence[str]) -> Kept | None:
    """What was kept for a trading date and these underlyings; `None` where there is none that can be used."""
    try:
        kept = msgspec.json.decode(cache_path(folder, day).read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError):
        return None
    return kept if kept.day == day and kept.underlyings == tuple(underlyings) else None


def store(folder: Path, kept: Kept) -> None:
    """Keep a master, and those of no other days: a reader sees the old file or the new one, whole."""
    folder.mkdir(parents=True, exist_ok=True)
    path = cache_path(folder, kept.day)
    durable_write(path, msgspec.json.encode(kept))
    for other in folder.glob("alpaca-*.json"):
        if other != path:
            other.unlink(missing_ok=True)
