"""`angelx paper`, `replay`, `run` and `report`: sessions."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from angelx.cli.moments import currency_of, day_of, is_time, moment_of, shown, zone_of
from angelx.cli.output import HALTED, answer, configure_logging, example, guarded, say
from angelx.domain.errors import InputInvalid

if TYPE_CHECKING:
    from angelx.app.config import Config
    from angelx.app.sources import Bounds
    from angelx.app.trading import Plan

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of standard output.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML configuration; without it every key has its default.")
]
StateDirectory = Annotated[
    Path | None, typer.Option("--state-dir", help="Where journal, kill switch and report are kept; one process each.")
]
Speed = Annotated[str | None, typer.Option(help="max, real, or how many session seconds pass in one second, e.g. 60.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random: the same seed, the same session.")]
Strategies = Annotated[
    list[str] | None,
    typer.Option("--strategy", help="chain_bias, ema_cross, or your own: path/to/file.py:Class. May be repeated."),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Any configuration key: --set risk.daily_loss=0.02. May be repeated.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Put an unfinished session aside instead of continuing it.")]
NoView = Annotated[bool, typer.Option("--no-view", help="Plain progress lines instead of the live view.")]
BatchRows = Annotated[
    int, typer.Option("--batch-rows", min=1, help="Ticks given to the stream at once; the result is the same.")
]

MOST_ROWS: Final = 4096


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=example("paper", "paper --seed 7 --speed 600 --set risk.daily_loss=0.02"))(paper)
    app.command(
        epilog=example(
            "replay recordings/2025-08-29", "replay day.parquet --strategy mine.py:Mine --from 09:30 --to 11:00"
        )
    )(replay)
    app.command(epilog=example("run -c config.yaml", "run -c nifty.yaml -c us.yaml"))(run)
    app.command(epilog=example("report --state-dir var/paper"))(report)


def paper(
    *,
    config: ConfigFile = None,
    state_dir: StateDirectory = None,
    seed: Seed = None,
    speed: Speed = None,
    strategy: Strategies = None,
    settings: Settings = None,
    fresh: Fresh = False,
    no_view: NoView = False,
    batch_rows: BatchRows = MOST_ROWS,
    json: Json = False,
) -> None:
    """Trade a whole simulated NSE session on paper, at full speed, and report.

    The market is made up (an index and its option chain, fitted to a real day), the rest is what runs in production:
    filters, risk, router, paper broker, journal, kill switch. Run it again after a crash or Ctrl-C and it goes on where
    it stopped; with the same seed it gives the same journal, bit for bit.
    """

    def body() -> int:
        overrides = {**_common(state_dir or Path("var/paper"), seed, speed, strategy), **settings_of(settings)}
        return _play("paper", [config], overrides, {}, fresh, no_view, batch_rows, json)

    guarded(body, json=json)


def replay(
    path: Annotated[
        Path, typer.Argument(help="A recording: file or directory (option chains, US equities, captures).")
    ],
    *,
    begin: Annotated[
        str | None,
        typer.Option(
            "--from", help="First moment, exchange time: 2025-08-29, '2025-08-29 10:00', or 10:00 of the first day."
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", help="End, exclusive; a bare date means all of it, 11:00 alone is of the last day."),
    ] = None,
    config: ConfigFile = None,
    state_dir: StateDirectory = None,
    seed: Seed = None,
    speed: Speed = None,
    strategy: Strategies = None,
    settings: Settings = None,
    fresh: Fresh = False,
    no_view: NoView = False,
    batch_rows: BatchRows = MOST_ROWS,
    json: Json = False,
) -> None:
    """Trade a recording on paper: the same wiring, the recorded ticks.

    Option chains are traded by chain_bias, equities by ema_cross, unless you name a strategy.
    """

    def body() -> int:
        overrides = {**_common(state_dir or Path("var/replay"), seed, speed, strategy), "market.source": str(path)}
        overrides |= _for_recording(path, config, overrides)
        bounds = {"begin": begin, "end": end}
        return _play("replay", [config], overrides | settings_of(settings), bounds, fresh, no_view, batch_rows, json)

    guarded(body, json=json)


def run(
    *,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            "--config", "-c", help="YAML configuration; given twice, two books trade in one process, a broker each."
        ),
    ] = None,
    state_dir: StateDirectory = None,
    speed: Speed = None,
    strategy: Strategies = None,
    settings: Settings = None,
    fresh: Fresh = False,
    override_freeze: Annotated[
        str, typer.Option(help="Why a configuration that is frozen for the day may change; kept on record.")
    ] = "",
    json: Json = False,
) -> None:
    """Run the daemon in the foreground, in real time, until SIGTERM or the end of the trading day.

    `broker` in the configuration says where orders go: paper, angelone or alpaca.

    Talk to it with status, kill, flatten, resume and stop. Signals: SIGTERM and SIGINT stop in order (positions and
    protective orders stay), SIGUSR1 halts, SIGUSR2 flattens, SIGHUP reloads. A halt survives any restart until
    `angelx resume --reason`.
    """

    def body() -> int:
        overrides = {**_common(state_dir, None, speed, strategy), **settings_of(settings)}
        return _play("run", config or [None], overrides, {}, fresh, True, MOST_ROWS, json, override_freeze)

    guarded(body, json=json)


def report(
    *,
    state_dir: StateDirectory = None,
    json: Json = False,
) -> None:
    """Write the report of a state directory's journal again, from the journal alone."""

    def body() -> int:
        from angelx.cli.journal import journal_file
        from angelx.research.play import report_of

        written = report_of(journal_file((state_dir or Path("var/paper")).resolve()).parent)
        say(f"report: {written['report']}", json=json)
        if json:
            answer(written)
        return 0

    guarded(body, json=json)


