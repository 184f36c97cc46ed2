"""What a filter is.

A filter is a callable object with a `name`. It gets the signal and the scene, and answers with the margin by which the
signal passes, a float in [0, 1] (1 = by far), or with a `Refusal`. It has no state of its own that depends on anything
but earlier calls, no clock and no I/O. A person's own filter is any such class in any file (`use: file.py:Class`).
"""

from typing import Protocol

import msgspec

from angelx.domain.events import Signal
from angelx.domain.instruments import Instrument
from angelx.market.chain_view import ChainView
from angelx.market.state import MarketState


class Scene:
    """What a filter may look at besides the signal; one object, updated for each signal."""

    __slots__ = ("chain", "closes_at", "instrument", "market", "now", "opens_at", "phase", "place", "snapshot_age_ns")

    chain: ChainView | None
    """Of the instrument's underlying; `None` where it has no options."""
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
    snapshot_age_ns: int
    """Oldest exchange time that a source of snapshots can show, as measured; 0 = the source is a stream."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a signal does not pass: a stable code, and the numbers compared."""

    code: str
    detail: str


class Filter(Protocol):
    """One question about a signal."""

    name: str

    def __call__(self, signal: Signal, scene: Scene) -> float | Refusal:
        """The margin in [0, 1], or the refusal."""
        ...
