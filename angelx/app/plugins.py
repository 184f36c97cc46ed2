"""Strategies and filters by name, or from any Python file as `path/to/file.py:Class`."""

import hashlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from traceback import extract_tb
from types import UnionType
from typing import Any, Final, get_args, get_type_hints

from angelx.adapters.signals import DeadlineGuard, StrategyTimeout
from angelx.app.config import Config
from angelx.app.config_errors import shown
from angelx.app.config_parts import plugin
from angelx.app.config_yaml import KeyPath, Problem, key_text
from angelx.domain.errors import ConfigInvalid, InputInvalid
from angelx.signals.admission import Cell, admission
from angelx.signals.chain_bias import ChainBias
from angelx.signals.ema_cross import EmaCross
from angelx.signals.filters.base import Filter
from angelx.signals.filters.bias_strength import BiasStrengthFilter
from angelx.signals.filters.oi_confirmation import OiConfirmationFilter
from angelx.signals.filters.standard import FreshnessFilter, SessionFilter, SpreadFilter
from angelx.signals.filters.time_of_day import TimeOfDayFilter
from angelx.signals.filters.trap import TrapFilter
from angelx.signals.filters.volatility_regime import VolatilityRegimeFilter
from angelx.signals.strategy import Strategy

STRATEGIES: Final[Mapping[str, type[Strategy]]] = {"chain_bias": ChainBias, "ema_cross": EmaCross}
FILTERS: Final[Mapping[str, Callable[..., Filter]]] = {
    "session": SessionFilter,
    "freshness": FreshnessFilter,
    "spread": SpreadFilter,
    "time_of_day": TimeOfDayFilter,
    "volatility_regime": VolatilityRegimeFilter,
    "bias_strength": BiasStrengthFilter,
    "trap": TrapFilter,
    "oi_confirmation": OiConfirmationFilter,
}
LOADING_S: Final = 30.0
"""Longest that a file may take to load, or a class of it to be made; imports of large libraries take seconds."""
BASE: Final = "angelx.signals.strategy.Strategy"
_WORDS: Final[Mapping[type, str]] = {
    int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null",
}  # fmt: skip


def strategies_of(config: Config) -> Sequence[Strategy]:
    """The strategies of a configuration, made and named.

    Raises
    ------
    ConfigInvalid
        A parameter does not fit; names file, line, key and value.
    InputInvalid
        A file cannot be loaded or does not hold what was named.
    """
    made = []
    for place, entry in enumerate(config.strategies):
        path = ("strategies", place)
        kind = STRATEGIES.get(entry.use) or _load(config, entry.use, path)
        if not (isinstance(kind, type) and issubclass(kind, Strategy)):
            raise InputInvalid(_said(config, (*path, "use"), f"{entry.use} is not a subclass of {BASE}"))
        given = {"instruments": entry.instruments} if entry.instruments else {}
        strategy = _make(config, kind, entry.params, (*path, "params"), given)
        strategy.name = entry.name
        made.append(strategy)
    return made


def filters_of(config: Config) -> Sequence[Filter]:
    """The filters of a configuration, made; raises as `strategies_of` does."""
    made = []
    for place, entry in enumerate(config.filters):
        path = ("filters", place)
        kind = FILTERS.get(entry.use) or _load(config, entry.use, path)
        one = _make(config, kind, entry.params, path, {})
        name = getattr(one, "name", None)
        if not (callable(one) and isinstance(name, str) and name):
            lacks = "a name (a text)" if callable(one) else "__call__(signal, scene)"
            raise InputInvalid(_said(config, (*path, "use"), f"{entry.use} is no filter: it has no {lacks}"))
        made.append(one)
    return made


def admitted(filters: Sequence[Filter]) -> list[Cell]:
    """How much of what is signalled the filters let pass in every regime and window, tried on made-up signals.

    Raises
    ------
    InputInvalid
        A filter fails on a signal such as it will see.
    """
    try:
        return admission(filters)
    except Exception as error:
        raise InputInvalid(f"filters: one fails on a made-up signal: {type(error).__name__}: {error}") from error


