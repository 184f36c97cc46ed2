"""However a command ends, who asked for JSON has its one line of it."""

import json

import pytest

from angelx.cli.output import FAILED, guarded
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
