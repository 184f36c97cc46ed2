"""Which file tells what: for every instrument and exchange day the finest source of its quotes and of its trades."""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from angelx.adapters.recorded.catalogue import Catalogue, underlying_id
from angelx.adapters.recorded.days import INDIA
from angelx.adapters.recorded.layouts import Role
from angelx.adapters.recorded.survey import Key, Survey, Tally

Group = tuple[Key, int]
"""One instrument on one exchange day in one file."""
_SPOT_RANK: Final = 2**62


class Chosen(msgspec.Struct):
    """What of one file is replayed, and why the rest is not."""

    survey: Survey
    groups: dict[Group, str] = {}
    """Groups replayed, with the id of their instrument."""
    spots: dict[tuple[str, int], str] = {}
    """Underlyings whose value in the chain is replayed, by symbol and day, with their id."""
    left_out: dict[str, int] = {}
    """Rows by reason."""


class Candidate(msgspec.Struct, frozen=True):
    """A group that could tell something about an instrument on a day."""

    rank: int
    """Its step in ns: the smaller the finer."""
    file: int
    name: str
    group: Group
    tally: Tally
    is_spot: bool = False


def choose(surveys: Sequence[Survey], catalogue: Catalogue, symbols: Collection[str] | None) -> list[Chosen]:
    """For each file what to replay of it.

    Of two sources of the same thing on the same day the finer one is used, whole. Two equally fine ones are both used
    where one begins after the other ends (a day in two files), else only the first by name.
    """
    chosen = [Chosen(survey) for survey in surveys]
    rivals: dict[tuple[str, int, Role], list[Candidate]] = {}
    for file, survey in enumerate(surveys):
        for group, tally in survey.groups.items():
            _leave(chosen[file], "suspicious", tally.suspicious)
            if symbols is not None and not _asked_for(survey, group[0], catalogue, symbols):
                _leave(chosen[file], "symbol not asked for", tally.rows - tally.suspicious)
                continue
            name = catalogue.identity(survey, group[0])
            if survey.layout.role is Role.CHAIN:
                _take(chosen[file], Candidate(0, file, name, group, tally))
                continue
            rank = 0 if survey.layout.ticks else survey.length_ns
            candidate = Candidate(rank, file, name, group, tally)
            rivals.setdefault((name, group[1], survey.layout.role), []).append(candidate)
        for (symbol, day), tally in survey.spots.items():
            name = underlying_id(survey, symbol)
            if symbols is None or symbol in symbols or name in symbols:
                candidate = Candidate(_SPOT_RANK, file, name, ((symbol,), day), tally, is_spot=True)
                rivals.setdefault((name, day, Role.TRADES), []).append(candidate)
    for candidates in rivals.values():
        _settle(candidates, chosen, surveys)
    return chosen


def _settle(candidates: list[Candidate], chosen: list[Chosen], surveys: Sequence[Survey]) -> None:
    """Take the finest, and others as fine that do not overlap in time."""
    taken: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda one: (one.rank, one.file)):
        finer = [one for one in taken if one.rank < candidate.rank]
        same = [one for one in taken if _overlap(one.tally, candidate.tally)]
        if not finer and not same:
            taken.append(candidate)
            _take(chosen[candidate.file], candidate)
            continue
        other = surveys[(finer or same)[0].file].stored.path.name
        if not candidate.is_spot:  # A spot is a cell of rows that are used.
            rows = candidate.tally.rows - candidate.tally.suspicious
            _leave(chosen[candidate.file], f"finer in {other}" if finer else f"also in {other}", rows)


def _overlap(one: Tally, other: Tally) -> bool:
    return one.first <= other.last and other.first <= one.last


def _take(chosen: Chosen, candidate: Candidate) -> None:
    tally = candidate.tally
    if candidate.is_spot:
        key, day = candidate.group
        chosen.spots[key[0], day] = candidate.name
    else:
        chosen.groups[candidate.group] = candidate.name
        _leave(chosen, "outside the time asked for", tally.rows - tally.suspicious - tally.inside)


def _leave(chosen: Chosen, why: str, rows: int) -> None:
    if rows:
        chosen.left_out[why] = chosen.left_out.get(why, 0) + rows


def _asked_for(survey: Survey, key: Key, catalogue: Catalogue, symbols: Collection[str]) -> bool:
    """True where the symbol, the underlying or root of the option, or the id is asked for."""
    names = {key[0], catalogue.identity(survey, key)}
    if len(key) > 1:
        names |= {underlying_id(survey, key[0])} | ({key[1]} if survey.zone != INDIA else set())
    return not names.isdisjoint(symbols)
