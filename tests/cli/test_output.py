"""However a command ends, who asked for JSON has its one line of it."""

import io
import json
import sys

import pytest

from angelx.cli.output import FAILED, answer, guarded, say
from angelx.domain.errors import InputInvalid


@pytest.mark.parametrize(
    ("raised", "code", "kind"),
    [
        (InputInvalid("no such file"), 2, "InputInvalid"),
        (RuntimeError("a bug"), FAILED, "RuntimeError"),
        (BaseException("worse"), FAILED, "BaseException"),
        (BaseExceptionGroup("in a task", [GeneratorExit()]), FAILED, "BaseExceptionGroup"),
    ],
)
def test_whatever_is_raised(raised: BaseException, code: int, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> int:
        raise raised

    with pytest.raises(SystemExit) as ended:
        guarded(body, json=True)
    assert ended.value.code == code
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (answer["ok"], answer["kind"], answer["exit"]) == (False, kind, code)


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(3)])
def test_who_ends_the_program_ends_it(raised: BaseException) -> None:
    def body() -> int:
        raise raised

    with pytest.raises(type(raised)):
        guarded(body, json=True)


def written(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.BytesIO:
    """Standard output of a terminal that takes this encoding and nothing else."""
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
    return out


@pytest.mark.parametrize(
    ("encoding", "text", "shown"),
    [
        ("ascii", "7 é ₹1", rb"7 \xe9 \u20b91"),
        ("utf-8", "7 é ₹1\nnext\tone", "7 é ₹1\nnext\tone".encode()),
        ("utf-8", "US:A\x1b[2J\r\x9b\u202e", b"US:A?[2J???"),
        ("utf-8", "var/\udcff", b"var/?"),
    ],
)
def test_a_line_is_shown_on_any_terminal_and_moves_no_cursor(
    monkeypatch: pytest.MonkeyPatch, encoding: str, text: str, shown: bytes
) -> None:
    out = written(monkeypatch, encoding)
    say(text)
    assert out.getvalue() == shown + b"\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("text", ["7 é ₹1 株", "var/\udcff", "\x7f\u202e"])
def test_an_answer_is_json_on_any_terminal(monkeypatch: pytest.MonkeyPatch, encoding: str, text: str) -> None:
    out = written(monkeypatch, encoding)
    answer({"b": None, "a": text})
    assert json.loads(out.getvalue().decode(encoding)) == {"a": text, "b": None}


def test_what_a_strategy_prints_is_not_in_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> int:
        sys.stdout.write("no end of line")
        print("a line")  # noqa: T201
        say("for a person", json=True)
        answer({"ok": True})
        return 0

    with pytest.raises(SystemExit):
        guarded(body, json=True)
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"ok": True}
    assert shown.err == "no end of linea line\nfor a person\n"
