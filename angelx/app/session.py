"""One session: from a configuration and a state directory to a journal, continued where an earlier process left it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from angelx.adapters.journal import Head, JournalReader
from angelx.adapters.journal_names import is_blank, misnamed, rebuilt
from angelx.adapters.state_dir import durable_write
from angelx.app.config import Config, config_hash
from angelx.app.house import Paper, Parts, no_fee
from angelx.app.plugins import filters_of, strategies_of
from angelx.bus.records import Fault
from angelx.domain.errors import InputInvalid
from angelx.domain.events import SessionEnded, SessionStarted, SourceOpened
from angelx.domain.instruments import Instrument, Kind
from angelx.domain.ports import TickSource
from angelx.domain.scalars import NS, price_of
from angelx.market.chain import ChainSettings
from angelx.market.iv_closes import IvCloses, iv_closes_of
from angelx.market.sessions import Session, Sessions
from angelx.market.smile import IvHistory
from angelx.orders.fees import FeeSchedule, FeesUnknown
from angelx.risk.limits import BENCH, Limits, ppm
from angelx.services.isolation import Pool
from angelx.signals.filters.base import Filter
from angelx.signals.strategy import Strategy
from angelx.signals.tuning import Tuning, tuning_of
from angelx.venue.admission import Bands

log = structlog.get_logger()

Kept = TypeVar("Kept")

JOURNAL: Final = "journal.db"
HEAD: Final = "journal.head"
ARCHIVE: Final = "archive"
TUNING: Final = "tuning.json"
IV_CLOSES: Final = "iv_closes.json"
SOURCE_ENDED: Final = "source ended"
RATES: Final[Mapping[str, float]] = {"INR": 0.065, "USD": 0.045}
"""Continuous rate a year that implied discounts are held against, where the configuration gives none: roughly what
Treasury bills paid."""


class Left(msgspec.Struct, frozen=True):
    """What an earlier process left in a journal."""

    started: SessionStarted
    source: SourceOpened
    ended: SessionEnded | None
    """`None`: it did not stop in order."""
    records: int

    @property
    def finished(self) -> bool:
        """True where the source had come to its end: there is nothing to continue."""
        return self.ended is not None and self.ended.reason == SOURCE_ENDED


def left_in(path: Path) -> Left | None:
    """What a journal says of the session it holds; `None` where it holds none, or was never begun."""
    if not path.exists() or (is_blank(path) and not path.with_name(HEAD).exists()):
        return None
    reader = JournalReader(path)
    started, source, ended, count = None, None, None, 0
    try:
        for record in reader.records():
            event, count = record.event, record.number
            ended = event if isinstance(event, SessionEnded) else None
            if isinstance(event, SessionStarted):
                started = event
            elif isinstance(event, SourceOpened):
                source = event
    finally:
        reader.close()
    return Left(started, source, ended, count) if started is not None and source is not None else None


class Verified(msgspec.Struct, frozen=True):
    """What a look at a whole journal found."""

    records: int
    head: str
    """Hash of the last record; empty where there is none."""
    head_file: bool
    """True where there is a head beside the journal: it was checked too."""
    faults: tuple[Fault, ...]


def verify(path: Path, key: bytes) -> Verified:
    """Check every record of a journal, and the head file beside it where there is one.

    Raises
    ------
    JournalBroken
        It is missing or cannot be read at all.
    """
    beside = path.with_name(HEAD)
    kept, garbled = None, tuple[Fault, ...]()
    there = beside.exists()
    if there:
        try:
            kept = msgspec.json.decode(beside.read_bytes(), type=Head)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            garbled = (Fault(0, f"{beside.name}, the head kept beside it, was edited or is damaged: {error}"),)
    reader = JournalReader(path)
    try:
        faults = (*garbled, *reader.faults(kept, key), *rebuilt(path), *misnamed(path))
        head = reader.head
    finally:
        reader.close()
    return Verified(head.last if head else 0, head.hash if head else "", there, faults)


def journal_key(config: Config) -> bytes:
    """What keys the journal's chain; empty where it is not keyed."""
    key = config.secrets.journal_key
    return key.get_secret_value().encode() if key else b""


def archive(state_dir: Path) -> Path | None:
    """Move a session that is over out of the way, whole; answers where it went."""
    journal = state_dir / JOURNAL
    if not journal.exists():
        return None
    number = 1
    while (state_dir / ARCHIVE / f"{number:04}").exists():
        number += 1
    place = state_dir / ARCHIVE / f"{number:04}"
    place.mkdir(parents=True, mode=0o700)
    for name in (
        JOURNAL,
        f"{JOURNAL}-wal",
        f"{JOURNAL}-shm",
        HEAD,
        "report.html",
        "report.json",
        "report.md",
        "capture",
    ):
        if (state_dir / name).exists():
            (state_dir / name).rename(place / name)
    return place


