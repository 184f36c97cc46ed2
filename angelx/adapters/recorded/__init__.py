"""Recorded market data as tick sources (docs/recordings.md).

pyarrow loads with the first recording that is opened, not with this package: the daemon does not wait for it.
"""

from collections.abc import Callable, Collection
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from angelx.adapters.recorded.captured import CaptureSource
    from angelx.adapters.recorded.source import RecordedSource

__all__ = ["open_recording"]


def open_recording(
    path: Path,
    *,
    begin: int | None = None,
    end: int | None = None,
    symbols: Collection[str] | None = None,
    bar_spread_bps: float | None = None,
    freeze: Callable[[str, date], int] | None = None,
    glance: bool = False,
) -> "RecordedSource | CaptureSource":
    """Ticks of a file or of all files of a directory, whatever documented schemas their columns are of.

    Parameters
    ----------
    path
        A Parquet file, a directory of them, or a capture (`angelx.adapters.capture`).
    begin, end
        Only rows received at or after `begin` and before `end`, ns; `None` = no bound. The rows are the same as in
        the whole recording: what came before `begin` is folded, not forgotten.
    symbols
        Only these symbols, underlyings or instrument ids; `None` = all.
    bar_spread_bps
        Where an instrument has bars but no quotes on a day: the width of a made-up touch around the bar's close,
        1/10,000 of it. `None` = such an instrument has no touch and cannot trade.
    freeze
        Answers the freeze quantity of an NSE underlying on a date, units; `None` = unknown.
    glance
        Only to see what is there: an instrument that is another one on another day is listed as it first was.

    Raises
    ------
    InputInvalid
        It cannot be read or means nothing: the message names file, column and row, and says what was expected.
    """
    from angelx.adapters.recorded.opening import open_path

    return open_path(
        path, begin=begin, end=end, symbols=symbols, bar_spread_bps=bar_spread_bps, freeze=freeze, glance=glance
    )
