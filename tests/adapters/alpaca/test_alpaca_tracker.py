"""The tracker alone: whatever the stream loses, doubles or mixes up, the books bring it right, each fact once."""

from decimal import Decimal
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from angelx.adapters.alpaca.messages import UpdateData, WireFill, WireOrder
from angelx.adapters.alpaca.tracker import Gap, Tracker
from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.timestamps import rfc3339
from tests.venue.alpaca.alpaca_market import OPEN, TABLE

NAME = "axTRACKER000000001"
TIME = rfc3339(OPEN)


class History:
    """What truly happened to one order and its replacements, as updates and as books."""

    def __init__(self, random: Random, carries: bool) -> None:
        self.updates: list[UpdateData] = []
        self.orders: dict[str, WireOrder] = {}
        self.fills: dict[str, list[WireFill]] = {}
        self.truth: list[int] = []
        self.outcome = "working"
        self._random = random
        total = random.randrange(1, 60)
        order = WireOrder(
            id="o0", client_order_id=NAME, status="new", symbol="IBM", side="buy", qty=Decimal(total),
            filled_qty=Decimal(0), created_at=TIME, submitted_at=TIME,
        )  # fmt: skip
        self._say("new", order)
        for _ in range(random.randrange(8)):
            done = sum(self.truth)
            if done == total:
                break
            kind = random.choice(("fill", "fill", "fill", "replace", "pending_cancel", "cancel", "expire"))
            if kind == "fill":
                order = self._fill(order, random.randrange(1, total - done + 1), total)
                if sum(self.truth) == total:
                    self.outcome = "filled"
            elif kind == "replace":
                order = self._replace(order, carries=carries)
            elif kind == "pending_cancel":
                order = self._say("pending_cancel", replace(order, status="pending_cancel"))
            else:
                status = "canceled" if kind == "cancel" else "expired"
                self._say(status, replace(order, status=status))
                self.outcome = "cancelled" if kind == "cancel" else "expired"
                break

    def _say(self, event: str, order: WireOrder, **more: Decimal) -> WireOrder:
        self.orders[order.id] = order
        self.updates.append(UpdateData(event, order, f"e{len(self.updates)}", TIME, **more))
        return order

    def _fill(self, order: WireOrder, units: int, total: int) -> WireOrder:
        self.truth.append(units)
        done = (order.filled_qty or Decimal(0)) + units
        is_whole = sum(self.truth) == total
        order = replace(order, filled_qty=done, status="filled" if is_whole else "partially_filled")
        fill = WireFill("a", order.id, "IBM", "buy", Decimal(units), Decimal(300), done, TIME)
        self.fills.setdefault(order.id, []).append(fill)
        return self._say("fill" if is_whole else "partial_fill", order, price=Decimal(300), qty=Decimal(units))

    def _replace(self, order: WireOrder, *, carries: bool) -> WireOrder:
        name = f"o{len(self.orders)}"
        self._say("replaced", replace(order, status="replaced", replaced_by=name))
        filled = order.filled_qty if carries else Decimal(0)
        made = replace(
            order, id=name, client_order_id=f"uuid-{name}", replaces=order.id, status="new", filled_qty=filled
        )
        return self._say("new", made)


def mixed(updates: list[UpdateData], random: Random) -> list[UpdateData]:
    """Some lost, some twice, some in another order."""
    found = [update for update in updates for _ in range(random.choice((0, 1, 1, 1, 2)))]
    for place in range(len(found) - 1):
        if random.random() < 0.3:
            found[place], found[place + 1] = found[place + 1], found[place]
    return found


def read(tracker: Tracker, history: History) -> tuple[list[Event], list[Gap]]:
    events, gaps = tracker.read(history.orders.values(), {}, OPEN)
    if gaps:
        more, gaps = tracker.read(history.orders.values(), history.fills, OPEN)
        events += more
    return events, gaps


@given(seed=st.integers(0, 2**40), carries=st.booleans(), is_ours=st.booleans())
def test_every_fact_is_told_once_and_in_order(seed: int, carries: bool, is_ours: bool) -> None:
    random = Random(seed)
    history = History(random, carries)
    tracker = Tracker(lambda symbol: TABLE[0] if symbol == "IBM" else None)
    if is_ours:  # Else it is found by its mark, as after a restart.
        approved = OrderApproved(OPEN, NAME, 1, "s", "US:IBM", 1, 60, 0, False, 0, "", 1.0)
        tracker.expect(approved, TABLE[0])
    told: list[Event] = []
    for update in mixed(history.updates, random):
        try:
            told += tracker.told(update, OPEN)
        except Gap:
            events, gaps = read(tracker, history)
            assert not gaps
            told += events
            told += tracker.told(update, OPEN)
    events, gaps = read(tracker, history)
    assert not gaps
    told += events
    fills = [event for event in told if isinstance(event, OrderFilled)]
    ends = [event for event in told if isinstance(event, OrderEnded)]
    assert [fill.quantity for fill in fills] == history.truth
    assert len({fill.execution for fill in fills}) == len(fills)
    assert isinstance(told[0], OrderAccepted) and sum(isinstance(event, OrderAccepted) for event in told) == 1
    assert [end.outcome for end in ends] == ([history.outcome] if history.outcome in ("cancelled", "expired") else [])
    assert not ends or told[-1] is ends[0]
    assert {event.order for event in told if isinstance(event, OrderFilled)} <= {NAME}
    assert bool(tracker.live()) == (history.outcome == "working")


def test_a_refused_replacement_leaves_the_order_at_work() -> None:
    tracker = Tracker(lambda _: TABLE[0])
    first = WireOrder(
        "o0", NAME, "new", symbol="IBM", side="buy", qty=Decimal(5), filled_qty=Decimal(0), created_at=TIME
    )
    second = replace(first, id="o1", client_order_id="u", replaces="o0", status="pending_new")
    tracker.told(UpdateData("new", first, "e0", TIME), OPEN)
    tracker.told(UpdateData("pending_new", second, "e1", TIME), OPEN)
    assert not tracker.told(UpdateData("rejected", replace(second, status="rejected"), "e2", TIME), OPEN)
    (order,) = tracker.live()
    assert order.broker_order == "o0"
