"""angelx: one long-lived asyncio process that trades Indian index options and US equities, on paper or live."""

import os
from functools import cache
from hashlib import sha256
from pathlib import Path

__version__ = "0.1.0"


@cache
def sources() -> str:
    """What changes with any source of this package."""
    here = Path(__file__).parent
    files = sorted((str(path.relative_to(here)), path.stat()) for path in here.rglob("*.py"))
    marks = "".join(f"{name} {stat.st_mtime_ns} {stat.st_size}\n" for name, stat in files)
    return sha256(marks.encode()).hexdigest()[:16]


def _kernel_cache() -> None:
    """Let compiled kernels live in a directory named for these sources.

    numba's own cache sees a change of the kernel's file, not of constants and kernels it took in from other files: a
    stale kernel would read the wrong column.
    """
    base = os.environ.get("CACHE_DIRECTORY", "").split(":")[0] or os.environ.get("XDG_CACHE_HOME")
    cache = Path(base or os.path.expanduser("~/.cache"))  # noqa: PTH111  (never raises where there is no home)
    os.environ["NUMBA_CACHE_DIR"] = str(cache / "angelx" / f"kernels-{sources()}")


if "NUMBA_CACHE_DIR" not in os.environ:
    _kernel_cache()
