"""The configuration freeze: live, what decides may not change during a trading day (SPEC 8.2).

The state directory keeps what the day began with; a difference is refused unless a reason is given, which is kept too.
"""

from datetime import date
from pathlib import Path
from typing import Final

import msgspec

from angelx.adapters.state_dir import durable_write
from angelx.app.config import config_hash, differences, frozen_json
from angelx.app.config_model import Config
from angelx.domain.errors import Halted, InputInvalid

FROZEN: Final = "config.frozen"


class ConfigFrozen(Halted):
    """The configuration differs from the one frozen for this trading day (exit 78): restore it or give a reason."""


class Override(msgspec.Struct, frozen=True):
    """Somebody changed a frozen configuration."""

    at: int
    """When, ns UTC."""
    reason: str
    changed: tuple[str, ...]


class Freeze(msgspec.Struct, frozen=True):
    """What a trading day is traded with."""

    session: str
    """Exchange date, ISO."""
    hash: str
    config: str
    overrides: tuple[Override, ...] = ()


def read_freeze(state_dir: Path) -> Freeze | None:
    """What is frozen, `None` where nothing is.

    Raises
    ------
    InputInvalid
        The record cannot be read.
    """
    path = state_dir / FROZEN
    try:
        return msgspec.json.decode(path.read_bytes(), type=Freeze)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputInvalid(f"{path}: the frozen configuration cannot be read: {error}") from error


def freeze(state_dir: Path, config: Config, session: date, *, at: int, reason: str = "") -> Freeze:
    """Freeze a configuration for a trading day, durably; the same one again changes nothing.

    Parameters
    ----------
    at
        Now, ns UTC.
    reason
        Why a frozen configuration is replaced by a different one.

    Raises
    ------
    ConfigFrozen
        A different one, or one that cannot be read, is frozen for this day and no reason is given.
    OSError
        It could not be written.
    """
    try:
        before = read_freeze(state_dir)
    except InputInvalid as error:
        if not reason.strip():
            raise ConfigFrozen(f"{error}; give a reason to replace it") from error
        before = Freeze(session.isoformat(), "", "{}")
    now = Freeze(session.isoformat(), config_hash(config), frozen_json(config))
    if before is not None and before.session == now.session:
        if before.hash == now.hash:
            return before
        changed = tuple(differences(before.config, now.config))
        if not reason.strip():
            listed = "\n  ".join(changed)
            raise ConfigFrozen(f"the configuration is frozen for {now.session} and has changed:\n  {listed}")
        override = Override(at, reason, changed)
        now = msgspec.structs.replace(now, overrides=(*before.overrides, override))
    durable_write(state_dir / FROZEN, msgspec.json.encode(now) + b"\n")
    return now
