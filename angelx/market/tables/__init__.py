"""Dated facts that brokers' files lack, checked in as JSON with their sources (docs/tables.md)."""

from importlib import resources
from typing import TypeVar

import msgspec

from angelx.domain.errors import InputInvalid

T = TypeVar("T")


def read(name: str, kind: type[T]) -> T:
    """A checked-in table as `kind`; unknown keys are errors.

    Raises
    ------
    InputInvalid
        The file is missing or does not have the form of `kind`; names the file, the place and what is wrong there.
    """
    try:
        text = (resources.files(__name__) / name).read_bytes()
    except FileNotFoundError as error:
        raise InputInvalid(f"no table {name} in {__name__}") from error
    return parse(name, text, kind)


def parse(name: str, text: bytes, kind: type[T]) -> T:
    """The same from text that was read elsewhere; `name` is for the message.

    Raises
    ------
    InputInvalid
        As `read`.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise InputInvalid(f"{name}: {error}") from error