def plugin_digests(config: Config) -> dict[str, str]:
    """sha256 of every file a configuration loads code from, by the name it is used under."""
    digests = {}
    for section, entries in (("strategies", config.strategies), ("filters", config.filters)):
        for place, entry in enumerate(entries):
            if (found := plugin(entry.use)) is not None:
                code = _read(config, Path(found[0]).expanduser(), (section, place, "use"))
                digests[entry.use] = hashlib.sha256(code).hexdigest()
    return dict(sorted(digests.items()))


def _read(config: Config, path: Path, key: KeyPath) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        where = "" if path.is_absolute() else f"; it is looked for in {Path.cwd()} and beside the configuration file"
        raise InputInvalid(_said(config, key, f"{path}: {error.strerror}{where}")) from error


def _load(config: Config, use: str, entry: KeyPath) -> Any:
    """The class that an entry's `use` names."""
    found = plugin(use)
    assert found is not None, f"{use}: configuration lets only known names and files through"
    path, name = Path(found[0]).expanduser(), found[1]
    _read(config, path, (*entry, "use"))
    try:
        return _class_of(path, name)
    except InputInvalid as error:
        raise InputInvalid(_said(config, (*entry, "use"), str(error))) from error


def _class_of(path: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"angelx_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputInvalid(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        _bounded(spec.loader.exec_module, module)
    except (Exception, SystemExit, StrategyTimeout) as error:
        where = [
            f", line {frame.lineno}"
            for frame in extract_tb(error.__traceback__)
            if Path(frame.filename).name == path.name
        ]
        raise InputInvalid(f"{path}{''.join(where[-1:])} cannot be loaded: {type(error).__name__}: {error}") from error
    kind = getattr(module, name, None)
    if kind is None:
        raise InputInvalid(f"{path} has no class {name!r}")
    return kind


def _bounded(function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Any:
    """Call a person's own code; raises `StrategyTimeout` where it takes too long."""
    guard = DeadlineGuard(LOADING_S)
    guard.start()
    try:
        return guard.call(function, *args, **keywords)
    finally:
        guard.stop()


# ---------------------------------------------------------------- parameters
def _make(config: Config, kind: Any, params: Mapping[str, Any], path: KeyPath, given: Mapping[str, Any]) -> Any:
    """An object of the class; `path` is where its parameters stand, `given` what stands elsewhere."""
    known = inspect.signature(kind).parameters
    if not any(one.kind is one.VAR_KEYWORD for one in known.values()):
        for name in params:
            if name not in known:
                takes = f"{getattr(kind, '__name__', kind)} takes {', '.join(known) or 'nothing'}"
                raise ConfigInvalid(_said(config, (*path, name), f"{shown(params[name])}: unknown key; {takes}"))
    for name, wanted in _scalars(kind).items():
        if name in params and not _fits(params[name], wanted):
            words = " or ".join(_WORDS[one] for one in wanted)
            raise ConfigInvalid(_said(config, (*path, name), f"{shown(params[name])} is not allowed; allowed: {words}"))
    try:
        return _bounded(kind, **params, **given)
    except (Exception, SystemExit, StrategyTimeout) as error:
        values = ", ".join(f"{name}={shown(value)}" for name, value in params.items())
        what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ConfigInvalid(_said(config, path, f"{what} (given {values or 'nothing'})")) from error


def _scalars(kind: Any) -> dict[str, tuple[type, ...]]:
    """Of the parameters that are said to be plain values: which."""
    try:
        hints = get_type_hints(kind.__init__)
    except Exception:  # noqa: BLE001 - hints that mean nothing check nothing
        return {}
    found = {name: get_args(hint) if isinstance(hint, UnionType) else (hint,) for name, hint in hints.items()}
    return {name: wanted for name, wanted in found.items() if name != "return" and set(wanted) <= set(_WORDS)}


def _fits(value: Any, wanted: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in wanted
    return isinstance(value, wanted) or (isinstance(value, int) and float in wanted)


def _said(config: Config, path: KeyPath, text: str) -> str:
    """What is wrong at a key, with the file and the line it stood in."""
    return str(Problem(config.place(path), key_text(path), text))
