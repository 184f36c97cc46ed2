"""The life of an order: which report moves it from where to where (SPEC 6.1)."""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where an order stands."""

    PLANNED = "planned"
    """The intent is durable; nothing left yet."""
    SENDING = "sending"
    UNKNOWN = "unknown"
    """It left and no answer came: look it up, never resend."""
    WORKING = "working"
    PARTIALLY_FILLED = "partially_filled"
    CANCEL_PENDING = "cancel_pending"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    ABSENT = "absent"
    """The broker never had it; it is not sent again."""
    BARRED = "barred"
    """The kill switch stopped it before the send."""


ENDED: Final = frozenset({State.FILLED, State.CANCELLED, State.REJECTED, State.EXPIRED, State.ABSENT, State.BARRED})
"""States in which nothing of the order works any more; a late fill still counts (SPEC 6.1)."""

LIVE: Final = frozenset(State) - ENDED

_MOVES: Final[dict[str, dict[State, State]]] = {
    "send": {State.PLANNED: State.SENDING},
    "lose": {State.SENDING: State.UNKNOWN},
    "accept": {
        State.SENDING: State.WORKING,
        State.UNKNOWN: State.WORKING,
        State.ABSENT: State.WORKING,
        State.WORKING: State.WORKING,
        State.PARTIALLY_FILLED: State.PARTIALLY_FILLED,
        State.CANCEL_PENDING: State.CANCEL_PENDING,
        State.FILLED: State.FILLED,
    },
    "request_cancel": {
        State.SENDING: State.CANCEL_PENDING,
        State.UNKNOWN: State.CANCEL_PENDING,
        State.WORKING: State.CANCEL_PENDING,
        State.PARTIALLY_FILLED: State.CANCEL_PENDING,
        State.CANCEL_PENDING: State.CANCEL_PENDING,
    },
    "refuse_cancel": {State.CANCEL_PENDING: State.WORKING},
    "cancelled": dict.fromkeys(LIVE, State.CANCELLED),
    "rejected": dict.fromkeys((State.SENDING, State.UNKNOWN, State.WORKING, State.CANCEL_PENDING), State.REJECTED),
    "expired": dict.fromkeys(LIVE, State.EXPIRED),
    "absent": {State.PLANNED: State.ABSENT, State.SENDING: State.ABSENT, State.UNKNOWN: State.ABSENT},
    "barred": {State.PLANNED: State.BARRED, State.SENDING: State.BARRED},
}


class IllegalMove(ValueError):
    """A report does not fit the order's state: it is reported, never acted on."""


def after(state: State, move: str) -> State:
    """The state after a move.

    Raises
    ------
    IllegalMove
        The move does not exist from there.
    """
    found = _MOVES[move].get(state)
    if found is None:
        raise IllegalMove(f"an order that is {state} cannot be moved by {move}")
    return found


def after_fill(state: State, quantity: int, filled: int) -> State:
    """The state once `filled` of `quantity` units have traded. A fill is never refused, whatever the state was."""
    if filled >= quantity:
        return State.FILLED
    return state if state in (State.CANCEL_PENDING, State.CANCELLED, State.EXPIRED) else State.PARTIALLY_FILLED
