"""The configuration as a whole: defaults, layers, what is shown, what is hashed."""

import json
import math
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from angelx.app.config import (
    SURROUNDINGS,
    Config,
    config_hash,
    config_of,
    differences,
    effective_json,
    frozen_json,
    load_config,
)
from angelx.app.config_errors import keys_of
from angelx.app.config_parts import FILTERS
from angelx.app.config_yaml import read_yaml
from angelx.domain.errors import ConfigInvalid

SHIPPED = Path(__file__).parents[2] / "config.yaml"


def of(path: Path | None = None, overrides: dict[str, object] | None = None, **environ: str) -> Config:
    return load_config(path, overrides or {}, environ=environ)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


# ---------------------------------------------------------------- the file that ships
def test_the_shipped_file_says_what_the_code_would_do_without_it() -> None:
    assert effective_json(of(SHIPPED)) == effective_json(of())


def missing_keys(section: type[BaseModel], data: Any, path: str = "") -> Iterator[str]:
    for key in keys_of(section):
        name = str(key.path[-1])
        here = f"{path}.{name}"
        if name not in data:
            yield here
        elif name == "filters":
            for use, model in FILTERS.items():
                yield from missing_keys(
                    model, next(entry for entry in data[name] if entry["use"] == use), f"{here}.{use}"
                )
        elif key.parts is not None:
            inner = data[name][0] if isinstance(data[name], tuple) else data[name]
            yield from missing_keys(key.parts, inner, here)


def test_the_shipped_file_has_every_key() -> None:
    data = read_yaml(SHIPPED.read_text(), "config.yaml").data
    assert list(missing_keys(Config, data)) == []


def test_the_shipped_file_explains_every_key() -> None:
    lines = SHIPPED.read_text().splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if re.match(r"\s*(- )?\w+:", line) and "#" not in line and not before.lstrip().startswith("#")
    ]
    assert bare == []


def test_every_key_has_a_description() -> None:
    def silent(section: type[BaseModel]) -> Iterator[str]:
        yield from (
            f"{section.__name__}.{name}" for name, field in section.model_fields.items() if not field.description
        )
        for key in keys_of(section):
            if key.parts is not None:
                yield from silent(key.parts)

    assert list(silent(Config)) == []


# ---------------------------------------------------------------- layers
def test_overrides_win_over_the_environment_over_the_file_over_the_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "seed: 2\ncapital: 2\nrisk:\n  daily_loss: 0.02\n  max_positions: 2\n")
    config = of(path, {"risk.daily_loss": 0.04}, ANGELX__RISK__DAILY_LOSS="0.035", ANGELX__CAPITAL="3")
    assert (config.seed, config.capital, config.risk.daily_loss, config.risk.max_positions) == (2, 3.0, 0.04, 2)
    assert config.risk.max_daily_trades == 10


def test_the_environment_reaches_into_lists_and_new_sections(tmp_path: Path) -> None:
    path = written(tmp_path, "filters:\n  - use: session\n  - {use: freshness, max_age_s: 9}\n")
    config = of(path, ANGELX__FILTERS__1__MAX_AGE_S="5", ANGELX__RISK__EQUITIES__GROSS="2")
    assert config.filters[1].params == {"max_age_s": 5.0}
    assert config.risk.equities.gross == 2.0
    config = of(None, ANGELX__STRATEGIES="[{use: ema_cross, params: {fast: 3}}]")
    assert [(strategy.use, strategy.name, strategy.params) for strategy in config.strategies] == [
        ("ema_cross", "ema_cross", {"fast": 3})
    ]


def test_overrides_may_be_paths_and_lists(tmp_path: Path) -> None:
    config = of(None, {"state_dir": tmp_path, "strategies": [{"use": "mine/s.py:Mine", "instruments": ["a"]}]})
    assert config.state_dir == str(tmp_path)
    assert (config.strategies[0].name, config.strategies[0].instruments) == ("Mine", ("a",))


def test_other_variables_are_none_of_our_business() -> None:
    assert of(None, ANGELX="1", ANGELX_HOME="x", XANGELX__SEED="9", PATH="/bin") == of()


# ---------------------------------------------------------------- meaning
def test_values_are_offered_in_the_units_of_the_house() -> None:
    config = of(None, {"capital": 12_345.6789, "speed": 10, "market.session": "2026-10-22"})
    assert (config.capital_money, config.speed_factor) == (123_456_789, 10.0)
    assert config.market.simulated_day == date(2026, 10, 22)
    assert (of().speed_factor, of(None, {"speed": "real"}).speed_factor) == (math.inf, 1.0)
    assert of().market.simulated_day == date(2026, 10, 21)


def test_filters_of_the_user_take_any_parameters() -> None:
    config = of(
        None, {"filters": [{"use": "f.py:Calm", "limit": 3, "names": ["a"]}, {"use": "spread", "max_ticks": 1}]}
    )
    assert [(one.use, one.params) for one in config.filters] == [
        ("f.py:Calm", {"limit": 3, "names": ("a",)}),
        ("spread", {"max_ticks": 1.0, "max_bps": 5.0, "max_pct": 1.5}),
    ]


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError):
        of().risk.max_positions = 5


# ---------------------------------------------------------------- what is shown and hashed
def test_secrets_are_nowhere_in_what_is_shown() -> None:
    config = of(None, ANGELX_JOURNAL_KEY="hunter2-hunter2")
    assert config.secrets.journal_key is not None
    assert config.secrets.journal_key.get_secret_value() == "hunter2-hunter2"
    for shown in (effective_json(config), frozen_json(config), repr(config), str(config), config.model_dump_json()):
        assert "hunter2" not in shown
    assert config_hash(config) == config_hash(of())


def test_what_is_shown_is_canonical_and_can_be_read_back() -> None:
    config = of(None, {"strategies": [{"use": "ema_cross", "params": {"b": [1, 2.5], "a": {"z": None, "y": True}}}]})
    text = effective_json(config)
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert config_of(text) == config
    assert frozen_json(config_of(frozen_json(config))) == frozen_json(config)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"seeed": 1}'])
def test_a_recorded_configuration_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid):
        config_of(text)


@pytest.mark.parametrize("key", sorted(SURROUNDINGS))
def test_only_what_decides_is_hashed(key: str) -> None:
    other: dict[str, dict[str, object]] = {
        "admin": {"admin.socket": "/x"},
        "credentials": {"credentials.directory": "/x"},
        "log": {"log.level": "error"},
        "report": {"report.enabled": False},
        "speed": {"speed": 3},
        "state_dir": {"state_dir": "/x"},
    }
    changed = of(None, other[key])
    assert config_hash(changed) == config_hash(of())
    assert effective_json(changed) != effective_json(of())


@pytest.mark.parametrize("key", sorted(set(Config.model_fields) - SURROUNDINGS - {"secrets"}))
def test_everything_else_is_hashed(key: str) -> None:
    assert key in json.loads(frozen_json(of()))


def test_differences_name_the_keys() -> None:
    changed = of(None, {"risk.daily_loss": 0.05, "strategies": [{"use": "ema_cross", "params": {"n": 1}}]})
    assert differences(effective_json(of()), effective_json(changed)) == [
        "risk.daily_loss: 0.03 -> 0.05",
        'strategies[0].name: "chain_bias" -> "ema_cross"',
        "strategies[0].params: {} -> absent",
        "strategies[0].params.n: absent -> 1",
        'strategies[0].use: "chain_bias" -> "ema_cross"',
    ]
    assert differences(effective_json(of()), effective_json(of())) == []
