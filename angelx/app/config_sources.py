"""Where a configuration comes from: a file, then the environment, then what the command line overrides."""

import math
import stat
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Final

from angelx.app.config_parts import plugin
from angelx.app.config_yaml import LARGEST, Document, KeyPath, Problem, key_text, read_yaml

PREFIX: Final = "ANGELX__"
"""`ANGELX__RISK__DAILY_LOSS=0.02` sets `risk.daily_loss`."""


def read_file(path: Path) -> Document:
    """The document in a file; what is wrong with it is in its problems."""
    name = str(path)
    document = Document()
    try:
        text = _read(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        document.problems.append(Problem(name, "", f"cannot be read: {reason}"))
        return document
    document = read_yaml(text, name)
    document.places.setdefault((), name)
    if document.data is None and not document.problems:
        document.problems.append(Problem(name, "", "empty: a mapping of keys to values is needed, `seed: 1` is enough"))
    elif not isinstance(document.data, dict | None):
        document.problems.append(Problem(document.place(()), "", "must be a mapping of keys to values"))
    return document


def find_plugins(document: Document, directory: Path) -> None:
    """Files of strategies and filters that are not in the working directory but beside the configuration are named
    whole, so that whoever reads the configuration later finds them too.
    """
    if not isinstance(document.data, dict):
        return
    for section in ("strategies", "filters"):
        entries = document.data.get(section)
        if isinstance(entries, tuple):
            document.data = {**document.data, section: tuple(_found(entry, directory) for entry in entries)}


def _found(entry: Any, directory: Path) -> Any:
    named = plugin(use) if isinstance(entry, dict) and isinstance(use := entry.get("use"), str) else None
    if named is None:
        return entry
    file = Path(named[0]).expanduser()
    beside = directory.resolve() / file
    missing = file.is_absolute() or file.exists() or not beside.is_file()
    return entry if missing else {**entry, "use": f"{beside}:{named[1]}"}


def _read(path: Path) -> str:
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"larger than {LARGEST // 1024} KiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is not UTF-8 text") from error


def add_environment(document: Document, environ: Mapping[str, str]) -> None:
    """Set what variables named `ANGELX__SECTION__KEY` say; their values are read as YAML."""
    for name in sorted(environ):
        if not name.startswith("ANGELX_") or "__" not in name:
            continue
        where = f"environment variable {name}"
        parts = name.removeprefix(PREFIX).lower().split("__")
        if not name.startswith(PREFIX) or "" in parts:
            right = PREFIX + "__".join(part for part in name.removeprefix("ANGELX_").split("__") if part.strip("_"))
            document.problems.append(Problem(where, "", f"two underscores go between all parts: {right}"))
            continue
        value = read_yaml(environ[name], where, numbered=False)
        if value.problems:
            document.problems += value.problems
            continue
        path = tuple(int(part) if part.isascii() and part.isdecimal() else part for part in parts)
        _set(document, path, value.data, where)


def add_overrides(document: Document, overrides: Mapping[str, object]) -> None:
    """Set what the command line says: `{"risk.daily_loss": 0.02}`."""
    for name, value in overrides.items():
        where = f"override {name}"
        path = tuple(int(part) if part.isascii() and part.isdecimal() else part for part in name.split("."))
        try:
            _set(document, path, plain(value), where)
        except ValueError as error:
            document.problems.append(Problem(where, name, str(error)))


def plain(value: object) -> Any:
    """A value as the YAML reader would have given it: paths as text, lists as tuples.

    Raises
    ------
    ValueError
        It has no plain form.
    """
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return tuple(plain(inner) for inner in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"a {type(value).__name__} is no plain value")


def _set(document: Document, path: KeyPath, value: Any, where: str) -> None:
    try:
        document.data = _with(document.data, path, value)
    except LookupError as error:
        document.problems.append(Problem(where, key_text(path), str(error)))
        return
    document.places = {known: place for known, place in document.places.items() if known[: len(path)] != path}
    document.places[path] = where


def _with(data: Any, path: KeyPath, value: Any) -> Any:
    """`data` with the value at the path; mappings are made on the way, entries of a list must be there.

    Raises
    ------
    LookupError
        The path leads through something that is neither.
    """
    if not path:
        return value
    part = path[0]
    if isinstance(data, tuple) and isinstance(part, int) and part < len(data):
        return (*data[:part], _with(data[part], path[1:], value), *data[part + 1 :])
    if isinstance(data, dict) or (data is None and isinstance(part, str)):
        inner = data or {}
        return {**inner, str(part): _with(inner.get(str(part)), path[1:], value)}
    what = "a list that is not given" if data is None else "a single value"
    if isinstance(data, tuple):
        what = f"the list given, which has {len(data)} entries, numbered from 0"
    raise LookupError(f"there is no {part} in {what}")
