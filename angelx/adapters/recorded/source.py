"""Recordings of the documented schemas as one source of ticks."""

from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from angelx.adapters.recorded.catalogue import Catalogue, Freeze
from angelx.adapters.recorded.choice import Chosen, Group, choose
from angelx.adapters.recorded.days import date_of
from angelx.adapters.recorded.layouts import NSE_CHAIN, Role
from angelx.adapters.recorded.readers import Reader
from angelx.adapters.recorded.stored import Stored, digest_of
from angelx.adapters.recorded.survey import Survey
from angelx.adapters.recorded.updates import Fold, merge
from angelx.domain.errors import InputInvalid
from angelx.domain.instruments import InstrumentTable
from angelx.domain.ticks import AT, Table, TickBatch

BATCH: Final = 10_000
"""Rows in a batch. Not a power of two: the columns of a batch would fall into the same lines of the cache."""

_ORDER: Final = (Role.CHAIN, Role.QUOTES, Role.TRADES, Role.OPEN_INTEREST)
"""Of rows received in the same instant, which come first."""


class RecordedSource:
    """Ticks of recorded files, in order of time. Satisfies `angelx.domain.ports.TickSource`.

    Parameters
    ----------
    path
        What was asked to be opened.
    files
        The files it consists of.
    ignored
        Files beside them that hold no ticks, with the reason.

    The others as in `angelx.adapters.recorded.open_recording`.
    """

    def __init__(
        self,
        path: Path,
        files: list[Path],
        ignored: dict[Path, str],
        *,
        begin: int | None,
        end: int | None,
        symbols: Collection[str] | None,
        bar_spread_bps: float | None,
        freeze: Freeze | None,
        glance: bool,
    ) -> None:
        self.path = path
        self._ignored = ignored
        self._begin, self._end, self._spread_bps = begin, end, bar_spread_bps
        surveys = [Survey(Stored(file), begin, end) for file in files]
        catalogue = Catalogue(surveys, freeze, glance=glance)
        self._chosen = choose(surveys, catalogue, symbols)
        self._untouched = self._without_quotes()
        for chosen in self._chosen:
            for key, day in chosen.groups:
                tally = chosen.survey.groups[key, day]
                if tally.inside:
                    catalogue.add(chosen.survey, key, day, chosen.survey.stored.row_number(tally.row))
        self.instruments: InstrumentTable = catalogue.table()
        used = [tally for chosen in self._chosen for tally in _used(chosen)]
        self.rows = sum(tally.inside for tally in used)
        """Exact."""
        if not self.rows:
            raise InputInvalid(f"{path}: no rows {self._asked(symbols)}; there are {_what_there_is(surveys)}")
        self.first_at, self.last_at = self._bounds()
        self.name = "+".join(sorted({_family(chosen) for chosen in self._chosen if chosen.groups}))
        self.digest = digest_of(sorted([*files, *ignored]))
        self.reference = msgspec.json.encode(
            {
                "path": str(path),
                "begin": begin,
                "end": end,
                "symbols": None if symbols is None else sorted(symbols),
                "bar_spread_bps": bar_spread_bps,
            }
        ).decode()
        self.kind, self.cadence_ns = self._pace()
        self.scope = self._scope()
        self._readers: list[Reader] = []

    # ------------------------------------------------------------ rows
    def batches(self, first_row: int = 0) -> Iterator[TickBatch]:
        """Batches of `BATCH` rows, `AT` never decreasing; rows before `first_row` are folded and left out."""
        self._readers = [
            Reader(
                chosen=chosen,
                instruments=self.instruments,
                spread=self._made_up(chosen),
                begin=self._begin,
                end=self._end,
            )
            for chosen in sorted(self._chosen, key=lambda one: _ORDER.index(one.survey.layout.role))
            if chosen.groups
        ]
        fold = Fold(len(self.instruments))
        skip = first_row
        for table in merge([reader.tables() for reader in self._readers]):
            start = 0 if self._begin is None else int(np.searchsorted(table[AT], self._begin))
            for cut in range(0, table.shape[1], BATCH):
                rows = fold.rows(table[:, cut : cut + BATCH])
                left = min(max(start - cut, 0), rows.shape[1])
                skipped = min(skip, rows.shape[1] - left)
                skip -= skipped
                if left + skipped < rows.shape[1]:
                    yield TickBatch(_from(rows, left + skipped))

    # ------------------------------------------------------------ what it is
    def describe(self) -> list[dict[str, Any]]:
        """What every file told: its schema, symbols, days, rows used and rows left out with the reasons.

        `rounded` counts prices with a remainder below 1/10,000, of the last pass so far.
        """
        rounded = {reader.chosen.survey.stored.path: reader.rounded for reader in self._readers}
        described = [_description(chosen, rounded.get(chosen.survey.stored.path, 0)) for chosen in self._chosen]
        return described + [
            {"file": path.name, "schema": None, "used": 0, "left_out": why} for path, why in self._ignored.items()
        ]

    def _without_quotes(self) -> set[tuple[str, int]]:
        """Instruments and days that have bars but no quotes."""
        quoted = {
            (name, group[1])
            for chosen in self._chosen
            if chosen.survey.layout.role is Role.QUOTES
            for group, name in chosen.groups.items()
        }
        return {
            (name, group[1])
            for chosen in self._chosen
            if chosen.survey.layout.role is Role.TRADES and not chosen.survey.layout.ticks
            for group, name in chosen.groups.items()
        } - quoted

    def _made_up(self, chosen: Chosen) -> dict[Group, float]:
        if self._spread_bps is None or chosen.survey.layout.role is not Role.TRADES or chosen.survey.layout.ticks:
            return {}
        width = self._spread_bps / 10_000
        return {
            group: width
            for group, name in chosen.groups.items()
            if (name, group[1]) in self._untouched and self._is_tradable(name)
        }

    def _is_tradable(self, name: str) -> bool:
        instrument = self.instruments.get(name)
        return instrument is not None and instrument.tradable

    def _bounds(self) -> tuple[int, int]:
        """When the first and the last row arrive."""
        used = [
            (tally.since + chosen.survey.length_ns, tally.until + chosen.survey.length_ns)
            for chosen in self._chosen
            for tally in _used(chosen)
            if tally.inside
        ]
        return min(first for first, _ in used), max(last for _, last in used)

    def _pace(self) -> tuple[str, int]:
        """`stream` or `snapshot`, and the usual time between snapshots in ns, of the slowest file (0: a stream)."""
        surveys = [chosen.survey for chosen in self._chosen if chosen.groups]
        cadence = max(max(survey.length_ns, survey.stored.cadence_ns) for survey in surveys)
        is_snapshot = cadence > 0 or any(survey.layout is NSE_CHAIN for survey in surveys)
        return ("snapshot" if is_snapshot else "stream"), cadence

    def _scope(self) -> str:
        """`nbbo` where there is a quote of anything, `simulated` where every touch is made up, else `indicative`."""
        if any(chosen.survey.has_quotes and chosen.groups for chosen in self._chosen):
            return "nbbo"
        return "simulated" if any(self._made_up(chosen) for chosen in self._chosen) else "indicative"

    def _asked(self, symbols: Collection[str] | None) -> str:
        about = "" if symbols is None else f"of {', '.join(sorted(symbols))} "
        bounds = "" if self._begin is None and self._end is None else "within the time asked for "
        return (about + bounds).strip() or "to replay"


