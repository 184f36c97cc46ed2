"""Random days at the exchange: what holds whatever is sent, and that the same calls give the same answers."""

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.domain.ticks import AT, LAST, VOLUME, TickBatch
from angelx.venue.account import Margin
from angelx.venue.exchange import Exchange, OrderRequest, Policy, Refused, Report, VenueOrder
from angelx.venue.requests import ENDED, KINDS, TIFS, Exit
from tests.venue.floor import OPEN_BANDS
from tests.venue.market_day import EQUITY, LOTS, START, TABLE, TICK, Act, Day, always, day_of, days, fee
from tests.venue.venue_oracle import Oracle

CASH = 10**9
POLICIES = (
    Policy(),
    Policy(queue_position=True),
    Policy(latency_ns=3, jitter_ns=4, queues_orders=True),
    Policy(latency_ns=1, queue_position=True, refuses_triggered=True, extended_hours=True),
)


class ShortDay:
    """Pre-open, open, closing auction and closed, by share of the day's rows."""

    def __init__(self, first: int, last: int) -> None:
        length = last - first
        self.edges = (first + length // 8, first + length * 6 // 8, first + length * 7 // 8)

    def phase(self, segment: str, at: int) -> str:
        return ("pre_open", "open", "closing_auction", "closed")[sum(at >= edge for edge in self.edges)]

    def next_change(self, segment: str, at: int) -> int:
        return next((edge for edge in self.edges if edge > at), 2**62)

    def is_over(self, segment: str, at: int) -> bool:
        return at >= self.edges[-1]


@dataclass
class Play:
    """One day played: rows in batches of `size`, and something asked after some of them."""

    exchange: Exchange
    reports: list[Report]
    closed_at: int


def rows_of(seed: int, rows: int) -> Day:
    """A day with trades: the last price wanders, volume grows."""
    day = day_of(seed, rows, 0, ("DAY",))
    random, volume = Random(seed + 2), 0
    for row in range(rows):
        volume += random.choice((0, 0, 1, 2, 5)) * 75
        day.table[LAST, row] = random.choice((97, 98, 99, 99, 100, 100, 101, 102)) * TICK
        day.table[VOLUME, row] = volume
    return day


def request_of(random: Random) -> OrderRequest:
    place = random.choice((0, 0, 0, 1, 2))
    side, kind = random.choice((1, 1, -1)), random.choice((*KINDS, "limit", "limit"))
    limit = random.randint(97, 103) * TICK if kind in ("limit", "stop_limit") else 0
    stop = random.randint(96, 104) * TICK if kind in ("stop", "stop_limit") else 0
    base = limit or 100 * TICK
    is_oco = kind == "limit" and random.random() < 0.1
    has_exits = random.random() < 0.3
    profit = Exit(limit=base + side * random.randint(1, 3) * TICK) if has_exits and not is_oco else None
    away = side if is_oco else -side
    loss = (
        Exit(stop=base + away * random.randint(1, 3) * TICK)
        if is_oco or (has_exits and random.random() < 0.8)
        else None
    )
    return OrderRequest(
        instrument=TABLE[place].id, side=side, quantity=random.randint(1, 6) * LOTS[place], kind=kind, limit=limit,
        stop=stop, trail=random.randint(1, 3) * TICK if kind == "trailing_stop" else 0,
        tif=random.choice(("DAY", "DAY", "DAY", "GTC", *TIFS)), extended_hours=random.random() < 0.2,
        take_profit=profit, stop_loss=loss, is_oco=is_oco,
    )  # fmt: skip


def act(exchange: Exchange, random: Random) -> None:
    working = [order for order in exchange.orders() if order.is_working]
    draw = random.random()
    try:
        if working and draw < 0.15:
            exchange.cancel(random.choice(working).id)
        elif working and draw < 0.35:
            order = random.choice(working)
            exchange.replace(
                order.id, quantity=max(order.request.quantity + random.choice((-2, 0, 0, 1)), 1),
                limit=random.randint(97, 103) * TICK, stop=random.randint(97, 103) * TICK,
                kind=random.choice((None, None, None, "limit", "stop", "market")), keep_id=random.random() < 0.5,
            )  # fmt: skip
        elif draw < 0.38:
            exchange.halt(EQUITY)
        elif draw < 0.42:
            exchange.resume(EQUITY)
        else:
            exchange.submit(request_of(random), keep_refused=random.random() < 0.5)
    except Refused:
        pass


def play(seed: int, policy: Policy, *, rows: int = 120, size: int = 1000, check: bool = False) -> Play:
    day = rows_of(seed, rows)
    first, last = int(day.table[AT, 0]), int(day.table[AT, -1])
    reports: list[Report] = []
    hours = ShortDay(first, last)
    exchange = Exchange(
        TABLE, cash=CASH, fee=fee, hours=hours, policy=policy, bands=OPEN_BANDS, seed=seed,
        margin=Margin(short_option_pct=20),
    )  # fmt: skip
    exchange.on_report.append(reports.append)
    random, script = Random(seed), Random(seed + 9)
    asks = {script.randrange(rows) for _ in range(40)}
    row = 0
    while row < rows:
        stop = next((ask + 1 for ask in sorted(asks) if ask >= row), rows)
        stop = min(stop, row + size, rows)
        batch = TickBatch(day.table[:, row:stop].copy())
        exchange.feed(batch, 0, batch.rows)
        row = stop
        if row - 1 in asks:
            act(exchange, random)
        if check:
            check_money(exchange)
    exchange.advance(last + 1000)
    return Play(exchange, reports, hours.edges[-1])


def check_money(exchange: Exchange) -> None:
    """Money and units move by fills only, and what is held back is what works."""
    account = exchange._engine.account
    fills = exchange._engine.trades
    cash = CASH
    units: dict[str, int] = defaultdict(int)
    for fill in fills:
        cash -= fill.side * fill.quantity * fill.price + fill.fee
        units[fill.instrument] += fill.side * fill.quantity
    assert account.cash == cash
    held = 0
    for place, position in account.positions.items():
        name = TABLE[place].id
        assert position.quantity == units[name]
        entries = [one for one in exchange._floor.by_ticket.values() if one.place == place and one.ticket.waiting]
        assert position.buying == sum(one.ticket.waiting for one in entries if one.request.side > 0)
        assert position.selling == sum(one.ticket.waiting for one in entries if one.request.side < 0)
        for one in entries:
            assert one.where in ("book", "queued", "stopped")
            assert one.ticket.waiting == one.left
        held += sum(one.ticket.held for one in entries)
    assert account.held == held >= 0


def check_orders(played: Play) -> None:
    filled: dict[str, int] = defaultdict(int)
    worth: dict[str, int] = defaultdict(int)
    said: dict[str, list[str]] = defaultdict(list)
    held: dict[str, int] = defaultdict(int)
    for report in played.reports:
        name = report.order.id
        if report.fill is not None:  # Several in one instant too: each says what it came to.
            held[report.fill.instrument] += report.fill.side * report.fill.quantity
            assert report.fill.position == held[report.fill.instrument]
        if report.kind in ("cancel_rejected", "replace_rejected"):
            continue  # What was asked of an order that has ended is denied after its end.
        if said[name]:
            assert said[name][-1] not in ENDED and said[name][-1] != "fill", (said[name], report.kind)
        # A new order that replaced it ends an order; a change in place does not.
        is_changed = report.kind == "replaced" and report.order.status != "replaced"
        said[name].append("changed" if is_changed else report.kind)
        if report.fill is not None:
            filled[name] += report.fill.quantity
            worth[name] += report.fill.quantity * report.fill.price
            is_stop = report.order.request.kind in ("stop", "stop_limit", "trailing_stop")
            assert not is_stop or report.order.triggered_at > 0
    for order in played.exchange.orders():
        assert order.filled == filled[order.id] <= order.request.quantity
        assert order.notional == worth[order.id]
        assert said[order.id].count("triggered") <= 1 + said[order.id].count("changed")
        is_for_tomorrow = order.created_at >= played.closed_at - 10  # It arrived after the close.
        assert order.status in ENDED or order.request.tif == "GTC" or is_for_tomorrow, (order, said[order.id])
        if order.status in ENDED:
            assert (order.status == "filled") == (order.filled == order.request.quantity), order
    check_exits(played.exchange.orders())


def check_exits(orders: list[VenueOrder]) -> None:
    """What the exits of an entry close is never more than what it and what replaced it opened."""
    by_id = {order.id: order for order in orders}

    def chain(order: VenueOrder) -> int:
        total = order.filled
        while order.replaced_by:
            order = by_id[order.replaced_by]
            total += order.filled
        return total

    for entry in orders:
        if not entry.legs:
            continue
        closed = sum(chain(by_id[leg]) for leg in entry.legs)
        opened = entry.request.quantity - closed if entry.request.is_oco else chain(entry)
        assert (chain(entry) if entry.request.is_oco else closed) <= opened, (entry, [by_id[leg] for leg in entry.legs])


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32), policy=st.sampled_from(POLICIES))
def test_money_units_and_orders_hold_whatever_is_sent(seed: int, policy: Policy) -> None:
    played = play(seed, policy, check=True)
    check_orders(played)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), policy=st.sampled_from(POLICIES), size=st.sampled_from((1, 2, 7, 50)))
