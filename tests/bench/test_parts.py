"""Parts of the hot path, each alone. Run as tests they show that the part does its work; `make bench` times them.

What whole paths cost, beside a baseline of the same run, is `angelx bench`'s to say. These rows are for finding where
a path's time went.
"""

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from angelx.adapters.angelone.packets import PacketDecoder
from angelx.adapters.journal import BLOCK_RECORDS, SqliteJournal
from angelx.bench.house import BenchHouse
from angelx.bench.market import BENCH, QuoteSource
from angelx.bus.bus import Bus
from angelx.domain.events import OrderFilled
from angelx.domain.instruments import InstrumentTable
from angelx.domain.ticks import INSTRUMENT, Rows, TickBatch
from angelx.market.differential import Differential
from angelx.market.state import MarketState
from angelx.venue.angelone.packets import SNAP_QUOTE, Quote, packet

FILL = OrderFilled(1_767_584_700_000_000_000, "ax7H2K9QWERTYUIOPA", "NSE:BENCH", 1, 200, 25_000_000, 0, "P123")
QUOTES = 5_000


def market(quotes: int = QUOTES) -> TickBatch:
    (batch,) = QuoteSource(quotes).batches()
    return batch


@pytest.mark.parametrize("handlers", [1, 4, 16])
def test_publish(benchmark: BenchmarkFixture, handlers: int) -> None:
    bus, heard = Bus(), [0] * handlers
    for number in range(handlers):

        def count(event: OrderFilled, number: int = number) -> None:
            heard[number] += event.quantity

        bus.subscribe(OrderFilled, count)
    benchmark(bus.publish, FILL)
    assert heard == [bus.seq * FILL.quantity] * handlers


@pytest.mark.parametrize("records", [1, BLOCK_RECORDS])
def test_append_durably(benchmark: BenchmarkFixture, tmp_path: Path, records: int) -> None:
    journal = SqliteJournal(Bus(), tmp_path / "journal.db")

    def append() -> None:
        for _ in range(records):
            journal.record(FILL)
        journal.flush()

    benchmark(append)
    assert journal.head.last > 0
    assert journal.head.last % records == 0
    journal.close()


def test_differential(benchmark: BenchmarkFixture) -> None:
    batch = market()
    benchmark.extra_info["rows"] = batch.rows

    def fresh() -> tuple[tuple[Differential, TickBatch], dict[str, object]]:
        return (Differential(1, [BENCH.tick_size]), TickBatch(batch.table.copy())), {}

    kept = benchmark.pedantic(Differential.process, setup=fresh, rounds=20)  # type: ignore[no-untyped-call]
    assert kept.rows == batch.rows


def test_last_state(benchmark: BenchmarkFixture) -> None:
    batch = market()
    benchmark.extra_info["rows"] = batch.rows
    state = MarketState(InstrumentTable([BENCH]))
    benchmark(state.fold, Rows(batch, 0, batch.rows))
    assert state.columns[: batch.table.shape[0], 0].tolist() == batch.table[:, -1].tolist()


@pytest.mark.parametrize("packets", [1, 1_000])
def test_decode_snap_quotes(benchmark: BenchmarkFixture, packets: int) -> None:
    tokens = {(2, str(50_000 + number)): number for number in range(100)}
    decoder = PacketDecoder(tokens, len(tokens))
    raws = [
        packet(Quote(2, str(50_000 + n % 100).encode(), last=n, at_ms=n, buys=[(n, 1, 1)]), SNAP_QUOTE, n, 0)
        for n in range(1, packets + 1)
    ]

    def fresh() -> tuple[tuple[list[bytes], int], dict[str, object]]:
        decoder.new_connection()
        return (raws, 1), {}

    batch = benchmark.pedantic(decoder.decode, setup=fresh, rounds=50)  # type: ignore[no-untyped-call]
    assert batch.rows == packets
    assert batch.table[INSTRUMENT].tolist() == [n % 100 for n in range(1, packets + 1)]


def test_an_order_through_the_house(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Strategy, filters, risk, router, paper broker, ledger and a spooled journal, on every quote of a market."""
    source, number = QuoteSource(QUOTES), iter(range(1_000))

    def fresh() -> tuple[tuple[BenchHouse], dict[str, object]]:
        return (BenchHouse(source, tmp_path / f"{next(number)}.db"),), {}

    houses: list[BenchHouse] = []

    def replay(house: BenchHouse) -> None:
        houses.append(house)
        house.replay()

    benchmark.pedantic(replay, setup=fresh, rounds=5)  # type: ignore[no-untyped-call]
    benchmark.extra_info["orders"] = houses[0].orders
    assert houses[0].orders > QUOTES // 40
    assert len({house.pnl for house in houses}) == 1
    for house in houses:
        house.close()
