"""The program: one command per thing a person wants; `angelx COMMAND --help` teaches each."""

import sys

import typer

from angelx import __version__
from angelx.cli import chain, chores, control, journal, play, venue
from angelx.cli.output import USAGE, answer, configure_logging

app = typer.Typer(
    name="angelx",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Trade Indian index options and US equities, on paper or live: one process, every decision on record.\n\n"
    "Start with [bold]angelx paper[/bold]: a whole simulated session in seconds, with a report to look at.",
    epilog="Exit codes: 0 done, 1 failed or found wrong, 2 bad input, 64 configuration, 75 state directory in use, "
    "78 halted (resume with a reason).",
)
play.register(app)
chain.register(app)
control.register(app)
journal.register(app)
chores.register(app)
venue.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"angelx {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    configure_logging("info", "console")


def main() -> None:
    """Run the program; a wrong command line is answered in JSON too, where JSON was asked for."""
    try:
        app()
    except SystemExit as end:
        explain = getattr(end.__context__, "format_message", None)  # It ended on an error that was shown already.
        if explain is not None and "--json" in sys.argv:
            answer({"ok": False, "error": explain(), "kind": "UsageError", "exit": USAGE})
        raise
