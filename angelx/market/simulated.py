"""The simulated market: a seeded index and its option chain as a stream of ticks, fitted to a recorded NIFTY day.

What is modelled, how near it comes and what is left out: docs/simulated-market.md.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from datetime import date
from importlib import resources
from typing import Final

import msgspec
import numpy as np

from angelx.domain.scalars import NS
from angelx.domain.ticks import FIELDS, TickBatch
from angelx.market.simulated_chain import (
    STEPS,
    TICK,
    expiry_dates,
    ladder,
    liquidity_classes,
    listed,
    prominence,
    trading_days_after,
)  # fmt: skip
from angelx.market.simulated_kernel import LARGEST_DELAY, fill
from angelx.market.simulated_model import Fitted, Session, State, fitted_from, opened
from angelx.market.simulated_pricing import seeded

VERSION: Final = 1
"""Of the generator: raise it when the same parameters give other rows."""
BATCH_ROWS: Final = 8_000
"""Not a power of two: columns of a table that long would fight for the same lines of the cache."""

_SOURCE: Final = "simulated"


class _Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the reference says: all that rebuilds the same rows."""

    source: str
    seed: int
    session: date
    opens_at: int
    closes_at: int
    spot: int
    expiries: int
    strikes: int
    pace: float
    lot_size: int
    freeze_quantity: int
    holidays: tuple[date, ...]

    def __post_init__(self) -> None:
        if self.source != _SOURCE:
            raise ValueError(f"source must be {_SOURCE!r}, was {self.source!r}")
        for name in ("spot", "expiries", "strikes", "lot_size"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, was {getattr(self, name)}")
        if self.freeze_quantity < 0:
            raise ValueError(f"freeze_quantity must not be negative, was {self.freeze_quantity}")
        if not 0 < self.opens_at < self.closes_at:
            raise ValueError(f"needs 0 < opens_at < closes_at, was {self.opens_at} / {self.closes_at}")
        if not 0.01 <= self.pace <= 100:
            raise ValueError(f"pace must lie in [0.01, 100] looks a second, was {self.pace}")


class SimulatedMarket:
    """A `TickSource` that makes its ticks up: the same parameters give the same rows.

    Parameters
    ----------
    seed
        Of every random choice; any integer.
    session
        The trading date; an expiry on it is listed.
    opens_at, closes_at
        Of continuous trading, ns since the epoch.
    spot
        The index at the open, 1/10,000.
    expiries, strikes
        How many expiries, and strikes of each; every strike has a call and a put.
    pace
        How often a second each contract is looked at; rows and quotes grow with it, volumes hardly.
    lot_size, freeze_quantity
        Units; of every option.
    holidays
        Weekdays without trading, for expiry dates and the time left to them.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """

    name: str = _SOURCE
    kind: str = "stream"
    scope: str = "simulated"
    rows: int = 0

    def __init__(
        self, *, seed: int, session: date, opens_at: int, closes_at: int, spot: int = 245_000_000,
        expiries: int = 18, strikes: int = 40, pace: float = 1.0, lot_size: int = 65, freeze_quantity: int = 1_800,
        holidays: Sequence[date] = (),
    ) -> None:  # fmt: skip
        self._parameters = _Parameters(
            source=_SOURCE, seed=seed, session=session, opens_at=opens_at, closes_at=closes_at, spot=spot,
            expiries=expiries, strikes=strikes, pace=float(pace), lot_size=lot_size, freeze_quantity=freeze_quantity,
            holidays=tuple(sorted(holidays)),
        )  # fmt: skip
        self._expiries = expiry_dates(session, expiries, self._parameters.holidays)
        self._fitted, text = read_fitted()
        self.instruments = listed(session, spot / 10_000, self._expiries, strikes, lot_size, freeze_quantity)
        self.reference = msgspec.json.encode(self._parameters).decode()
        self.digest = hashlib.sha256(f"{VERSION}\n{self.reference}\n{text}".encode()).hexdigest()
        self.first_at = opens_at
        self.last_at = closes_at + LARGEST_DELAY
        """No row arrives before `first_at` or after `last_at`."""

    @classmethod
    def from_reference(cls, text: str) -> "SimulatedMarket":
        """The same market again.

        Raises
        ------
        ValueError
            Not a reference of a simulated market.
        """
        try:
            parameters = msgspec.json.decode(text, type=_Parameters)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a reference of a simulated market: {error}") from error
        arguments = msgspec.structs.asdict(parameters)
        del arguments["source"]
        return cls(**arguments)

    def batches(self, first_row: int = 0) -> Iterator[TickBatch]:
        """The rows from `first_row` on, in batches that end at multiples of `BATCH_ROWS`."""
        session, row = self._session(), 0
        state = self._state(session)
        while True:
            table = np.empty((FIELDS, BATCH_ROWS), np.int64)
            rows = fill(table, session, self._fitted.laws, state)
            skipped = min(max(first_row - row, 0), rows)
            row += rows
            if skipped < rows:
                yield TickBatch(np.ascontiguousarray(table[:, skipped:rows]))
            if rows < BATCH_ROWS:
                return

    def _session(self) -> Session:
        p, n = self._parameters, len(self.instruments) - 1
        stride = next(step for step in range(max(int(0.382 * n), 1), n + 1) if math.gcd(step, n) == 1)
        return Session(p.opens_at, p.closes_at, round(NS / p.pace), p.lot_size, stride)

    def _state(self, session: Session) -> State:
        p = self._parameters
        classes = liquidity_classes(p.session, self._expiries)
        contracts = [
            (e, strike * 10_000 // TICK, call, prominence(strike, STEPS[row]))
            for e, row in enumerate(classes)
            for strike in ladder(p.spot / 10_000, p.strikes, STEPS[row])
            for call in (1, -1)
        ]
        terms = np.array(
            [
                (row, (day - p.session).days / 365.0, trading_days_after(p.session, day, p.holidays))
                for row, day in zip(classes, self._expiries, strict=True)
            ]
        )
        return opened(self._fitted, session, terms, contracts, seeded(p.seed), p.spot / TICK)


def read_fitted() -> tuple[Fitted, str]:
    """The parameters that ship, and their text."""
    text = resources.files("angelx.market").joinpath("simulated_fit.json").read_text("utf-8")
    return fitted_from(json.loads(text)), text