def limits_of(config: Config) -> Limits:
    """The risk section as the gate takes it."""
    risk = config.risk
    if risk.profile == "bench":
        return msgspec.structs.replace(BENCH, fixed_units=risk.fixed_units or BENCH.fixed_units)
    collar = risk.collar_ticks
    return Limits(
        risk_per_trade_ppm=ppm(risk.risk_per_trade),
        stop_ppm=ppm(risk.stop_fraction),
        max_order_ppm=ppm(risk.max_order_fraction),
        max_positions=risk.max_positions,
        max_daily_trades=risk.max_daily_trades,
        premium_at_risk_ppm=ppm(risk.premium_at_risk),
        spread_ticks=risk.options.spread_ticks,
        spread_ppm=ppm(risk.options.spread_fraction),
        spread_equity_ppm=ppm(risk.equities.spread_bps / 10_000),
        gross_ppm=ppm(risk.equities.gross),
        name_ppm=ppm(risk.equities.name),
        daily_loss_ppm=ppm(risk.daily_loss),
        drawdown_ppm=ppm(risk.drawdown_stop),
        orders_per_s=risk.orders_per_s,
        rejects_per_min=risk.rejects_per_min,
        duplicate_window_ns=int(risk.duplicate_window_s * NS),
        collar_ticks=(collar, collar + 2, collar + 5, collar + 10),
        allow_short=risk.allow_short,
        entries_end_ns=risk.entries_barred_before_close_min * 60 * NS,
        fixed_units=risk.fixed_units or 0,
    )


def fee_of(config: Config, sessions: Sessions) -> Callable[[Instrument, int, int, int, int], int]:
    """Cumulative fee of an order by the dated tables, or nothing where fees are switched off."""
    if not config.paper.fees:
        return no_fee
    schedule = FeeSchedule.load()

    def fee(instrument: Instrument, side: int, quantity: int, notional: int, at: int) -> int:
        return schedule.charge(instrument, side, quantity, notional, sessions.day_of(instrument.segment, at)).total

    return fee


def check_fees(config: Config, source: TickSource, sessions: Sessions) -> None:
    """Refuse to begin where the dated tables do not say what the paper broker charges for anything that can be traded.

    Where they know some kinds of instruments and not others it is a warning: the others may never be traded.

    Raises
    ------
    InputInvalid
        Names the recording, the day, and what to do.
    """
    if not config.paper.fees or config.broker != "paper" or not 0 < source.first_at <= source.last_at:
        return
    schedule = FeeSchedule.load()
    unknown: dict[tuple[str, Kind], str] = {}
    tradable = sorted((one for one in source.instruments if one.tradable), key=_expiry, reverse=True)
    kinds = {(one.segment, one.kind): one for one in tradable}  # Of options that which expires first.
    for kind, one in kinds.items():
        for day in _traded_days(source, sessions, one):
            try:
                schedule.rates(one, day)
            except FeesUnknown as error:
                unknown[kind] = str(error)
    for why in unknown.values():
        if len(unknown) == len(kinds):
            raise InputInvalid(f"{config.market.source}: {why}; --set paper.fees=false trades without fees")
        log.warning("fees_unknown", why=why, action="entries are rejected; --set paper.fees=false")


def _expiry(instrument: Instrument) -> date:
    return instrument.expiry or date.max


def _traded_days(source: TickSource, sessions: Sessions, one: Instrument) -> set[date]:
    """First and last day of a source on which an instrument's segment has a session; for one that expires the last such
    day of its life instead of the first: the recording may begin years before it was listed.
    """
    first, last = (sessions.day_of(one.segment, at) for at in (source.first_at, source.last_at))
    begin, end = first.toordinal(), last.toordinal()
    days = range(begin, end + 1)
    alive = range(begin, min(one.expiry.toordinal(), end) + 1) if one.expiry is not None else ()

    def traded(ordinals: Iterable[int]) -> date | None:
        """The first of these with a session."""
        found = (day for day in map(date.fromordinal, ordinals) if isinstance(sessions.on(one.segment, day), Session))
        return next(found, None)

    return {day for day in (traded(reversed(alive)) or traded(days), traded(reversed(days))) if day is not None}


def bands_of(config: Config) -> Bands:
    """The price bands of the paper broker."""
    paper = config.paper
    return Bands(
        equity_pct=paper.equity_band_pct,
        option_pct=paper.option_band_pct,
        absolute=price_of(str(paper.band_floor)),
    )


