"""What a person reads when a configuration is refused: where, which key, the value, and what is allowed there."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, Final, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from angelx.app.config_parts import FILTERS, Filter, PluginFilter, Section
from angelx.app.config_yaml import Document, KeyPath, Problem, key_text, scalar

_TYPES: Final = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "a mapping of keys to values",
}
_BOUNDS: Final = {
    "exclusiveMinimum": "above {}",
    "minimum": "at least {}",
    "exclusiveMaximum": "below {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
}


class Key(NamedTuple):
    """One key that can be configured."""

    path: KeyPath
    schema: Mapping[str, Any]
    default: Any
    """`...` where it must be given."""
    parts: type[BaseModel] | None
    """What the key holds, where that is a mapping of keys or a list of them."""


def part_of(annotation: Any) -> type[BaseModel] | None:
    """The section inside an annotation: itself, or what a tuple of it or a choice with null holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((part for inner in get_args(annotation) if (part := part_of(inner))), None)


def keys_of(section: type[BaseModel], path: KeyPath = ()) -> Iterator[Key]:
    """The keys of one section, in order, without those inside their sections."""
    properties = _properties(section)
    for name, field in section.model_fields.items():
        if not field.exclude:
            default = ... if field.is_required() else field.default
            yield Key((*path, name), properties[name], default, part_of(field.annotation))


@cache
def _properties(section: type[BaseModel]) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = section.model_json_schema()["properties"]
    return properties


def allowed(schema: Mapping[str, Any]) -> str:
    """What a key's JSON schema lets through, in words: `a number above 0 and at most 1`."""
    if "allowed" in schema:
        return str(schema["allowed"])
    if "anyOf" in schema:
        return " or ".join(allowed(choice) for choice in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(str(word) for word in schema.get("enum", [schema.get("const")]))
    noun = _TYPES.get(schema.get("type", "object"), "a mapping of keys to values")
    if schema.get("minLength") == 1:
        noun, schema = "a text, not empty", {key: value for key, value in schema.items() if key != "minLength"}
    bounds = " and ".join(text.format(_number(schema[name])) for name, text in _BOUNDS.items() if name in schema)
    comma = "," if schema.get("type") in {"array", "string"} and bounds else ""
    return f"{noun}{comma} {bounds}".strip()


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def problems_of(error: ValidationError, root: type[Section], document: Document) -> list[Problem]:
    """Everything a validation found, each with its place in the document.

    What is wrong inside an entry also makes its list look too short: the outer of two such errors is left out.
    """
    details = error.errors(include_url=False)
    places = {detail["loc"] for detail in details}
    outer = {loc[:depth] for loc in places for depth in range(1, len(loc))}
    return [_problem(detail, root, document) for detail in details if detail["loc"] not in outer]


def _problem(detail: ErrorDetails, root: type[Section], document: Document) -> Problem:
    path = _without_tags(detail["loc"])
    section, key = _locate(root, path, detail["loc"])
    where, name, kind = document.place(path), key_text(path), detail["type"]
    if kind == "extra_forbidden":
        return Problem(where, name, f"unknown key; {suggestion(str(path[-1]), _names(section))}")
    if kind == "missing":
        return Problem(where, name, f"missing; allowed: {allowed(key.schema) if key else 'a value'}")
    if kind == "inconsistent":
        return Problem(where, name, detail["msg"])
    text = _reason(detail)
    if key is None:
        return Problem(where, name, "must be a mapping of keys to values")
    return Problem(where, name, f"{shown(detail['input'])} is not allowed{text}; allowed: {allowed(key.schema)}")


def _reason(detail: ErrorDetails) -> str:
    """What the type of an error adds to the value and to what is allowed."""
    context = detail.get("ctx", {})
    if detail["type"] in {"one_of", "literal_error"}:
        names = context.get("names") or re.findall(r"'([^']*)'", context.get("expected", ""))
        near = get_close_matches(str(detail["input"]), names, 1)
        return f", did you mean {near[0]}?" if near else ""
    return f": {detail['msg']}" if detail["type"] in {"day", "broker"} else ""


def _without_tags(loc: Iterable[str | int]) -> KeyPath:
    """A pydantic location without the tag that follows the index of a filter."""
    path = tuple(loc)
    if len(path) > 2 and path[0] == "filters":
        return (*path[:2], *path[3:])
    return path


def _locate(root: type[Section], path: KeyPath, loc: KeyPath) -> tuple[type[BaseModel], Key | None]:
    """The section a path ends in, and the key there, `None` for a section or entry as a whole."""
    section: type[BaseModel] = root
    key: Key | None = None
    for place, part in enumerate(path):
        if isinstance(part, int):
            key = None
            continue
        key = next((known for known in keys_of(section, path[:place]) if known.path[-1] == part), None)
        if key is None:
            break
        if key.parts is not None and place + 1 < len(path):
            section = _filter_model(loc[2]) if key.path == ("filters",) and len(loc) > 2 else key.parts
    return section, key


def _filter_model(tag: str | int) -> type[Filter]:
    return FILTERS.get(str(tag), PluginFilter)


def _names(section: type[BaseModel]) -> list[str]:
    return [str(key.path[-1]) for key in keys_of(section)]


def suggestion(name: str, known: Iterable[str]) -> str:
    """`did you mean x?`, or all there is where nothing is near."""
    known = list(known)
    near = get_close_matches(name.lower(), known, 1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


def shown(value: Any) -> str:
    """A value as it may have been written, shortened; a text in quotes where it could be taken for something else."""
    plain = isinstance(value, str) and value.isprintable() and isinstance(scalar(value), str)
    text = value if plain else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
