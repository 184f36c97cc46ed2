"""Compiled kernels live in a directory of these sources only."""

import os
import subprocess
import sys
from pathlib import Path


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
