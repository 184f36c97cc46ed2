"""The benchmark of the Greeks measures what it says."""

import numpy as np

from angelx.bench.chain_greeks import CONTRACTS, Book, rows, warm_up
from angelx.market.black76 import DEFINED


def test_the_rows_are_those_of_the_case() -> None:
    found = rows()

    assert [(row.case, row.metric, row.unit) for row in found] == [
        ("greeks-400", "us_per_chain", "us"), ("greeks-400", "us_per_chain_cold", "us"),
    ]  # fmt: skip
    assert all(row.ratio is not None and 0.5 < row.ratio < 5.0 for row in found)


def test_both_sides_work_out_the_same_400_contracts() -> None:
    book = Book()

    book.check()

    assert len(book.places) == CONTRACTS
    assert (book.reasons == DEFINED).all()
    assert (book.chains[0] != book.chains[1]).any()
    np.testing.assert_allclose(book.greeks[:, 0], book.columns[0], rtol=1e-9)


def test_every_kernel_can_be_compiled_before_it_is_needed() -> None:
    warm_up()
