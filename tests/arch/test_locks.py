"""The lock files are what pyproject.toml asks for, on every machine alike, and say nothing of where to get it."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^([a-z0-9-]+)==\S+(?: ; .+)? \\$", re.MULTILINE)


def wanted(*extras: str) -> set[str]:
    """Names of the core dependencies, the build backend and the extras, as an index spells them."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [data["project"]["dependencies"], data["dependency-groups"]["build"]]
    lists += [data["project"]["optional-dependencies"][extra] for extra in extras]
    names = (re.split(r"[^\w.-]", requirement)[0] for requirements in lists for requirement in requirements)
    return {re.sub(r"[._-]+", "-", name).lower() for name in names}


@pytest.mark.parametrize(("lock", "extras"), [("requirements.lock", ()), ("requirements-dev.lock", ("dev",))])
def test_everything_asked_for_is_pinned(lock: str, extras: tuple[str, ...]) -> None:
    pinned = set(PINNED.findall((ROOT / lock).read_text()))

    assert wanted(*extras) <= pinned


def test_developers_run_the_versions_that_users_run() -> None:
    core, dev = ((ROOT / lock).read_text().split("\n") for lock in ("requirements.lock", "requirements-dev.lock"))

    assert set(core) <= set(dev)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    requirements = re.split(r"\n(?=[a-z])", text.strip())

    assert all("--hash=sha256:" in requirement for requirement in requirements)
    assert not re.search(r"://|file:|--(extra-)?index|--find-links", text)