def _used(chosen: Chosen) -> Iterator[Any]:
    """Tallies of what is replayed of a file."""
    yield from (chosen.survey.groups[group] for group in chosen.groups)
    yield from (chosen.survey.spots[spot] for spot in chosen.spots)


def _from(rows: Table, start: int) -> Table:
    return rows if start == 0 else np.ascontiguousarray(rows[:, start:])


def _family(chosen: Chosen) -> str:
    if chosen.survey.layout is NSE_CHAIN:
        return "nse-chain"
    if chosen.survey.layout.key != ("symbol",):
        return "us-options"
    return "nse-index" if chosen.survey.zone == "Asia/Kolkata" else "us-equities"


def _description(chosen: Chosen, rounded: int) -> dict[str, Any]:
    survey = chosen.survey
    days: set[date] = {date_of(day) for _, day in chosen.groups}
    return {
        "file": survey.stored.path.name,
        "schema": survey.layout.name,
        "step_s": survey.length_ns / 1e9,
        "symbols": sorted({key[0] for key, _ in chosen.groups}),
        "instruments": len(set(chosen.groups.values())),
        "days": [day.isoformat() for day in sorted(days)],
        "rows": survey.stored.rows,
        "used": sum(survey.groups[group].inside for group in chosen.groups),
        "spots": sum(survey.spots[spot].inside for spot in chosen.spots),
        "left_out": dict(sorted(chosen.left_out.items())),
        "sorted": survey.stored.disorder,
        "rounded": rounded,
    }


def _what_there_is(surveys: list[Survey]) -> str:
    symbols = sorted({key[0] for survey in surveys for key, _ in survey.groups})
    days = sorted({date_of(day).isoformat() for survey in surveys for _, day in survey.groups})
    return f"{', '.join(symbols[:12])}{' ...' if len(symbols) > 12 else ''} from {days[0]} to {days[-1]}"
