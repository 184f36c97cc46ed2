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


def groups(tree: ast.AST) -> set[str]:
    """Names of task groups: opened with `async with asyncio.TaskGroup() as name`, or handed over as a parameter."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncWith):
            for item in node.items:
                if "TaskGroup" in ast.unparse(item.context_expr) and isinstance(item.optional_vars, ast.Name):
                    names.add(item.optional_vars.id)
        elif isinstance(node, ast.arg) and node.annotation is not None and "TaskGroup" in ast.unparse(node.annotation):
            names.add(node.arg)
    return names


def test_every_task_has_a_group_that_waits_for_it() -> None:
    """A service may have tasks of its own, which end with it; nothing is started and forgotten."""
    loose = set()
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text())
        known = groups(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "create_task":
                owner = node.func.value
                if not (isinstance(owner, ast.Name) and owner.id in known):
                    loose.add(path.relative_to(ROOT).as_posix())
    network = "sim/memory_transport.py"  # It is one: its far end works.
    assert {path for path in loose if not path.startswith("bench/")} <= {network}
    assert not callers("ensure_future")
