"""The life of an order: every pair of state and move, as SPEC 6.1 draws it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.orders.states import ENDED, LIVE, IllegalMove, State, after, after_fill

S = State
STATES = sorted(LIVE | ENDED)
PICTURE = {
    "send": {S.PLANNED: S.SENDING},
    "lose": {S.SENDING: S.UNKNOWN},
    "accept": {
        S.SENDING: S.WORKING, S.UNKNOWN: S.WORKING, S.WORKING: S.WORKING,
        S.ABSENT: S.WORKING, S.REJECTED: S.WORKING,  # arrived after all: adopted
        # reports overtake each other; what came later stands
        S.PARTIALLY_FILLED: S.PARTIALLY_FILLED, S.CANCEL_PENDING: S.CANCEL_PENDING, S.FILLED: S.FILLED,
    },
    "request_cancel": dict.fromkeys(
        (S.SENDING, S.UNKNOWN, S.WORKING, S.PARTIALLY_FILLED, S.CANCEL_PENDING), S.CANCEL_PENDING
    ),
    "refuse_cancel": {S.CANCEL_PENDING: S.WORKING},
    "cancelled": dict.fromkeys(LIVE, S.CANCELLED),
    "rejected": dict.fromkeys(LIVE, S.REJECTED),
    "expired": dict.fromkeys(LIVE, S.EXPIRED),
    "absent": dict.fromkeys((S.PLANNED, S.SENDING, S.UNKNOWN, S.CANCEL_PENDING), S.ABSENT),
    "barred": dict.fromkeys((S.PLANNED, S.SENDING), S.BARRED),
}  # fmt: skip


@pytest.mark.parametrize(("state", "move"), list(itertools.product(STATES, PICTURE)))
def test_every_state_and_move(state: str, move: str) -> None:
    expected = PICTURE[move].get(state)
    if expected is None:
        with pytest.raises(IllegalMove, match=f"{state} cannot be moved by {move}"):
            after(state, move)
    else:
        assert after(state, move) == expected


def test_live_and_ended_are_all_states_and_share_none() -> None:
    names = {getattr(State, name) for name in vars(State) if name.isupper()}
    assert names == set(STATES)
    assert not LIVE & ENDED
    assert {S.PLANNED, S.SENDING, S.UNKNOWN, S.WORKING, S.PARTIALLY_FILLED, S.CANCEL_PENDING} == set(LIVE)


def test_nothing_but_a_fill_or_a_late_arrival_leaves_an_end() -> None:
    left = {
        (state, move) for state in ENDED for move in PICTURE if state in PICTURE[move] and after(state, move) != state
    }
    assert left == {(S.ABSENT, "accept"), (S.REJECTED, "accept")}


@given(st.sampled_from(STATES), st.integers(1, 100), st.data())
def test_a_fill_is_never_refused(state: str, quantity: int, data: st.DataObject) -> None:
    filled = data.draw(st.integers(1, 2 * quantity))
    found = after_fill(state, quantity, filled)
    if filled >= quantity:
        assert found == State.FILLED
    elif state in (State.CANCEL_PENDING, State.CANCELLED, State.EXPIRED):
        assert found == state
    else:
        assert found == State.PARTIALLY_FILLED
