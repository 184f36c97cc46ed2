"""The table of every configuration key, made from the models; docs/configuration.md holds it."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from angelx.app.config_errors import allowed, keys_of
from angelx.app.config_model import Config
from angelx.app.config_parts import FILTERS


def reference() -> str:
    """Markdown: a row for each key with its default, what is allowed, and what it means."""
    rows = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
    return "\n".join(rows + [f"| {' | '.join(row)} |" for row in _rows(Config, "")]) + "\n"


def _rows(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, ...]]:
    for key in keys_of(section):
        name = f"{prefix}{key.path[-1]}"
        meaning = key.schema.get("description", "")
        if name == "filters":
            yield (f"`{name}`", "see config.yaml", "a list", meaning)
            for use, model in FILTERS.items():
                for row in list(_rows(model, f"filters[{use}].")):
                    if not row[0].endswith(".use`"):
                        yield row
        elif key.parts is None:
            yield (f"`{name}`", f"`{_shown(key.default)}`", allowed(key.schema), meaning)
        elif isinstance(key.default, tuple):
            yield (f"`{name}`", "see config.yaml", "a list", meaning)
            yield from _rows(key.parts, f"{name}[].")
        else:
            yield from _rows(key.parts, f"{name}.")


def _shown(default: Any) -> str:
    return "required" if default is ... else json.dumps(default)
