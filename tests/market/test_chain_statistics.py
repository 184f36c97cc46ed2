"""Max pain, walls and ratios against brute force."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from angelx.domain.ticks import Table
from angelx.market.chain_statistics import (
    CALL_FLOW,
    CALL_OI,
    CALL_VOLUME,
    CALL_WALL,
    FIGURES,
    MAX_PAIN,
    PUT_FLOW,
    PUT_OI,
    PUT_VOLUME,
    PUT_WALL,
    figures,
    ratio,
)

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


def figures_of(strikes: Table, calls: Table, puts: Table, forward: int = 0) -> list[int]:
    """Calls are the even lines, puts the odd ones; volume is twice the open interest, flow a class each."""
    n = len(strikes)
    oi = np.stack([calls, puts], 1).ravel()
    flow = np.arange(2 * n * 5, dtype=np.int64).reshape(2 * n, 5)
    out = np.full(FIGURES, -1, np.int64)
    figures(strikes, 2 * np.arange(n), 2 * np.arange(n) + 1, oi, 2 * oi, flow, float(forward), out)
    assert out[CALL_FLOW : CALL_FLOW + 4].tolist() == flow[::2, :4].sum(0).tolist()
    assert out[PUT_FLOW : PUT_FLOW + 4].tolist() == flow[1::2, :4].sum(0).tolist()
    answer: list[int] = out.tolist()
    return answer


@given(chains)
def test_max_pain_is_where_holders_get_least(chain: list[tuple[int, int, int]]) -> None:
    strikes, calls, puts = columns(chain)

    def paid(settlement: int) -> int:
        rows = zip(strikes.tolist(), calls.tolist(), puts.tolist(), strict=True)
        return sum(call * max(settlement - strike, 0) + put * max(strike - settlement, 0) for strike, call, put in rows)

    everything = int(calls.sum() + puts.sum())
    expected = min(strikes.tolist(), key=lambda strike: (paid(strike), strike)) if everything else 0
    assert figures_of(strikes, calls, puts)[MAX_PAIN] == expected


@given(chains, st.integers(0, 10**5))
def test_walls_stand_on_their_side_of_the_forward(chain: list[tuple[int, int, int]], forward: int) -> None:
    strikes, calls, puts = columns(chain)
    found = figures_of(strikes, calls, puts, forward * 500_000)

    rows = list(zip(strikes.tolist(), calls.tolist(), puts.tolist(), strict=True))
    above = [(call, -strike) for strike, call, _ in rows if strike >= forward * 500_000 and call]
    below = [(put, strike) for strike, _, put in rows if (strike <= forward * 500_000 or not forward) and put]
    assert found[CALL_WALL] == (-max(above)[1] if above else 0)
    assert found[PUT_WALL] == (max(below)[1] if below else 0)


@given(chains)
def test_ratios_are_puts_over_calls(chain: list[tuple[int, int, int]]) -> None:
    strikes, calls, puts = columns(chain)
    found = figures_of(strikes, calls, puts)

    assert found[CALL_OI] == sum(calls.tolist())
    assert found[PUT_OI] == sum(puts.tolist())
    assert (found[CALL_VOLUME], found[PUT_VOLUME]) == (2 * found[CALL_OI], 2 * found[PUT_OI])
    expected = found[PUT_OI] / found[CALL_OI] if found[CALL_OI] else None
    assert ratio(found[PUT_OI], found[CALL_OI]) == expected


def test_a_strike_may_lack_a_leg() -> None:
    out, lines = np.zeros(FIGURES, np.int64), np.array([7], np.int64)
    figures(
        np.array([100, 200]), np.array([0, -1]), np.array([-1, -1]), lines, lines, np.zeros((1, 5), np.int64), 0.0, out
    )
    assert (out[CALL_OI], out[PUT_OI], out[CALL_WALL], out[PUT_WALL], out[MAX_PAIN]) == (7, 0, 100, 0, 100)
