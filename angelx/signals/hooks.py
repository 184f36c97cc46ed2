"""Whether what a person's strategy defines is ever called or read: a hook misspelt would be silence, not an error."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import CodeType
from typing import Any, Final

from angelx.signals.strategy import ScanningStrategy, Strategy

HOOKS: Final = ("start", "watches", "on_tick", "on_timer", "on_position", "on_closed", "on_refused")
SCANS: Final = ("prepare", "scan", "decide")
VALUES: Final = ("every_s", "intraday", "uses_chains")
_BASES: Final = (Strategy, ScanningStrategy)
_NEAR: Final = 0.8
"""How alike two names are, as `difflib` has it, where one is taken for the other misspelt."""


def unheard(strategy: Strategy) -> str | None:
    """What its class defines in vain, or forgot: the first of it, with what may be meant; `None` where all is well.

    A method of its own that its own code mentions is its own affair, whatever the name.
    """
    own = _members(type(strategy))
    mentioned = frozenset(_names(_codes(own.values())))
    methods = {name for name, member in own.items() if any(_codes((member,)))}
    hooks: Sequence[str] = HOOKS
    if isinstance(strategy, ScanningStrategy):
        for name in SCANS:
            if getattr(type(strategy), name) is getattr(ScanningStrategy, name):
                return f"a ScanningStrategy has prepare, scan and decide; {name} is missing"
        hooks = (*(name for name in HOOKS if name not in {"watches", "on_tick"}), *SCANS)
    for name in own:
        if name.startswith("_") or name in {*hooks, *VALUES} | mentioned:
            continue
        meant = _meant(name, [one for one in (hooks if name in methods else VALUES) if one not in own])
        if meant or (name in methods and name.startswith("on_")):
            verb = "called" if name in methods else "read"
            return f"{name} is never {verb}; " + (f"is {meant} meant?" if meant else f"there are {', '.join(hooks)}")
    if "on_tick" in own and "watches" not in own and "on_tick" not in mentioned:
        return "on_tick is never called: there is no watches() to name the places whose rows are wanted"
    if "on_timer" in own and not {"every_s"} & {*own, *vars(strategy)} and "on_timer" not in mentioned:
        return "on_timer is never called: there is no every_s to say how often"
    return None


def _members(kind: type) -> Mapping[str, Any]:
    """What the class and those it extends define beyond the bases that are ours."""
    ours = {*_BASES, object}
    return {name: one for base in reversed(kind.__mro__) if base not in ours for name, one in vars(base).items()}


def _codes(members: Iterable[Any]) -> Iterator[CodeType]:
    """The code of those that are methods, of whatever sort."""
    for member in members:
        for function in (getattr(member, "__func__", member), getattr(member, "fget", None)):
            code = getattr(function, "__code__", None)
            if isinstance(code, CodeType):
                yield code


def _names(constants: Iterable[Any]) -> Iterator[str]:
    """Every name and text in the code, in functions and collections inside it too."""
    for one in constants:
        if isinstance(one, CodeType):
            yield from one.co_names
            yield from _names(one.co_consts)
        elif isinstance(one, str):
            yield one
        elif isinstance(one, tuple | frozenset):
            yield from _names(one)


def _meant(name: str, known: Iterable[str]) -> str:
    """The known name that is most like it, case and underscores aside; empty where none is."""
    plain = {_plain(one): one for one in known}
    found = get_close_matches(_plain(name), plain, 1, _NEAR)
    return plain[found[0]] if found else ""


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
