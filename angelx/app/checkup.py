"""`angelx doctor`: every check of this machine, and of the journal and calendar that the rest of the house knows."""

from collections.abc import Sequence
from pathlib import Path

from angelx.app.config import Config, load_config
from angelx.app.doctor import Check, run_checks
from angelx.app.session import JOURNAL, journal_key, verify
from angelx.bus.clock import SystemClock
from angelx.domain.errors import InputInvalid, JournalBroken
from angelx.market.sessions import Session, Sessions

SEGMENTS = ("NFO", "NSE", "US")


def checkup(config_file: Path | None, state_dir: Path | None) -> Sequence[Check]:
    """Look at everything once."""
    config = load_config(config_file)
    directory = (state_dir or Path(config.state_dir)).expanduser().resolve()
    journal = directory / JOURNAL
    found = run_checks(
        config,
        directory,
        journal=(lambda: _verified(journal, config)) if journal.exists() else None,
        calendar=lambda: _today(config),
    )
    if config.broker == "paper":
        return found
    from angelx.app.doctor_broker import broker_checks

    return [*found, *broker_checks(config)]


def _verified(path: Path, config: Config) -> str:
    found = verify(path, journal_key(config))
    for fault in found.faults:
        raise JournalBroken(f"{path}: {fault.what}")
    return f"{found.records:,} records, chain whole"


def _today(config: Config) -> str:
    sessions = Sessions.load(trade_special_sessions=config.market.trade_special_sessions)
    now = SystemClock().now()
    found = []
    for segment in SEGMENTS:
        day = sessions.day_of(segment, now)
        if day > sessions.last_verified(segment):
            raise InputInvalid(f"{segment}: verified only to {sessions.last_verified(segment)}")
        answer = sessions.on(segment, day)
        found.append(f"{segment} {day} {'trades' if isinstance(answer, Session) else answer.reason}")
    return "; ".join(found)
