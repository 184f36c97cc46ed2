"""What was captured is replayed bit for bit, however it was written and whatever happened meanwhile."""

import errno
import os
import subprocess
import sys
import tempfile
import threading
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.adapters.capture import CaptureFailed, CaptureSource, CaptureWriter
from angelx.adapters.recorded import open_recording
from angelx.adapters.recorded.captured import COLUMNS
from angelx.domain.errors import InputInvalid
from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.ports import TickSource
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, CHANGED, FIELDS, INSTRUMENT, NOT_A_NUMBER, Table, TickBatch

MORNING = 1_756_439_100 * NS  # 29 Aug 2025 09:15 in India
DAY = 86_400 * NS


def instrument(name: str, **more: Any) -> Instrument:
    return Instrument(
        id=f"NSE:{name}", symbol=name, segment="NSE", kind=Kind.INDEX, currency="INR", tick_size=5, **more
    )


NIFTY = instrument("NIFTY", tradable=False)
CALL = Instrument(
    id="NFO:NIFTY:2025-09-02:24500:CE",
    symbol="NIFTY 24500 CE",
    segment="NFO",
    kind=Kind.OPTION,
    currency="INR",
    tick_size=500,
    lot_size=75,
    freeze_quantity=1_800,
    underlying="NSE:NIFTY",
    expiry=date(2025, 9, 2),
    strike=245_000_000,
    right=Right.CALL,
)
TABLE = InstrumentTable([NIFTY, CALL])


def rows_of(count: int, seed: int = 0, begin: int = MORNING, step: int = NS) -> Table:
    """Random rows, of unknown instruments and impossible values too, in order of time."""
    rng = np.random.default_rng(seed)
    table = rng.integers(-(2**62), 2**62, (FIELDS, count))
    table[INSTRUMENT] = rng.integers(-1, 3, count)
    table[5, rng.random(count) < 0.2] = NOT_A_NUMBER
    table[AT] = begin + np.sort(rng.integers(0, max(count, 1) * step, count))
    return table


def kept(table: Table) -> Table:
    """What a capture of the rows gives back."""
    table = table.copy()
    table[CHANGED] = 0
    return table


def whole(source: TickSource, first_row: int = 0) -> Table:
    tables = [batch.table for batch in source.batches(first_row)]
    assert all(table.flags.c_contiguous for table in tables)
    return np.concatenate(tables, axis=1) if tables else np.zeros((FIELDS, 0), np.int64)


def capture(directory: Path, table: Table, first_row: int = 0, instruments: InstrumentTable = TABLE) -> CaptureWriter:
    writer = CaptureWriter(directory, instruments)
    writer.append(TickBatch(table), 0, table.shape[1], first_row)
    writer.flush()
    return writer


