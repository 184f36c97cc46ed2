"""The risk engine's decision: a passed signal and the book in, one approved order or one refusal out."""

from angelx.domain.client_ids import ClientIds
from angelx.domain.events import OrderApproved, Signal, SignalRefused
from angelx.risk.book import Book
from angelx.risk.gate import Draft, objection
from angelx.risk.sizing import entry_units


class Refused(Exception):
    """The plan cannot be made: stable code and the numbers."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


def decide(
    signal: Signal, confidence: float, book: Book, draft: Draft, ids: ClientIds
) -> OrderApproved | SignalRefused:
    """Size a signal, pass it through the gate, and approve or refuse it.

    `draft` comes with the signal, the quote and what bars entries filled in; the rest is filled in here.
    """
    try:
        bound = _plan(signal, book, draft)
    except Refused as refused:
        return _refusal(signal, "sizing", refused.code, refused.detail)
    against = objection(draft, book)
    if against is not None:
        return _refusal(signal, "gate", *against)
    return OrderApproved(
        signal.at, ids.of(signal.strategy, signal.signal), signal.signal, signal.strategy, signal.instrument,
        draft.side, draft.quantity, draft.limit, draft.reduces, draft.touch, bound, confidence,
    )  # fmt: skip


def _refusal(signal: Signal, by: str, code: str, detail: str) -> SignalRefused:
    return SignalRefused(signal.at, signal.signal, signal.strategy, signal.instrument, by, code, detail)


def _plan(signal: Signal, book: Book, draft: Draft) -> str:
    """Fill in side, quantity and limit; answers what bound the quantity."""
    terms, line, wanted = draft.terms, draft.line, signal.direction
    position = line.held.get(signal.strategy)
    draft.held = held = 0 if position is None else position.quantity
    opposite = held * wanted < 0
    draft.reduces = reduces = wanted == 0 or (opposite and not book.limits.allow_cross)
    if reduces:
        if not held:
            raise Refused("nothing_to_close", "no position")
        if book.working_exit(signal.strategy, line):
            raise Refused("exit_working", "an exit of this position works already")
        side = -1 if held > 0 else 1
    else:
        if held * wanted > 0:
            raise Refused("already_in_position", f"holds {held}")
        side = wanted
    touch = draft.ask if side > 0 else draft.bid
    limit = max(touch + side * terms.collars[signal.urgency], terms.tick) if touch > 0 else 0
    draft.side, draft.touch, draft.limit = side, touch, limit
    if reduces:
        draft.quantity = units = abs(held)
        if units > terms.largest:
            draft.quantity = terms.largest
            return "freeze"
        return "position"
    if not limit:
        raise Refused("no_touch", f"bid {draft.bid}, ask {draft.ask}")
    units, bound = entry_units(book, line, terms, limit, signal.stop_distance)
    if not units:
        raise Refused("too_small", f"less than one lot of {terms.lot} at {limit}, bound by {bound}")
    draft.quantity = units + abs(held) if opposite else units
    return bound
