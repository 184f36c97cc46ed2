"""The help of every command shows how it is typed, with words that the command takes."""

import shlex
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from angelx.cli.main import app


def commands(group: typer.Typer, *before: str) -> Iterator[tuple[str, ...]]:
    for one in group.registered_commands:
        yield (*before, str(one.name or getattr(one.callback, "__name__", "")))
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, *before, str(inner.name))


@pytest.mark.parametrize("words", list(commands(app)), ids=" ".join)
def test_an_example_that_it_would_take(words: tuple[str, ...]) -> None:
    text = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).stdout
    lines = [line.strip() for line in text.splitlines()]
    examples = [shlex.split(line) for line in lines if line.startswith(f"angelx {' '.join(words)}")]
    assert examples, text
    options = {word for line in lines if line.startswith("│") for word in line.replace(",", " ").split()}
    for typed in examples:
        assert tuple(typed[1 : 1 + len(words)]) == words
        assert {word for word in typed if word.startswith("-")} <= options, typed
