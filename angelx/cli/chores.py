"""`angelx config`, `doctor`, `graph`, `warm`, `bench`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from angelx.cli.output import FAILED, answer, example, guarded, say
from angelx.cli.play import ConfigFile, Json, StateDirectory
from angelx.domain.errors import InputInvalid

ConfigArgument = Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The same, as an argument.")]

config_app = typer.Typer(no_args_is_help=True, help="Check a configuration file, or show what is in force.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(config_app, name="config")
    for command, words in (
        (doctor, ("doctor", "doctor -c config.yaml")),
        (graph, ("graph", "graph --output wiring.svg")),
        (warm, ("warm",)),
        (bench, ("bench bus", "bench replay --json")),
    ):
        app.command(epilog=example(*words))(command)


@config_app.command(epilog=example("config check", "config check -c nifty.yaml"))
def check(file: ConfigArgument = None, *, config: ConfigFile = None, json: Json = False) -> None:
    """Read a configuration as the daemon would, load its strategies and filters, and say everything that is wrong.

    Without a name it is config.yaml.
    """

    def body() -> int:
        from angelx.app.config import config_hash, effective_json, load_config
        from angelx.app.plugins import admitted, filters_of, strategies_of
        from angelx.signals.admission import warnings

        path = _one_of(file, config) or Path("config.yaml")
        read = load_config(path)
        strategies, filters = strategies_of(read), filters_of(read)
        names = ", ".join(strategy.name for strategy in strategies)
        say(f"{path}: good; strategies {names}; {len(filters)} filters; hash {config_hash(read)[:12]}", json=json)
        cells = admitted(filters)
        for line in warnings(cells):
            say(f"warning: {line}", json=json)
        if json:
            import msgspec

            answer(
                {
                    "ok": True,
                    "hash": config_hash(read),
                    "config": msgspec.json.decode(effective_json(read)),
                    "admission": msgspec.to_builtins(cells),
                    "warnings": warnings(cells),
                }
            )
        return 0

    guarded(body, json=json)


@config_app.command(epilog=example("config show -c config.yaml --json"))
def show(file: ConfigArgument = None, *, config: ConfigFile = None, json: Json = False) -> None:
    """Print every key with the value in force (file, then environment); secrets are left out."""

    def body() -> int:
        import msgspec

        from angelx.app.config import effective_json, load_config

        effective = msgspec.json.decode(effective_json(load_config(_one_of(file, config))))
        if json:
            answer({"ok": True, "config": effective})
        else:
            say(msgspec.json.format(msgspec.json.encode(effective), indent=2).decode())
        return 0

    guarded(body, json=json)


def _one_of(file: Path | None, config: Path | None) -> Path | None:
    """The file that was named, either way."""
    if file is not None and config is not None:
        raise InputInvalid(f"name one configuration, not {file} and --config {config}")
    return config if file is None else file


def doctor(*, config: ConfigFile = None, state_dir: StateDirectory = None, json: Json = False) -> None:
    """Check this machine and state directory: versions, disk, clock, calendar, journal, kill switch.

    Exits 1 if anything fails.
    """

    def body() -> int:
        from angelx.app.checkup import checkup

        checks = checkup(config, state_dir)
        for found in checks:
            say(f"{found.status:>5}  {found.name:<18} {found.detail}", json=json)
            if found.remedy and found.status != "ok":
                say(f"{'':>26}{found.remedy}", json=json)
        failed = any(found.status == "fail" for found in checks)
        if json:
            import msgspec

            answer({"ok": not failed, "checks": msgspec.to_builtins(checks)})
        return FAILED if failed else 0

    guarded(body, json=json)


def graph(
    *,
    output: Annotated[Path | None, typer.Option(help="Where to write it: .md (mermaid), .svg or .json.")] = None,
    json: Json = False,
) -> None:
    """Draw the wiring from the services' own declarations: who publishes what, and who acts on it."""

    def body() -> int:
        from angelx.app.graph import DRAWINGS, as_mermaid, wiring

        edges = wiring()
        if output is None:
            say(as_mermaid(edges), json=json)
        else:
            draw = DRAWINGS.get(output.suffix)
            if draw is None:
                raise InputInvalid(f"--output {output}: the name ends in one of {', '.join(DRAWINGS)}")
            output.write_text(draw(edges), encoding="utf-8")
            say(f"{output}: {len(edges)} arrows", json=json)
        if json:
            import msgspec

            answer({"ok": True, "arrows": msgspec.to_builtins(edges)})
        return 0

    guarded(body, json=json)


def warm(*, json: Json = False) -> None:
    """Compile every kernel into numba's cache, so that a session starts at once."""

    def body() -> int:
        from angelx.bench.warm import warm_up

        took = warm_up(partial(say, json=json))
        say(f"kernels compiled and cached in {sum(took.values()):.1f} s", json=json)
        if json:
            answer({"ok": True, "seconds": took})
        return 0

    guarded(body, json=json)


def bench(
    name: Annotated[str, typer.Argument(help="bus, tick-to-order, replay, journal, chain, wire, or all.")] = "all",
    *,
    json: Json = False,
) -> None:
    """Measure, each row beside its baseline in the same run: medians, and the ratio that matters on a noisy machine."""

    def body() -> int:
        from angelx.bench import BENCHES
        from angelx.bench.rows import table_of

        names = list(BENCHES) if name == "all" else [name]
        if not set(names) <= set(BENCHES):
            raise InputInvalid(f"no benchmark {name!r}; there are {', '.join(BENCHES)}")
        for chosen in names:
            rows = BENCHES[chosen]()
            if json:
                for row in rows:
                    answer(row.as_dict())
            else:
                for line in table_of(chosen, rows):
                    say(line)
        return 0

    guarded(body, json=json)
