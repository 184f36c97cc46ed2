"""What the benchmarks run on trades exactly what it should: the rule's orders and profit, whatever the batches."""

import pytest

from angelx.bench.house import BenchHouse
from angelx.bench.market import ORDERS, PNL, BareRule, QuoteSource, bare_loop
from angelx.bus.records import encode
from angelx.domain.ticks import ASK, BID

FEW = 20_000


@pytest.fixture(scope="module")
def quotes() -> tuple[list[int], list[int]]:
    """Bids and asks of the whole market."""
    bids: list[int] = []
    asks: list[int] = []
    for batch in QuoteSource().batches():
        bids += batch.table[BID].tolist()
        asks += batch.table[ASK].tolist()
    return bids, asks


def test_the_bare_loop_trades_the_rule(quotes: tuple[list[int], list[int]]) -> None:
    assert bare_loop(*quotes) == (ORDERS, PNL)


def test_a_quote_at_a_time_it_trades_the_same(quotes: tuple[list[int], list[int]]) -> None:
    rule, position, cash, orders = BareRule(), 0, 0, 0
    for bid, ask in zip(*quotes, strict=True):
        if units := rule.quote(bid, ask):
            position, orders = position + units, orders + 1
            cash -= units * (ask if units > 0 else bid)
    bids, asks = quotes
    assert (orders, cash + position * (bids[-1] + asks[-1]) // 2) == (ORDERS, PNL)


def test_the_house_trades_the_rule() -> None:
    house = BenchHouse(QuoteSource())
    house.replay()
    assert (house.orders, house.pnl) == (ORDERS, PNL)


@pytest.mark.parametrize("latency_ns", [0, 40_000_000])
def test_its_journal_is_the_same_whatever_the_batches(latency_ns: int) -> None:
    source = QuoteSource(FEW)
    journals = set()
    for rows_at_once in (1, 7, 4096, FEW):
        house = BenchHouse(source, latency_ns=latency_ns)
        house.replay(rows_at_once)
        records = house.journal.records  # type: ignore[attr-defined]
        journals.add(encode([(number, *record) for number, record in enumerate(records, 1)]))
        assert house.orders > FEW // 50
    assert len(journals) == 1