# ---------------------------------------------------------------- bit for bit
@settings(max_examples=25)
@given(data=st.data())
def test_a_capture_replays_the_same_rows_in_any_parts_across_days_and_crashes(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 60), label="rows")
    table = rows_of(count, data.draw(st.integers(0, 99), label="seed"), step=data.draw(st.sampled_from([NS, DAY // 9])))
    with tempfile.TemporaryDirectory() as folder:
        directory, row = Path(folder) / "ticks", 0
        outlives = data.draw(st.booleans(), label="outlives")
        writer = CaptureWriter(directory, TABLE, part_rows=7, outlives=outlives)
        while row < count:
            taken = data.draw(st.integers(1, 25), label="batch")
            batch = TickBatch(np.ascontiguousarray(table[:, row : row + taken]))
            cut = data.draw(st.integers(0, batch.rows), label="cut")
            writer.append(batch, 0, cut, row)
            writer.append(batch, cut, batch.rows, row + cut)
            row += batch.rows
            what = data.draw(st.sampled_from(["go on", "flush", "crash"]), label="then")
            if what == "flush":
                writer.flush()
            elif what == "crash":  # The feed goes on where the capture ended.
                _tear(directory)
                writer = CaptureWriter(directory, TABLE, part_rows=7, outlives=outlives)
                assert writer.next_row == row or not outlives
                row = writer.next_row
        writer.flush()
        assert not list(directory.rglob("waiting-*"))
        assert writer.next_row == count
        source = CaptureSource(directory)
        assert np.array_equal(whole(source), kept(table))
        assert (source.rows, source.first_at, source.last_at) == (count, table[AT, 0], table[AT, -1])
        assert list(source.instruments) == list(TABLE)
        assert all(not one["missing"] for one in source.describe())
        first_row = data.draw(st.integers(0, count), label="first row")
        assert np.array_equal(whole(source, first_row), kept(table)[:, first_row:])


def _tear(directory: Path) -> None:
    """A part that was being written when the process died."""
    for folder in directory.glob("2*"):
        (folder / "part-999999.parquet.tmp").write_bytes(b"PAR1 and then nothing")


def test_rows_that_waited_when_the_process_ended_are_rescued_once(tmp_path: Path) -> None:
    """Goal: a crash between writing a part and removing the file behind it doubles nothing. Method: put it back."""
    table = rows_of(9)
    writer = CaptureWriter(tmp_path, TABLE, outlives=True)
    writer.append(TickBatch(table), 0, 6, 0)
    waiting = next(tmp_path.rglob("waiting-*"))
    content = waiting.read_bytes()
    writer.flush()
    assert not waiting.exists()
    writer.append(TickBatch(table), 6, 9, 6)
    next(tmp_path.rglob("waiting-*")).rename(waiting.with_name("waiting-000002.rows"))
    waiting.write_bytes(content)
    (waiting.with_name("waiting-000003.rows")).write_bytes(b"")
    again = CaptureWriter(tmp_path, TABLE)
    assert again.next_row == 9
    assert [one.name for one in again.torn] == ["waiting-000003.rows"]
    assert np.array_equal(whole(CaptureSource(tmp_path)), kept(table))


@pytest.mark.parametrize("damage", ["mark", "count", "cut"])
def test_a_damaged_waiting_file_is_named_and_left_alone(tmp_path: Path, damage: str) -> None:
    writer = CaptureWriter(tmp_path, TABLE, outlives=True, part_rows=8)
    writer.append(TickBatch(rows_of(5)), 0, 5, 0)
    waiting = next(tmp_path.rglob("waiting-*"))
    numbers = np.fromfile(waiting, np.int64)
    if damage == "cut":
        numbers = numbers[:-1]
    else:
        numbers[0 if damage == "mark" else 3] = 9
    numbers.tofile(waiting)
    again = CaptureWriter(tmp_path, TABLE)
    assert again.torn == [waiting]
    assert again.next_row == 0
    assert waiting.exists()


def test_a_damaged_last_part_does_not_keep_the_next_rows_from_being_written(tmp_path: Path) -> None:
    table = rows_of(9)
    capture(tmp_path, np.ascontiguousarray(table[:, :3]))
    capture(tmp_path, np.ascontiguousarray(table[:, 3:6]), first_row=3)
    damaged = tmp_path / "2025-08-29" / "part-000002.parquet"
    damaged.write_bytes(b"nothing")
    writer = CaptureWriter(tmp_path, TABLE)
    assert writer.torn == [damaged]
    assert writer.next_row == 3
    writer.append(TickBatch(table), 6, 9, 6)
    assert [part.name for part in writer.flush()] == ["part-000003.parquet"]
    with pytest.raises(InputInvalid, match=r"part-000002\.parquet"):
        CaptureSource(tmp_path)


def test_without_room_for_a_file_rows_wait_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    table = rows_of(5)
    writer = CaptureWriter(tmp_path, TABLE, outlives=True)
    writer.append(TickBatch(table), 0, 5, 0)
    assert not list(tmp_path.rglob("waiting-*"))
    writer.flush()
    assert np.array_equal(whole(CaptureSource(tmp_path)), kept(table))


def test_a_torn_part_is_named_and_ignored(tmp_path: Path) -> None:
    table = rows_of(5)
    capture(tmp_path, table)
    _tear(tmp_path)
    torn = tmp_path / "2025-08-29" / "part-999999.parquet.tmp"
    assert CaptureWriter(tmp_path, TABLE).torn == [torn]
    source = CaptureSource(tmp_path)
    assert source.torn == [torn]
    assert source.describe()[0]["torn"] == [torn.name]
    assert np.array_equal(whole(source), kept(table))


def test_a_capture_is_opened_whole_by_day_or_by_part_like_any_recording(tmp_path: Path) -> None:
    table = np.concatenate((rows_of(4), rows_of(3, begin=MORNING + DAY)), axis=1)
    capture(tmp_path, table)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["2025-08-29", "2025-08-30"]
    for path, expected in (
        (tmp_path, table),
        (tmp_path / "2025-08-30", table[:, 4:]),
        (tmp_path / "2025-08-29" / "part-000001.parquet", table[:, :4]),
    ):
        source = open_recording(path)
        assert isinstance(source, CaptureSource)
        assert np.array_equal(whole(source), kept(expected))
        assert source.name == "capture"
        assert msgspec.json.decode(source.reference)["path"] == str(path)


def test_bounds_and_symbols(tmp_path: Path) -> None:
    table = rows_of(50)
    capture(tmp_path, table)
    begin, end = int(table[AT, 10]), int(table[AT, 40])
    inside = kept(table)[:, (table[AT] >= begin) & (table[AT] < end)]
    assert np.array_equal(whole(open_recording(tmp_path, begin=begin, end=end)), inside)
    assert np.array_equal(whole(open_recording(tmp_path, begin=begin, end=end), 3), inside[:, 3:])
    calls = open_recording(tmp_path, symbols=[CALL.id])
    assert np.array_equal(whole(calls), kept(table)[:, table[INSTRUMENT] == 1])
    with pytest.raises(InputInvalid, match="no instrument of GOOG"):
        open_recording(tmp_path, symbols=["GOOG"])


def test_what_was_indicative_stays_so(tmp_path: Path) -> None:
    capture(tmp_path, rows_of(2))
    assert (CaptureSource(tmp_path).scope, CaptureSource(tmp_path).kind) == ("nbbo", "stream")
    writer = CaptureWriter(tmp_path, TABLE, scope="indicative", kind="snapshot")
    writer.append(TickBatch(rows_of(2, begin=MORNING + 60 * NS)), 0, 2, 2)
    writer.flush()
    assert (CaptureSource(tmp_path).scope, CaptureSource(tmp_path).kind) == ("indicative", "snapshot")
    with pytest.raises(ValueError, match="scope is one of"):
        CaptureWriter(tmp_path, TABLE, scope="rumour")


def test_rows_that_never_came_are_named(tmp_path: Path) -> None:
    capture(tmp_path, rows_of(5), first_row=10)
    capture(tmp_path, rows_of(5), first_row=20)
    described = CaptureSource(tmp_path).describe()[0]
    assert (described["first_row"], described["last_row"], described["missing"]) == (10, 24, [[15, 19]])


def test_a_row_is_not_captured_twice(tmp_path: Path) -> None:
    writer = capture(tmp_path, rows_of(5), first_row=10)
    with pytest.raises(ValueError, match="row 14 was captured before: the next one is 15"):
        writer.append(TickBatch(rows_of(5)), 0, 5, 14)
    assert CaptureWriter(tmp_path, TABLE).next_row == 15


# ---------------------------------------------------------------- instruments
def test_another_table_on_the_same_day_gets_its_own_folder_and_one_table_replays_all(tmp_path: Path) -> None:
    first, second = rows_of(6, 1), rows_of(6, 2, begin=MORNING + 60 * NS)
    swapped = InstrumentTable([instrument("BANKNIFTY"), CALL, NIFTY])
    capture(tmp_path, first)
    capture(tmp_path, second, first_row=6, instruments=swapped)
    capture(tmp_path, rows_of(1, 3, begin=MORNING + 120 * NS), first_row=12)  # The first table again.
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["2025-08-29", "2025-08-29.2", "2025-08-29.3"]
    source = CaptureSource(tmp_path)
    assert [one.id for one in source.instruments] == [NIFTY.id, CALL.id, "NSE:BANKNIFTY"]
    got = whole(source)
    assert (np.diff(got[AT]) >= 0).all()
    new_places = {0: 2, 1: 1, 2: 0}
    assert got[INSTRUMENT, 6:12].tolist() == [new_places.get(place, -1) for place in second[INSTRUMENT].tolist()]
    assert np.array_equal(got[1:CHANGED, :6], first[1:CHANGED])


def test_an_instrument_that_changed_between_days_asks_for_a_choice(tmp_path: Path) -> None:
    capture(tmp_path, rows_of(2))
    smaller = InstrumentTable([NIFTY, msgspec.structs.replace(CALL, lot_size=65)])
    capture(tmp_path, rows_of(2, begin=MORNING + DAY), first_row=2, instruments=smaller)
    with pytest.raises(InputInvalid, match=r"2025-08-30.*NFO:NIFTY:2025-09-02:24500:CE is defined otherwise.*--from"):
        CaptureSource(tmp_path)
    for chosen, lot in (
        (CaptureSource(tmp_path, end=MORNING + DAY), 75),
        (CaptureSource(tmp_path, begin=MORNING + DAY), 65),
    ):
        assert [one.lot_size for one in chosen.instruments if one.id == CALL.id] == [lot]
        assert whole(chosen).shape[1] == 2
    seen = CaptureSource(tmp_path, glance=True)
    assert (seen.rows, seen.instruments.all[1].lot_size) == (4, 75)


def test_the_exchange_day_is_that_of_the_zone(tmp_path: Path) -> None:
    share = Instrument(id="US:IBM", symbol="IBM", segment="US", kind=Kind.EQUITY, currency="USD", tick_size=100)
    evening = rows_of(3, begin=1_381_190_000 * NS)  # 7 Oct 2013 19:53 in New York, 23:53 UTC.
    evening[AT] += np.array([0, 420, 900]) * NS
    capture(tmp_path, evening, instruments=InstrumentTable([share]))
    assert [folder.name for folder in tmp_path.iterdir()] == ["2013-10-07"]


# ---------------------------------------------------------------- when
def test_a_part_is_due_by_rows_or_by_age(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path, TABLE, part_rows=10, part_seconds=5)
    assert not writer.due(MORNING + DAY)
    table = rows_of(3)
    writer.append(TickBatch(table), 0, 3, 0)
    assert not writer.due(int(table[AT, 0]) + 4 * NS)
    assert writer.due(int(table[AT, 0]) + 5 * NS)
    writer.append(TickBatch(rows_of(7)), 0, 7, 3)
    assert writer.due(0)
    assert [part.name for part in writer.flush()] == ["part-000001.parquet"]
    assert not writer.due(MORNING + DAY)
    assert writer.flush() == []
    later = rows_of(1, begin=MORNING + 60 * NS)
    writer.append(TickBatch(later), 0, 1, 10)
    assert not writer.due(int(later[AT, 0]) + 4 * NS)


def test_rows_that_come_while_a_part_is_written_are_not_lost(tmp_path: Path) -> None:
    """Goal: `flush` in a thread and `append` on the loop do not disturb each other. Method: both at full speed."""
    table = rows_of(3_000)
    writer = CaptureWriter(tmp_path, TABLE, part_rows=64)
    done = threading.Event()

    def flush_on() -> None:
        while not done.is_set():
            writer.flush()

    thread = threading.Thread(target=flush_on)
    thread.start()
    for row in range(0, 3_000, 5):
        writer.append(TickBatch(np.ascontiguousarray(table[:, row : row + 5])), 0, 5, row)
    done.set()
    thread.join()
    writer.flush()
    assert writer.captured == 3_000
    assert np.array_equal(whole(CaptureSource(tmp_path)), kept(table))


# ---------------------------------------------------------------- full disks and damage
def test_a_full_disk_is_an_error_that_names_the_file_and_loses_nothing(tmp_path: Path) -> None:
    """Goal: nothing silent, nothing lost. Method: the next temporary file is the full device."""
    table = rows_of(9)
    writer = capture(tmp_path, np.ascontiguousarray(table[:, :3]))
    full = tmp_path / "2025-08-29" / "part-000002.parquet.tmp"
    full.symlink_to("/dev/full")
    writer.append(TickBatch(table), 3, 6, 3)
    with pytest.raises(CaptureFailed, match=r"part-000002\.parquet\.tmp: .*No space left on device"):
        writer.flush()
    assert not full.exists()
    assert np.array_equal(whole(CaptureSource(tmp_path)), kept(table[:, :3]))
    writer.append(TickBatch(table), 6, 9, 6)
    writer.flush()
    assert np.array_equal(whole(CaptureSource(tmp_path)), kept(table))


def test_a_disk_that_fails_at_fsync_and_stays_full_refuses_further_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = CaptureWriter(tmp_path, TABLE, most_rows=10)
    monkeypatch.setattr(os, "fsync", full)
    table = rows_of(12)
    writer.append(TickBatch(table), 0, 8, 0)
    with pytest.raises(CaptureFailed, match="No space left"):
        writer.flush()
    with pytest.raises(CaptureFailed, match="8 rows wait to be written, no more are taken"):
        writer.append(TickBatch(table), 8, 12, 8)
    monkeypatch.undo()
    writer.flush()
    writer.append(TickBatch(table), 8, 12, 8)
    writer.flush()
    assert np.array_equal(whole(CaptureSource(tmp_path)), kept(table))


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "ticks").write_text("")
    with pytest.raises(CaptureFailed, match="is not a directory"):
        CaptureWriter(tmp_path / "ticks", TABLE)


@pytest.mark.parametrize("what", ["truncated", "emptied", "flipped", "foreign"])
def test_a_damaged_part_is_named(tmp_path: Path, what: str) -> None:
    capture(tmp_path, rows_of(2_000))
    part = tmp_path / "2025-08-29" / "part-000001.parquet"
    content = part.read_bytes()
    if what == "flipped":
        place = len(content) // 3
        content = content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]
    elif what == "foreign":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({name: [1] for name in COLUMNS}), part)
        content = part.read_bytes()
    part.write_bytes({"truncated": content[:-9], "emptied": b""}.get(what, content))
    with pytest.raises(InputInvalid, match=r"part-000001\.parquet"):
        whole(CaptureSource(tmp_path))


def test_damaged_instruments_and_a_capture_without_parts(tmp_path: Path) -> None:
    capture(tmp_path, rows_of(2))
    (tmp_path / "2025-08-29" / "instruments.json").write_text('[{"id": 1}]')
    with pytest.raises(InputInvalid, match=r"instruments\.json"):
        open_recording(tmp_path)
    (tmp_path / "2025-08-29" / "instruments.json").write_bytes(msgspec.json.encode(list(TABLE)))
    (tmp_path / "2025-08-29" / "part-000001.parquet").unlink()
    with pytest.raises(InputInvalid, match="without any whole part"):
        open_recording(tmp_path)


def test_what_writes_parts_is_there_before_the_first_row() -> None:
    """Loaded with the first part, ten seconds into a session, it would stop everything for a tenth of a second."""
    code = (
        "import sys, pathlib, tempfile; from angelx.adapters.capture import CaptureWriter; "
        "from angelx.domain.instruments import InstrumentTable; "
        "CaptureWriter(pathlib.Path(tempfile.mkdtemp()), InstrumentTable([])); "
        "sys.exit('pyarrow.parquet' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0
