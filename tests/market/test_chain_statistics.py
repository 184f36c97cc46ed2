"""Max pain, walls and ratios against brute force."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from angelx.domain.ticks import Table
from angelx.market.chain_statistics import statistics

open_interest = st.integers(0, 3) | st.integers(0, 10**8)
chains = st.lists(
    st.tuples(st.integers(1, 10**5), open_interest, open_interest),
    min_size=1,
    max_size=30,
    unique_by=lambda one: one[0],
)


def columns(chain: list[tuple[int, int, int]]) -> tuple[Table, Table, Table]:
    strikes, calls, puts = np.array(sorted(chain), np.int64).T.copy()
    return strikes * 500_000, calls, puts


@given(chains)
def test_max_pain_is_where_holders_get_least(chain: list[tuple[int, int, int]]) -> None:
    strikes, calls, puts = columns(chain)

    def paid(settlement: int) -> int:
        rows = zip(strikes.tolist(), calls.tolist(), puts.tolist(), strict=True)
        return sum(call * max(settlement - strike, 0) + put * max(strike - settlement, 0) for strike, call, put in rows)

    everything = int(calls.sum() + puts.sum())
    expected = min(strikes.tolist(), key=lambda strike: (paid(strike), strike)) if everything else 0
    assert statistics(strikes, calls, puts, 0, 0, 0.0).max_pain == expected


@given(chains, st.integers(0, 10**5))
def test_walls_stand_on_their_side_of_the_forward(chain: list[tuple[int, int, int]], forward: int) -> None:
    strikes, calls, puts = columns(chain)
    found = statistics(strikes, calls, puts, 0, 0, float(forward * 500_000))

    rows = list(zip(strikes.tolist(), calls.tolist(), puts.tolist(), strict=True))
    above = [(call, -strike) for strike, call, _ in rows if strike >= forward * 500_000 and call]
    below = [(put, strike) for strike, _, put in rows if (strike <= forward * 500_000 or not forward) and put]
    assert found.call_wall == (-max(above)[1] if above else 0)
    assert found.put_wall == (max(below)[1] if below else 0)


@given(chains, st.integers(0, 10**9), st.integers(0, 10**9))
def test_ratios_are_puts_over_calls(chain: list[tuple[int, int, int]], call_volume: int, put_volume: int) -> None:
    strikes, calls, puts = columns(chain)
    found = statistics(strikes, calls, puts, call_volume, put_volume, 0.0)

    assert found.pcr_oi == (sum(puts.tolist()) / sum(calls.tolist()) if calls.any() else None)
    assert found.pcr_volume == (put_volume / call_volume if call_volume else None)
