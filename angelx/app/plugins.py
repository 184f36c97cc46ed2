"""Strategies and filters by name, or from any Python file as `path/to/file.py:Class`."""

import hashlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from angelx.app.config import Config
from angelx.app.config_parts import plugin
from angelx.domain.errors import ConfigInvalid, InputInvalid
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


def strategies_of(config: Config) -> Sequence[Strategy]:
    """The strategies of a configuration, made and named.

    Raises
    ------
    ConfigInvalid
        A parameter does not fit; names the key.
    InputInvalid
        A file cannot be loaded or does not hold what was named.
    """
    made = []
    for place, entry in enumerate(config.strategies):
        kind = STRATEGIES.get(entry.use) or _load(entry.use, f"strategies[{place}].use")
        if not (isinstance(kind, type) and issubclass(kind, Strategy)):
            raise InputInvalid(f"strategies[{place}].use: {entry.use} is not a subclass of angelx.signals.Strategy")
        params = dict(entry.params)
        if entry.instruments:
            params["instruments"] = entry.instruments
        strategy = _make(kind, params, f"strategies[{place}].params")
        strategy.name = entry.name
        made.append(strategy)
    return made


def filters_of(config: Config) -> Sequence[Filter]:
    """The filters of a configuration, made; raises as `strategies_of` does."""
    return [
        _make(FILTERS.get(entry.use) or _load(entry.use, f"filters[{place}].use"), entry.params, f"filters[{place}]")
        for place, entry in enumerate(config.filters)
    ]


def plugin_digests(config: Config) -> dict[str, str]:
    """sha256 of every file a configuration loads code from, by the name it is used under."""
    used = [entry.use for entry in (*config.strategies, *config.filters)]
    files = {use: found[0] for use in used if (found := plugin(use)) is not None}
    return {use: hashlib.sha256(_read(Path(file), use)).hexdigest() for use, file in sorted(files.items())}


def _read(path: Path, use: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputInvalid(f"{use}: {path}: {error.strerror}") from error


def _load(use: str, key: str) -> Any:
    found = plugin(use)
    assert found is not None, f"{key}: configuration lets only known names and files through"
    path, name = Path(found[0]).expanduser(), found[1]
    _read(path, use)
    spec = importlib.util.spec_from_file_location(f"angelx_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputInvalid(f"{key}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputInvalid(f"{key}: {path} cannot be loaded: {type(error).__name__}: {error}") from error
    kind = getattr(module, name, None)
    if kind is None:
        raise InputInvalid(f"{key}: {path} has no class {name!r}")
    return kind


def _make(kind: Any, params: Mapping[str, Any], key: str) -> Any:
    try:
        inspect.signature(kind).bind(**params)
    except TypeError as error:
        known = [name for name in inspect.signature(kind).parameters if name != "self"]
        raise ConfigInvalid(f"{key}: {error}; {kind.__name__} takes {', '.join(known) or 'nothing'}") from error
    try:
        return kind(**params)
    except (TypeError, ValueError) as error:
        raise ConfigInvalid(f"{key}: {error}") from error
