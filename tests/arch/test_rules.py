"""Rules that no linter knows: who approves orders, who starts tasks."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2] / "angelx"


def callers(name: str) -> set[str]:
    """Files in which something of that name is called."""
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called == name:
                    found.add(path.relative_to(ROOT).as_posix())
    return found


def test_only_risk_makes_an_approval() -> None:
    assert {path for path in callers("OrderApproved") if not path.startswith("bench/")} == {"risk/engine.py"}


def test_only_the_supervisor_starts_tasks() -> None:
    starters = {path for path in callers("create_task") if not path.startswith("bench/")}
    assert starters == {"app/supervisor.py", "sim/memory_transport.py"}  # The latter is a network: its far end works.
    assert not callers("ensure_future")
