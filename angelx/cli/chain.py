"""`angelx chain`: the option chain of a recording at a moment."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from angelx.cli.moments import day_bounds, day_of, is_day, moment_of, zone_of
from angelx.cli.output import answer, guarded, say
from angelx.cli.play import ConfigFile, Json, Settings, settings_of
from angelx.domain.errors import InputInvalid
from angelx.domain.scalars import NS

if TYPE_CHECKING:
    from angelx.app.config import Config
    from angelx.domain.ports import TickSource

SHOWN: Final = 10
PAGE: Final = ".html"
SIMULATED: Final = "simulated"
SIMULATED_HOUR: Final = 3600 * NS
"""How far the simulated session is played where no time is given."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(chain)


def chain(
    path: Annotated[
        Path | None,
        typer.Argument(help="A recording with options: a file or a directory. Without it the simulated market."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Argument(help="Where --html writes, *.html; else chain-UNDERLYING-TIME.html in the current directory."),
    ] = None,
    *,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            help="The moment, exchange time: '2025-08-29 11:00', or 11:00 of the last day; a bare date is that day's "
            "last row. Else the last row of all.",
        ),
    ] = None,
    underlying: Annotated[
        str, typer.Option(help="Of which underlying, by id or symbol; else the one with most options.")
    ] = "",
    expiry: Annotated[
        str | None,
        typer.Option(help="Which expiry, 2025-09-02, with its own ratios, walls and flows; else the nearest."),
    ] = None,
    strikes: Annotated[int, typer.Option(min=1, help="Strikes shown on each side of the money.")] = SHOWN,
    html: Annotated[
        bool, typer.Option("--html", help="Write a page with pictures of smile and open interest.")
    ] = False,
    state_dir: Annotated[
        Path | None, typer.Option(help="Read IV rank from the closes that sessions with this state directory kept.")
    ] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Show an option chain as the daemon sees it: quotes, IV, Greeks, open interest and its flow, forward, bias, trap.

    The recording is played through the same chain engine that trades, up to the moment asked for. IV and skew are in
    percent and points, open interest and flows in lots. --json prints everything there is, all strikes included, prices
    and strikes in currency units; what is undefined is null and says why. There `work.avoided` is the share of
    recomputing every usable contract at each step that was not needed; null where no such recompute was due.

    angelx chain recordings/ --at "2025-08-29 11:00" --html
    """

    def body() -> int:
        from angelx.app.config import load_config
        from angelx.app.session import iv_closes_before
        from angelx.app.sources import Bounds, open_source
        from angelx.market.sessions import Sessions
        from angelx.research.chain_picture import expiry_of, picture
        from angelx.research.chain_play import ChainPlay, underlying_of

        recording, target = _paths(path, page, html=html)
        day = _day(expiry)
        overrides: dict[str, Any] = {"market.source": str(recording)} if recording is not None else {}
        chosen = load_config(config, {**overrides, **settings_of(settings)})
        sessions = Sessions.load(trade_special_sessions=chosen.market.trade_special_sessions)
        source = open_source(chosen, sessions, Bounds(), glance=True)
        chosen, zone = _of_source(chosen, source.instruments.all[-1].currency)
        until = None if is_day(at) else moment_of(at, zone, option="--at", day=day_of(source.last_at, zone))
        asked = moment_of(at, zone, option="--at") if is_day(at) else until
        if chosen.market.source == SIMULATED:
            _is_there(source, asked, zone)
            until = source.first_at + SIMULATED_HOUR if at is None else until
        else:  # A chain is of one session.
            begin, end = day_bounds(day_of(source.last_at if asked is None else asked, zone), zone)
            source = open_source(chosen, sessions, Bounds(begin, end))
        closes = iv_closes_before(state_dir, source.first_at) if state_dir is not None else None
        play = ChainPlay(source, chosen, sessions, closes)
        played = play.until(until, _Progress(zone, json=json))
        name = underlying_of(played.chains, underlying)
        data = picture(played, name, expiry_of(played, name, day))
        written = None
        if html:
            from angelx.research.chain_page import page_name, write_page

            written = str(write_page(data, zone, (target or Path(page_name(data, zone))).resolve()))
        _show(data, _near(data, strikes), zone, json=json)
        if written is not None:
            say(f"page: {written}", json=json)
        if json:
            answer({"ok": True, **data, "page": written})
        return 0

    guarded(body, json=json)


def _paths(path: Path | None, page: Path | None, *, html: bool) -> tuple[Path | None, Path | None]:
    """The recording, and where the page goes: alone, a name that ends in .html is the page's."""
    if html and page is None and path is not None and path.suffix == PAGE:
        path, page = None, path
    if page is not None and not html:
        raise InputInvalid(f"{page}: a page is written with --html; one recording is shown at a time")
    if page is not None and page.suffix != PAGE:
        raise InputInvalid(f"{page}: a page's name ends in {PAGE}")
    return path, page


def _show(data: dict[str, Any], strikes: list[dict[str, Any]], zone: ZoneInfo, *, json: bool) -> None:
    from angelx.cli.chain_tables import chain_tables

    for line in chain_tables(data, strikes, zone):
        say(line, json=json)


def _near(data: dict[str, Any], around: int) -> list[dict[str, Any]]:
    """Strikes around the money; around the middle where there is none."""
    strikes: list[dict[str, Any]] = data["strikes"]
    levels = [one["strike"] for one in strikes]
    money = levels.index(data["atm_strike"]) if data["atm_strike"] in levels else len(levels) // 2
    return strikes[max(money - around, 0) : money + around + 1]


def _of_source(config: "Config", currency: str) -> "tuple[Config, ZoneInfo]":
    """The configuration with the source's own currency (its rate, its bands), and the exchange's zone."""
    return config.model_copy(update={"currency": currency}), zone_of(currency, config.market.source)


def _is_there(source: "TickSource", asked: int | None, zone: ZoneInfo) -> None:
    day = day_of(source.first_at, zone)
    if asked is not None and day_of(asked, zone) != day:
        raise InputInvalid(f"--at: the simulated session is of {day}, not of {day_of(asked, zone)}")


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InputInvalid(f"--expiry {text}: no date; write 2025-09-02") from None


class _Progress:
    """Says every half hour of the stream how far it is."""

    def __init__(self, zone: ZoneInfo, *, json: bool) -> None:
        self._zone, self._json = zone, json
        self._said = 0

    def __call__(self, now: int) -> None:
        from angelx.research.session_records import local_time

        if self._said and now - self._said >= 1800 * NS:
            say(f"  … {local_time(now, self._zone):%Y-%m-%d %H:%M}", json=True)
            self._said = now
        self._said = self._said or now
