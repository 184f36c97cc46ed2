"""Today's scrip master: kept by trading date, fetched once, replaced when the day changes."""

import asyncio
from collections.abc import Callable
from datetime import date
from random import Random
from typing import Final

import structlog

from angelx.adapters.angelone.backoff import Backoff
from angelx.adapters.angelone.limits import MASTER
from angelx.adapters.angelone.master import Contract, MasterStore, ScripMaster, read_master
from angelx.adapters.angelone.session import AngelSession, india_date
from angelx.adapters.rate_budget import Priority
from angelx.domain.errors import BrokerUnreachable, OrderRejected
from angelx.domain.wire import NoAnswer, Transport
from angelx.market import rules

log = structlog.get_logger()

SCRIP_MASTER: Final = "/OpenAPI_File/files/OpenAPIScripMaster.json"
TIMEOUT_S: Final = 120.0
TRIES: Final = 3


class Scrips:
    """The scrip master of the day.

    Parameters
    ----------
    transport
        Way to the host of the file; it needs no login.
    random
        Of the waits between tries.
    """

    def __init__(self, session: AngelSession, transport: Transport, store: MasterStore, random: Random) -> None:
        self.master: ScripMaster | None = None
        self.on_changed: list[Callable[[], None]] = []
        """Called when another day's file has replaced one: every token may mean something else."""
        self._session = session
        self._transport = transport
        self._store = store
        self._random = random

    async def today(self) -> ScripMaster:
        """From the store where it is there already, else from the broker.

        Raises
        ------
        BrokerUnreachable
            It could not be had, or what came is none.
        """
        day, before = india_date(self._session.now()), self.master
        if before is not None and before.day == day:
            return before
        master = self.master = await self._load(day)
        log.info("scrip_master_read", day=str(day), instruments=len(master.by_id), refused=master.refused)
        for changed in self.on_changed if before is not None else ():
            changed()
        return master

    def contract(self, instrument: str) -> Contract:
        """What the broker calls an instrument today.

        Raises
        ------
        OrderRejected
            There is no file of today, or the instrument is not in it.
        """
        master = self.master
        if master is None or master.day != india_date(self._session.now()):
            raise OrderRejected(f"no_master: {instrument} cannot be named without today's scrip master")
        contract = master.by_id.get(instrument)
        if contract is None:
            raise OrderRejected(f"unknown_instrument: {instrument} is not in today's scrip master")
        return contract

    async def _load(self, day: date) -> ScripMaster:
        loop = asyncio.get_running_loop()
        raw = await loop.run_in_executor(None, self._store.load, day)
        if raw is not None:
            try:
                return await loop.run_in_executor(None, read_master, raw, day, rules.freeze_quantity)
            except ValueError as error:
                log.warning("stored_scrip_master_unusable", why=str(error), action="fetch_again")
        raw = await self._fetch()
        try:
            master = await loop.run_in_executor(None, read_master, raw, day, rules.freeze_quantity)
        except ValueError as error:
            raise BrokerUnreachable(str(error)) from error
        await loop.run_in_executor(None, self._store.store, day, raw)
        return master

    async def _fetch(self) -> bytes:
        """The file itself: no envelope."""
        backoff, why = Backoff(self._random), "no answer"
        for number in range(TRIES):
            if number:
                await asyncio.sleep(backoff.wait_s())
            await self._session.budget.take(MASTER, Priority.POLL)
            try:
                answer = await self._transport.request(
                    "GET", SCRIP_MASTER, headers={"Accept": "application/json"}, timeout_s=TIMEOUT_S
                )
            except (NoAnswer, BrokerUnreachable) as error:
                why = str(error)
                continue
            if answer.status == 200:
                return answer.body
            why = f"HTTP {answer.status}"
        raise BrokerUnreachable(f"scrip master: {why}")
