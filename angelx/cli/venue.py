"""`angelx venue` and `angelx venue-fault`: the simulated brokers on the wire, and what goes wrong there."""

import asyncio
import signal
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import msgspec
import typer

from angelx.cli.moments import moment_of
from angelx.cli.output import answer, example, guarded, say
from angelx.domain.errors import InputInvalid
from angelx.domain.scalars import SCALE

Json = Annotated[
    bool, typer.Option("--json", help="Print JSON lines on standard output: one when ready, one at the end.")
]
StateDirectory = Annotated[
    Path, typer.Option("--state-dir", help="Where the venue keeps its log and its addresses; one process each.")
]
STATE: Final = Path("var/venue")
MOST_MS: Final = 60_000.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=example("venue", "venue --broker alpaca --market recordings/us --speed 60"))(venue)
    app.command(
        name="venue-fault",
        epilog=example("venue-fault menu", "venue-fault lost_reply --set where='*/placeOrder' --set times=1"),
    )(venue_fault)


def venue(
    *,
    broker: Annotated[str, typer.Option(help="angelone, alpaca or both: one exchange each, in INR and USD.")] = "both",
    market: Annotated[str, typer.Option(help="simulated, or the path of a recording.")] = "simulated",
    speed: Annotated[float, typer.Option(min=0.01, max=1e6, help="Market seconds that pass in one second.")] = 1.0,
    faults: Annotated[
        Path | None, typer.Option(help="YAML list of what goes wrong, where and when (docs/venue.md).")
    ] = None,
    port_angelone: Annotated[int, typer.Option(min=0, max=65535, help="0 = any free port.")] = 0,
    port_alpaca: Annotated[int, typer.Option(min=0, max=65535, help="0 = any free port.")] = 0,
    port_control: Annotated[int, typer.Option(min=0, max=65535, help="Of the control address; 0 = any free port.")] = 0,
    capital: Annotated[int, typer.Option(min=1, max=10**12, help="Money in each account, in its currency.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Of the simulated market, credentials, jitter and faults.")] = 1,
    day: Annotated[str | None, typer.Option(help="Trading day to simulate, e.g. 2026-10-21.")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="First moment of a recording, e.g. '2025-08-29 10:00' (exchange time).")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Last moment, exclusive; a bare date means all of it.")
    ] = None,
    latency_ms: Annotated[
        float, typer.Option(min=0, max=MOST_MS, help="From the broker to the exchange, each way.")
    ] = 0.0,
    jitter_ms: Annotated[float, typer.Option(min=0, max=MOST_MS, help="And up to so much more.")] = 0.0,
    queue: Annotated[
        bool, typer.Option("--queue", help="Waiting orders stand in a queue at their price until volume has passed.")
    ] = False,
    state_dir: StateDirectory = STATE,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the orders and positions that a killed venue had.")
    ] = False,
    tls: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="CERT KEY", help="PEM files: serve https and wss, for clients that know nothing else."),
    ] = None,
    algo_rules: Annotated[
        bool,
        typer.Option(
            "--algo-rules/--any-order",
            help="Angel One refuses MARKET, IOC and, on options, STOPLOSS_MARKET, as for retail algorithms.",
        ),
    ] = True,
    stay: Annotated[bool, typer.Option("--stay", help="Serve on after the market's end, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Serve simulated brokers on this machine: Angel One's and Alpaca's real protocols over real sockets.

    Orders are matched against simulated or recorded quotes. Nothing leaves this machine, and the credentials printed
    are worth nothing elsewhere. How clients are pointed at the addresses is in docs/venue.md. Ctrl-C ends it with a
    summary.
    """

    def body() -> int:
        from angelx.app.venue import BROKERS, VenuePlan
        from angelx.venue.faults import read_faults

        names = tuple(BROKERS) if broker == "both" else (broker,)
        if not set(names) <= set(BROKERS):
            raise InputInvalid(f"--broker: {broker!r} is none of {', '.join(BROKERS)}, both")
        if market == "simulated" and (begin or end):
            raise InputInvalid("--from and --to choose a part of a recording; the simulated market is a whole --day")
        if market != "simulated" and day:
            raise InputInvalid("--day is of the simulated market; --from and --to choose a part of a recording")
        days: dict[str, Any] = {} if day is None else {"day": _date(day)}
        plan = VenuePlan(
            brokers=names, market=market, speed=speed, seed=seed, capital=capital * SCALE, latency_ms=latency_ms,
            jitter_ms=jitter_ms, queue_position=queue, faults=tuple(read_faults(faults)) if faults else (),
            ports={"angelone": port_angelone, "alpaca": port_alpaca}, control_port=port_control,
            state_dir=state_dir.resolve(), resume=resume, stays=stay, algo_rules=algo_rules, tls=tls,
            bounds=_bounds(begin, end), **days,
        )  # fmt: skip
        return asyncio.run(_serve(plan, json=json))

    guarded(body, json=json)


async def _serve(plan: Any, *, json: bool) -> int:
    from angelx.app.venue import Venue

    say("preparing the market: some seconds, half a minute the first time", json=True)  # Kernels are compiled then.
    venue = Venue(plan)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, venue.stop)
    try:
        ready = await venue.start()
        if plan.resume and not ready["resumed"] and not json:
            say(f"nothing to resume in {plan.state_dir}: a new market begins")
        _say_ready(ready, json=json)
        await venue.run()
    finally:
        ended = await venue.close()
    _say_ended(ended, json=json)
    return 0


def _say_ready(ready: dict[str, Any], *, json: bool) -> None:
    if json:
        answer(ready)
        return
    for name, server in ready["servers"].items():
        at = datetime.fromtimestamp(server["now"] / 1e9, UTC)
        say(f"{name:<10} {server['url']}  {server['stream']}   market time {at:%Y-%m-%d %H:%M:%S} UTC")
        for key, value in server["credentials"].items():
            say(f"{'':<10} {key} = {value}")
    say(f"{'control':<10} {ready['control']['url']}/venue   token {ready['control']['token']}")


def _say_ended(ended: dict[str, Any], *, json: bool) -> None:
    if json:
        answer(ended)
        return
    for name, found in ended["servers"].items():
        orders = ", ".join(f"{count} {status}" for status, count in sorted(found["orders"].items())) or "none"
        say(f"{name:<10} {found['rows']} rows, orders: {orders}, fills: {found['fills']}")
        say(f"{'':<10} equity {found['equity'] / SCALE:,.2f}, positions: {found['positions'] or 'none'}")


def _bounds(begin: str | None, end: str | None) -> dict[str, Any]:
    """By currency: the same words are other moments in India and in New York."""
    from angelx.app.sources import Bounds

    return {
        currency: Bounds(moment_of(begin, zone, option="--from"), moment_of(end, zone, option="--to", last=True))
        for currency, zone in (("INR", ZoneInfo("Asia/Kolkata")), ("USD", ZoneInfo("America/New_York")))
    }


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputInvalid(f"--day: {text!r} is not a date like 2026-10-21") from error


# ---------------------------------------------------------------- faults
def venue_fault(
    what: Annotated[str, typer.Argument(help="A fault of the menu, or: menu, list, clear.")],
    *,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A key of the fault: --set where='*/placeOrder' --set times=1. May be repeated."),
    ] = None,
    state_dir: StateDirectory = STATE,
    json: Json = False,
) -> None:
    """Let something go wrong at a running venue: lose replies, break or mute streams, expire tokens, refuse orders.

    `angelx venue-fault menu` says what there is; every fault and key is in docs/venue.md.
    """

    def body() -> int:
        method, path, content = {
            "menu": ("GET", "/venue/menu", b""),
            "list": ("GET", "/venue/faults", b""),
            "clear": ("DELETE", "/venue/faults", b""),
        }.get(what, ("POST", "/venue/faults", msgspec.json.encode({"what": what, **_keys(set_ or [])})))
        status, found = asyncio.run(_ask(state_dir, method, path, content))
        if status >= 400:
            raise InputInvalid(f"the venue refused: {found['error']}")
        if json:
            answer({"ok": True, what if what in ("menu", "list", "clear") else "added": found})
            return 0
        lines = map(_fault_line, found) if isinstance(found, list) else [f"{key}: {one}" for key, one in found.items()]
        for line in list(lines) or ["nothing"]:
            say(line)
        return 0

    guarded(body, json=json)


def _fault_line(found: dict[str, Any]) -> str:
    keys = " ".join(f"{key}={value}" for key, value in found["fault"].items() if key != "what")
    state = "on" if found["applies"] else "off"
    what = f"{found['server']} {found['number']}: {found['fault']['what']} {keys}".rstrip()
    return f"{what} ({state}; happened {found['happened']} of {found['seen']})"


def _keys(pairs: list[str]) -> dict[str, str]:
    keys = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise InputInvalid(f"--set {pair!r}: needs key=value")
        keys[name] = value
    return keys


async def _ask(state_dir: Path, method: str, path: str, content: bytes) -> tuple[int, Any]:
    from angelx.adapters.http_transport import HttpTransport
    from angelx.app.venue import ADDRESSES
    from angelx.domain.errors import BrokerUnreachable

    file = state_dir / ADDRESSES
    try:
        control = msgspec.json.decode(file.read_bytes())["control"]
    except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
        raise InputInvalid(f"{file}: no venue runs on this directory ({error})") from error
    transport = HttpTransport(control["url"])
    try:
        headers = {"authorization": f"Bearer {control['token']}", "content-type": "application/json"}
        response = await transport.request(method, path, headers=headers, body=content, timeout_s=5)
    except BrokerUnreachable as error:
        raise InputInvalid(f"no venue answers at {control['url']}: {error}") from error
    finally:
        await transport.close()
    return response.status, msgspec.json.decode(response.body)
