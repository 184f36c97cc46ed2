"""The life of an order: which report moves it from where to where (SPEC 6.1)."""

from typing import Final


class State:
    """Where an order stands. Plain strings: an enum's hash costs ten times a string's, four times an order."""

    PLANNED: Final = "planned"
    """The intent is durable; nothing left yet."""
    SENDING: Final = "sending"
    UNKNOWN: Final = "unknown"
    """It left and no answer came: look it up, never resend."""
    WORKING: Final = "working"
    PARTIALLY_FILLED: Final = "partially_filled"
    CANCEL_PENDING: Final = "cancel_pending"
    FILLED: Final = "filled"
    CANCELLED: Final = "cancelled"
    REJECTED: Final = "rejected"
    EXPIRED: Final = "expired"
    ABSENT: Final = "absent"
    """The broker never had it; it is not sent again."""
    BARRED: Final = "barred"
    """The kill switch stopped it before the send."""


STATES: Final = frozenset(value for name, value in vars(State).items() if name.isupper())


ENDED: Final = frozenset({State.FILLED, State.CANCELLED, State.REJECTED, State.EXPIRED, State.ABSENT, State.BARRED})
"""States in which nothing of the order works any more; a late fill still counts (SPEC 6.1)."""

LIVE: Final = STATES - ENDED

GIVEN_UP: Final = frozenset({State.ABSENT, State.REJECTED})
"""Ends that we concluded, from what is not in the books or from an answer: where the order works all the same it is
live again. Barred ones never left."""

_MOVES: Final[dict[str, dict[str, str]]] = {
    "send": {State.PLANNED: State.SENDING},
    "lose": {State.SENDING: State.UNKNOWN},
    "accept": {
        State.SENDING: State.WORKING,
        State.UNKNOWN: State.WORKING,
        State.ABSENT: State.WORKING,
        State.REJECTED: State.WORKING,
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
    "rejected": dict.fromkeys(LIVE, State.REJECTED),
    "expired": dict.fromkeys(LIVE, State.EXPIRED),
    "absent": dict.fromkeys((State.PLANNED, State.SENDING, State.UNKNOWN, State.CANCEL_PENDING), State.ABSENT),
    "barred": {State.PLANNED: State.BARRED, State.SENDING: State.BARRED},
}


class IllegalMove(ValueError):
    """A report does not fit the order's state: it is reported, never acted on."""


def after(state: str, move: str) -> str:
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


def after_fill(state: str, quantity: int, filled: int) -> str:
    """The state once `filled` of `quantity` units have traded. A fill is never refused, whatever the state was."""
    if filled >= quantity:
        return State.FILLED
    return state if state in (State.CANCEL_PENDING, State.CANCELLED, State.EXPIRED) else State.PARTIALLY_FILLED
