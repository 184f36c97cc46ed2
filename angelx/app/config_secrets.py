"""Secrets: from systemd's credentials, else the environment, else a file only its owner can read."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from angelx.domain.errors import ConfigInvalid

LARGEST: Final = 64 * 1024


def read_credential(name: str, directory: Path, environ: Mapping[str, str]) -> SecretStr | None:
    """The secret of that name, `None` where nobody has it.

    Looked for as `$CREDENTIALS_DIRECTORY/<name>`, then as the variable `ANGELX_<NAME>`, then as `<directory>/<name>`.
    A trailing line end is not part of it.

    Raises
    ------
    ConfigInvalid
        It is there but cannot be read, is empty, or others could read it.
    """
    if given := environ.get("CREDENTIALS_DIRECTORY"):
        # The service manager guards this directory; with an ACL for a dynamic user the group bits are set.
        secret = _from_file(Path(given) / name, barred=stat.S_IRWXO)
        if secret is not None:
            return secret
    variable = f"ANGELX_{name.upper()}"
    if variable in environ:
        return _secret(environ[variable], f"environment variable {variable}")
    return _from_file(directory.expanduser() / name, barred=stat.S_IRWXG | stat.S_IRWXO)


def _from_file(path: Path, barred: int) -> SecretStr | None:
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise ConfigInvalid(f"{path}: not a regular file")
            if about.st_mode & barred:
                mode = stat.S_IMODE(about.st_mode)
                raise ConfigInvalid(f"{path}: mode {mode:04o} lets others read this secret: chmod 600 {path}")
            if about.st_uid not in {0, os.geteuid()}:
                raise ConfigInvalid(f"{path}: belongs to user {about.st_uid}, not to us")
            return _secret(file.read(LARGEST).decode("utf-8"), str(path))
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{path}: not UTF-8 text") from error
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read: {error.strerror}") from error


def _secret(text: str, where: str) -> SecretStr:
    value = text.removesuffix("\n").removesuffix("\r")
    if not value:
        raise ConfigInvalid(f"{where}: empty where a secret should be")
    return SecretStr(value)
