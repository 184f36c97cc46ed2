"""Whether what a person's own code gave is of a kind that the stream and the journal can keep."""

from typing import Any, TypeGuard

import numpy as np


def is_whole(value: Any) -> TypeGuard[int]:
    """True for a whole number, numpy's too; truth is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[float]:
    """True for any number, numpy's too; truth is none."""
    return is_whole(value) or isinstance(value, float | np.floating)


def is_text(value: Any) -> TypeGuard[str]:
    """True for a text that the journal can keep: all of it is UTF-8."""
    return isinstance(value, str) and printable(value) == value


def printable(text: str) -> str:
    """The text with what is no UTF-8 written as escapes."""
    return text.encode(errors="backslashreplace").decode()
