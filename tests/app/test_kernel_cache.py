"""Compiled kernels live in a directory of these sources only."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from angelx.bench import warm


def _cache(package: Path, **environment: str) -> str:
    """Where a copy of the package would keep its kernels."""
    code = "import angelx, os; print(os.environ['NUMBA_CACHE_DIR'])"
    known = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=package.parent, env=known | environment, check=True, capture_output=True,
        text=True,
    ).stdout.strip()  # fmt: skip


def test_a_change_of_any_source_is_another_directory(tmp_path: Path) -> None:
    package = tmp_path / "angelx"
    package.mkdir()
    import angelx

    (package / "__init__.py").write_text(Path(angelx.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (package / "constants.py").write_text("FIELD = 3\n", encoding="utf-8")
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    first = _cache(package, **cache)
    assert first == _cache(package, **cache)
    assert Path(first).parent == tmp_path / "angelx"
    (package / "constants.py").write_text("FIELD = 40\n", encoding="utf-8")
    assert _cache(package, **cache) != first
    assert _cache(package, NUMBA_CACHE_DIR=str(tmp_path / "own")) == str(tmp_path / "own")


def test_what_was_swept_from_the_cache_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(tell: Callable[[str], None]) -> dict[str, float]:
        tell("compiling")
        times.append(1)
        (tmp_path / "market").mkdir(exist_ok=True)
        for name in ("one.nbi", "one.nbc"):
            (tmp_path / "market" / name).touch()
        warm._keep_done(tmp_path)
        return {}

    times: list[int] = []
    said: list[str] = []
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(warm, "warm_up", compiled)
    steps: list[tuple[Callable[[], object], int]] = [
        (lambda: None, 1),
        (lambda: None, 1),
        ((tmp_path / "market" / "one.nbc").unlink, 2),
        (lambda: (tmp_path / warm.DONE).write_text("{", encoding="utf-8"), 3),
        (lambda: monkeypatch.setattr(warm, "sources", lambda: "other"), 4),
        (lambda: None, 4),
    ]
    for change, compiles in steps:
        change()
        warm.ensure_warm(said.append)
        assert len(times) == len(said) == compiles
