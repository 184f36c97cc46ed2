"""One account at Angel One: orders, books, and what becomes of them (docs/angelone.md)."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from random import Random
from typing import Any, Final

import msgspec
import structlog

from angelx.adapters.angelone.answers import CallRefused
from angelx.adapters.angelone.backoff import Backoff
from angelx.adapters.angelone.calls import Caller
from angelx.adapters.angelone.capabilities import capabilities
from angelx.adapters.angelone.limits import FUNDS, ORDER_BOOK, POSITIONS, TRADE_BOOK
from angelx.adapters.angelone.master import MasterStore, ScripMaster
from angelx.adapters.angelone.merge import Fee, Known, OrderMerge
from angelx.adapters.angelone.rows import (
    JSON_ERRORS,
    Frame,
    FundsRow,
    OrderRow,
    Placed,
    PositionRow,
    TradeRow,
    money,
    one_of,
    rows_of,
    units,
)
from angelx.adapters.angelone.scrips import Scrips
from angelx.adapters.angelone.session import AngelSession, india_date
from angelx.adapters.angelone.stream import LiveStream, Mute, StreamKeeper
from angelx.adapters.rate_budget import Priority
from angelx.domain.errors import (
    AuthExpired,
    BrokerError,
    BrokerUnreachable,
    OrderFateUnknown,
    OrderRejected,
    RateLimited,
)
from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderFilled
from angelx.domain.instruments import Instrument, InstrumentTable, Kind
from angelx.domain.reports import FundsReport, OrderReport, PositionReport
from angelx.domain.scalars import decimal_of
from angelx.domain.wire import StreamClosed, Transport

log = structlog.get_logger()

ORDER_STREAM: Final = "/smart-order-update"
PLACE: Final = "/order/v1/placeOrder"
MODIFY: Final = "/order/v1/modifyOrder"
CANCEL: Final = "/order/v1/cancelOrder"
MOST_TAG: Final = 19
TIMEOUT_S: Final = 7.0
HELLO_S: Final = 10.0
POLL_S: Final = 15.0
"""While orders of ours work, the books are read this often too: the stream is known to forget some."""
BOOKS_WAIT_S: Final = 30.0
MASTER_LOOK_S: Final = 300.0
CARRY: Final = {Kind.OPTION: "CARRYFORWARD", Kind.EQUITY: "DELIVERY"}
INTRADAY: Final = "INTRADAY"


class AngelOneClient:
    """A `BrokerClient`.

    Parameters
    ----------
    session
        Shared with the market data of the same client code.
    orders, master
        Ways to the hosts of the order stream and of the scrip master; REST goes the session's way.
    store
        Where scrip masters are kept.
    fee
        What fills cost; the broker does not say.
    intraday
        Entries are squared off by the broker the same day (`INTRADAY`); else carried.
    """

    def __init__(
        self,
        session: AngelSession,
        *,
        orders: Transport,
        master: Transport,
        store: MasterStore,
        fee: Fee,
        random: Random,
        intraday: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.session = session
        self.on_report: Callable[[Event], None] = _nothing
        self.on_state: Callable[[bool, str], None] = _nothing
        self.last_look: Callable[[OrderApproved], str] = _no_objection
        self.capabilities = capabilities(india_date(self.session.now()))
        self.caller = Caller(session, random, timeout_s=timeout_s)
        self.scrips = Scrips(session, master, store, random)
        self.merge = OrderMerge(fee, session.clock.now, self._report)
        self.refused_frames: Counter[str] = Counter()
        """Messages of the order stream that were not understood, by what was wrong."""
        self._hosts = (orders, master)
        self._intraday = intraday
        self._products: dict[str, str] = {}
        self._random = random
        self._is_up = False
        self._greeting = 0
        """Number of the stream that greeted us, 0 while there is none."""
        self._greetings = 0
        self._frame_at = 0.0
        self._resync = asyncio.Event()
        self._books_lock = asyncio.Lock()
        self._keeper = StreamKeeper(
            session, orders, ORDER_STREAM, random, work=self._hear, on_down=self._down, name="orders"
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"AngelOneClient(up={self._is_up})"

    def _report(self, event: Event) -> None:
        self.on_report(event)

    # ------------------------------------------------------------ instruments
    @property
    def master(self) -> ScripMaster | None:
        """The scrip master of the day, once it was read."""
        return self.scrips.master

    async def instruments(self) -> Sequence[Instrument]:
        """Today's scrip master: from the store where it is there already, else from the broker.

        Raises
        ------
        BrokerUnreachable
            It could not be had, or what came is none.
        """
        master = await self.scrips.today()
        if self.merge.master is not master:
            self.merge.master, self.capabilities = master, capabilities(master.day)
        return [contract.instrument for contract in master.by_id.values()]

    # ------------------------------------------------------------ life
    async def connect(self, table: InstrumentTable) -> None:
        """Log in, have the scrip master, and merge the books."""
        await self.session.ensure()
        await self.instruments()
        missing = [instrument.id for instrument in table if self.master and instrument.id not in self.master.by_id]
        if missing:
            log.warning("instruments_unknown_at_broker", count=len(missing), first=missing[:5], action="not_tradable")
        await self._merge_books(Priority.LOOKUP)
        await self.positions()

    def recall(self, events: Iterable[Event]) -> None:
        """Recorded events of an earlier process today, oldest first: what was reported is not reported again."""
        self.merge.recall(events)

    async def run(self) -> None:
        """Session, order stream and the reads that make up for what it forgets, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.session.run())
            group.create_task(self._keeper.run())
            group.create_task(self._keep_books())
            group.create_task(self._keep_master())

    async def _keep_master(self) -> None:
        """Have every day's scrip master, some minutes after its day began."""
        while True:
            await asyncio.sleep(MASTER_LOOK_S)
            try:
                await self.instruments()
            except BrokerError as error:
                log.warning("scrip_master_not_read", why=self.session.redacted(str(error)), action="retry")

    async def close(self) -> None:
        """Log out and release the connections. Orders and positions stay."""
        await self.session.log_out()
        for transport in {id(one): one for one in (self.session.transport, *self._hosts)}.values():
            await transport.close()

    def _down(self, why: str) -> None:
        self._greeting = 0
        if self._is_up:
            self._is_up = False
            self.on_state(False, f"order stream: {why}")

    async def _hear(self, stream: LiveStream) -> None:
        """Read one order stream: the first message says whether we are in; then the books are merged beside it."""
        try:
            async with asyncio.timeout(HELLO_S):
                hello = await stream.receive()
        except TimeoutError:
            raise Mute(f"no greeting within {HELLO_S:g} s") from None
        self._check_hello(hello)
        self._greeting = self._greetings = self._greetings + 1
        self._resync.set()
        while True:
            self.take_message(await stream.receive())

    @staticmethod
    def _check_hello(hello: str | bytes) -> None:
        try:
            _check_code(msgspec.json.decode(hello, type=Frame))
        except JSON_ERRORS as error:
            raise StreamClosed(1003, f"no greeting: {error}") from error

    def take_message(self, message: str | bytes) -> None:
        """One message of the order stream; what is not understood is counted, and the books are read instead.

        Raises
        ------
        AuthExpired, RateLimited
            The message says that nothing more will come.
        """
        self._frame_at = asyncio.get_running_loop().time()
        try:
            frame = msgspec.json.decode(message, type=Frame)
            _check_code(frame)
            if frame.order is not None and frame.order.orderid:
                self.merge.on_frame(frame.order)
        except (*JSON_ERRORS, ValueError) as error:
            self.refused_frames[type(error).__name__] += 1
            self._resync.set()

    async def _keep_books(self) -> None:
        """Merge the books whenever the stream has (re)opened or said something odd, and now and then while we work."""
        backoff = Backoff(self._random)
        while True:
            try:
                async with asyncio.timeout(POLL_S):
                    await self._resync.wait()
            except TimeoutError:
                if not self._is_poll_due():
                    continue
            self._resync.clear()
            greeting = self._greeting
            try:
                await self._merge_books(Priority.LOOKUP)
            except BrokerError as error:
                log.warning("books_not_merged", why=self.session.redacted(str(error)), action="retry")
                await asyncio.sleep(backoff.wait_s())
                self._resync.set()
                continue
            backoff.reset()
            if greeting and greeting == self._greeting and not self._is_up:
                self._is_up = True
                self.on_state(True, "order stream up, books merged")

    def _is_poll_due(self) -> bool:
        silent_s = asyncio.get_running_loop().time() - self._frame_at
        return bool(self.merge.unanswered or self.merge.working) and silent_s >= POLL_S

    # ------------------------------------------------------------ orders
    async def place(self, order: OrderApproved) -> OrderAccepted:
        """Send one limit order, once.

        The acceptance may have been reported already, where the order stream was faster.

        Raises
        ------
        BrokerUnreachable
            Nothing was sent.
        RateLimited, AuthExpired, OrderRejected
            It was not taken.
        OrderFateUnknown
            It may have been: look it up (`look_up`), never send it again.
        """
        return await self._place(order, 0)

    async def place_stop(self, order: OrderApproved, trigger: int) -> OrderAccepted:
        """Send a stop with a limit (`STOPLOSS_LIMIT`), triggered at a price of 1/10,000. As `place`."""
        return await self._place(order, trigger)

    async def _place(self, order: OrderApproved, trigger: int) -> OrderAccepted:
        if not order.order or len(order.order) > MOST_TAG:
            raise OrderRejected(f"bad_order_id: {order.order!r} does not fit the order tag")
        if self.merge.was_sent(order.order):
            raise OrderRejected(f"duplicate_order: {order.order} was sent before")
        contract = self.scrips.contract(order.instrument)
        variety, kind = ("STOPLOSS", "STOPLOSS_LIMIT") if trigger else ("NORMAL", "LIMIT")
        product = self._product(contract.instrument, order.reduces)
        body = {
            "variety": variety, "tradingsymbol": contract.symbol, "symboltoken": contract.token,
            "transactiontype": "BUY" if order.side > 0 else "SELL", "exchange": contract.exchange, "ordertype": kind,
            "producttype": product, "duration": "DAY", "price": _price(order.limit), "triggerprice": _price(trigger),
            "squareoff": "0", "stoploss": "0", "quantity": str(order.quantity), "ordertag": order.order,
        }  # fmt: skip
        self.merge.sending(order)
        try:
            data = await self.caller.send(
                PLACE, body, order.order, is_exit=order.reduces, last_look=lambda: self.last_look(order)
            )
            placed = one_of(data, Placed)
        except ValueError as error:
            raise OrderFateUnknown(order.order, f"taken, but {error}") from None
        except (BrokerUnreachable, RateLimited, AuthExpired, OrderRejected):
            self.merge.forget(order.order)
            raise
        except asyncio.CancelledError:
            self._resync.set()
            raise
        except OrderFateUnknown:
            self._resync.set()
            raise
        self._products.setdefault(order.instrument, product)
        return self.merge.placed(order, placed.orderid, variety, product)

    def _product(self, instrument: Instrument, reduces: bool) -> str:
        """Exits keep their entry's product type; else they would open a second position."""
        mine = INTRADAY if self._intraday else CARRY.get(instrument.kind, "CARRYFORWARD")
        return self._products.get(instrument.id, mine) if reduces else mine

    async def replace(self, order: str, quantity: int, limit: int, trigger: int = 0) -> None:
        """Change a working order of ours in place; `quantity` is the new total, filled units included.

        Raises
        ------
        As `place`.
        """
        known = await self._find(order)
        contract = self.scrips.contract(known.instrument)
        body = {
            "variety": known.variety, "orderid": known.broker_order, "ordertype": known.kind,
            "producttype": known.product, "duration": "DAY", "price": _price(limit), "quantity": str(quantity),
            "tradingsymbol": contract.symbol, "symboltoken": contract.token, "exchange": contract.exchange,
        }  # fmt: skip
        if trigger:
            body["triggerprice"] = _price(trigger)
        await self.caller.send(MODIFY, body, order, is_exit=False)

    async def cancel(self, order: str) -> None:
        """Ask for the end of an order of ours, once. The end itself is reported.

        Raises
        ------
        As `place`; `OrderRejected` where the broker has no such order, or it has ended.
        """
        known = await self._find(order)
        body = {"variety": known.variety, "orderid": known.broker_order}
        try:
            await self.caller.send(CANCEL, body, order, is_exit=True)
        except (OrderFateUnknown, CallRefused):
            self._resync.set()
            raise

    async def _find(self, order: str) -> Known:
        known = self.merge.of(order)
        if known is None:
            await self.look_up(order)
            known = self.merge.of(order)
        if known is None:
            raise OrderRejected(f"unknown_order: the broker's book has no order tagged {order}")
        return known

    async def look_up(self, order: str) -> OrderReport | None:
        """The order of a client id in one complete order book; `None` where it is not in there now.

        Absent only after two such reads 3 s apart, the first 10 s after the send (SPEC 6.2): that is the caller's rule.
        """
        book = await self._merge_books(Priority.LOOKUP)
        return next((report for report in book if report.order == order), None)

    # ------------------------------------------------------------ books
    async def order_book(self) -> Sequence[OrderReport]:
        """Today's orders; `order` is empty for those that are not ours."""
        return await self._merge_books(Priority.LOOKUP)

    async def trade_book(self) -> Sequence[OrderFilled]:
        """Today's fills of our orders as they were reported, those included that this read added."""
        await self._merge_books(Priority.LOOKUP)
        today = india_date(self.session.now())
        return tuple(fill for fill in self.merge.fills if india_date(fill.at) == today)

    async def _merge_books(self, priority: Priority) -> list[OrderReport]:
        """Trades first: an order book read after them is never behind them."""
        async with self._books_lock:
            trades = await self._rows("/order/v1/getTradeBook", TRADE_BOOK, TradeRow, priority)
            orders = await self._rows("/order/v1/getOrderBook", ORDER_BOOK, OrderRow, priority)
            try:
                return self.merge.books(orders, trades, india_date(self.session.now()))
            except ValueError as error:
                raise BrokerUnreachable(f"books not understood: {error}") from error

    async def _rows(self, path: str, category: str, kind: type[Any], priority: Priority) -> Sequence[Any]:
        data = await self.caller.read("GET", path, category, priority=priority, within_s=BOOKS_WAIT_S)
        try:
            return rows_of(data, kind)
        except ValueError as error:
            raise BrokerUnreachable(f"{path}: {error}") from error

    async def positions(self) -> Sequence[PositionReport]:
        """Positions of the day that are not flat; shares kept as holdings are not among them."""
        rows = await self._rows("/order/v1/getPosition", POSITIONS, PositionRow, Priority.LOOKUP)
        sums: dict[str, tuple[int, int]] = {}
        try:
            for row in rows:
                quantity = units("netqty", row.netqty)
                if quantity:
                    name = self._name(row)
                    held, cost = sums.get(name, (0, 0))
                    sums[name] = (held + quantity, cost + _cost(row, quantity))
                    self._products[name] = row.producttype
        except ValueError as error:
            raise BrokerUnreachable(f"positions not understood: {error}") from error
        return [PositionReport(name, quantity, cost) for name, (quantity, cost) in sums.items() if quantity]

    def _name(self, row: PositionRow) -> str:
        token = str(row.symboltoken)
        contract = None if self.master is None else self.master.by_token.get((row.exchange, token))
        return contract.instrument.id if contract else f"{row.exchange}:{token}"

    async def funds(self) -> FundsReport:
        """Money now. `availablecash` is not cash but what is free, so cash is made up from what is used."""
        data = await self.caller.read("GET", "/user/v1/getRMS", FUNDS, priority=Priority.POLL, within_s=BOOKS_WAIT_S)
        try:
            row = one_of(data, FundsRow)
            net, used = money("net", row.net), money("utiliseddebits", row.utiliseddebits)
            spent = money("utilisedoptionpremium", row.utilisedoptionpremium)
            paid_out, gain = money("utilisedpayout", row.utilisedpayout), money("m2munrealized", row.m2munrealized)
        except ValueError as error:
            raise BrokerUnreachable(f"funds not understood: {error}") from error
        return FundsReport(net + used - spent - paid_out, net, net + used - paid_out + gain)


def _check_code(frame: Frame) -> None:
    """The order stream says in every message whether we are still welcome."""
    code = str(frame.status_code)
    if code in {"401", "403"}:
        raise AuthExpired(f"order stream: {code} {frame.error_message or ''}")
    if code == "429":
        raise RateLimited("order stream: too many connections", 60.0)


def _cost(row: PositionRow, quantity: int) -> int:
    """Signed money paid for what is held, at the average of its side."""
    if quantity > 0:
        total, of = row.totalbuyvalue, units("buyqty", row.buyqty) + units("cfbuyqty", row.cfbuyqty)
    else:
        total, of = row.totalsellvalue, units("sellqty", row.sellqty) + units("cfsellqty", row.cfsellqty)
    amount = money("totalvalue", total)
    return round(Fraction(amount * quantity, of)) if of and amount else quantity * money("netprice", row.netprice)


def _price(price: int) -> str:
    """Rupees as text, as exact as it is."""
    return f"{decimal_of(price):.4f}".rstrip("0").rstrip(".")


def _no_objection(order: OrderApproved) -> str:
    """Nobody keeps orders here."""
    return ""


def _nothing(*_: object) -> None:
    """Before the owner has set it."""
