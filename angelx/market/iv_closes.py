"""The volatilities at the closes of earlier sessions, as they are kept between sessions: what IV rank is read from."""

import hashlib
import math
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from typing import Final

import msgspec

from angelx.domain.errors import InputInvalid
from angelx.market.smile import SESSIONS, IvHistory

FORM: Final = 1
"""Of the file; another one is not read."""


class IvCloses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Session and volatility at its close (of a month's life, at the money, a fraction), ascending, by underlying."""

    form: int = FORM
    closes: dict[str, list[tuple[date, float]]] = {}

    def __post_init__(self) -> None:
        if self.form != FORM:
            raise ValueError(f"form must be {FORM}, was {self.form}")
        for underlying, closes in self.closes.items():
            if len(closes) > SESSIONS or any(before >= after for (before, _), (after, _) in pairwise(closes)):
                raise ValueError(f"closes[{underlying!r}] must be at most {SESSIONS} sessions, ascending")
            if not all(0.0 < volatility < math.inf for _, volatility in closes):
                raise ValueError(f"closes[{underlying!r}] must be positive numbers")

    def before(self, day: date) -> "IvCloses":
        """Those of sessions before a day: all that one that begins then may know."""
        kept = {name: [one for one in closes if one[0] < day] for name, closes in self.closes.items()}
        return IvCloses(closes={name: closes for name, closes in kept.items() if closes})

    def plus(self, histories: Mapping[str, IvHistory]) -> "IvCloses":
        """With the closes of a run; of a session that both know the run's."""
        closes = dict(self.closes)
        for name, history in histories.items():
            merged = {**dict(closes.get(name, ())), **dict(history.closes)}
            if merged:
                closes[name] = sorted(merged.items())[-SESSIONS:]
        return IvCloses(closes=closes)

    def histories(self) -> dict[str, IvHistory]:
        """As the chain takes them."""
        return {name: IvHistory(closes) for name, closes in self.closes.items()}

    def to_json(self) -> str:
        """As text, the same for the same closes."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @property
    def digest(self) -> str:
        """sha256 of the text."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def iv_closes_of(data: bytes | str, where: str) -> IvCloses:
    """Closes from their text; empty text is none.

    Raises
    ------
    InputInvalid
        It is no such text; names `where`, what is wrong and what to do.
    """
    if not data:
        return IvCloses()
    try:
        return msgspec.json.decode(data, type=IvCloses)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputInvalid(f"{where}: no volatilities of closes: {error}; put the file aside to begin again") from error
