"""`angelx status`, `kill`, `flatten`, `resume`, `stop`, `reload`: talk to a running daemon through its local socket."""

import os
import signal
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from angelx.cli.output import FAILED, answer, example, guarded, say
from angelx.cli.play import ConfigFile, Json, StateDirectory

Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the journal and the audit.")]

CONFIRM_S: Final = 2.0
"""How long a command that forces the kill switch waits to see it latched."""
EXACT: Final = "_e4"
"""Ends the keys of integers of 1/10,000: the same amounts in currency units stand beside them."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command, words in (
        (status, ("status", "status --state-dir var/angelx --json")),
        (kill, ('kill --reason "news"', "kill --flatten", "kill --silent")),
        (flatten, ('flatten --reason "going home"',)),
        (resume, ('resume --reason "it was the news"',)),
        (stop, ("stop", 'stop --reason "maintenance"')),
        (reload, ("reload",)),
    ):
        app.command(epilog=example(*words))(command)


def status(*, config: ConfigFile = None, state_dir: StateDirectory = None, json: Json = False) -> None:
    """Show what the daemon does now: kill switch, health, phases, positions, working orders, money."""

    def body() -> int:
        from angelx.adapters.admin import DaemonAbsent
        from angelx.adapters.latch import Latch

        try:
            found = _ask(config, state_dir, "status")
        except DaemonAbsent as error:
            latch = Latch.load(_directory(config, state_dir))
            if not latch.level:
                raise
            raise DaemonAbsent(f"{error}; its kill switch is at {latch.name}: {latch.reason}") from error
        for key, value in found.items():
            if not key.endswith(EXACT):
                say(f"{key:>15}  {value}", json=json)
        if json:
            answer({"ok": True, **found})
        return 0

    guarded(body, json=json)


def kill(
    *,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Close every position too, then send nothing more.")
    ] = False,
    silent: Annotated[bool, typer.Option("--silent", help="Send nothing at all, not even exits.")] = False,
    reason: Reason = "asked for on the command line",
    config: ConfigFile = None,
    state_dir: StateDirectory = None,
    json: Json = False,
) -> None:
    """Halt trading: nothing that adds risk goes out any more. It stays so through restarts, until `angelx resume`.

    Works without a daemon too: the kill switch is latched in the state directory, and the next start finds it. Levels
    only rise: halt, flatten, silent. Where it stands higher already nothing happens, and the answer says so.
    """
    verb = "silent" if silent else "flatten" if flatten else "halt"
    guarded(lambda: _level(verb, reason, config, state_dir, json=json), json=json)


def flatten(
    *,
    reason: Reason = "asked for on the command line",
    config: ConfigFile = None,
    state_dir: StateDirectory = None,
    json: Json = False,
) -> None:
    """Close every position of ours and send nothing else. The same as `angelx kill --flatten`."""
    guarded(lambda: _level("flatten", reason, config, state_dir, json=json), json=json)


def resume(
    *,
    reason: Annotated[
        str, typer.Option("--reason", help="Why it is safe to go on; kept in the journal and the audit.")
    ],
    config: ConfigFile = None,
    state_dir: StateDirectory = None,
    json: Json = False,
) -> None:
    """Re-arm the kill switch after a halt."""
    guarded(lambda: _level("resume", reason, config, state_dir, json=json), json=json)


def stop(
    *,
    reason: Reason = "asked for on the command line",
    config: ConfigFile = None,
    state_dir: StateDirectory = None,
    json: Json = False,
) -> None:
    """Stop the daemon in order: no new orders, positions stay, everything is written, exit 0."""
    guarded(lambda: _told(_ask(config, state_dir, "stop", reason=reason), json=json), json=json)


def reload(*, config: ConfigFile = None, state_dir: StateDirectory = None, json: Json = False) -> None:
    """Have the daemon read again what may change while it runs."""
    guarded(lambda: _told(_ask(config, state_dir, "reload", reason="reload"), json=json), json=json)


# ---------------------------------------------------------------- how
def _directory(config_file: Path | None, state_dir: Path | None) -> Path:
    if state_dir is not None:
        return state_dir.expanduser().resolve()
    from angelx.app.config import load_config

    return Path(load_config(config_file).state_dir).expanduser().resolve()


def _ask(config_file: Path | None, state_dir: Path | None, verb: str, **arguments: Any) -> dict[str, Any]:
    from angelx.adapters.admin import ask

    return ask(_directory(config_file, state_dir), verb, **arguments)


def _told(found: dict[str, Any], *, json: bool) -> int:
    say(", ".join(f"{key} {value}" for key, value in found.items()), json=json)
    if json:
        answer({"ok": True, **found})
    return 0


def _level(verb: str, reason: str, config_file: Path | None, state_dir: Path | None, *, json: bool) -> int:
    """Ask the daemon; without one, move the latch on disk; where it does not answer, drop the file and signal it.

    A daemon whose connections are all taken, or that was too slow, has not answered either.
    """
    from angelx.adapters.admin import DaemonAbsent, DaemonSilent, RequestRefused

    try:
        return _told(_ask(config_file, state_dir, verb, reason=reason), json=json)
    except DaemonAbsent:
        return _told(_latched(_directory(config_file, state_dir), verb, reason), json=json)
    except (DaemonSilent, RequestRefused) as error:
        if verb == "resume" or (isinstance(error, RequestRefused) and error.code not in ("busy", "slow")):
            raise
        say(f"angelx: {error}", json=True)
        return _forced(_directory(config_file, state_dir), verb, reason, json=json)


def _latched(directory: Path, verb: str, reason: str) -> dict[str, Any]:
    from angelx.adapters.latch import Latch, level_named, stays
    from angelx.adapters.state_dir import StateDir, naming
    from angelx.bus.clock import SystemClock

    with StateDir.open(directory) as state:
        latch = Latch.load(state.path)
        at = SystemClock().now()
        if verb == "resume":
            with naming(latch.path):
                latch.lower(reason, "operator", at)
        else:
            error = latch.raise_to(level_named(verb), reason, "operator", at)
            if error is not None:
                with naming(latch.path):
                    raise error
        daemon = "not running; the next start finds it so"
        return {"verb": verb, "level": latch.name, "daemon": daemon, **stays(verb, latch.level)}


def _forced(directory: Path, verb: str, reason: str, *, json: bool) -> int:
    """The daemon holds the lock and does not answer: a file it polls, and a signal it cannot miss.

    Done where the latch has it a moment later.
    """
    from angelx.adapters.latch import KILL, Latch, level_named
    from angelx.adapters.state_dir import durable_write, lock_holder

    try:
        durable_write(directory / KILL, f"{verb} {reason}\n".encode())
    except OSError as error:  # The signal needs no disk.
        say(f"angelx: {error.filename}: {error.strerror}", json=True)
    holder = lock_holder(directory)
    pid = int(next((word for word in (holder or "").replace(",", " ").split() if word.isdigit()), "0"))
    if pid > 1 and verb in ("halt", "flatten"):
        os.kill(pid, signal.SIGUSR1 if verb == "halt" else signal.SIGUSR2)
    until = time.monotonic() + CONFIRM_S
    while (latch := Latch.load(directory)).level < level_named(verb) and time.monotonic() < until:
        time.sleep(0.05)  # noqa: TID251 - a command of its own
    done = latch.level >= level_named(verb)
    found = {"verb": verb, "level": latch.name, "file": str(directory / KILL), "signalled": pid}
    say(", ".join(f"{key} {value}" for key, value in found.items()), json=json)
    if json:
        answer({"ok": done, **found})
    return 0 if done else FAILED
