"""Where ticks come from: the generator or a recording, by configuration or by a journal's reference."""

from datetime import date
from pathlib import Path

import msgspec
import structlog

from angelx.app.config import Config
from angelx.domain.errors import ConfigInvalid, InputInvalid
from angelx.domain.ports import TickSource
from angelx.domain.scalars import price_of
from angelx.market.expiry_time import Settlements
from angelx.market.rules import freeze_quantity, lot_size
from angelx.market.sessions import Session, Sessions

log = structlog.get_logger()

UNDERLYING = "NIFTY"


class Bounds(msgspec.Struct, frozen=True):
    """Which part of a recording is replayed: [begin, end), ns; `None` = from the start, to the end."""

    begin: int | None = None
    end: int | None = None


class _Recording(msgspec.Struct, frozen=True):
    """What a recorded source writes as its reference."""

    path: str
    begin: int | None = None
    end: int | None = None
    symbols: tuple[str, ...] | None = None
    bar_spread_bps: float | None = None


def open_source(config: Config, sessions: Sessions, bounds: Bounds, *, glance: bool = False) -> TickSource:
    """The source that a configuration names; at a `glance` only to see what is there.

    Raises
    ------
    ConfigInvalid
        The day to simulate is not a trading day.
    InputInvalid
        The recording cannot be used.
    """
    if config.market.source == "simulated":
        return _simulated(config, sessions, config.market.simulated_day)
    from angelx.adapters.recorded import open_recording

    path = Path(config.market.source).expanduser().resolve()
    source = open_recording(
        path, begin=bounds.begin, end=bounds.end, bar_spread_bps=config.market.bar_spread_bps, freeze=freeze_of,
        glance=glance,
    )  # fmt: skip
    if not glance:
        _check_expiries(path, source, sessions)
        _tell_gaps(source)
    return source


def _tell_gaps(source: TickSource) -> None:
    """Warn of rows that a capture once had, or was about to have."""
    from angelx.adapters.recorded.captured import CaptureSource

    if isinstance(source, CaptureSource):
        for one in source.describe():
            if one["missing"] or one["torn"]:
                log.warning("capture_incomplete", folder=one["file"], missing_rows=one["missing"], torn=one["torn"])


def _check_expiries(path: Path, source: TickSource, sessions: Sessions) -> None:
    """Options live until a session closes: it must be known when."""
    settlements = Settlements(sessions)
    for one in source.instruments:
        if one.expiry is not None:
            try:
                settlements.of(one.segment, one.expiry)
            except InputInvalid as error:
                raise InputInvalid(f"{path}: {error}") from error


def open_reference(source: str, reference: str) -> TickSource:
    """The source that a journal names, opened again.

    Raises
    ------
    InputInvalid
        It cannot be found or is not what it was.
    """
    if source == "simulated":
        from angelx.market.simulated import SimulatedMarket

        return SimulatedMarket.from_reference(reference)
    from angelx.adapters.recorded import open_recording

    found = msgspec.json.decode(reference, type=_Recording)
    return open_recording(
        Path(found.path),
        begin=found.begin,
        end=found.end,
        symbols=found.symbols,
        bar_spread_bps=found.bar_spread_bps,
        freeze=freeze_of,
    )


def freeze_of(underlying: str, day: date) -> int:
    """Largest units of one order by the dated table; 0 = not known."""
    return freeze_quantity(underlying, day) or 0


def _simulated(config: Config, sessions: Sessions, day: date) -> TickSource:
    from angelx.market.simulated import SimulatedMarket

    session = sessions.on("NFO", day)
    if not isinstance(session, Session):
        raise ConfigInvalid(f"market.session: {day} cannot be simulated: {session.reason}")
    lot = lot_size(UNDERLYING, day)
    if lot is None:
        raise ConfigInvalid(f"market.session: {day} cannot be simulated: the lot size of {UNDERLYING} is not known")
    return SimulatedMarket(
        seed=config.seed,
        session=day,
        opens_at=session.opens_at,
        closes_at=session.closes_at,
        spot=price_of(str(config.market.spot)),
        expiries=config.market.expiries,
        strikes=config.market.strikes,
        lot_size=lot,
        freeze_quantity=freeze_of(UNDERLYING, day),
    )
