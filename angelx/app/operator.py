"""What a person asks of a running session, by socket, signal or file, and what is answered."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from angelx.adapters.latch import LEVEL_NAMES, Latch, in_memory_only, stays
from angelx.app.house import House
from angelx.domain.errors import AngelxError, InputInvalid
from angelx.domain.scalars import money_fields
from angelx.services.data_feed import DataFeed

log = structlog.get_logger()

VERBS: Final = ("halt", "flatten", "silent", "resume", "stop", "reload")


class StillHalted(AngelxError):
    """What was asked to resume did not, or was halted again at once."""


class Operator:
    """Levels are latched at once; then the stream hears of what was asked, between two inputs.

    Parameters
    ----------
    reload
        Takes over a configuration that is read anew; raises `ConfigInvalid` where it may not.
    facts
        What else `status` tells, about the process.
    """

    def __init__(
        self,
        latch: Latch,
        feed: DataFeed,
        house: House,
        *,
        reload: Callable[[], None],
        facts: Callable[[], dict[str, Any]],
    ) -> None:
        self._latch, self._feed, self._house, self._reload, self._facts = latch, feed, house, reload, facts

    def command(self, verb: str, reason: str, who: str) -> asyncio.Future[None]:
        """Done when what follows from it has settled."""
        if verb in LEVEL_NAMES[1:]:
            self._latch.raise_to(LEVEL_NAMES.index(verb), reason, who, self._feed.now())
        return self._feed.command(verb, reason, who)

    def signalled(self, verb: str, name: str) -> None:
        """A signal came; its level is latched already."""
        log.info("signal_received", signal=name, action=verb)
        if verb == "stop-now":
            self._feed.stopping, self._feed.at_once = f"stopped at once by {name}", True
            return
        if verb == "reload":
            try:
                self._reload()
            except AngelxError as error:
                log.warning("reload_refused", why=str(error), action="restart to change it")
                return
        self._feed.command(verb, name, "signal")

    def poll(self) -> None:
        """A file `kill` in the state directory is a kill switch too."""
        if self._latch.poll(self._feed.now()):
            self._feed.command(self._latch.name, self._latch.reason, "file")

    async def answer(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """What came through the socket.

        Raises
        ------
        InputInvalid
            There is no such verb, or a reason is missing.
        ConfigInvalid
            The configuration cannot be taken over.
        StillHalted
            It is not resumed: the log says why.
        """
        if verb == "status":
            return self.status()
        if verb not in VERBS:
            raise InputInvalid(f"unknown verb {verb!r}")
        reason = arguments.get("reason", "")
        if not isinstance(reason, str):
            raise InputInvalid(f"reason: {reason!r} is not allowed; allowed: a text")
        reason = reason.strip()
        if verb == "resume" and not reason:
            raise InputInvalid("resume needs a reason")
        if verb == "reload":
            self._reload()
        await self.command(verb, reason or "asked for", "operator")
        if verb == "resume" and self._latch.level:
            raise StillHalted(f"not resumed, the kill switch stays at {self._latch.name}: {self._latch.reason}")
        at = _text(self._feed.now())
        note = stays(verb, self._latch.level)
        if self._latch.error is not None:
            note = in_memory_only(self._latch.error)
        return {"verb": verb, "level": self._latch.name, "at": at, **note}

    def status(self) -> dict[str, Any]:
        """What `angelx status` prints."""
        house, bus = self._house, self._house.bus
        ledger, value = house.ledger, house.keeper.value()
        return {
            "at": _text(bus.now),
            "rows": bus.row,
            "seq": bus.seq,
            "level": self._latch.name,
            "level_reason": self._latch.reason,
            "health": house.risk.health.state,
            "health_reasons": house.risk.health.reasons,
            "phases": {name: segment.phase for name, segment in house.phases.segments.items()},
            "signals": house.host.signals,
            "orders": len(house.router.orders),
            "working": sorted(house.book.live),
            "positions": {f"{p.strategy}/{p.instrument}": p.quantity for p in ledger.positions.values() if p.quantity},
            "currency": house.parts.instruments.currency,
            **money_fields("cash", ledger.cash),
            **money_fields("equity", ledger.cash + value),
            **money_fields("pnl", ledger.cash + value - house.parts.capital),
            "tick_age_s": round((self._feed.now() - bus.row_at) / 1e9, 3) if bus.row_at else None,
            "feed": self._feed.figures(),
            "mailboxes": {house.announcer.name: house.announcer.mailbox.depth},
            **self._facts(),
        }


def _text(at: int) -> str:
    return datetime.fromtimestamp(at / 1e9, UTC).isoformat()
