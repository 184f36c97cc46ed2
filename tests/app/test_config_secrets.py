"""Secrets: three places, in order, and only what nobody else can read."""

import os
from pathlib import Path

import pytest

from angelx.app.config import load_config
from angelx.app.config_secrets import read_credential
from angelx.domain.errors import ConfigInvalid


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def value(tmp_path: Path, **environ: str) -> str | None:
    secret = read_credential("journal_key", tmp_path / "own", environ)
    return None if secret is None else secret.get_secret_value()


def test_systemd_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    assert value(tmp_path) is None
    write(tmp_path / "own" / "journal_key", "from file\n")
    assert value(tmp_path) == "from file"
    assert value(tmp_path, ANGELX_JOURNAL_KEY="from environment") == "from environment"
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path / "systemd"), "ANGELX_JOURNAL_KEY": "from environment"}
    assert value(tmp_path, **given) == "from environment"
    write(tmp_path / "systemd" / "journal_key", "from systemd\n", 0o440)
    assert value(tmp_path, **given) == "from systemd"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_file_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "own" / "journal_key", "hunter2", mode)
    with pytest.raises(
        ConfigInvalid, match=f"{path}: mode {mode:04o} lets others read this secret: chmod 600"
    ) as refused:
        value(tmp_path)
    assert "hunter2" not in str(refused.value)


def test_a_credential_the_world_can_read_is_refused_too(tmp_path: Path) -> None:
    write(tmp_path / "systemd" / "journal_key", "x", 0o444)
    with pytest.raises(ConfigInvalid, match="mode 0444"):
        value(tmp_path, CREDENTIALS_DIRECTORY=str(tmp_path / "systemd"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "own" / "journal_key", "x")
    os.chown(path, 12_345, -1)
    with pytest.raises(ConfigInvalid, match="belongs to user 12345") if os.geteuid() else pytest.raises(ConfigInvalid):
        value(tmp_path)


@pytest.mark.parametrize(("content", "why"), [("", "empty"), ("\n", "empty"), (b"\xff", "not UTF-8")])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: str | bytes, why: str) -> None:
    write(tmp_path / "own" / "journal_key", content)
    with pytest.raises(ConfigInvalid, match=why):
        value(tmp_path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own" / "journal_key").mkdir(parents=True)
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        value(tmp_path)


def test_only_the_last_line_end_is_cut(tmp_path: Path) -> None:
    write(tmp_path / "own" / "journal_key", " spaced \n\n")
    assert value(tmp_path) == " spaced \n"


def test_the_configuration_says_where_the_files_are(tmp_path: Path) -> None:
    write(tmp_path / "own" / "journal_key", "k")
    config = load_config(None, {"credentials.directory": tmp_path / "own"}, environ={})
    assert config.secrets.journal_key is not None
    assert config.secrets.journal_key.get_secret_value() == "k"
