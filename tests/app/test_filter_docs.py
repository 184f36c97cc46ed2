"""The filter that the documentation shows works as it stands there."""

import re
from pathlib import Path

import pytest

from angelx.app.config import load_config
from angelx.app.plugins import admitted, filters_of
from angelx.domain.errors import ConfigInvalid
from angelx.signals.filters.base import NOT_APPLICABLE, Refusal
from tests.signals.chain_scene import scene, signal, view

PAGE = (Path(__file__).parents[2] / "docs" / "filters.md").read_text()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "my.py"
    path.write_text(block)
    return path


def test_it_is_loaded_from_its_file_and_answers(file: Path) -> None:
    (calm,) = filters_of(load_config(None, {"filters": [{"use": f"{file}:Calm", "most": 0.2}]}, environ={}))
    assert calm(signal(), scene(view(iv_noise=0.05))) == 0.75
    assert calm(signal(), scene(view(iv_noise=0.3))) == Refusal("restless", "noise 0.30 > 0.20")
    assert calm(signal(), scene(view())) is NOT_APPLICABLE
    assert all(0 < cell.admitted < 1 for cell in admitted([calm]))


@pytest.mark.parametrize(
    ("key", "text"), [("most: 2", "most must be in"), ("mots: 0.2", r"mots: 0.2: unknown key; Calm takes most")]
)
def test_a_wrong_parameter_of_it_is_named(file: Path, tmp_path: Path, key: str, text: str) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"filters:\n- use: {file}:Calm\n  {key}\n")
    with pytest.raises(ConfigInvalid, match=rf"c.yaml:2: filters\[0\].*{text}|c.yaml:3: filters\[0\].{text}"):
        filters_of(load_config(config, {}, environ={}))


def test_every_reason_the_page_names_is_one_a_filter_gives() -> None:
    source = "".join(path.read_text() for path in (Path(__file__).parents[2] / "angelx/signals/filters").glob("*.py"))
    given = set(re.findall(r'Refusal\(\s*"(\w+)"', source))
    table = PAGE[PAGE.index("| filter |") : PAGE.index("Any of them fails")]
    named = {code for row in table.strip().splitlines()[2:] for code in re.findall(r"`(\w+)`", row.split("|")[-2])}
    assert named == given