def test_how_rows_come_in_batches_makes_no_difference(seed: int, policy: Policy, size: int) -> None:
    whole, cut = play(seed, policy), play(seed, policy, size=size)
    assert cut.reports == whole.reports
    assert cut.exchange.funds() == whole.exchange.funds()


def plain(day: Day) -> list[tuple[object, ...]]:
    """What the exchange says of plain limit orders without latency, in the oracle's words."""
    exchange = Exchange(TABLE, cash=10**15, fee=fee, bands=OPEN_BANDS, ids=lambda number: f"v{number}")
    said: list[tuple[object, ...]] = []
    names: dict[str, str] = {}

    def hear(report: Report) -> None:
        name = report.order.request.client_id
        if report.fill is not None:
            fill = report.fill
            said.append(("fill", name, report.at, fill.quantity, fill.price, fill.fee, fill.execution))
        elif report.kind in ("accepted", "rejected", "cancelled"):
            code = report.order.code if report.kind == "cancelled" else ""
            said.append((report.kind, name, report.at, code))

    exchange.on_report.append(hear)
    acts: dict[int, list[tuple[int, Act]]] = defaultdict(list)
    for number, one in enumerate(day.acts):
        acts[one.row].append((number, one))
    for row in range(day.rows):
        batch = TickBatch(day.table[:, row : row + 1].copy())
        exchange.feed(batch, 0, 1)
        for number, one in acts[row]:
            if one.cancels is not None:
                with suppress(Refused):
                    exchange.cancel(names.get(f"o{one.cancels}", ""))
                continue
            request = OrderRequest(
                client_id=f"o{number}", instrument=TABLE[one.place].id, side=one.side,
                quantity=one.lots * LOTS[one.place], limit=one.limit * TICK, tif=one.tif,
            )  # fmt: skip
            names[request.client_id] = exchange.submit(request, keep_refused=True).id
    return said


