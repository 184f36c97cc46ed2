"""One Alpaca account: orders out once, what became of them back once (docs/alpaca.md)."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from angelx.adapters.alpaca import books
from angelx.adapters.alpaca.capabilities import capabilities
from angelx.adapters.alpaca.credentials import Credentials
from angelx.adapters.alpaca.master import Kept, Listing, Master, listings_of, load, store
from angelx.adapters.alpaca.messages import WireAccount, WireClock, WireFill, WireOrder, WirePosition
from angelx.adapters.alpaca.order_stream import OrderStream
from angelx.adapters.alpaca.refusals import DUPLICATE_ID
from angelx.adapters.alpaca.rest import Rest, budget
from angelx.adapters.alpaca.tracker import (
    Fee,
    Gap,
    Tracker,
    Unreadable,
    foreign_id,
    multiplier,
    same_order,
    whole_units,
)
from angelx.adapters.rate_budget import Priority, RateBudget
from angelx.domain.errors import (
    AuthExpired,
    BrokerError,
    BrokerUnreachable,
    OrderFateUnknown,
    OrderRejected,
    RateLimited,
)
from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderFilled
from angelx.domain.instruments import Instrument, InstrumentTable
from angelx.domain.reports import FundsReport, OrderReport, PositionReport
from angelx.domain.scalars import BUY, NS, SELL, decimal_of, price_of
from angelx.domain.timestamps import instant_of
from angelx.domain.wire import Transport

NEW_YORK: Final = ZoneInfo("America/New_York")
TIMES_IN_FORCE: Final = {"DAY": "day", "GTC": "gtc", "IOC": "ioc", "FOK": "fok", "OPG": "opg", "CLS": "cls"}
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


class AlpacaClient:
    """`BrokerClient` of one account.

    Beside the port: `replace`, `look_up`, `listing`, `offset_ns`, `master`, `counts`.

    Parameters
    ----------
    transport
        To the trading host.
    now
        Nanoseconds since the epoch.
    random
        Of backoff.
    cache
        Folder of the instrument master; `None` = it is read anew by each process.
    underlyings
        Symbols whose option contracts are listed, expiring within `option_days` days.
    time_in_force
        Of every order: `DAY`, `IOC`, …
    fee
        Fees of a whole order so far filled; Alpaca's fills carry none. `None` = 0.
    rate
        The account's budget, shared with whoever else uses these credentials.
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        *,
        now: Callable[[], int],
        random: Random,
        cache: Path | None = None,
        underlyings: Sequence[str] = (),
        option_days: int = 45,
        time_in_force: str = "DAY",
        fee: Fee | None = None,
        rate: RateBudget | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        if time_in_force not in TIMES_IN_FORCE:
            raise ValueError(f"time_in_force must be one of {', '.join(TIMES_IN_FORCE)}, was {time_in_force!r}")
        self.on_report: Callable[[Event], None] = _nobody
        self.on_state: Callable[[bool, str], None] = _nobody
        self.last_look: Callable[[OrderApproved], str] = _no_objection
        self._now, self._random = now, random
        self.capabilities = capabilities(self._today())
        self._transport, self._cache = transport, cache
        self._underlyings, self._option_days = tuple(underlyings), option_days
        self._tif = TIMES_IN_FORCE[time_in_force]
        self._rest = Rest(transport, credentials, rate or budget(), now=now, random=random, timeout_s=timeout_s)
        self._stream = OrderStream(transport, credentials, timeout_s=timeout_s)
        self._tracker = Tracker(self._known, fee)
        self.counts = self._tracker.counts
        """What was not acted on, by reason."""
        self.master: Master | None = None
        self.offset_ns = 0
        """Their clock less ours as `/v2/clock` said it at the last merge, ns."""
        self._table: InstrumentTable | None = None
        self._doubts: dict[str, _Doubt] = {}
        self._wake = asyncio.Event()
        self._books = asyncio.Lock()
        self._is_up = False
        self._open_gap = ""
        self._look_at_once = False

    def __repr__(self) -> str:
        return f"AlpacaClient({'up' if self._is_up else 'down'})"

    # ------------------------------------------------------------ instruments
    async def instruments(self) -> Sequence[Instrument]:
        """Today's active shares, and the option contracts of the underlyings asked for.

        Raises
        ------
        BrokerUnreachable, AuthExpired, RateLimited
            They could not be read completely, and nothing was kept for this date.
        """
        day = self._today()
        if self.master is None or self.master.day != day:
            kept = None
            if self._cache is not None:
                kept = await asyncio.to_thread(load, self._cache, day, self._underlyings)
            self.master = Master(kept or await self._read_master(day))
        return self.master.instruments

    async def _read_master(self, day: date) -> Kept:
        last = day + timedelta(days=self._option_days)
        contracts = [
            contract
            for underlying in self._underlyings
            for contract in await books.contracts(self._rest, underlying, str(day), str(last))
        ]
        kept = msgspec.structs.replace(
            listings_of(await books.assets(self._rest), contracts, day), underlyings=self._underlyings
        )
        if self._cache is not None:
            await asyncio.to_thread(store, self._cache, kept)
        return kept

    def listing(self, instrument: str) -> Listing | None:
        """What the broker's lists say of an instrument; `None` where it is not in them."""
        return None if self.master is None else self.master.by_id.get(instrument)

    def _known(self, symbol: str) -> Instrument | None:
        listing = None if self.master is None else self.master.by_symbol.get(symbol)
        return None if listing is None else listing.instrument

    # ------------------------------------------------------------ the session
    async def connect(self, table: InstrumentTable) -> None:
        """See that the account may trade.

        Raises
        ------
        BrokerError
            It may not, or could not be asked.
        """
        await self.instruments()
        self._table = table
        account = await self._rest.get("/v2/account", answer=WireAccount)
        if account.status != "ACTIVE" or account.trading_blocked or account.account_blocked:
            raise BrokerError(f"the account may not trade: {account.status}, blocked {account.trading_blocked}")
        if account.trade_suspended_by_user:
            raise BrokerError("the account may not trade: suspended in its own configuration")
        await self._read_clock()

    async def _read_clock(self) -> None:
        before = self._now()
        clock = await self._rest.get("/v2/clock", answer=WireClock)
        with suppress(ValueError):
            self.offset_ns = instant_of(clock.timestamp) - (before + self._now()) // 2

    async def run(self) -> None:
        """Keep the order stream alive until cancelled; see `on_report` and `on_state`."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(), name="alpaca order stream")
                tasks.create_task(self._watch(), name="alpaca books")
        finally:
            self._is_up = False
            await self._stream.close()

    async def close(self) -> None:
        """Release the connections; keys have no session to end, and orders stay."""
        await self._stream.close()
        await self._transport.close()

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
                self._set_state(is_up=False, why=str(error))
            await self._stream.close()
            pause = min(30.0, 0.5 * 2**failures) * (0.5 + self._random.random())
            failures = min(failures + 1, 10)
            await asyncio.sleep(pause)

    async def _resync(self) -> None:
        """Both books into the tracker; nothing is relied on before they agree."""
        await self._read_clock()
        for attempt in range(MERGES):
            if attempt:
                await asyncio.sleep(MERGE_PAUSE_S)
            async with self._books:
                gaps = await self._merge(await self._all_orders())
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
                    self._emit(self._tracker.told(update, self._now()))
                except Unreadable:
                    self.counts["unreadable"] += 1
                    self._look_at_once = True
                    self._wake.set()
                except Gap as gap:
                    self._emit(gap.events)
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
        self._emit(events)
        if gaps:
            by_id = {order.id: order for order in orders}
            wanted = {gap.broker_order for gap in gaps}
            for missing in wanted - by_id.keys():
                by_id[missing] = await self._order_by_id(missing)
            first = min(_created(by_id[name]) for name in wanted)
            fills: dict[str, list[WireFill]] = {}
            for fill in await books.fills(self._rest, first - TOLERANCE_NS):
                fills.setdefault(fill.order_id, []).append(fill)
            events, gaps = self._tracker.read(sorted(by_id.values(), key=_created), fills, self._now())
            self._emit(events)
        return gaps

    async def _order_by_id(self, broker_order: str) -> WireOrder:
        return await self._rest.get(f"/v2/orders/{broker_order}", answer=WireOrder)

    async def _chain(self, broker_order: str) -> list[WireOrder]:
        """An order and those it replaces, oldest first: a replacement counts what they had filled."""
        chain = [await self._order_by_id(broker_order)]
        while chain[0].replaces and len(chain) < LONGEST_CHAIN:
            chain.insert(0, await self._order_by_id(chain[0].replaces))
        return chain

    async def _all_orders(self) -> list[WireOrder]:
        """Today's orders, those still open from before, and those of ours that are in neither list."""
        found = {order.id: order for order in await books.orders(self._rest, "open", 0)}
        found |= {order.id: order for order in await books.orders(self._rest, "all", self._day_begins())}
        for tracked in self._tracker.live():
            if tracked.broker_order not in found:
                found[tracked.broker_order] = await self._order_by_id(tracked.broker_order)
        return sorted(found.values(), key=_created)

    # ------------------------------------------------------------ beside the stream
    async def _watch(self) -> None:
        """Look-ups of orders in doubt, and a look at the books now and then: a mute stream is caught by it."""
        loop = asyncio.get_running_loop()
        polled = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min([self._poll_due(polled), *self._doubts_due()])):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._resolve_doubts(loop.time())
                if loop.time() >= self._poll_due(polled):
                    polled = loop.time()
                    if self._is_up:
                        self._look_at_once = False
                        await self._poll()
            except (BrokerError, Gap) as error:
                self.counts["poll_failed"] += 1
                if isinstance(error, AuthExpired):
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
                wire = await self._by_client_id(name)
            except (BrokerUnreachable, RateLimited, AuthExpired):
                continue
            if wire is not None:
                self._doubts.pop(name, None)
                async with self._books:
                    await self._merge([wire])
            elif doubt.looked >= len(DOUBT_PAUSES_S):
                self._doubts.pop(name, None)

    async def _poll(self) -> None:
        """What the books know and the stream did not say soon after: then the stream is mute."""
        before, told = self._stream.received, len(self._tracker.fills)
        async with self._books:
            orders = {order.id: order for order in await books.orders(self._rest, "open", 0, Priority.POLL)}
            for tracked in self._tracker.live():
                if tracked.broker_order not in orders:
                    orders[tracked.broker_order] = await self._order_by_id(tracked.broker_order)
            live = len(self._tracker.live())
            await self._merge(sorted(orders.values(), key=_created))
            is_news = len(self._tracker.fills) != told or len(self._tracker.live()) != live
        if is_news and self._stream.received == before:
            await asyncio.sleep(MUTE_S)
            if self._stream.received == before:
                self.counts["mute"] += 1
                await self._stream.close()

    def _set_state(self, *, is_up: bool, why: str) -> None:
        self._is_up = is_up
        self.on_state(is_up, why)

    def _emit(self, events: Sequence[Event]) -> None:
        for event in events:
            self.on_report(event)

    # ------------------------------------------------------------ orders
    async def place(self, order: OrderApproved) -> OrderAccepted:
        """Send one order, once. The acceptance goes to `on_report` too, before this returns.

        Raises
        ------
        OrderRejected
            It is not and will not be at the broker: the message begins with a stable code.
        OrderFateUnknown
            It may be: it is looked up from now on, and what is found goes to `on_report`.
        BrokerUnreachable, RateLimited, AuthExpired
            Nothing happened.
        """
        listing = self.listing(order.instrument)
        if listing is None or (self._table is not None and self._table.get(order.instrument) is None):
            raise OrderRejected(f"unknown_instrument: {order.instrument} is not in the broker's list of today")
        if order.order in self._doubts or order.order in self._tracker.orders:
            raise OrderRejected(f"duplicate_order: {order.order} was sent before")
        contracts, rest = divmod(order.quantity, multiplier(listing.instrument))
        if rest or contracts <= 0:
            raise OrderRejected(f"off_lot: {order.quantity} is no number of lots of {multiplier(listing.instrument)}")
        self._tracker.expect(order, listing.instrument)
        try:
            response = await self._rest.send(
                "POST",
                "/v2/orders",
                self._body(order, listing.symbol, contracts),
                order=order.order,
                priority=Priority.EXIT if order.reduces else Priority.ENTRY,
                last_look=lambda: self.last_look(order),
            )
            wire = msgspec.json.decode(response.body, type=WireOrder)
        except (OrderFateUnknown, asyncio.CancelledError):
            self._doubt(order.order)
            raise
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self._doubt(order.order)
            raise OrderFateUnknown(order.order, f"the answer cannot be read: {error}") from error
        except OrderRejected as error:
            if not str(error).startswith(DUPLICATE_ID):
                self._tracker.forget(order.order)
                raise
            wire = await self._claim(order, listing.symbol, contracts, error)
        except BrokerError:
            self._tracker.forget(order.order)
            raise
        return self._accepted(order, wire)

    def _body(self, order: OrderApproved, symbol: str, contracts: int) -> dict[str, object]:
        return {
            "symbol": symbol,
            "qty": str(contracts),
            "side": "buy" if order.side > 0 else "sell",
            "type": "limit",
            "time_in_force": self._tif,
            "limit_price": price_text(order.limit),
            "client_order_id": order.order,
        }

    async def _claim(self, order: OrderApproved, symbol: str, contracts: int, error: OrderRejected) -> WireOrder:
        """An order of this id is there already: ours, if symbol, side, quantity and time agree."""
        try:
            wire = await self._by_client_id(order.order)
        except BrokerError as unread:
            self._doubt(order.order)
            raise OrderFateUnknown(order.order, f"{error}; looking it up: {unread}") from unread
        slack = TOLERANCE_NS + abs(self.offset_ns)
        if wire is None:
            self._doubt(order.order)
            raise OrderFateUnknown(order.order, f"{error}, and no order of that id is there yet")
        if not same_order(order, wire, contracts, symbol, order.at - slack, self._now() + slack):
            self._tracker.forget(order.order)
            raise OrderRejected(
                f"foreign_client_id: {order.order} is another order: {wire.symbol} {wire.side} {wire.qty}"
            )
        return wire

    def _accepted(self, order: OrderApproved, wire: WireOrder) -> OrderAccepted:
        at = self._now()
        events, gaps = self._tracker.read([wire], {}, at)
        if gaps:  # It has filled already: the stream will say, or the books.
            start = msgspec.structs.replace(wire, status="new", filled_qty=Decimal(0))
            events += self._tracker.read([start], {}, at)[0]
        self._emit(events)
        if wire.status == "rejected":
            raise OrderRejected(f"rejected: {wire.reject_reason or 'no reason given'}")
        return OrderAccepted(at, order.order, wire.id)

    def _doubt(self, order: str) -> None:
        """The broker is asked about an order soon, and again until it is found."""
        self._doubts[order] = _Doubt(asyncio.get_running_loop().time() + DOUBT_PAUSES_S[0])
        self._wake.set()

    async def look_up(self, order: str) -> OrderReport | None:
        """The order of a client id as the broker has it; `None`: not there, or not yet.

        Raises
        ------
        BrokerError
            It could not be asked.
        """
        wire = await self._by_client_id(order)
        return None if wire is None else self._tracker.report(wire)

    async def _by_client_id(self, order: str) -> WireOrder | None:
        try:
            return await self._rest.get("/v2/orders:by_client_order_id", {"client_order_id": order}, answer=WireOrder)
        except OrderRejected as error:
            if "404" in str(error):
                return None
            raise

    async def cancel(self, order: str) -> None:
        """Ask for the end of an order; that it has ended comes by `on_report`.

        Raises
        ------
        OrderRejected
            `order_not_found`, or `already_ended`: then its end is looked up.
        OrderFateUnknown
            The cancel may have been taken.
        BrokerUnreachable, RateLimited, AuthExpired
            Nothing happened.
        """
        broker_order = await self._broker_order(order)
        try:
            await self._rest.send("DELETE", f"/v2/orders/{broker_order}", order=order, priority=Priority.EXIT)
        except (OrderFateUnknown, OrderRejected):
            self._doubt(order)
            raise

    async def replace(self, order: str, *, quantity: int, limit: int) -> str:
        """Ask for another quantity (the new total, units) and limit; returns the broker's new id of the order.

        That it was taken is no proof: `on_report` goes on under the same client id whichever of the two fills.

        Raises
        ------
        OrderRejected, OrderFateUnknown, BrokerUnreachable, RateLimited, AuthExpired
            As `cancel`.
        """
        broker_order = await self._broker_order(order)
        tracked = self._tracker.orders.get(order)
        contracts = quantity // (multiplier(tracked.instrument) if tracked is not None else 1)
        body = {"qty": str(contracts), "limit_price": price_text(limit)}
        try:
            response = await self._rest.send(
                "PATCH", f"/v2/orders/{broker_order}", body, order=order, priority=Priority.EXIT
            )
            wire = msgspec.json.decode(response.body, type=WireOrder)
        except (OrderFateUnknown, OrderRejected):
            self._doubt(order)
            raise
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self._doubt(order)
            raise OrderFateUnknown(order, f"the answer cannot be read: {error}") from error
        events, _ = self._tracker.read([wire], {}, self._now())
        self._emit(events)
        if tracked is not None:
            tracked.quantity = quantity
        return wire.id

    async def _broker_order(self, order: str) -> str:
        tracked = self._tracker.orders.get(order)
        if tracked is not None and tracked.broker_order:
            return tracked.broker_order
        wire = await self._by_client_id(order)
        if wire is None:
            raise OrderRejected(f"order_not_found: no order {order}")
        return wire.id

    # ------------------------------------------------------------ the books
    async def order_book(self) -> Sequence[OrderReport]:
        """Today's orders and those open from before, oldest first."""
        return [self._tracker.report(order) for order in await self._all_orders()]

    async def trade_book(self) -> Sequence[OrderFilled]:
        """Today's fills, oldest first; those of orders that are not ours have no client id."""
        async with self._books:
            orders = await self._all_orders()
            fills = await books.fills(self._rest, self._day_begins())
            by_order: dict[str, list[WireFill]] = {}
            for fill in fills:
                by_order.setdefault(fill.order_id, []).append(fill)
            events, _ = self._tracker.read(orders, by_order, self._now())
            self._emit(events)
        return [self._trade(fill) for fill in fills]

    def _trade(self, fill: WireFill) -> OrderFilled:
        instrument = self._known(fill.symbol)
        each = multiplier(instrument) if instrument is not None else 1
        units, cumulative = whole_units(fill.qty) * each, whole_units(fill.cum_qty) * each
        execution = f"{fill.order_id}/{cumulative}"
        return self._tracker.fills.get(execution) or OrderFilled(
            _instant(fill.transaction_time),
            "",
            instrument.id if instrument is not None else foreign_id(fill.symbol),
            SELL if fill.side.startswith("sell") else BUY,
            units,
            price_of(fill.price),
            0,
            execution,
        )

    async def positions(self) -> Sequence[PositionReport]:
        """Positions that are not flat; fractions of a share are counted in `counts` and left out."""
        answered = await self._rest.get("/v2/positions", answer=list[WirePosition])
        found = []
        for line in answered:
            instrument = self._known(line.symbol)
            units = whole_units(line.qty) * (multiplier(instrument) if instrument is not None else 1)
            if line.qty != int(line.qty):
                self.counts["fractional"] += 1
            name = instrument.id if instrument is not None else foreign_id(line.symbol)
            sign = -1 if line.side == "short" or units < 0 else 1
            if units:
                found.append(PositionReport(name, sign * abs(units), sign * abs(price_of(line.cost_basis))))
        return found

    async def funds(self) -> FundsReport:
        """Money now; `available` is the account's buying power."""
        account = await self._rest.get("/v2/account", answer=WireAccount)
        return FundsReport(price_of(account.cash), price_of(account.buying_power), price_of(account.equity))

    # ------------------------------------------------------------ time
    def _today(self) -> date:
        return datetime.fromtimestamp(self._now() // NS, NEW_YORK).date()

    def _day_begins(self) -> int:
        """Midnight in New York, ns."""
        return int(datetime.combine(self._today(), time(), NEW_YORK).timestamp()) * NS


def price_text(price: int) -> str:
    """A price as the wire wants it: at most four decimals, no exponent."""
    return f"{decimal_of(price).normalize():f}"


def _created(order: WireOrder) -> int:
    return _instant(order.created_at or order.submitted_at or "")


def _instant(text: str) -> int:
    try:
        return instant_of(text)
    except ValueError:
        return 0


def _no_objection(order: OrderApproved) -> str:
    """Nobody keeps orders here."""
    return ""


def _nobody(*_: object) -> None:
    """Nobody listens yet."""
