"""How many units: the smallest of what risk, order size, premium, cash and freeze allow, in whole lots (SPEC 5.2)."""

from typing import Final

from angelx.orders.ledger import Line
from angelx.risk.book import Book
from angelx.risk.gate import Terms
from angelx.risk.limits import PPM

NOTHING: Final = 0


def entry_units(book: Book, line: Line, terms: Terms, price: int, stop_distance: int) -> tuple[int, str]:
    """Units to enter with, rounded down to lots, and what bound them. Zero is an answer.

    Parameters
    ----------
    line
        The book's of the instrument.
    price
        The limit that would be paid, 1/10,000 per unit, > 0.
    stop_distance
        Price to the stop; 0 takes the configured fraction of the price.
    """
    limits = book.limits
    if limits.fixed_units:
        return limits.fixed_units, "fixed_units"
    stop = stop_distance or max(price * limits.stop_ppm // PPM, 1)
    units, bound = book.risk_per_trade // stop, "risk_per_trade"
    caps = [(book.max_order // price, "max_order"), ((book.ledger.cash - book.reserved) // price, "cash")]
    if terms.is_option:
        caps.append(((book.max_premium - book.gross) // price, "premium_at_risk"))
    else:
        caps.append(((book.max_gross - book.gross) // price, "gross"))
        caps.append(((book.max_name - line.cost - book.reserved_in(line)) // price, "name"))
    for cap, name in caps:
        if cap < units:
            units, bound = cap, name
    if terms.largest < units:
        units, bound = terms.largest, "freeze"
    return max(units // terms.lot, NOTHING) * terms.lot, bound
