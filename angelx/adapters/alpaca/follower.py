"""What becomes of our orders: the order stream followed, the books beside it, look-ups of what is in doubt."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from angelx.adapters.alpaca import books
from angelx.adapters.alpaca.messages import WireClock, WireFill, WireOrder
from angelx.adapters.alpaca.order_stream import OrderStream
from angelx.adapters.alpaca.rest import Rest
from angelx.adapters.alpaca.tracker import Gap, Tracker, Unreadable
from angelx.domain.errors import AuthExpired, BrokerError, BrokerUnreachable, OrderRejected, RateLimited
from angelx.domain.events import Event
from angelx.domain.scalars import NS
from angelx.domain.timestamps import instant_of

NEW_YORK: Final = ZoneInfo("America/New_York")
TOLERANCE_NS: Final = 5 * NS
"""How far the two clocks may be apart where times have to agree."""
DOUBT_PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Pauses before the look-ups of an order whose fate is not known; after the last one the order books decide."""
BUSY_POLL_S: Final = 5.0
LEAST_POLL_S: Final = 1.0
"""After something on the stream could not be read they are looked at once, this often at most."""
IDLE_POLL_S: Final = 30.0
"""The books are looked at this often beside the stream: with orders at work, without."""
MUTE_S: Final = 3.0
"""The stream has this long to say what the books said before."""
LONGEST_CHAIN: Final = 20
MERGE_PAUSE_S: Final = 0.5
MERGES: Final = 10
"""The activities may come after the order: so often both books are read again before the connection is given up."""


class _Doubt(msgspec.Struct):
    """An order that may be live, or not as it is thought to be."""

    due_s: float
    """Loop time of the next look-up."""
    looked: int = 0


