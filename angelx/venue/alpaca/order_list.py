"""What a listing of orders may be asked for, and which orders that are."""

from collections.abc import Callable
from typing import Final

from angelx.domain.instruments import InstrumentTable
from angelx.domain.scalars import side_text
from angelx.venue.alpaca.call import Call
from angelx.venue.alpaca.names import Symbols
from angelx.venue.alpaca.refusals import invalid
from angelx.venue.alpaca.views import Json, asset_class
from angelx.venue.requests import VenueOrder

LISTED: Final = {
    "status": ("open", "closed", "all"), "direction": ("desc", "asc"), "side": ("", "buy", "sell"),
}  # fmt: skip
"""Values of parameters, the default first."""
ASSET_CLASSES: Final = {"all": ("us_equity", "us_option")}
Found = tuple[int, VenueOrder, Json | None]
"""When an order came, the order, and how it is written where that is not the usual way."""
Edge = tuple[int, int]
"""When an order came, and its number."""


def check(call: Call) -> None:
    """Refuse what no order could answer.

    Raises
    ------
    Refusal
        422.
    """
    for name, known in LISTED.items():
        if call.text(name, known[0]) not in known:
            raise invalid(f"invalid {name}: {call.text(name)[:20]}")


def filter_of(call: Call, symbols: Symbols, table: InstrumentTable) -> Callable[[int, VenueOrder], bool]:
    """Whether an order that came at an instant is asked for."""
    after, until = call.instant("after", -1), call.instant("until", 2**62)
    side, names, nested = call.text("side"), call.names("symbols"), call.flag("nested")
    classes = [known for name in call.names("asset_class") for known in ASSET_CLASSES.get(name, (name,))]

    def fits(at: int, order: VenueOrder) -> bool:
        request = order.request
        return (
            after < at <= until
            and not (nested and order.parent)
            and (not side or side_text(request.side) == side)
            and (not names or symbols.of[request.instrument] in names)
            and (not classes or asset_class(table[table.index[request.instrument]]) in classes)
        )

    return fits


def between(call: Call, found: list[Found], edge_of: Callable[[str], Edge]) -> list[Found]:
    """Of orders in the order in which they came, those before one or after one.

    Raises
    ------
    Refusal
        Both were asked for, or there is no such order.
    """
    before, after = call.text("before_order_id"), call.text("after_order_id")
    if not before and not after:
        return found
    if before and after:
        raise invalid("only one of before_order_id and after_order_id is accepted")
    edge = edge_of(before or after)
    return [one for one in found if ((one[0], one[1].number) < edge if before else (one[0], one[1].number) > edge)]
