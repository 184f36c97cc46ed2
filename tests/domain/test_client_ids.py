"""Client order ids: fit for every broker, the same in every process, one for each decision."""

import re

from hypothesis import given
from hypothesis import strategies as st

from angelx.domain.client_ids import ClientIds

decisions = st.tuples(
    st.sampled_from(("run-1", "run-2")), st.text(max_size=8), st.integers(1, 2**40), st.integers(0, 9)
)


def name(run: str, strategy: str, signal: int, leg: int) -> str:
    return ClientIds(run).of(strategy, signal, leg)


@given(decisions)
def test_an_id_is_a_word_that_every_broker_takes(decision: tuple[str, str, int, int]) -> None:
    assert re.fullmatch("ax[A-Z2-7]{16}", name(*decision))


@given(decisions, decisions)
def test_two_decisions_have_two_ids_and_one_has_one(
    one: tuple[str, str, int, int], other: tuple[str, str, int, int]
) -> None:
    assert (name(*one) == name(*other)) == (one == other)


def test_an_id_does_not_change() -> None:
    assert ClientIds("run").of("s", 1) == ClientIds("run").of("s", 1) == "axZFORMAZQ5BHIKGOB"
