"""A day is traded with the configuration it began with."""

from datetime import date
from pathlib import Path

import pytest

from angelx.app.config import Config, config_hash, load_config
from angelx.app.config_freeze import FROZEN, ConfigFrozen, freeze, read_freeze
from angelx.domain.errors import Halted, InputInvalid

MONDAY, TUESDAY = date(2026, 10, 26), date(2026, 10, 27)


def of(**overrides: object) -> Config:
    return load_config(None, {name.replace("__", "."): value for name, value in overrides.items()}, environ={})


def test_the_same_configuration_may_start_again(tmp_path: Path) -> None:
    assert read_freeze(tmp_path) is None
    first = freeze(tmp_path, of(), MONDAY, at=1)
    assert (first.hash, first.session) == (config_hash(of()), "2026-10-26")
    assert freeze(tmp_path, of(log__level="debug", speed="real"), MONDAY, at=2) == first
    assert read_freeze(tmp_path) == first


def test_another_one_is_refused_by_name_until_a_reason_is_given(tmp_path: Path) -> None:
    first = freeze(tmp_path, of(), MONDAY, at=1)
    with pytest.raises(ConfigFrozen, match=r"frozen for 2026-10-26 and has changed:\n  risk.daily_loss: 0.03 -> 0.05"):
        freeze(tmp_path, of(risk__daily_loss=0.05), MONDAY, at=2)
    with pytest.raises(Halted):
        freeze(tmp_path, of(risk__daily_loss=0.05), MONDAY, at=2, reason="  ")
    assert read_freeze(tmp_path) == first
    second = freeze(tmp_path, of(risk__daily_loss=0.05), MONDAY, at=3, reason="told so")
    assert [(one.at, one.reason, one.changed) for one in second.overrides] == [
        (3, "told so", ("risk.daily_loss: 0.03 -> 0.05",))
    ]
    third = freeze(tmp_path, of(), MONDAY, at=4, reason="back again")
    assert [one.reason for one in third.overrides] == ["told so", "back again"]


def test_another_day_begins_anew(tmp_path: Path) -> None:
    freeze(tmp_path, of(), MONDAY, at=1)
    assert freeze(tmp_path, of(risk__daily_loss=0.05), TUESDAY, at=2).overrides == ()


def test_a_damaged_record_is_not_nothing(tmp_path: Path) -> None:
    (tmp_path / FROZEN).write_text('{"session": ')
    with pytest.raises(InputInvalid, match=r"config\.frozen: the frozen configuration cannot be read"):
        read_freeze(tmp_path)
    with pytest.raises(ConfigFrozen, match="give a reason"):
        freeze(tmp_path, of(), MONDAY, at=1)
    assert freeze(tmp_path, of(), MONDAY, at=2, reason="disk was replaced").overrides[0].reason == "disk was replaced"
    assert read_freeze(tmp_path) is not None
