"""What stands behind options that are sold to open: longs of the same kind, shares, or the money for their strike."""

from collections.abc import Iterable

from angelx.domain.instruments import Instrument, Kind, Right
from angelx.venue.alpaca.names import text
from angelx.venue.alpaca.refusals import FORBIDDEN, Refusal
from angelx.venue.exchange import Exchange

Part = tuple[Instrument, int]
"""An instrument and signed units of it."""


def check_cover(exchange: Exchange, parts: Iterable[Part]) -> None:
    """Level 3: covered calls, cash-secured puts and spreads, nothing naked. Orders that wait are not looked at.

    A short option is behind a long one of the same underlying and right, whatever its strike and day.

    Raises
    ------
    Refusal
        403, where the parts of an order would leave more options short than are covered.
    """
    parts = tuple(parts)
    after = {held.instrument: held.quantity for held in exchange.positions()}
    for instrument, units in parts:
        after[instrument.id] = after.get(instrument.id, 0) + units
    kinds = {
        (instrument.underlying, instrument.right)
        for instrument, units in parts
        if instrument.kind is Kind.OPTION and units < 0 and after[instrument.id] < 0
    }
    for underlying, right in kinds:
        same = [
            (option, units)
            for name, units in after.items()
            if (option := exchange.table.get(name)) and (option.underlying, option.right) == (underlying, right)
        ]
        if right is Right.CALL:
            if sum(units for _, units in same) + max(after.get(underlying, 0), 0) < 0:
                raise Refusal(403, FORBIDDEN, "account not eligible to trade uncovered option contracts")
        else:
            _check_cash(exchange, same)


def _check_cash(exchange: Exchange, puts: list[Part]) -> None:
    """The strikes of short puts, dearest first, as far as no long ones are behind them."""
    behind = sum(units for _, units in puts if units > 0)
    required = 0
    for option, units in sorted(puts, key=lambda part: -part[0].strike):
        naked = max(-units - behind, 0) if units < 0 else 0
        behind -= max(-units, 0) - naked
        required += naked * option.strike
    money = exchange.funds()
    available = max(money.available + money.locked, 0)
    if required > available:
        raise Refusal(
            403,
            FORBIDDEN,
            f"insufficient options buying power for cash-secured put (required: {text(required)}, "
            f"available: {text(available)})",
            buying_power=text(available),
            cost_basis=text(required),
        )
