"""One Alpaca account: orders out once, what became of them back once (docs/alpaca.md)."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from angelx.adapters.alpaca import books
from angelx.adapters.alpaca.capabilities import capabilities
from angelx.adapters.alpaca.credentials import Credentials
from angelx.adapters.alpaca.follower import TOLERANCE_NS, OrderFollower, today
from angelx.adapters.alpaca.master import Kept, Listing, Master, listings_of, load, store
from angelx.adapters.alpaca.messages import WireAccount, WireFill, WireOrder, WirePosition
from angelx.adapters.alpaca.order_stream import OrderStream
from angelx.adapters.alpaca.refusals import DUPLICATE_ID
from angelx.adapters.alpaca.rest import Rest, budget
from angelx.adapters.alpaca.tracker import (
    Fee,
    Tracker,
    foreign_id,
    multiplier,
    same_order,
    whole_units,
)
from angelx.adapters.rate_budget import Priority, RateBudget
from angelx.domain.errors import (
    BrokerError,
    BrokerUnreachable,
    OrderFateUnknown,
    OrderRejected,
)
from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderFilled
from angelx.domain.instruments import Instrument, InstrumentTable
from angelx.domain.reports import FundsReport, OrderReport, PositionReport
from angelx.domain.scalars import BUY, SELL, price_of, price_text
from angelx.domain.timestamps import instant_of
from angelx.domain.wire import Transport

TIMES_IN_FORCE: Final = {"DAY": "day", "GTC": "gtc", "IOC": "ioc", "FOK": "fok", "OPG": "opg", "CLS": "cls"}


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
        self._now = now
        self.capabilities = capabilities(today(self._now()))
        self._transport, self._cache = transport, cache
        self._underlyings, self._option_days = tuple(underlyings), option_days
        self._tif = TIMES_IN_FORCE[time_in_force]
        self._rest = Rest(transport, credentials, rate or budget(), now=now, random=random, timeout_s=timeout_s)
        self._stream = OrderStream(transport, credentials, timeout_s=timeout_s)
        self._tracker = Tracker(self._known, fee)
        self.counts = self._tracker.counts
        """What was not acted on, by reason."""
        self.master: Master | None = None
        self._table: InstrumentTable | None = None
        self._follower = OrderFollower(
            self._rest,
            self._stream,
            self._tracker,
            report=self._report,
            state=self._state,
            now=now,
            random=random,
        )

    def __repr__(self) -> str:
        return f"AlpacaClient({'up' if self._follower.is_up else 'down'})"

    def _report(self, event: Event) -> None:
        self.on_report(event)

    def _state(self, is_up: bool, why: str) -> None:
        self.on_state(is_up, why)

    @property
    def offset_ns(self) -> int:
        """Their clock less ours, as it was when the books were merged last, ns."""
        return self._follower.offset_ns

    # ------------------------------------------------------------ instruments
    async def instruments(self) -> Sequence[Instrument]:
        """Today's active shares, and the option contracts of the underlyings asked for.

        Raises
        ------
        BrokerUnreachable, AuthExpired, RateLimited
            They could not be read completely, and nothing was kept for this date.
        """
        day = today(self._now())
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
        await self._follower.read_clock()

    async def run(self) -> None:
        """Keep the order stream alive until cancelled; see `on_report` and `on_state`."""
        await self._follower.run()

    async def close(self) -> None:
        """Release the connections; keys have no session to end, and orders stay."""
        await self._stream.close()
        await self._transport.close()

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
        if self._follower.is_in_doubt(order.order) or order.order in self._tracker.orders:
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
            self._follower.doubt(order.order)
            raise
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self._follower.doubt(order.order)
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
            wire = await self._follower.by_client_id(order.order)
        except BrokerError as unread:
            self._follower.doubt(order.order)
            raise OrderFateUnknown(order.order, f"{error}; looking it up: {unread}") from unread
        slack = TOLERANCE_NS + abs(self.offset_ns)
        if wire is None:
            self._follower.doubt(order.order)
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
        self._follower.emit(events)
        tracked = self._tracker.orders[order.order]
        if wire.status == "rejected" or (tracked.ended and not tracked.accepted):  # The stream may have said it first.
            raise OrderRejected(f"rejected: {wire.reject_reason or 'no reason given'}")
        return OrderAccepted(at, order.order, wire.id)

    async def look_up(self, order: str) -> OrderReport | None:
        """The order of a client id as the broker has it; `None`: not there, or not yet.

        Raises
        ------
        BrokerError
            It could not be asked.
        """
        wire = await self._follower.by_client_id(order)
        return None if wire is None else self._tracker.report(wire)

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
            self._follower.doubt(order)
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
            self._follower.doubt(order)
            raise
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self._follower.doubt(order)
            raise OrderFateUnknown(order, f"the answer cannot be read: {error}") from error
        events, _ = self._tracker.read([wire], {}, self._now())
        self._follower.emit(events)
        if tracked is not None:
            tracked.quantity = quantity
        return wire.id

    async def _broker_order(self, order: str) -> str:
        tracked = self._tracker.orders.get(order)
        if tracked is not None and tracked.broker_order:
            return tracked.broker_order
        wire = await self._follower.by_client_id(order)
        if wire is None:
            raise OrderRejected(f"order_not_found: no order {order}")
        events, _ = self._tracker.read([wire], {}, self._now())
        self._follower.emit(events)
        return wire.id

    # ------------------------------------------------------------ the books
    async def order_book(self) -> Sequence[OrderReport]:
        """Today's orders and those open from before, oldest first."""
        orders = await self._follower.all_orders()
        with _reading("the order book"):
            return [self._tracker.report(order) for order in orders]

    async def trade_book(self) -> Sequence[OrderFilled]:
        """Today's fills, oldest first; those of orders that are not ours have no client id."""
        fills = await self._follower.trade_book()
        with _reading("the trade book"):
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
        with _reading("the positions"):
            return [position for line in answered if (position := self._position(line)) is not None]

    def _position(self, line: WirePosition) -> PositionReport | None:
        instrument = self._known(line.symbol)
        units = whole_units(line.qty) * (multiplier(instrument) if instrument is not None else 1)
        if line.qty != int(line.qty):
            self.counts["fractional"] += 1
        name = instrument.id if instrument is not None else foreign_id(line.symbol)
        sign = -1 if line.side == "short" or units < 0 else 1
        return PositionReport(name, sign * abs(units), sign * abs(price_of(line.cost_basis))) if units else None

    async def funds(self) -> FundsReport:
        """Money now; `available` is the account's buying power."""
        account = await self._rest.get("/v2/account", answer=WireAccount)
        with _reading("the account"):
            return FundsReport(price_of(account.cash), price_of(account.buying_power), price_of(account.equity))


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Numbers that are none make an answer that cannot be used."""
    try:
        yield
    except (ValueError, ArithmeticError) as error:
        raise BrokerUnreachable(f"{what} cannot be read: {error}") from error


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