def parts_of(
    config: Config,
    source: TickSource,
    sessions: Sessions,
    run: str,
    *,
    tuning: Tuning | None = None,
    iv_closes: IvCloses | None = None,
    pool: Pool | None = None,
    waits: bool = True,
) -> Parts:
    """Everything a house is made of, from a configuration, the source it names, and what was learned before."""
    strategies, filters = strategies_of(config), filters_of(config)
    check_fees(config, source, sessions)
    return Parts(
        instruments=source.instruments,
        source_kind=source.kind,
        strategies=strategies,
        filters=filters,
        limits=limits_of(config),
        paper=Paper(
            fee=fee_of(config, sessions),
            latency_ns=int(config.paper.latency_ms * 1_000_000),
            jitter_ns=int(config.paper.jitter_ms * 1_000_000),
            reject_rate=config.paper.reject_rate,
            time_in_force=config.paper.time_in_force,
            bands=bands_of(config),
        ),
        sessions=sessions,
        run=run,
        capital=config.capital_money,
        seed=config.seed,
        flat_before_close_ns=config.risk.flat_before_close_min * 60 * NS,
        exit_wait_ns=int(config.orders.exit_wait_s * NS),
        entry_wait_ns=int(config.orders.entry_wait_s * NS),
        silent_feed_ns=int(config.watchdog.stale_feed_s * NS),
        pool=pool,
        waits=waits,
        tuning=tuning or Tuning(),
        iv_closes=iv_closes or IvCloses(),
        config_hash=config_hash(config),
        tunes=config.tuning.apply == "next_session",
        chain=chain_settings(config) if _uses_chains(config, source, strategies, filters) else None,
    )


def chain_settings(config: Config) -> ChainSettings:
    """The chain section as the engine takes it."""
    chain = config.chain
    return ChainSettings(
        step_ns=chain.step_ms * 1_000_000,
        budget=chain.budget,
        slack=chain.slack,
        flow_window_ns=int(chain.flow_window_min * 60 * NS),
        summary_ns=chain.summary_ms * 1_000_000,
        rate=RATES[config.currency] if chain.rate is None else chain.rate,
    )


def _uses_chains(config: Config, source: TickSource, strategies: Sequence[Strategy], filters: Sequence[Filter]) -> bool:
    """Whether anybody looks at chains: nobody pays for them otherwise."""
    if config.chain.enabled != "auto" or not any(one.kind is Kind.OPTION for one in source.instruments):
        return config.chain.enabled == "always"
    return any(getattr(one, "uses_chains", False) for one in (*strategies, *filters))


def _kept(file: Path, read: Callable[[bytes, str], Kept]) -> Kept:
    """What a file of the state directory holds, as `read` makes it of text and name; of no text where it is missing."""
    try:
        return read(file.read_bytes() if file.exists() else b"", str(file))
    except OSError as error:
        raise InputInvalid(f"{file}: cannot be read: {error.strerror}") from error


def kept_tuning(path: Path) -> Tuning:
    """What was learned last and kept in a state directory; the priors where nothing was.

    Raises
    ------
    InputInvalid
        The file cannot be read or is no such state.
    """
    return _kept(path / TUNING, tuning_of)


def tuning_before(path: Path, first_at: int, *, applies: bool) -> Tuning:
    """What may be known when a session begins: what is kept, if it was learned before; raises as `kept_tuning`."""
    kept = kept_tuning(path) if applies else Tuning()
    return kept if kept.learned_at < first_at else Tuning()


def keep_tuning(path: Path, tuning: Tuning) -> None:
    """Keep what a session taught, unless a later session taught something already."""
    if tuning.learned_at > kept_tuning(path).learned_at:
        durable_write(path / TUNING, tuning.to_json().encode())


def kept_iv_closes(path: Path) -> IvCloses:
    """The volatilities at the closes of sessions, as kept in a state directory.

    Raises
    ------
    InputInvalid
        The file cannot be read or is no such state.
    """
    return _kept(path / IV_CLOSES, iv_closes_of)


def iv_closes_before(path: Path, first_at: int) -> IvCloses:
    """Those of days before the one of `first_at`, ns; raises as `kept_iv_closes`."""
    return kept_iv_closes(path).before(datetime.fromtimestamp(first_at // NS, UTC).date())


def keep_iv_closes(path: Path, histories: Mapping[str, IvHistory]) -> None:
    """Keep the closes of a run beside those of others."""
    kept = kept_iv_closes(path)
    now = kept.plus(histories)
    if now != kept:
        durable_write(path / IV_CLOSES, now.to_json().encode())


def tick_sizes(source: TickSource) -> list[int]:
    """By place; 0 = quotes are not checked (what is not tradable)."""
    return [instrument.tick_size if instrument.tradable else 0 for instrument in source.instruments]