def oracle_says(day: Day) -> list[tuple[object, ...]]:
    oracle = Oracle(TABLE, 0, fee)
    for row in range(day.rows):
        place, at, bid, ask, bid_size, ask_size = (int(day.table[field, row]) for field in (0, 1, 3, 4, 5, 6))
        oracle.row(TABLE[place].id, (bid, ask, bid_size, ask_size), at)
        for number, one in enumerate(day.acts):
            if one.row == row:
                event = one.event(at, number)
                if one.cancels is not None:
                    oracle.cancel(event.order, at)  # type: ignore[attr-defined]
                else:
                    oracle.submit(event, one.tif, at)  # type: ignore[arg-type]
    said: list[tuple[object, ...]] = []
    for report in oracle.reports:
        match type(report).__name__:
            case "OrderAccepted":
                said.append(("accepted", report.order, report.at, ""))  # type: ignore[attr-defined]
            case "OrderFilled":
                fill = report
                said.append(
                    ("fill", fill.order, fill.at, fill.quantity, fill.price, fill.fee, fill.execution)  # type: ignore[attr-defined]
                )
            case "OrderEnded":
                code = report.code if report.outcome == "cancelled" else ""  # type: ignore[attr-defined]
                said.append((report.outcome, report.order, report.at, code))  # type: ignore[attr-defined]
    return said


@settings(max_examples=120, deadline=None)
@given(day=days())
def test_plain_orders_fill_as_the_oracle_says(day: Day) -> None:
    assert plain(day) == oracle_says(day)


@pytest.mark.parametrize("place", range(3))
def test_every_instrument_of_the_day_trades(place: int) -> None:
    """Guards the properties above against being empty."""
    fills = [fill for seed in range(12) for fill in play(seed, POLICIES[0]).exchange.fills()]
    kinds = {report.kind for seed in range(12) for report in play(seed, POLICIES[2]).reports}
    assert sum(fill.instrument == TABLE[place].id for fill in fills) > 3
    assert {"triggered", "replaced", "expired", "working", "partial_fill", "cancel_rejected"} <= kinds
    assert always(TABLE[0], START)
