"""Integer prices, money, time and sides, and the only places where they meet text or floats.

Units
-----
price, money
    Integers of 1/10,000 of the currency unit (`SCALE`): 24,500.05 rupees are 245_000_500.
time
    Integer nanoseconds since the epoch, UTC.
quantity
    Integer units (shares), never lots.
"""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

SCALE: Final = 10_000
"""Integers in one currency unit."""

NS: Final = 1_000_000_000
"""Nanoseconds in a second."""

BUY: Final = 1
SELL: Final = -1


def price_of(text: str | int | Decimal) -> int:
    """Price or money as an integer of 1/10,000, rounded half-even.

    Raises
    ------
    ValueError
        Not a finite decimal number.
    """
    try:
        value = Decimal(text)
        return int((value * SCALE).to_integral_value(ROUND_HALF_EVEN))
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"not a finite decimal number: {text!r}") from error


def decimal_of(amount: int) -> Decimal:
    """Integer of 1/10,000 as an exact decimal of the currency unit."""
    return Decimal(amount) / SCALE


def money_text(amount: int, places: int = 2) -> str:
    """Integer of 1/10,000 as text with thousands separators: `-689,650.00`."""
    return f"{decimal_of(amount):,.{places}f}"


def price_text(amount: int) -> str:
    """Integer of 1/10,000 as people write a price, no longer than it is: `104.5`, `-3`."""
    return f"{decimal_of(amount).normalize():f}"


def money_fields(name: str, amount: int | None) -> dict[str, str | int | None]:
    """An amount of 1/10,000 as JSON has it everywhere: `{"pnl": "-99.81", "pnl_e4": -998100}`.

    The text is exact: two places, four where the amount has them.
    """
    text = None if amount is None else f"{decimal_of(amount):.{4 if amount % 100 else 2}f}"
    return {name: text, f"{name}_e4": amount}


def side_text(side: int) -> str:
    """`buy` or `sell`."""
    return "buy" if side > 0 else "sell"