class OrderFollower:
    """Keeps a tracker true.

    Parameters
    ----------
    report, state
        Told every fact, and whether they can be relied on.
    """

    def __init__(
        self,
        rest: Rest,
        stream: OrderStream,
        tracker: Tracker,
        *,
        report: Callable[[Event], None],
        state: Callable[[bool, str], None],
        now: Callable[[], int],
        random: Random,
    ) -> None:
        self._rest, self._stream, self._tracker = rest, stream, tracker
        self._report, self._state, self._now, self._random = report, state, now, random
        self.counts = tracker.counts
        self.offset_ns = 0
        """Their clock less ours as `/v2/clock` said it at the last merge, ns."""
        self.is_up = False
        self._doubts: dict[str, _Doubt] = {}
        self._wake = asyncio.Event()
        self._books = asyncio.Lock()
        """Held while the books are read into the tracker: the stream waits."""
        self._open_gap = ""
        self._look_at_once = False
        self._lost = ""
        """Why we hung up."""

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(), name="alpaca order stream")
                tasks.create_task(self._watch(), name="alpaca books")
        finally:
            self.is_up = False
            await self._stream.close()

    def emit(self, events: Sequence[Event]) -> None:
        """Tell facts."""
        for event in events:
            self._report(event)

    def doubt(self, order: str) -> None:
        """The broker is asked about an order soon, and again until it is found; who doubts again puts nothing off."""
        due_s = asyncio.get_running_loop().time() + DOUBT_PAUSES_S[0]
        known = self._doubts.get(order)
        self._doubts[order] = _Doubt(due_s if known is None else min(known.due_s, due_s))
        self._wake.set()

    def is_in_doubt(self, order: str) -> bool:
        """Whether the broker is being asked about an order."""
        return order in self._doubts

    # ------------------------------------------------------------ questions
    async def by_client_id(self, order: str) -> WireOrder | None:
        """The order of a client id; `None`: not there, or not yet."""
        try:
            return await self._rest.get("/v2/orders:by_client_order_id", {"client_order_id": order}, answer=WireOrder)
        except OrderRejected as error:
            if "404" in str(error):
                return None
            raise

    async def read_clock(self) -> None:
        """Measure `offset_ns`."""
        before = self._now()
        clock = await self._rest.get("/v2/clock", answer=WireClock)
        with suppress(ValueError):
            self.offset_ns = instant_of(clock.timestamp) - (before + self._now()) // 2

    async def all_orders(self) -> list[WireOrder]:
        """Today's orders, those still open from before, and those of ours that are in neither list."""
        found = {order.id: order for order in await books.orders(self._rest, "open", 0)}
        found |= {order.id: order for order in await books.orders(self._rest, "all", day_begins(self._now()))}
        for tracked in self._tracker.live():
            if tracked.broker_order not in found:
                found[tracked.broker_order] = await self._order_by_id(tracked.broker_order)
        return sorted(found.values(), key=_created)

    async def trade_book(self) -> list[WireFill]:
        """Today's fills, oldest first; what they say beyond what was told is told."""
        async with self._books:
            orders = await self.all_orders()
            fills = await books.fills(self._rest, day_begins(self._now()))
            events, _ = self._tracker.read(orders, _by_order(fills), self._now())
            self.emit(events)
        return fills

    # ------------------------------------------------------------ the order stream
    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                await self._stream.open()
                await self._resync()
                failures = 0
                await self._listen()
            except (BrokerError, Gap) as error:
                self._set_state(is_up=False, why=self._lost or str(error))
                self._lost = ""
            await self._stream.close()
            pause = min(30.0, 0.5 * 2**failures) * (0.5 + self._random.random())
            failures = min(failures + 1, 10)
            await asyncio.sleep(pause)

    async def _resync(self) -> None:
        """Both books into the tracker; nothing is relied on before they agree."""
        await self.read_clock()
        for attempt in range(MERGES):
            if attempt:
                await asyncio.sleep(MERGE_PAUSE_S)
            async with self._books:
                gaps = await self._merge(await self.all_orders())
            if not gaps:
                self._set_state(is_up=True, why="")
                return
            self._open_gap = gaps[0].broker_order
        raise Gap(self._open_gap, "the books do not agree")

    async def _listen(self) -> None:
        while True:
            malformed = self._stream.malformed
            update = await self._stream.receive()
            if update is None:
                if self._stream.malformed != malformed:  # Whatever it was about, the books have it too.
                    self._look_at_once = True
                    self._wake.set()
                continue
            async with self._books:
                try:
                    self.emit(self._tracker.told(update, self._now()))
                except Unreadable:
                    self.counts["unreadable"] += 1
                    self._look_at_once = True
                    self._wake.set()
                except Gap as gap:
                    self.emit(gap.events)
                    await self._fill_gap(gap)

    async def _fill_gap(self, gap: Gap) -> None:
        """Read what happened before; later messages wait.

        Raises
        ------
        Gap
            Even the books do not say.
        """
        self.counts["gap"] += 1
        for attempt in range(MERGES):
            if attempt:
                await asyncio.sleep(MERGE_PAUSE_S)
            gaps = await self._merge(await self._chain(gap.broker_order))
            if not gaps:
                return
            gap = gaps[0]
        raise gap

    async def _merge(self, orders: list[WireOrder]) -> list[Gap]:
        """Tell what these orders and their fills say beyond what was told."""
        events, gaps = self._tracker.read(orders, {}, self._now())
        self.emit(events)
        if gaps:
            by_id = {order.id: order for order in orders}
            wanted = {gap.broker_order for gap in gaps}
            for missing in wanted - by_id.keys():
                by_id[missing] = await self._order_by_id(missing)
            first = min(_created(by_id[name]) for name in wanted)
            fills = _by_order(await books.fills(self._rest, first - TOLERANCE_NS))
            events, gaps = self._tracker.read(sorted(by_id.values(), key=_created), fills, self._now())
            self.emit(events)
        return gaps

    async def _order_by_id(self, broker_order: str) -> WireOrder:
        return await self._rest.get(f"/v2/orders/{broker_order}", answer=WireOrder)

    async def _chain(self, broker_order: str) -> list[WireOrder]:
        """An order and those it replaces, oldest first: a replacement counts what they had filled."""
        chain = [await self._order_by_id(broker_order)]
        while chain[0].replaces and len(chain) < LONGEST_CHAIN:
            chain.insert(0, await self._order_by_id(chain[0].replaces))
        return chain

    # ------------------------------------------------------------ beside the stream
    async def _watch(self) -> None:
        """Look-ups of orders in doubt, and a look at the books now and then: a mute stream is caught by it."""
        loop = asyncio.get_running_loop()
        polled = loop.time()
        while True:
            with suppress(TimeoutError):
                soon = loop.time() + BUSY_POLL_S  # An order may come to work meanwhile.
                async with asyncio.timeout_at(min([soon, self._poll_due(polled), *self._doubts_due()])):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._resolve_doubts(loop.time())
                if loop.time() >= self._poll_due(polled):
                    polled, self._look_at_once = loop.time(), False
                    await self._poll()
            except (BrokerError, Gap) as error:
                self.counts["poll_failed"] += 1
                if self.is_up and isinstance(error, AuthExpired | BrokerUnreachable):  # Up again with the books.
                    self._lost = f"the books cannot be read: {error}"
                    await self._stream.close()

    def _poll_due(self, polled: float) -> float:
        if self._look_at_once:
            return polled + LEAST_POLL_S
        return polled + (BUSY_POLL_S if self._tracker.live() else IDLE_POLL_S)

    def _doubts_due(self) -> list[float]:
        return [doubt.due_s for doubt in self._doubts.values()]

    async def _resolve_doubts(self, now_s: float) -> None:
        for name, doubt in list(self._doubts.items()):
            if doubt.due_s > now_s:
                continue
            doubt.looked += 1
            doubt.due_s = now_s + DOUBT_PAUSES_S[min(doubt.looked, len(DOUBT_PAUSES_S) - 1)]
            try:
                wire = await self.by_client_id(name)
                if wire is not None:
                    async with self._books:
                        gaps = await self._merge([wire])
                    if not gaps:
                        self._doubts.pop(name, None)
            except (RateLimited, AuthExpired):
                continue
            except BrokerUnreachable:
                self._look_at_once = True  # Whether it answers anything at all.
                continue
            if doubt.looked >= len(DOUBT_PAUSES_S):
                self._doubts.pop(name, None)

    async def _poll(self) -> None:
        """What the books know and the stream did not say soon after: then the stream is mute.

        While there is no stream the books alone tell what happens.
        """
        before, told = self._stream.received, len(self._tracker.fills)
        async with self._books:
            orders = {order.id: order for order in await books.orders(self._rest, "open", 0)}
            for tracked in self._tracker.live():
                if tracked.broker_order not in orders:
                    orders[tracked.broker_order] = await self._order_by_id(tracked.broker_order)
            live = len(self._tracker.live())
            await self._merge(sorted(orders.values(), key=_created))
            is_news = len(self._tracker.fills) != told or len(self._tracker.live()) != live
        if is_news and self.is_up and self._stream.received == before:
            await asyncio.sleep(MUTE_S)
            if self._stream.received == before:
                self.counts["mute"] += 1
                self._lost = "the order stream does not say what the books do"
                await self._stream.close()

    def _set_state(self, *, is_up: bool, why: str) -> None:
        self.is_up = is_up
        self._state(is_up, why)


def today(now: int) -> date:
    """New York's date."""
    return datetime.fromtimestamp(now // NS, NEW_YORK).date()


def day_begins(now: int) -> int:
    """Midnight in New York, ns."""
    return int(datetime.combine(today(now), time(), NEW_YORK).timestamp()) * NS


def _by_order(fills: Sequence[WireFill]) -> dict[str, list[WireFill]]:
    found: dict[str, list[WireFill]] = {}
    for fill in fills:
        found.setdefault(fill.order_id, []).append(fill)
    return found


def _created(order: WireOrder) -> int:
    try:
        return instant_of(order.created_at or order.submitted_at or "")
    except ValueError:
        return 0
