"""The contracts of pyproject.toml hold: imports point down, the domain is lean, decisions do no I/O."""

import subprocess
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
LEAN = {"msgspec", "numpy"} | sys.stdlib_module_names


def test_the_import_contracts_hold() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    command = [str(lint_imports), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_domain_imports_nothing_but_itself_msgspec_numpy_and_the_standard_library() -> None:
    """The contract lists libraries by name; this finds the one nobody thought of listing."""
    graph = grimp.build_graph("angelx", include_external_packages=True, cache_dir=None)
    domain = {"angelx.domain"} | graph.find_descendants("angelx.domain")

    imported = {name for module in domain for name in graph.find_modules_directly_imported_by(module)}

    strangers = {name for name in imported - domain if name.split(".")[0] not in LEAN}
    assert not strangers