# ---------------------------------------------------------------- the body they share
def _play(
    mode: str,
    config_files: Sequence[Path | None],
    overrides: dict[str, Any],
    bounds: dict[str, str | None],
    fresh: bool,
    no_view: bool,
    batch_rows: int,
    json: bool,
    override: str = "",
) -> int:
    from angelx.adapters.signals import Standby
    from angelx.bus.clock import SystemClock

    standby = Standby(SystemClock().now)
    standby.listen()

    from angelx.adapters.terminal import open_progress
    from angelx.bench.warm import ensure_warm
    from angelx.research.play import play

    ensure_warm(lambda text: say(text, json=json))
    plans = [_plan(mode, file, overrides, bounds, fresh, batch_rows, override) for file in config_files]
    directories = [Path(plan.config.state_dir).expanduser().resolve() for plan in plans]
    if len(set(directories)) < len(directories):
        raise InputInvalid("each book needs a state_dir of its own")
    config = plans[0].config
    log_file = None if mode == "run" else directories[0] / "angelx.log"
    configure_logging(config.log.level, config.log.format, log_file)
    outcomes = play(
        plans,
        open_progress(live=not (no_view or json)),
        standby,
        lambda fresh: configure_logging(fresh.log.level, fresh.log.format, log_file),
    )
    for outcome in outcomes:
        _summarise(outcome.summary, json=json)
    running = all(outcome.summary["level"] == "running" for outcome in outcomes)
    if json:
        one = outcomes[0].summary
        answer({"ok": running, **(one if len(outcomes) == 1 else {"books": [book.summary for book in outcomes]})})
    return 0 if running else HALTED


def _plan(
    mode: str,
    config_file: Path | None,
    overrides: dict[str, Any],
    bounds: dict[str, str | None],
    fresh: bool,
    batch_rows: int,
    override: str,
) -> "Plan":
    from angelx.app.config import load_config
    from angelx.app.trading import Plan

    config = load_config(config_file, overrides)
    return Plan(
        mode=mode,
        config=config,
        bounds=_bounds(config, bounds.get("begin"), bounds.get("end")),
        fresh=fresh,
        most_rows=batch_rows,
        override=override,
        read_again=(lambda: load_config(config_file, overrides)) if config_file is not None else None,
    )


def _bounds(config: "Config", begin: str | None, end: str | None) -> "Bounds":
    """The part of the recording that is asked for; a time alone is of its first day, or of its last."""
    from angelx.adapters.recorded import open_recording
    from angelx.app.sources import Bounds

    if begin is None and end is None:
        return Bounds()
    path = Path(config.market.source).expanduser().resolve()
    zone, first, last = zone_of(config.currency, config.market.source), None, None
    if is_time(begin) or is_time(end):
        source = open_recording(path, bar_spread_bps=config.market.bar_spread_bps, glance=True)
        zone = zone_of(currency_of(source), config.market.source)
        first, last = day_of(source.first_at, zone), day_of(source.last_at, zone)
    bounds = Bounds(
        moment_of(begin, zone, option="--from", day=first), moment_of(end, zone, option="--to", day=last, last=True)
    )
    if bounds.begin is not None and bounds.end is not None and bounds.begin >= bounds.end:
        of = f"--from {shown(bounds.begin, zone)} is not before --to {shown(bounds.end, zone)}"
        raise InputInvalid(f"{path}: {of} ({zone.key})")
    return bounds


def _summarise(summary: dict[str, Any], *, json: bool) -> None:
    from angelx.cli.tables import summary_table

    for line in (*summary_table(summary), *summary["untraded"]):
        say(line, json=json)


def _common(state_dir: Path | None, seed: int | None, speed: str | None, strategy: list[str] | None) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    if state_dir is not None:
        overrides["state_dir"] = str(state_dir)
    if seed is not None:
        overrides["seed"] = seed
    if speed is not None:
        overrides["speed"] = speed if speed in ("max", "real") else _number(speed)
    if strategy:
        overrides["strategies"] = [{"use": use} for use in strategy]
    return overrides


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputInvalid(f"--speed: {text!r} is neither max, real nor a number") from None


def settings_of(settings: list[str] | None) -> dict[str, Any]:
    """The values of `--set` by key; raises `InputInvalid` where one is no KEY=VALUE."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    values = {}
    for setting in settings or ():
        key, found, text = setting.partition("=")
        if not found:
            raise InputInvalid(f"--set {setting}: KEY=VALUE is wanted, e.g. risk.daily_loss=0.02")
        try:
            value = YAML(typ="safe").load(text)
        except YAMLError as error:
            raise InputInvalid(f"--set {setting}: {error}") from error
        values[key.strip()] = text.strip() if isinstance(value, date) else value  # days are written, not counted
    return values


def _for_recording(path: Path, config_file: Path | None, overrides: dict[str, Any]) -> dict[str, Any]:
    """What a recording decides where nobody else did: currency and strategy."""
    if config_file is not None:
        return {}
    from angelx.adapters.recorded import open_recording
    from angelx.domain.instruments import Kind

    table = open_recording(path, glance=True).instruments
    options = any(instrument.kind is Kind.OPTION for instrument in table)
    found: dict[str, Any] = {"currency": table.currency or "INR"}
    if "strategies" not in overrides:
        found["strategies"] = [{"use": "chain_bias" if options else "ema_cross"}]
    return found
