"""The price that a session's orders are drawn on: the first index's, else the first instrument's."""

from collections.abc import Callable

from angelx.domain.instruments import InstrumentTable, Kind
from angelx.domain.scalars import SCALE
from angelx.domain.ticks import ASK, AT, BID, LAST
from angelx.market.chain_view import Chains
from angelx.market.state import MarketState


class ReferencePrice:
    """Its last price; where the session has none of an index, the forward of its options' front expiry.

    Parameters
    ----------
    opened_at
        When the latest session began, of whatever segment, ns: what is older is another day's price.
    chains
        `None` where none are kept.
    """

    def __init__(self, market: MarketState, opened_at: Callable[[], int], chains: Chains | None) -> None:
        self._market, self._opened_at, self._chains = market, opened_at, chains
        self._place = _first_index(market.table)

    def level(self) -> int:
        """1/10,000; 0 where nothing is known of this session."""
        place, view = self._place, self._market.view
        if place < 0:
            return 0
        if view[AT, place] >= max(self._opened_at(), 1):
            bid, ask = view[BID, place], view[ASK, place]
            return int(view[LAST, place] or ((bid + ask) // 2 if bid > 0 and ask > 0 else 0))
        return self._forward(self._market.table[place].id)

    def _forward(self, underlying: str) -> int:
        view = self._chains.views.get(underlying) if self._chains is not None else None
        front = view.expiries.get(view.front) if view is not None and view.front is not None else None
        if view is None or front is None or front.forward is None or view.at < self._opened_at():
            return 0
        return round(front.forward * SCALE)


def _first_index(table: InstrumentTable) -> int:
    """Place of the first index, else of the first instrument; -1 where there is none."""
    for place, instrument in enumerate(table):
        if instrument.kind is Kind.INDEX:
            return place
    return 0 if len(table) else -1
