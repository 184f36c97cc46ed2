"""The risk engine's decision: a passed signal and the book in, one approved order or one refusal out."""

from angelx.domain.client_ids import ClientIds
from angelx.domain.events import OrderApproved, Signal, SignalRefused
from angelx.domain.instruments import Instrument
from angelx.risk.book import Book
from angelx.risk.gate import Draft, objection
from angelx.risk.sizing import entry_units


class Refused(Exception):
    """The plan cannot be made: stable code and the numbers."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


def decide(
    signal: Signal, confidence: float, instrument: Instrument, book: Book, draft: Draft, ids: ClientIds
) -> OrderApproved | SignalRefused:
    """Size a signal, pass it through the gate, and approve or refuse it.

    `draft` comes with the scene filled in (quote, phase, close, what bars entries); the rest is filled in here.
    """
    try:
        bound = _plan(signal, instrument, book, draft)
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


def _plan(signal: Signal, instrument: Instrument, book: Book, draft: Draft) -> str:
    """Fill in side, quantity and limit; answers what bound the quantity."""
    line = draft.line = book.lines.get(instrument.id) or book.line(instrument.id)
    held = line.held_by(signal.strategy)
    wanted = signal.direction
    opposite = held * wanted < 0
    draft.at, draft.strategy, draft.instrument = signal.at, signal.strategy, instrument
    draft.urgency, draft.why = signal.urgency, signal.why
    draft.reduces = wanted == 0 or (opposite and not book.limits.allow_cross)
    if draft.reduces:
        if not held:
            raise Refused("nothing_to_close", "no position")
        if book.working_exit(signal.strategy, line):
            raise Refused("exit_working", "an exit of this position works already")
        draft.side = -1 if held > 0 else 1
    else:
        if held * wanted > 0:
            raise Refused("already_in_position", f"holds {held}")
        draft.side = wanted
    draft.touch = draft.ask if draft.side > 0 else draft.bid
    beyond = book.limits.collar_ticks[draft.urgency] * instrument.tick_size
    draft.limit = max(draft.touch + draft.side * beyond, instrument.tick_size) if draft.touch > 0 else 0
    if draft.reduces:
        draft.quantity = abs(held)
        if draft.quantity > instrument.largest_order:
            draft.quantity = instrument.largest_order
            return "freeze"
        return "position"
    if draft.limit <= 0:
        raise Refused("no_touch", f"bid {draft.bid}, ask {draft.ask}")
    units, bound = entry_units(book, line, instrument, draft.limit, signal.stop_distance)
    if not units:
        raise Refused("too_small", f"less than one lot of {instrument.lot_size} at {draft.limit}, bound by {bound}")
    draft.quantity = units + (abs(held) if opposite else 0)
    return bound
