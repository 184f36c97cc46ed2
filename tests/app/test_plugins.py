"""A strategy's or filter's parameter that does not fit is named by file, line, key and value."""

from importlib import import_module
from pathlib import Path

import pytest

from angelx.app.config import config_hash, load_config
from angelx.app.plugins import filters_of, plugin_digests, strategies_of
from angelx.domain.errors import ConfigInvalid, InputInvalid
from angelx.signals.strategy import Strategy

BUY = """
from angelx.signals.strategy import Strategy


class Buy(Strategy):
    def __init__(self, *, of: str, lots: int = 1, most: float | None = None, table: "Nothing" = None) -> None:
        if lots > 5:
            raise KeyError(lots)
        self.lots = lots
"""
CASES: dict[str, tuple[str, str]] = {
    "unknown key": (
        "strategies:\n- use: chain_bias\n  params:\n    strngth: 1\n",
        "c.yaml:4: strategies[0].params.strngth: 1: unknown key; ChainBias takes underlying, strength, ",
    ),
    "inline": (
        "strategies: [{use: chain_bias, params: {strngth: 1}}]\n",
        "c.yaml:1: strategies[0].params.strngth: 1: ",
    ),
    "a text for a number": (
        "strategies:\n- use: chain_bias\n  params: {strength: abc}\n",
        "c.yaml:3: strategies[0].params.strength: abc is not allowed; allowed: a number",
    ),
    "a truth for a whole number": (
        "strategies:\n- use: ema_cross\n  params: {fast: true}\n",
        "c.yaml:3: strategies[0].params.fast: true is not allowed; allowed: a whole number",
    ),
    "two that do not go together": (
        "strategies:\n- use: ema_cross\n  params: {fast: 30, slow: 20}\n",
        "c.yaml:3: strategies[0].params: ema_cross needs 0 < fast < slow, was 30 and 20 (given fast=30, slow=20)",
    ),
    "thresholds in the wrong order": (
        "filters:\n- use: session\n- use: volatility_regime\n  low: 0.6\n  medium: 0.5\n",
        "c.yaml:3: filters[1]: ",
    ),
}


def refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    config = load_config(path, environ={})
    with pytest.raises((ConfigInvalid, InputInvalid)) as refused:
        _ = strategies_of(config), filters_of(config)
    return str(refused.value).replace(str(path), "c.yaml")


@pytest.mark.parametrize(("text", "says"), CASES.values(), ids=CASES)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, says: str) -> None:
    assert refusal(tmp_path, text).startswith(says)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ("{}", "strategies[0].params: TypeError: "),
        ("{of: x, lot: 1}", "strategies[0].params.lot: 1: unknown key; Buy takes of, lots, most, table"),
        ("{of: x, lots: 9}", "strategies[0].params: KeyError: 9 (given of=x, lots=9)"),
    ],
)
def test_a_strategy_of_the_user_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "buy.py").write_text(BUY)
    assert f"c.yaml:3: {says}" in refusal(tmp_path, f"strategies:\n- use: buy.py:Buy\n  params: {params}\n")


def test_types_that_are_said_are_checked(tmp_path: Path) -> None:
    (tmp_path / "buy.py").write_text(BUY.replace('table: "Nothing" = None', "table: tuple[str, ...] = ()"))
    text = "strategies:\n- use: buy.py:Buy\n  params: {of: x, most: many, table: [a]}\n"
    assert "c.yaml:3: strategies[0].params.most: many is not allowed; allowed: a number or null" in refusal(
        tmp_path, text
    )


def test_a_file_is_found_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    (there / "buy.py").write_text(BUY)
    (there / "c.yaml").write_text("strategies:\n- use: buy.py:Buy\n  params: {of: x, lots: 2}\n")
    config = load_config(there / "c.yaml", environ={})
    (strategy,) = strategies_of(config)
    assert (strategy.name, getattr(strategy, "lots", 0)) == ("Buy", 2)
    assert list(plugin_digests(config)) == [f"{there}/buy.py:Buy"]
    (here / "buy.py").write_text(BUY)
    assert list(plugin_digests(load_config(there / "c.yaml", environ={}))) == ["buy.py:Buy"], "here comes first"


def test_a_file_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = refusal(tmp_path, "strategies:\n- use: buy.py:Buy\n")
    assert said.startswith("c.yaml:2: strategies[0].use: buy.py: No such file or directory; ")
    assert f"looked for in {tmp_path} and beside the configuration file" in said
    with pytest.raises(InputInvalid, match=r"c.yaml:2: strategies\[0\].use: buy.py: No such file"):
        plugin_digests(load_config(tmp_path / "c.yaml", environ={}))


def test_where_keys_stood_is_no_part_of_a_configuration(tmp_path: Path) -> None:
    one, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    one.write_text("seed: 3\n")
    other.write_text("# a comment\nseed: 3\n")
    first, second = load_config(one, environ={}), load_config(other, environ={})
    assert first == second
    assert config_hash(first) == config_hash(second)


def test_a_file_that_ends_the_program_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "buy.py").write_text("import sys\nraise SystemExit(3)\n")
    said = refusal(tmp_path, "strategies:\n- use: buy.py:Buy\n")
    assert said == "c.yaml:2: strategies[0].use: buy.py, line 2 cannot be loaded: SystemExit: 3"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import time\ntime.sleep(9)", "loops.py, line 2 cannot be loaded: StrategyTimeout: ran longer than 0.2 s"),
        (
            f"{BUY}\nclass Loops(Buy):\n    def __init__(self):\n        while True: pass",
            "strategies[0].params: StrategyTimeout: ran longer than 0.2 s (given nothing)",
        ),
    ],
)
def test_a_file_that_never_ends_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, says: str
) -> None:
    monkeypatch.setattr("angelx.app.plugins.LOADING_S", 0.2)
    (tmp_path / "loops.py").write_text(code)
    assert says in refusal(tmp_path, "strategies: [{use: 'loops.py:Loops'}]\n")


def test_the_base_that_is_named_can_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "buy.py").write_text("class Buy: ...\n")
    said = refusal(tmp_path, "strategies:\n- use: buy.py:Buy\n")
    module, _, name = said.rpartition(" ")[2].rpartition(".")
    assert getattr(import_module(module), name) is Strategy


@pytest.mark.parametrize(
    ("body", "lacks"),
    [
        ("def __call__(self, signal, scene): return 1.0", "a name (a text)"),
        ("name = 3\n    def __call__(self, signal, scene): return 1.0", "a name (a text)"),
        ("name = 'mine'", "__call__(signal, scene)"),
    ],
)
def test_a_class_that_is_no_filter_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, lacks: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(f"class Mine:\n    {body}\n")
    said = refusal(tmp_path, "filters:\n- use: mine.py:Mine\n")
    assert said == f"c.yaml:2: filters[0].use: mine.py:Mine is no filter: it has no {lacks}"
