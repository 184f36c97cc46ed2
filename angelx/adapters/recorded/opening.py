"""What a path is, by its content."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from angelx.adapters.recorded.captured import CaptureSource, is_capture
from angelx.adapters.recorded.catalogue import Freeze
from angelx.adapters.recorded.layouts import layout_of, why_not
from angelx.adapters.recorded.source import RecordedSource
from angelx.adapters.recorded.stored import is_parquet, open_parquet
from angelx.domain.errors import InputInvalid
from angelx.domain.timestamps import rfc3339

_STAMPED: Final = "ts"


def open_path(
    path: Path,
    *,
    begin: int | None,
    end: int | None,
    symbols: Collection[str] | None,
    bar_spread_bps: float | None,
    freeze: Freeze | None,
    glance: bool,
) -> RecordedSource | CaptureSource:
    """As `angelx.adapters.recorded.open_recording`."""
    if not path.exists():
        raise InputInvalid(f"{path}: no such file or directory")
    if begin is not None and end is not None and begin >= end:
        bounds = f"from {rfc3339(begin)} to {rfc3339(end)}"
        raise InputInvalid(f"{path}: nothing lies {bounds}: the end must be after the beginning")
    if bar_spread_bps is not None and not 0 < bar_spread_bps < 10_000:
        raise InputInvalid(f"bar_spread_bps: expected more than 0 and less than 10000, was {bar_spread_bps}")
    if is_capture(path):
        return CaptureSource(path, begin=begin, end=end, symbols=symbols, glance=glance)
    files, ignored = (_files_of(path), {}) if path.is_file() else _sorted_out(path, _files_of(path))
    return RecordedSource(
        path,
        files,
        ignored,
        begin=begin,
        end=end,
        symbols=symbols,
        bar_spread_bps=bar_spread_bps,
        freeze=freeze,
        glance=glance,
    )


def _files_of(path: Path) -> list[Path]:
    """The file, or the Parquet files right inside the directory, by name."""
    if path.is_file():
        return [path]
    try:
        there = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror}") from error
    for file in there:
        if file.suffix == ".parquet" and not file.exists():  # Left out, it would be a day without some of its rows.
            raise InputInvalid(f"{file}: links to {file.readlink()}, which is not there")
    files = [file for file in there if file.is_file()]
    parquet = [file for file in files if is_parquet(file)]
    if not parquet:
        inside = sorted(folder.name for folder in path.iterdir() if folder.is_dir() and any(folder.glob("*.parquet")))
        hint = f"; there are some in {', '.join(inside)}: choose one" if inside else ""
        raise InputInvalid(f"{path}: has no Parquet files{hint}")
    return parquet


def _sorted_out(path: Path, files: list[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Files that hold ticks, and those without stamps, such as corporate actions, which cannot."""
    ticks: list[Path] = []
    ignored: dict[Path, str] = {}
    for file in files:
        columns = open_parquet(file).schema_arrow.names
        if layout_of(columns) is None and _STAMPED not in columns:
            ignored[file] = "no column ts: no ticks"
        else:
            ticks.append(file)
    if not ticks:
        first = files[0]
        raise InputInvalid(
            f"{path}: none of its files holds ticks; {first.name}: {why_not(open_parquet(first).schema_arrow.names)}"
        )
    return ticks, ignored
