"""Makes angelx/market/tables/sessions.json from pandas_market_calendars and session_overrides.json.

Run after editing the overrides or upgrading the library: `python tools/make_sessions.py`; `--check` only compares.
Where both know a day they must agree; where only the library knows unusual hours, it is an error until a person adds
the day to the overrides with its source.
"""

import argparse
import json
import sys
from datetime import date, timedelta
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas_market_calendars

TABLES = Path(__file__).parent.parent / "angelx" / "market" / "tables"
LINE = 500
"""Characters of a row that still fits a line."""


def library_days(name: str, first: date, last: date) -> dict[date, tuple[str, str]]:
    """Open and close of every trading day the library knows, `HH:MM` exchange time."""
    calendar = pandas_market_calendars.get_calendar(name)
    schedule = calendar.schedule(first.isoformat(), last.isoformat())
    opens = schedule["market_open"].dt.tz_convert(calendar.tz)
    closes = schedule["market_close"].dt.tz_convert(calendar.tz)
    return {day.date(): (f"{opens[day]:%H:%M}", f"{closes[day]:%H:%M}") for day in schedule.index}


def regular_hours(segment: dict[str, Any], day: date) -> tuple[str, str]:
    """Open and close a segment's dated hours give for a day."""
    phases = [row["phases"] for row in segment["hours"] if row["from"] <= day.isoformat()][-1]
    trading = [(begin, end) for phase, begin, end in phases if phase == "open"]
    return trading[0][0], trading[-1][1]


def own_days(name: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """The override rows of one segment, by day."""
    return {
        row["day"]: {
            "phases": row["phases"].get(name, row["phases"].get("*")),
            **{key: row[key] for key in ("special", "note", "source", "verified")},
        }
        for row in overrides["days"]
        if name in row["segments"]
    }


def early_close(segment: dict[str, Any], close: str, source: str) -> dict[str, Any]:
    """A regular day that ends early."""
    *before, (phase, begin, _) = segment["hours"][-1]["phases"]
    phases = [*before, [phase, begin, close]]
    return {"phases": phases, "special": False, "note": "half day", "source": source, "verified": True}


def segment_days(
    name: str, segment: dict[str, Any], days: dict[date, tuple[str, str]], overrides: dict[str, Any]
) -> dict[str, Any]:
    """Every day with hours of its own: the overrides, and the library's early closes.

    Raises
    ------
    SystemExit
        The library knows unusual hours that the overrides lack or contradict.
    """
    rows = own_days(name, overrides)
    zone = overrides["calendars"][segment["calendar"]]
    usual = regular_hours(segment, date.fromisoformat(zone["first"]))
    for day, (begin, end) in days.items():
        row = rows.get(day.isoformat())
        if row is not None:
            trading = [edges for phase, *edges in row["phases"] if phase == "open"]
            if [trading[0][0], trading[-1][1]] != [begin, end]:
                sys.exit(f"{name} {day}: overrides say {trading}, the library {begin}-{end}")
        elif begin == usual[0] and end < usual[1] and zone["library"] == "NYSE":
            rows[day.isoformat()] = early_close(segment, end, zone["source"])
        elif (begin, end) != usual:
            sys.exit(f"{name} {day}: the library says {begin}-{end}: add it to session_overrides.json with its source")
    return dict(sorted(rows.items()))


def made(overrides: dict[str, Any]) -> dict[str, Any]:
    """The whole table."""
    calendars, segments, trading = {}, {}, {}
    for name, row in overrides["calendars"].items():
        first, last = date.fromisoformat(row["first"]), date.fromisoformat(row["last"])
        trading[name] = library_days(row["library"], first, last)
        weekdays = [first + timedelta(n) for n in range((last - first).days + 1)]
        holidays = [str(day) for day in weekdays if day.weekday() < 5 and day not in trading[name]]
        calendars[name] = {key: row[key] for key in ("zone", "first", "last", "source")} | {"holidays": holidays}
    for name, row in overrides["segments"].items():
        segments[name] = row | {"days": segment_days(name, row, trading[row["calendar"]], overrides)}
    library = f"pandas_market_calendars {version('pandas_market_calendars')}"
    return {
        "made_from": f"{library} and session_overrides.json by tools/make_sessions.py; do not edit",
        "calendars": calendars,
        "segments": segments,
    }


def text_of(value: Any, indent: str = "") -> str:
    """JSON with a row or a year of holidays on a line, so that a change reads well in a diff."""
    flat = json.dumps(value, ensure_ascii=False)
    if not indent or len(flat) > LINE:
        inner = indent + " "
        if isinstance(value, dict):
            rows = [f"{json.dumps(key)}: {text_of(item, inner)}" for key, item in value.items()]
            return "{\n" + ",\n".join(inner + row for row in rows) + f"\n{indent}}}"
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            years = [", ".join(map(json.dumps, days)) for _, days in groupby(value, lambda day: day[:4])]
            return "[\n" + ",\n".join(inner + year for year in years) + f"\n{indent}]"
        if isinstance(value, list):
            return "[\n" + ",\n".join(inner + text_of(item, inner) for item in value) + f"\n{indent}]"
    return flat


def main() -> None:
    """Writes the table, or compares it with what is checked in and exits 1 when they differ."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    overrides = json.loads((TABLES / "session_overrides.json").read_text("utf-8"))
    text = text_of(made(overrides)) + "\n"
    target = TABLES / "sessions.json"
    if not parser.parse_args().check:
        target.write_text(text, "utf-8")
    elif target.read_text("utf-8") != text:
        sys.exit(f"{target.name} is not what tools/make_sessions.py makes")


if __name__ == "__main__":
    main()
