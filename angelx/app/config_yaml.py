"""YAML to plain data that remembers where everything stood.

Read from the parser's events: mappings with word keys, sequences, and the scalars of YAML 1.2's core schema, nothing
else. Whatever else YAML offers (anchors, tags, several documents) is refused by name; all that is wrong is collected.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

LARGEST: Final = 256 * 1024
"""Bytes of a configuration file."""
DEEPEST: Final = 12

KeyPath = tuple[str | int, ...]

_NULL: Final = re.compile(r"~|null|Null|NULL|")
_BOOL: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT: Final = re.compile(r"[-+]?[0-9]{1,40}")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]{1,32}|0o[0-7]{1,40}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class Problem(NamedTuple):
    """One thing that is wrong."""

    where: str
    """`config.yaml:12`, `environment variable ANGELX__SEED`, `override seed`."""
    key: str
    """Dotted path, empty for the file as a whole."""
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


class Document:
    """What a configuration says: `data`, where each key path stood, and what is wrong with it."""

    def __init__(self) -> None:
        self.data: Any = None
        self.places: dict[KeyPath, str] = {}
        self.problems: list[Problem] = []

    def place(self, path: KeyPath) -> str:
        """Where the key path, or the nearest one above it, stood."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, "defaults")


class Origin:
    """Where the keys of a configuration stood: no part of what it says, so any two are equal."""

    def __init__(self, document: Document | None = None) -> None:
        self._document = document or Document()

    def place(self, path: KeyPath) -> str:
        """As `Document.place`."""
        return self._document.place(path)

    def __eq__(self, other: object) -> bool:
        """Always, of two of them."""
        return isinstance(other, Origin)

    def __hash__(self) -> int:
        """The same of all."""
        return 0


def key_text(path: KeyPath) -> str:
    """`filters[1].max_age_s` for ("filters", 1, "max_age_s")."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def scalar(text: str) -> Any:
    """A plain (unquoted) scalar as YAML 1.2's core schema reads it; what is no number, truth or null is text."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return math.nan if _NOT_FINITE.fullmatch(text) else text


class _Stop(Exception):
    """Nothing more can be read."""


class _Reader:
    """Builds plain data from parser events, one recursive step per node."""

    def __init__(self, events: Iterator[Event], name: str, document: Document, numbered: bool) -> None:
        self._events = events
        self._name = name
        self._document = document
        self._numbered = numbered

    def _where(self, event: Event) -> str:
        return f"{self._name}:{event.start_mark.line + 1}" if self._numbered else self._name

    def problem(self, event: Event, path: KeyPath, text: str) -> None:
        self._document.problems.append(Problem(self._where(event), key_text(path), text))

    def next(self) -> Event:
        event: Event = next(self._events)
        return event

    def node(self, event: Any, path: KeyPath) -> Any:
        self._document.places.setdefault(path, self._where(event))
        if isinstance(event, AliasEvent):
            self.problem(event, path, f"aliases (*{event.anchor}) are not allowed: write the value out")
            return None
        if event.anchor is not None:
            self.problem(event, path, f"anchors (&{event.anchor}) are not allowed: write the value where it is used")
        if event.tag is not None and str(event.tag) != "!":
            self.problem(event, path, f"tags ({event.tag}) are not allowed: write the plain value")
        if len(path) > DEEPEST:
            self.problem(event, path[:3], f"nested more than {DEEPEST} deep")
            raise _Stop
        if isinstance(event, MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(event, path)

    def _scalar(self, event: ScalarEvent, path: KeyPath) -> Any:
        value = scalar(event.value) if event.style is None else event.value
        if isinstance(value, float) and not math.isfinite(value):
            self.problem(event, path, f"{event.value} is not a finite number")
        return value

    def _sequence(self, path: KeyPath) -> tuple[Any, ...]:
        items: list[Any] = []
        while not isinstance(event := self.next(), SequenceEndEvent):
            items.append(self.node(event, (*path, len(items))))
        return tuple(items)

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := self.next(), MappingEndEvent):
            key = self._key(event, path)
            here = (*path, key)
            if key in items:
                self.problem(event, here, f"given twice, first at {self._document.place(here)}")
                self.node(self.next(), (*path, f"{key} (again)"))
                continue
            value_event = self.next()
            self._document.places[here] = self._where(event)
            items[key] = self.node(value_event, here)
        return items

    def _key(self, event: Event, path: KeyPath) -> str:
        if not isinstance(event, ScalarEvent) or event.anchor is not None or event.tag is not None:
            self.problem(event, path, "a key must be a plain word")
            raise _Stop
        if event.style is None and not isinstance(scalar(event.value), str):
            self.problem(event, path, f"{event.value or 'an empty key'} is not a word; quote it if it is a key")
        return str(event.value)


def read_yaml(text: str, name: str, *, numbered: bool = True) -> Document:
    """Read one YAML document.

    Parameters
    ----------
    name
        What `places` and problems call it.
    numbered
        Whether they give line numbers.

    Returns
    -------
    Document
        Its `data` is whatever the text holds, a mapping or not, `None` where it is empty or cannot be read.
    """
    document = Document()
    try:
        reader = _Reader(YAML(typ="safe", pure=True).parse(text), name, document, numbered)
        reader.next()
        if isinstance(reader.next(), StreamEndEvent):
            return document
        document.data = reader.node(reader.next(), ())
        if not isinstance(end := reader.next(), DocumentEndEvent) or not isinstance(reader.next(), StreamEndEvent):
            reader.problem(end, (), "more than one document (---): keep one")
    except _Stop:
        pass
    except MarkedYAMLError as error:
        document.problems.append(_syntax(error, name, text, numbered=numbered))
    except (YAMLError, ValueError) as error:
        document.problems.append(Problem(name, "", " ".join(str(error).split())))
    return document


def _syntax(error: MarkedYAMLError, name: str, text: str, *, numbered: bool) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    what = " ".join(f"{error.problem or error.context or 'cannot be read'}".split())
    rows = text.splitlines()
    indent = re.match(r"\s*", rows[line])[0] if line < len(rows) else ""  # type: ignore[index]
    if "\t" in indent or "'\\t'" in what:
        what = "a tab: indent with spaces"
    return Problem(f"{name}:{line + 1}" if numbered else name, "", f"not YAML: {what}")
