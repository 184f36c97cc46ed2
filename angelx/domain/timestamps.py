"""Instants as the text that APIs exchange (RFC 3339), to the nanosecond: `datetime` stops at microseconds."""

import re
from datetime import UTC, datetime
from typing import Final

from angelx.domain.scalars import NS

_TO_SECOND: Final = len("2026-01-05T14:30:00")
_DIGITS: Final = 9
_POWERS: Final[tuple[int, ...]] = tuple(10 ** (_DIGITS - digits) for digits in range(_DIGITS + 1))
_KEPT: Final = 4_096

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FORM: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)

_seconds: dict[str, int] = {}
"""Texts to the second already parsed: the ticks of one second share theirs."""
_texts: dict[int, str] = {}
"""And those already written."""


def instant_of(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 text; digits beyond the ninth are cut off.

    Raises
    ------
    ValueError
        It is no such text, or has no zone.
    """
    second = _seconds.get(text[:_TO_SECOND])
    if second is not None and text[-1] == "Z":
        digits = text[_TO_SECOND + 1 : -1]
        if len(digits) <= _DIGITS and digits.isdigit() and text[_TO_SECOND] == "." and digits.isascii():
            return second + int(digits) * _POWERS[len(digits)]
    return _slowly(text)


def rfc3339(at: int) -> str:
    """Nanoseconds since the epoch as `2026-01-05T14:30:00.123456789Z`; zeros at the end of the fraction are left out.

    Raises
    ------
    ValueError
        The year is not 1 to 9999.
    """
    seconds, fraction = divmod(at, NS)
    text = _texts.get(seconds)
    if text is None:
        text = _written(seconds)
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else text + "Z"


def _written(seconds: int) -> str:
    try:
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, OSError) as error:
        raise ValueError(f"no date: {seconds} s") from error
    if len(_texts) >= _KEPT:
        _texts.clear()
    _texts[seconds] = text
    return text


def _slowly(text: str) -> int:
    """Any zone, any second; the standard library does it, but for the fraction."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text[:64]!r}")
    second, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(second + ("+00:00" if zone == "Z" else zone))
    except ValueError as error:
        raise ValueError(f"not an RFC 3339 time: {text[:64]!r}") from error
    since = moment - _EPOCH
    at = (since.days * 86_400 + since.seconds) * NS
    if zone == "Z":
        if len(_seconds) >= _KEPT:
            _seconds.clear()
        _seconds[second] = at
    digits = (fraction or "")[:_DIGITS]
    return at + (int(digits) * _POWERS[len(digits)] if digits else 0)
