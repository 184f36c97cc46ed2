"""The configuration: loaded from file, environment and overrides; all that is wrong is said at once.

`load_config` is the only way in. `effective_json` is what is shown; `frozen_json` the part of it that is hashed and
frozen for the trading day (SPEC 8.2): everything but what only says where and how the session is seen.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from angelx.app.config_errors import problems_of
from angelx.app.config_model import Config, Secrets
from angelx.app.config_secrets import read_credential
from angelx.app.config_sources import add_environment, add_overrides, find_plugins, plain, read_file
from angelx.app.config_yaml import Document, Problem
from angelx.domain.errors import ConfigInvalid

__all__ = [
    "SURROUNDINGS",
    "Config",
    "config_hash",
    "config_of",
    "differences",
    "effective_json",
    "frozen_json",
    "load_config",
]

SURROUNDINGS: Final = frozenset({"admin", "credentials", "log", "report", "speed", "state_dir"})
"""Top-level keys that decide nothing: they may change during a frozen day and on SIGHUP."""


_MOST_SHOWN: Final = 50


def load_config(
    path: Path | None, overrides: Mapping[str, object] = {}, *, environ: Mapping[str, str] | None = None
) -> Config:
    """The configuration of a run: defaults, then the file, then `ANGELX__…` variables, then the overrides.

    Parameters
    ----------
    path
        A YAML file; `None` = none is read.
    overrides
        Values by dotted key: `{"risk.daily_loss": 0.02, "filters.1.max_age_s": 5}`.
    environ
        The process's environment where not given.

    Raises
    ------
    ConfigInvalid
        Its message has a line for each thing that is wrong: file and line, key, value and what is allowed.
    """
    environ = os.environ if environ is None else environ
    document = Document() if path is None else read_file(path)
    if path is not None:
        find_plugins(document, path.parent)
    if isinstance(document.data, dict | None):
        add_environment(document, environ)
        add_overrides(document, overrides)
    config = _validated(document)
    directory = Path(config.credentials.directory)
    found = {name: read_credential(name, directory, environ) for name in Secrets.model_fields}
    return config.model_copy(update={"secrets": Secrets(**found)})


def _validated(document: Document) -> Config:
    data = {} if document.data is None else document.data
    problems, config = list(document.problems), Config()
    if isinstance(data, dict):
        if "secrets" in data:
            where = document.place(("secrets",))
            problems.append(Problem(where, "secrets", "never stand in a configuration: see docs/configuration.md"))
            data = {key: value for key, value in data.items() if key != "secrets"}
        try:
            config = Config.model_validate(data).read_from(document)
        except ValidationError as error:
            known = {problem[:2] for problem in problems}
            problems += [found for found in problems_of(error, Config, document) if found[:2] not in known]
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        more = [f"and {len(problems) - _MOST_SHOWN} more"] if len(problems) > _MOST_SHOWN else []
        shown = [str(problem) for problem in problems[:_MOST_SHOWN]]
        raise ConfigInvalid("\n  ".join([f"{count} in the configuration:", *shown, *more]))
    return config


def config_of(effective: str) -> Config:
    """The configuration that `effective_json` or `frozen_json` was made from, without secrets.

    Raises
    ------
    ConfigInvalid
        The text does not describe a configuration of this version.
    """
    try:
        return Config.model_validate(plain(json.loads(effective)))
    except ValidationError as error:
        problems = [str(problem) for problem in problems_of(error, Config, Document())]
    except ValueError as error:
        problems = [str(error)]
    raise ConfigInvalid("\n  ".join(["a recorded configuration cannot be used:", *problems]))


def effective_json(config: Config) -> str:
    """Every key with the value in force, canonical: sorted, no spaces, no secrets."""
    return _canonical(config.model_dump(mode="json"))


def frozen_json(config: Config) -> str:
    """`effective_json` without the `SURROUNDINGS`: what may not change during a trading day."""
    return _canonical(config.model_dump(mode="json", exclude=set(SURROUNDINGS)))


def config_hash(config: Config) -> str:
    """sha256 of `frozen_json`, hexadecimal."""
    return hashlib.sha256(frozen_json(config).encode()).hexdigest()


def _canonical(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def differences(before: str, after: str) -> list[str]:
    """What changed between two effective or frozen configurations: `risk.daily_loss: 0.03 -> 0.05`, sorted."""
    old, new = dict(_leaves(json.loads(before))), dict(_leaves(json.loads(after)))
    return [
        f"{key}: {old.get(key, 'absent')} -> {new.get(key, 'absent')}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _leaves(data: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(data, dict) and (data or not path):
        for key, value in data.items():
            yield from _leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(data, list) and data:
        for place, value in enumerate(data):
            yield from _leaves(value, f"{path}[{place}]")
    else:
        yield path, json.dumps(data)
