"""What positions in expired options are worth."""

from collections.abc import Iterable, Mapping
from datetime import date

import msgspec

from angelx.domain.instruments import Kind, Right
from angelx.venue.account import Position


class ExpiryValue(msgspec.Struct, frozen=True):
    """A position in an expired option at the settlement price of its underlying."""

    instrument: str
    quantity: int
    settlement: int
    """Price of the underlying, 1/10,000."""
    value: int
    """Signed money: intrinsic value x units."""


def expiry_values(
    positions: Iterable[Position], day: date, settlement_prices: Mapping[str, int]
) -> tuple[ExpiryValue, ...]:
    """Value of every position in an option that expired on or before a day.

    Parameters
    ----------
    positions
        The account's positions.
    day
        Exchange date.
    settlement_prices
        Settlement price by underlying id, 1/10,000.

    Raises
    ------
    ValueError
        The price of an underlying that is needed is not among them.
    """
    values = []
    for position in positions:
        option = position.instrument
        if option.kind is not Kind.OPTION or not position.quantity or option.expiry is None or option.expiry > day:
            continue
        price = settlement_prices.get(option.underlying)
        if price is None:
            raise ValueError(f"{option.id}: no settlement price of {option.underlying} for {day}")
        intrinsic = max(price - option.strike if option.right is Right.CALL else option.strike - price, 0)
        values.append(ExpiryValue(option.id, position.quantity, price, position.quantity * intrinsic))
    return tuple(values)
