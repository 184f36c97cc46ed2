"""Whether the compiled functions are in numba's cache, so that a start need not compile."""

import ast
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class CacheState(NamedTuple):
    """What is in the cache."""

    functions: int
    """How many functions ask to be cached."""
    missing: tuple[str, ...]
    """Those not compiled since their file changed, `kernels.py: greeks`."""
    where: str
    writable: bool


def cache_state(package: Path) -> CacheState:
    """Look for the index numba keeps of each function that is compiled with `cache=True` in a package's files."""
    own = os.environ.get("NUMBA_CACHE_DIR")
    kept = {path.name: path for path in Path(own).rglob("*.nbi")} if own and Path(own).is_dir() else {}
    functions, missing, directories = 0, [], set()
    for source, name, line in _cached_functions(package):
        functions += 1
        directory = source.parent / "__pycache__"
        directories.add(Path(own) if own else directory)
        index = f"{source.stem}.{name}-{line}.py{sys.version_info[0]}{sys.version_info[1]}.nbi"
        found = kept.get(index) if own else directory / index
        if found is None or not found.exists() or found.stat().st_mtime < source.stat().st_mtime:
            missing.append(f"{source.name}: {name}")
    where = own or "__pycache__ beside the sources"
    return CacheState(functions, tuple(missing), where, all(_writable(directory) for directory in directories))


def _writable(directory: Path) -> bool:
    """Whether a file can be made there, or above where it is yet to be made; leaves nothing behind."""
    while not directory.exists():
        directory = directory.parent
    try:
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _cached_functions(package: Path) -> Iterator[tuple[Path, str, int]]:
    """File, name and first line (its decorator's) of each function decorated with `njit(cache=True)`."""
    for source in sorted(package.rglob("*.py")):
        text = source.read_text(encoding="utf-8")
        if "njit(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and any(map(_is_cached, node.decorator_list)):
                yield source, node.name, min(decorator.lineno for decorator in node.decorator_list)


def _is_cached(decorator: ast.expr) -> bool:
    return (
        isinstance(decorator, ast.Call)
        and ast.unparse(decorator.func).rpartition(".")[2] == "njit"
        and any(word.arg == "cache" and ast.unparse(word.value) == "True" for word in decorator.keywords)
    )
