"""Client order ids: fit for every broker, the same in every process, never two alike."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.domain.client_ids import LEGS, ClientIds

LAST = 2**27 - 1
decisions = st.tuples(
    st.sampled_from(("run-1", "run-2")), st.text(max_size=8), st.integers(0, LAST), st.integers(0, LEGS - 1)
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


@given(st.integers(0, LAST), st.integers(0, LAST), st.integers(0, LEGS - 1))
def test_signals_of_one_strategy_never_meet(one: int, other: int, leg: int) -> None:
    ids = ClientIds("run")
    assert (ids.of("s", one) == ids.of("s", other, leg)) == (one == other and not leg)


@pytest.mark.parametrize(("signal", "leg"), [(1, LEGS), (1, -1), (LAST + 1, 0), (-1, 0)])
def test_what_has_no_id_is_refused(signal: int, leg: int) -> None:
    with pytest.raises(ValueError, match="no id is left"):
        ClientIds("run").of("s", signal, leg)


def test_an_id_does_not_change() -> None:
    assert ClientIds("run").of("s", 1) == ClientIds("run").of("s", 1) == "axGRJ4BES6P6AAAAAI"
