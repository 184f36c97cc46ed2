"""The bus: one total order, two lanes, cut at decisions, timers; the same whatever the batch size."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.bus.bus import Bus
from angelx.domain.events import Event, IncidentReported, SessionEnded
from angelx.domain.ticks import AT, INSTRUMENT, LAST, Rows, TickBatch, batch_of

Seen = list[tuple[str, int, str]]


def said(at: int, what: str) -> IncidentReported:
    return IncidentReported(at, "test", what)


def batch_at(times: list[int], values: list[int] | None = None) -> TickBatch:
    n = len(times)
    return batch_of(
        {AT: np.array(times, np.int64), INSTRUMENT: np.zeros(n, np.int64), LAST: np.array(values or [0] * n, np.int64)}
    )


def listener(bus: Bus, seen: Seen, name: str, answers: dict[str, list[str]] | None = None) -> Callable[[Event], None]:
    """Notes what it is called with, and publishes the answers to it."""

    def hear(event: Event) -> None:
        assert isinstance(event, IncidentReported)
        seen.append((name, bus.seq, event.what))
        for answer in (answers or {}).get(event.what, ()):
            bus.publish(said(event.at, answer))

    return hear


def test_what_handlers_publish_queues_behind_what_is_delivered() -> None:
    bus, seen = Bus(), []  # type: Bus, Seen
    bus.subscribe(IncidentReported, listener(bus, seen, "first", {"a": ["b", "c"], "b": ["d"]}))
    bus.subscribe(IncidentReported, listener(bus, seen, "second", {"a": ["e"]}))

    bus.publish(said(0, "a"))

    order = ["a", "b", "c", "e", "d"]
    assert seen == [(name, place, what) for place, what in enumerate(order, 1) for name in ("first", "second")]


@given(st.dictionaries(st.sampled_from("abcdefg"), st.lists(st.sampled_from("hijklmn"), max_size=4)), st.data())
def test_every_subscriber_sees_the_same_numbered_order(answers: dict[str, list[str]], data: st.DataObject) -> None:
    bus = Bus()
    logs: list[Seen] = [[], [], []]
    speaker = data.draw(st.integers(0, 2))
    for place, log in enumerate(logs):
        bus.subscribe(IncidentReported, listener(bus, log, "", answers if place == speaker else None))
    for what in data.draw(st.lists(st.sampled_from("abcdefg"), max_size=5)):
        bus.publish(said(0, what))

    assert logs[0] == logs[1] == logs[2]
    assert [seq for _, seq, _ in logs[0]] == list(range(1, len(logs[0]) + 1))


def test_only_the_exact_class_is_delivered() -> None:
    bus, seen = Bus(), []  # type: Bus, list[Event]
    bus.subscribe(Event, seen.append)
    bus.subscribe(SessionEnded, seen.append)

    bus.publish(said(0, "x"))

    assert (seen, bus.seq) == ([], 1)


def test_an_event_that_nobody_hears_is_numbered_all_the_same() -> None:
    bus = Bus()
    bus.publish(said(0, "x"))
    bus.feed(batch_at([1, 2, 3]), 0, 3)
    assert (bus.seq, bus.row, bus.now) == (4, 3, 3)


def test_a_cascade_settles_before_the_next_rows() -> None:
    """Two lanes: of the row at which somebody decides all is settled before any row after it."""
    bus = Bus()
    log: list[object] = []

    def probe(batch: TickBatch, start: int, stop: int) -> int:
        return next((row + 1 for row in range(start, stop) if batch.view[LAST, row]), stop)

    def on_rows(rows: Rows) -> None:
        log.append(("rows", rows.start, rows.stop, bus.now, bus.seq))
        if rows.batch.view[LAST, rows.stop - 1]:
            bus.publish(said(bus.now, "decided"))

    def on_said(event: IncidentReported) -> None:
        log.append((event.what, bus.row, bus.now, bus.seq))
        if event.what == "decided":
            bus.publish(said(event.at, "answered"))

    bus.probe(probe)
    bus.subscribe(Rows, on_rows)
    bus.subscribe(IncidentReported, on_said)
    bus.feed(batch_at([10, 20, 30, 40], [0, 1, 0, 1]), 0, 4)

    assert log == [
        ("rows", 0, 2, 20, 2), ("decided", 2, 20, 3), ("answered", 2, 20, 4),
        ("rows", 2, 4, 40, 6), ("decided", 4, 40, 7), ("answered", 4, 40, 8),
    ]  # fmt: skip


def test_the_earliest_of_several_cuts_wins() -> None:
    bus = Bus()
    runs: list[tuple[int, int]] = []
    bus.subscribe(Rows, lambda rows: runs.append((rows.start, rows.stop)))
    for cut in (5, 2, 7):
        bus.probe(lambda batch, start, stop, cut=cut: cut if start < cut <= stop else stop)  # type: ignore[misc]
    bus.feed(batch_at(list(range(9))), 0, 9)
    assert runs == [(0, 2), (2, 5), (5, 7), (7, 9)]


# ---------------------------------------------------------------- timers
def test_rows_of_a_moment_come_before_its_timers_and_those_before_later_rows() -> None:
    bus = Bus()
    log: list[tuple[str, int]] = []
    bus.subscribe(Rows, lambda rows: log.append(("rows", rows.stop)))
    bus.at(20, lambda: log.append(("timer", bus.now)))
    bus.feed(batch_at([10, 20, 20, 21]), 0, 4)
    assert log == [("rows", 3), ("timer", 20), ("rows", 4)]


def test_timers_of_one_moment_fire_in_the_order_of_asking() -> None:
    bus = Bus()
    log: list[str] = []
    for name in "abc":
        bus.at(5, lambda name=name: log.append(name))  # type: ignore[misc]
    bus.at(4, lambda: log.append("early"))
    bus.at(6, lambda: log.append("late"))
    bus.advance(5)
    assert (log, bus.now, bus.next_due) == (["early", "a", "b", "c"], 5, 6)


def test_a_timer_that_asks_for_another_due_before_the_target_gets_it() -> None:
    bus = Bus()
    fired: list[int] = []

    def tick() -> None:
        fired.append(bus.now)
        bus.at(bus.now + 10, tick)

    bus.at(10, tick)
    bus.advance(35)
    assert (fired, bus.now) == ([10, 20, 30], 35)


def test_time_never_goes_back() -> None:
    bus = Bus()
    bus.advance(100)
    fired: list[int] = []
    bus.at(50, lambda: fired.append(bus.now))
    bus.advance(80)
    assert (fired, bus.now) == ([100], 100)


def test_a_timer_that_a_probe_asked_for_in_the_past_fires_before_the_rows() -> None:
    """A strategy that fails while it is probed sets safe exit's timer: due before the first row of the batch."""
    bus = Bus()
    log: list[tuple[str, int, int]] = []
    asked: list[int] = []

    def probe(batch: TickBatch, start: int, stop: int) -> int:
        if not asked:
            asked.append(bus.now + 1)
            bus.at(bus.now + 1, lambda: log.append(("timer", bus.now, bus.row)))
        return stop

    bus.advance(5)
    bus.probe(probe)
    bus.subscribe(Rows, lambda rows: log.append(("rows", bus.now, bus.row)))
    bus.feed(batch_at([10, 20, 30]), 0, 3)
    assert log == [("timer", 6, 0), ("rows", 30, 3)]


