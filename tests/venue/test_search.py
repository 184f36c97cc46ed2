"""The search answers once, and asks again only when something changed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.domain.events import Event
from angelx.domain.ticks import INSTRUMENT, Rows, TickBatch
from angelx.venue import search
from tests.venue.desk import Desk
from tests.venue.market_day import LOTS, TABLE, day_of


class Counted:
    """The compiled search, and the look-aheads it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks: list[tuple[int, int]] = []
        compiled = search._first_row

        def counted(table: Any, start: int, stop: int, *rest: Any) -> int:
            self.looks.append((start, stop))
            return compiled(table, start, stop, *rest)

        monkeypatch.setattr(search, "_first_row", counted)


def quiet(rows: int) -> TickBatch:
    return TickBatch(np.ascontiguousarray(np.repeat(day_of(0, 3, 0, ("DAY",)).table[:, :1], rows, axis=1)))


def test_nothing_is_searched_while_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, batch = Desk(), quiet(100_000)
    counted = Counted(monkeypatch)
    assert desk.engine.probe(batch, 0, batch.rows) == batch.rows
    assert counted.looks == []


def test_the_answer_is_remembered_and_the_look_ahead_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, batch = Desk(), quiet(100_000)
    desk.quote(99, 105)
    desk.send(1, 100, 98)
    counted = Counted(monkeypatch)
    start = 0
    while start < batch.rows:  # Somebody else cuts every ten rows.
        start = desk.engine.probe(batch, start, min(start + 10, batch.rows))
    assert len(counted.looks) < 25
    assert max(stop - start for start, stop in counted.looks) == 8192
    before = len(counted.looks)
    desk.engine.probe(batch, batch.rows - 5, batch.rows)
    desk.send(1, 100, 97)  # The best limit stays: the answer holds.
    desk.engine.probe(batch, batch.rows - 4, batch.rows)
    assert len(counted.looks) == before
    desk.send(1, 100, 99)
    desk.engine.probe(batch, batch.rows - 3, batch.rows)
    desk.engine.probe(quiet(10), 3, 10)
    assert len(counted.looks) == before + 2


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), orders=st.integers(1, 12))
def test_no_row_before_the_answer_fills_anything_and_asking_changes_nothing(seed: int, orders: int) -> None:
    day = day_of(seed, 120, orders, ("DAY",))
    (batch,) = day.batches(120)
    asked, silent = Desk(), Desk()
    for desk in (asked, silent):
        desk.state.fold(Rows(batch, 0, 20))
        for act in day.acts:
            if act.place == 0 or act.side > 0:
                desk.send(act.side, act.lots * LOTS[act.place], act.limit, name=TABLE[act.place].id)
    start = 20
    told: list[Event] = []
    while start < batch.rows:
        answer = asked.engine.probe(batch, start, batch.rows)
        assert answer == asked.engine.probe(batch, start, batch.rows) > start
        run = Rows(batch, start, answer)
        asked.state.fold(run)
        told += asked.engine.fold(run)
        start = answer
    by_row: list[Event] = []
    for row in range(20, batch.rows):
        run = Rows(batch, row, row + 1)
        silent.state.fold(run)
        by_row += silent.engine.fold(run)
    assert told == by_row


def test_a_row_of_no_instrument_is_left_to_the_state() -> None:
    desk, batch = Desk(), quiet(10)
    desk.quote(99, 105)
    desk.send(1, 100, 98)
    batch.table[INSTRUMENT, 5] = 2**40
    batch.table[INSTRUMENT, 6] = -7
    assert desk.engine.probe(batch, 0, 10) == 10
    with pytest.raises(IndexError):
        desk.state.fold(Rows(batch, 0, 10))
