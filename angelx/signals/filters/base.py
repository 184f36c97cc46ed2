"""What a filter is.

A filter is a callable object with a `name`. It gets the signal and the scene, and answers with the margin by which the
signal passes, a float in [0, 1] (1 = by far), with a `Refusal`, or with `NOT_APPLICABLE` where the market has no such
input. It has no state of its own that depends on anything but earlier calls, no clock and no I/O. A person's own filter
is any such class in any file (`use: file.py:Class`).
"""

from typing import Final, Protocol, runtime_checkable

import msgspec

from angelx.domain.events import Signal
from angelx.domain.instruments import Instrument
from angelx.market.chain_view import Chains, ChainView
from angelx.market.state import MarketState


class Window(msgspec.Struct, frozen=True):
    """The part of the session a signal falls into, and what it multiplies the bias threshold by (SPEC 4.2)."""

    name: str
    """`opening`, `morning`, `midday`, `afternoon`, `closing`."""
    multiplier: float


class Scene:
    """What a filter may look at besides the signal; one object an instrument, updated for each signal."""

    __slots__ = (
        "chain", "chains", "closes_at", "instrument", "market", "now", "opens_at", "phase", "place", "sign",
        "snapshot_age_ns", "twin", "window", "window_ends",
    )  # fmt: skip

    chain: ChainView | None
    """Of the instrument's underlying; `None` where it has no options."""
    chains: Chains | None
    """Every chain of the run; `None` where there are none."""
    market: MarketState
    now: int
    """Time of the decision, ns."""
    place: int
    instrument: Instrument
    phase: str
    """Of the instrument's segment: `open`, `closed`, …"""
    opens_at: int
    closes_at: int
    """Of the instrument's session, ns; 0 while closed."""
    sign: int
    """-1 of puts, else +1: times a signal's direction it is what the signal says of the underlying, that it rises or
    falls.
    """
    snapshot_age_ns: int
    """Oldest exchange time that a source of snapshots can show, as measured; 0 = the source is a stream."""
    twin: int
    """Place of the put at a call's strike and expiry, or of the call at a put's; -1 where there is none."""
    window: Window | None
    """Of the instrument's session; `None` outside."""
    window_ends: int
    """When another one may begin, ns."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a signal does not pass: a stable code, and the numbers compared."""

    code: str
    detail: str


class NotApplicable(msgspec.Struct, frozen=True):
    """The market has no such input: neither a pass nor a refusal, and no part of the confidence."""


NOT_APPLICABLE: Final = NotApplicable()

Answer = float | Refusal | NotApplicable


class Filter(Protocol):
    """One question about a signal."""

    name: str

    def __call__(self, signal: Signal, scene: Scene) -> Answer:
        """The margin in [0, 1], the refusal, or `NOT_APPLICABLE`."""
        ...


@runtime_checkable
class Tunable(Protocol):
    """A filter whose threshold may be moved by what was learned of its outcomes (`angelx.signals.tuning`)."""

    name: str
    tuned: float
    """Added to the threshold: positive is stricter."""


def within(where: str, key: str, value: object, least: float, most: float) -> float:
    """The value as a float.

    Raises
    ------
    ValueError
        It is no number, or outside [least, most]: names filter, key and value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{where} filter: {key} must be between {least:g} and {most:g}, was {value!r}")
    return float(value)
