"""Every refusal names the file, the line, the key, the value and what is allowed."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.app.config import load_config
from angelx.app.config_yaml import LARGEST
from angelx.domain.errors import ConfigInvalid


def refusal(tmp_path: Path, text: str | bytes, overrides: dict[str, object] | None = None, **environ: str) -> str:
    path = tmp_path / "c.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigInvalid) as refused:
        load_config(path, overrides or {}, environ=environ)
    return str(refused.value).replace(str(path), "c.yaml")


CASES: dict[str, tuple[str | bytes, str]] = {
    "unknown key": ("seed: 1\ncurency: INR\n", "c.yaml:2: curency: unknown key; did you mean currency?"),
    "unknown key, nothing near": ("zzzz: 1\n", "c.yaml:1: zzzz: unknown key; known here: state_dir, seed, "),
    "unknown inner key": (
        "risk:\n  dayly_loss: 0.1\n",
        "c.yaml:2: risk.dayly_loss: unknown key; did you mean daily_loss?",
    ),
    "case": ("risk:\n  Daily_Loss: 0.1\n", "c.yaml:2: risk.Daily_Loss: unknown key; did you mean daily_loss?"),
    "key of a filter": (
        "filters:\n- use: freshness\n  max_aeg_s: 3\n",
        "c.yaml:3: filters[0].max_aeg_s: unknown key; did you mean max_age_s?",
    ),
    "name of a filter": (
        "filters:\n- use: sesion\n",
        "filters[0].use: sesion is not allowed, did you mean session?; allowed: session, time_of_day, ",
    ),
    "a filter without a name": ("filters:\n- max_pct: 1\n", "c.yaml:2: filters[0].use: missing; allowed: session, "),
    "a filter that is none": ("filters:\n- 3\n", "c.yaml:2: filters[0]: must be a mapping of keys to values"),
    "name of a strategy": (
        "strategies:\n- use: ema_cros\n",
        "c.yaml:2: strategies[0].use: ema_cros is not allowed, did you mean ema_cross?",
    ),
    "no strategies": (
        "strategies: []\n",
        "c.yaml:1: strategies: [] is not allowed; allowed: a list, at least 1 entries",
    ),
    "two strategies of one name": (
        "strategies:\n- use: ema_cross\n- use: ema_cross\n",
        "strategies need different names, ema_cross is used twice: give one a `name`",
    ),
    "too large": (
        "risk: {daily_loss: 3}\n",
        "c.yaml:1: risk.daily_loss: 3 is not allowed; allowed: a number above 0 and at most 1",
    ),
    "text for a number": (
        'market:\n  spot: "24500"\n',
        'c.yaml:2: market.spot: "24500" is not allowed; allowed: a number',
    ),
    "fraction for a count": ("risk: {max_positions: 2.5}\n", "2.5 is not allowed; allowed: a whole number"),
    "number for a truth": ("paper: {fees: 1}\n", "paper.fees: 1 is not allowed; allowed: true or false"),
    "yes for true": ("paper: {fees: yes}\n", "paper.fees: yes is not allowed; allowed: true or false"),
    "true for a number": ("seed: true\n", "seed: true is not allowed; allowed: a whole number"),
    "enormous": (f"seed: {'9' * 5000}\n", "seed: 999"),
    "infinite": ("capital: .inf\n", "c.yaml:1: capital: .inf is not a finite number"),
    "overflow": ("capital: 1e999\n", "c.yaml:1: capital: 1e999 is not a finite number"),
    "a choice": ("currency: inr\n", "c.yaml:1: currency: inr is not allowed; allowed: INR, USD"),
    "nearly a choice": (
        "journal: {durability: spol}\n",
        "spol is not allowed, did you mean spool?; allowed: intent, spool",
    ),
    "empty section": ("risk:\nseed: 1\n", "c.yaml:1: risk: null is not allowed; allowed: a mapping of keys to values"),
    "a section that is none": ("risk: 3\n", "c.yaml:1: risk: 3 is not allowed; allowed: a mapping of keys to values"),
    "no such day": (
        "market: {session: 2026-02-30}\n",
        "2026-02-30 is not allowed: no such date; allowed: auto, or a date",
    ),
    "speed": ("speed: fast\n", "c.yaml:1: speed: fast is not allowed; allowed: max, real, or a number above 0"),
    "no speed": ("speed: 0\n", "c.yaml:1: speed: 0 is not allowed"),
    "speed as a list": ("speed: [1]\n", "c.yaml:1: speed: [1] is not allowed"),
    "the wrong currency": ("broker: alpaca\n", "a book at alpaca is kept in USD: set `currency`"),
    "no broker": ("broker: zerodha\n", "broker: zerodha is not allowed; allowed: paper, angelone, alpaca"),
    "no address": ("live: {base_url: venue}\n", "live.base_url: venue is not allowed; allowed: null, or http(s)://"),
    "five decimals": ("capital: 0.12345\n", "capital has at most four decimal places"),
    "windows": (
        "risk: {flat_before_close_min: 40}\n",
        "c.yaml:1: risk: entries_barred_before_close_min must not be less",
    ),
    "losses": ("risk:\n  daily_loss: 0.5\n", "c.yaml:1: risk: daily_loss must not be more than drawdown_stop"),
    "secrets": ("secrets: {journal_key: hunter2}\n", "c.yaml:1: secrets: never stand in a configuration"),
    "given twice": ("seed: 1\nrisk: {}\nseed: 2\n", "c.yaml:3: seed: given twice, first at c.yaml:1"),
    "anchor": ("seed: &a 1\n", "c.yaml:1: seed: anchors (&a) are not allowed"),
    "alias": ("seed: &a 1\ncapital: *a\n", "c.yaml:2: capital: aliases (*a) are not allowed"),
    "merge": ("a: &a {}\nrisk:\n  <<: *a\n", "c.yaml:3: risk.<<: aliases (*a) are not allowed"),
    "tag": ("seed: !!python/object:os.system 1\n", "c.yaml:1: seed: tags (tag:yaml.org,2002:python/object:os.system)"),
    "tab": ("risk:\n\tdaily_loss: 0.1\n", "c.yaml:2: not YAML: a tab: indent with spaces"),
    "indentation": ("risk:\n  daily_loss: 0.1\n max_positions: 2\n", "c.yaml:3: not YAML: "),
    "open bracket": ("filters: [\n", "c.yaml:2: not YAML: "),
    "open quote": ("state_dir: 'x\nseed: 1\n", "c.yaml:"),
    "two documents": ("seed: 1\n---\nseed: 2\n", "c.yaml:2: more than one document"),
    "empty": ("", "c.yaml: empty: a mapping of keys to values is needed"),
    "only comments": ("# nothing\n", "c.yaml: empty"),
    "null": ("null\n", "c.yaml: empty"),
    "a list": ("- seed\n", "c.yaml:1: must be a mapping of keys to values"),
    "a word": ("seed\n", "c.yaml:1: must be a mapping of keys to values"),
    "number as a key": ("1: 2\n", "c.yaml:1: 1 is not a word"),
    "list as a key": ("? [a]\n: 1\n", "c.yaml:1: a key must be a plain word"),
    "too deep": ("filters: " + "[" * 5000, "c.yaml:1: filters[0][0]: nested more than 12 deep"),
    "not text": (b"seed: 1\nstate_dir: \xff\xfe\n", "c.yaml: cannot be read: line 2 is not UTF-8 text"),
    "control characters": (b"seed: 1\nstate_dir: \x00\n", "c.yaml: "),
    "huge": (b"#" * (LARGEST + 1), "c.yaml: cannot be read: larger than 256 KiB"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_says_where_what_and_what_instead(tmp_path: Path, case: str) -> None:
    text, expected = CASES[case]
    assert expected in refusal(tmp_path, text)


def test_everything_wrong_is_said_at_once_and_once(tmp_path: Path) -> None:
    text = "seed: -1\nseed: -2\nrisk:\n  dayly_loss: 1\n  max_positions: many\nmarket: {spot: .nan}\nbroker: alpacca\n"
    lines = refusal(tmp_path, text, {"log.levle": "info"}, ANGELX__JOURNAL__BLOCK_RECORDS="0").splitlines()
    assert lines[0] == "8 problems in the configuration:"
    assert len(lines) == 9
    for start in (
        "c.yaml:1: seed: -1",
        "c.yaml:2: seed: given twice",
        "c.yaml:4: risk.dayly_loss",
        "c.yaml:5: risk.max_positions: many",
        "c.yaml:6: market.spot",
        "c.yaml:7: broker",
        "override log.levle: log.levle: unknown key; did you mean level?",
        "environment variable ANGELX__JOURNAL__BLOCK_RECORDS: journal.block_records: 0 is not allowed",
    ):
        assert sum(line.strip().startswith(start) for line in lines) == 1, start


def test_a_list_is_not_blamed_for_its_only_entry(tmp_path: Path) -> None:
    lines = refusal(tmp_path, "strategies:\n- use: ema_cros\n").splitlines()
    assert (len(lines), lines[1].startswith("  c.yaml:2: strategies[0].use: ema_cros")) == (2, True)


def test_a_hopeless_file_does_not_fill_the_screen(tmp_path: Path) -> None:
    lines = refusal(tmp_path, "".join(f"z{number}: 1\n" for number in range(500))).splitlines()
    assert lines[0] == "500 problems in the configuration:"
    assert (len(lines), lines[-1].strip()) == (52, "and 450 more")


def test_values_of_unknown_keys_are_not_repeated(tmp_path: Path) -> None:
    assert "hunter2" not in refusal(tmp_path, "api_secret: hunter2\njournal: {key: hunter2}\nsecrets: {x: hunter2}\n")


def test_files_that_are_none(tmp_path: Path) -> None:
    for path, expected in (
        (tmp_path / "none.yaml", "none.yaml: cannot be read: No such file"),
        (tmp_path, "cannot be read: not a regular file"),
        (Path("/dev/zero"), "/dev/zero: cannot be read: not a regular file"),
    ):
        with pytest.raises(ConfigInvalid, match="1 problem") as refused:
            load_config(path, environ={})
        assert expected in str(refused.value)


def test_environment_and_overrides_that_lead_nowhere(tmp_path: Path) -> None:
    text = "risk: {}\nfilters: [{use: session}]\n"
    assert "override filters.3.use: filters[3].use: there is no 3 in the list given, which has 1 entries" in refusal(
        tmp_path, text, {"filters.3.use": "session"}
    )
    assert "there is no 0 in a list that is not given" in refusal(tmp_path, text, {"strategies.0.use": "ema_cross"})
    assert "there is no deep in a single value" in refusal(tmp_path, "seed: 1\n", {"seed.deep": 1})
    assert "a set is no plain value" in refusal(tmp_path, text, {"seed": {1}})
    assert "nan is not a finite number" in refusal(tmp_path, text, {"capital": float("nan")})
    assert (
        "environment variable ANGELX_RISK__DAILY_LOSS: two underscores go between all parts: ANGELX__RISK__"
        in refusal(tmp_path, text, ANGELX_RISK__DAILY_LOSS="0.1")
    )
    assert "environment variable ANGELX__SEED: not YAML" in refusal(tmp_path, text, ANGELX__SEED="[1")


@given(
    text=st.text(st.characters(codec="utf-8"), max_size=60)
    | st.from_regex(r"(\w{1,4}: [\[\]{}&*!|>'\"%@`,?-]{0,3}\w?\n)+")
)
@settings(max_examples=80, deadline=None)
def test_nothing_written_by_anybody_is_a_crash(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(ConfigInvalid, match="in the configuration"):
        load_config(path, environ={})
