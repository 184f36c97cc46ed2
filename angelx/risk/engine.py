"""The risk engine's decision: a passed signal and the book in, one approved order or one refusal out."""

from angelx.domain.client_ids import ClientIds
from angelx.domain.events import OrderApproved, Signal, SignalRefused
from angelx.domain.ticks import ASK, BID
from angelx.risk.book import Book
from angelx.risk.gate import Draft, Stand, objection
from angelx.risk.sizing import entry_units


def decide(  # noqa: C901, PLR0911, PLR0912  (one question, one if)
    signal: Signal, confidence: float, book: Book, stand: Stand, ids: ClientIds
) -> OrderApproved | SignalRefused:
    """Size a signal, pass it through the gate, and approve or refuse it.

    `stand` is that of the signal's instrument.
    """
    terms, line, quote, wanted = stand.terms, stand.line, stand.quote, signal.direction
    bid, ask = quote[BID], quote[ASK]
    position = line.positions.get(signal.strategy)
    held = 0 if position is None else position.quantity
    turns = held * wanted
    if turns > 0:
        return _refusal(signal, "sizing", "already_in_position", f"holds {held}")
    reduces = wanted == 0 or (turns < 0 and not terms.may_cross)
    if reduces:
        if not held:
            return _refusal(signal, "sizing", "nothing_to_close", "no position")
        if book.working_exit(signal.strategy, line):
            return _refusal(signal, "sizing", "exit_working", "an exit of this position works already")
        side = -1 if held > 0 else 1
    else:
        side = wanted
    touch = ask if side > 0 else bid
    limit = touch + side * terms.collars[signal.urgency]
    if touch <= 0:
        limit = 0
    elif limit < terms.tick:
        limit = terms.tick
    if reduces:
        quantity, bound = abs(held), "position"
        if line.gap:
            there = -side * line.at_broker - (line.buying if side > 0 else line.selling)
            if there < terms.lot:
                return _refusal(signal, "sizing", "not_at_broker", f"the broker holds {line.at_broker}")
            if there < quantity:
                quantity, bound = there - there % terms.lot, "broker"
        if quantity > terms.largest:
            quantity, bound = terms.largest, "freeze"
    elif not limit:
        return _refusal(signal, "sizing", "no_touch", f"bid {bid}, ask {ask}")
    else:
        quantity, bound = entry_units(book, line, terms, limit, signal.stop_distance)
        if not quantity:
            detail = f"less than one lot of {terms.lot} at {limit}, bound by {bound}"
            return _refusal(signal, "sizing", "too_small", detail)
        if turns:
            quantity += abs(held)
    against = objection(Draft(signal, held, side, quantity, limit, bid, ask, touch, reduces), stand, book)
    if against is not None:
        return _refusal(signal, "gate", *against)
    strategy, number = signal.strategy, signal.signal
    return OrderApproved(
        signal.at, ids.of(strategy, number), number, strategy, signal.instrument, side, quantity, limit, reduces,
        touch, bound, confidence, book.decided_by,
    )  # fmt: skip


def _refusal(signal: Signal, by: str, code: str, detail: str) -> SignalRefused:
    return SignalRefused(signal.at, signal.signal, signal.strategy, signal.instrument, by, code, detail)