@given(
    gaps=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    timers=st.lists(st.integers(0, 60), max_size=12),
    wanted=st.sets(st.integers(0, 39)),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
def test_whatever_the_batches_everything_has_the_same_place(
    gaps: list[int], timers: list[int], wanted: set[int], sizes: list[int]
) -> None:
    """Events, timers and decisions: number, rows seen and time are those of tick by tick."""
    times = np.cumsum(gaps).tolist()

    def play(sizes: list[int]) -> list[tuple[str, int, int, int]]:
        bus = Bus()
        log: list[tuple[str, int, int, int]] = []

        def note(what: str) -> None:
            log.append((what, bus.seq, bus.row, bus.now))

        def probe(batch: TickBatch, start: int, stop: int) -> int:
            return next((row + 1 for row in range(start, stop) if batch.view[LAST, row] in wanted), stop)

        def on_rows(rows: Rows) -> None:
            row = rows.batch.view[LAST, rows.stop - 1]
            if row in wanted:
                note(f"decide {row}")
                bus.publish(said(bus.now, str(row)))
                bus.at(bus.now + 2, lambda: note(f"timer of {row}"))

        bus.probe(probe)
        bus.subscribe(Rows, on_rows)
        bus.subscribe(IncidentReported, lambda event: note(event.what))
        for place, due in enumerate(timers):
            bus.at(due, lambda place=place: note(f"timer {place}"))  # type: ignore[misc]
        start, turn = 0, 0
        while start < len(times):
            stop = min(start + sizes[turn % len(sizes)], len(times))
            rows = batch_at(times[start:stop], list(range(start, stop)))
            bus.feed(rows, 0, rows.rows)
            start, turn = stop, turn + 1
        bus.advance(10**6)
        note("end")
        return log

    assert play(sizes) == play([1]) == play([100])


# ---------------------------------------------------------------- starting again, failing
def test_a_resumed_stream_counts_on() -> None:
    bus = Bus()
    bus.resume(7, 3, 50)
    bus.publish(said(50, "x"))
    assert (bus.seq, bus.row, bus.now) == (8, 3, 50)
    with pytest.raises(AssertionError, match="before it begins"):
        bus.resume(1, 1, 1)


def test_an_exception_of_a_handler_leaves_through_the_call_that_brought_the_input_in() -> None:
    bus = Bus()

    def fail(event: IncidentReported) -> None:
        raise OSError(event.what)

    bus.subscribe(IncidentReported, fail)
    with pytest.raises(OSError, match="boom"):
        bus.publish(said(0, "boom"))
    bus.subscribe(Rows, lambda rows: bus.publish(said(0, "row")))
    with pytest.raises(OSError, match="row"):
        bus.feed(batch_at([1]), 0, 1)
    bus.at(9, lambda: bus.publish(said(0, "timer")))
