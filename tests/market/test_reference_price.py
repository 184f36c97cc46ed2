"""The reference price is of this session, or nothing."""

from datetime import date

import numpy as np
import pytest

from angelx.domain.instruments import Instrument, InstrumentTable
from angelx.domain.ticks import ASK, AT, BID, INSTRUMENT, LAST, Rows, batch_of
from angelx.market.chain_view import ChainView, ExpiryView
from angelx.market.reference_price import ReferencePrice
from angelx.market.state import MarketState
from tests.signals.chain_scene import EQUITY, INDEX, UNDERLYING, FixedChains

EXPIRY = date(2026, 10, 27)
OPENS_AT = 1_000


def reference(at: int, chain: ChainView | None = None, *instruments: Instrument, **fields: int) -> ReferencePrice:
    """Of a market whose first instrument was quoted at a time."""
    table = InstrumentTable(instruments or (INDEX,))
    market = MarketState(table)
    columns = {AT: at, LAST: fields.get("last", 0), BID: fields.get("bid", 0), ASK: fields.get("ask", 0)}
    market.fold(Rows(batch_of({INSTRUMENT: np.array([0]), **columns}), 0, 1))
    return ReferencePrice(market, lambda: OPENS_AT, FixedChains(chain) if chain is not None else None)


def chain(forward: float | None = 24_000.5, at: int = OPENS_AT) -> ChainView:
    return ChainView(UNDERLYING, at=at, front=EXPIRY, expiries={EXPIRY: ExpiryView(EXPIRY, forward=forward)})


def test_it_is_the_last_price_of_this_session() -> None:
    assert reference(OPENS_AT, chain(), last=23_990_0000).level() == 23_990_0000


def test_a_price_of_an_earlier_session_is_none() -> None:
    assert reference(OPENS_AT - 1, last=10_900_0000).level() == 0


def test_an_index_that_is_not_in_the_recording_stands_at_its_forward() -> None:
    assert reference(OPENS_AT - 1, chain(), last=10_900_0000).level() == 24_000_5000


@pytest.mark.parametrize("known", [chain(None), chain(at=OPENS_AT - 1), ChainView(UNDERLYING), ChainView("NSE:OTHER")])
def test_without_a_forward_of_this_session_there_is_none(known: ChainView) -> None:
    assert reference(OPENS_AT - 1, known).level() == 0


def test_what_was_never_traded_stands_between_its_quotes() -> None:
    assert reference(OPENS_AT, None, EQUITY, bid=100_0000, ask=100_0200).level() == 100_0100
    assert reference(OPENS_AT, None, EQUITY, ask=100_0200).level() == 0


def test_the_first_index_comes_before_everything_else() -> None:
    table = InstrumentTable((EQUITY, INDEX))
    market = MarketState(table)
    market.fold(Rows(batch_of({INSTRUMENT: np.array([0, 1]), AT: OPENS_AT, LAST: np.array([1, 2])}), 0, 2))
    assert ReferencePrice(market, lambda: OPENS_AT, None).level() == 2
    assert ReferencePrice(MarketState(InstrumentTable(())), lambda: 0, None).level() == 0
