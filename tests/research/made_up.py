"""A made-up session for tests and for looking at: seeded, with everything a report shows."""

import json
import random
from collections.abc import Iterator

from angelx.domain import events as ev
from angelx.domain.scalars import NS

OPEN = 1_756_698_300 * NS  # 2025-09-01 09:15 IST
SESSION = 375 * 60 * NS
CAPITAL = 1_000_000_0000
NAMES = [f"NFO:NIFTY:2025-09-02:{24_200 + 50 * i}:{right}" for i in range(10) for right in ("CE", "PE")]
REFUSALS = (
    ("filter", "bias_too_weak", "|bias| 0.41 < 0.60 base, MEDIUM, morning"),
    ("filter", "likely_trap", "trap probability 0.52 > 0.35"),
    ("filter", "insufficient_oi", "flow 612 lots < 1,500 lots"),
    ("sizing", "zero_lots", "risk 2,000.00 / stop 61.50 x 75 = 0 lots"),
    ("gate", "spread", "spread 6 ticks > 2 ticks and 1.5 %"),
    ("gate", "max_positions", "3 positions open, limit 3"),
    ("router", "order_rate", "8 orders in the last second, limit 8"),
)


def started(at: int = OPEN, *, capital: int = CAPITAL, currency: str = "INR") -> ev.SessionStarted:
    return ev.SessionStarted(at, "k3f7", "paper", "{}", "9f2c" * 16, "0.1.0", 7, capital, currency, resumed=False)


def approved(
    order: str,
    signal: int = 1,
    at: int = OPEN,
    *,
    strategy: str = "bias",
    instrument: str = "NFO:X",
    side: int = 1,
    quantity: int = 75,
    limit: int = 0,
    touch: int = 100_0000,
) -> ev.OrderApproved:
    return ev.OrderApproved(
        at, order, signal, strategy, instrument, side, quantity, limit, reduces=False, touch=touch, bound_by="risk",
        confidence=0.7,
    )  # fmt: skip


def filled(
    order: str, quantity: int, price: int, at: int = OPEN, *, side: int = 1, fee: int = 0, execution: str = "",
    instrument: str = "NFO:X",
) -> ev.OrderFilled:  # fmt: skip
    return ev.OrderFilled(at, order, instrument, side, quantity, price, fee, execution or f"{order}-{at}-{quantity}")


def session(
    orders: int = 160,
    seed: int = 7,
    *,
    strategies: tuple[str, ...] = ("bias", "ema_cross"),
    days: tuple[int, ...] = (0,),
) -> Iterator[ev.Event]:
    """About `orders` orders over NSE days, counted from 2025-09-01: partial fills, rejects, refusals, a halt."""
    market = _MadeUp(random.Random(seed), strategies)
    yield from market.opening(seed)
    steps = max(orders, 375)
    sent = 0
    at = OPEN
    for step in range(steps):
        day, within = divmod(step * len(days), steps)
        at = OPEN + days[day] * 86_400 * NS + SESSION * within // steps
        market.move()
        while sent * steps < orders * (step + 1):
            sent += 1
            yield from market.refusals(at)
            yield from market.order(at)
        if step % max(steps // 375, 1) == 0:
            yield market.mark(at + 3 * NS)
        if step == steps // 2:
            yield from market.troubles(at)
    yield market.mark(at + 60 * NS)
    yield ev.PhaseChanged(at + 60 * NS, "NFO", "closed", "2025-09-01")
    yield ev.SessionEnded(at + 60 * NS, 1_284_331, "source exhausted")


class _MadeUp:
    def __init__(self, r: random.Random, strategies: tuple[str, ...]) -> None:
        self.r = r
        self.strategies = strategies
        self.price = {name: r.randint(60, 260) * 1_0000 for name in NAMES}
        self.spot = 24_426 * 1_0000
        self.cash = CAPITAL
        self.held: dict[tuple[str, str], int] = {}
        self.signal = 0

    def opening(self, seed: int) -> Iterator[ev.Event]:
        yield started()
        yield ev.SourceOpened(OPEN, "simulated", json.dumps({"seed": seed}), "ab" * 32, 721)
        yield ev.PhaseChanged(OPEN, "NFO", "open", "2025-09-01")
        yield ev.HealthChanged(OPEN, "healthy", "every service is ready", "watchdog")
        yield from (ev.InstrumentUsed(OPEN, name, "{}") for name in NAMES)

    def move(self) -> None:
        self.spot += int(self.r.gauss(0, 4) * 1_0000)
        for name in NAMES:
            self.price[name] = max(self.price[name] + self.r.randint(-20, 20) * 500, 500)

    def refusals(self, at: int) -> Iterator[ev.Event]:
        for _ in range(self.r.choice((0, 0, 1, 2, 3))):
            self.signal += 1
            name = self.r.choice(NAMES)
            by, code, detail = self.r.choices(REFUSALS, (9, 5, 4, 1, 3, 2, 0.2))[0]
            yield ev.Signal(at, self.signal, self.strategies[0], name, 1, 100_0000, 100_0500, 0, "bias up")
            yield ev.SignalRefused(at, self.signal, self.strategies[0], name, by, code, detail)

    def order(self, at: int) -> Iterator[ev.Event]:
        r = self.r
        strategy, name = r.choice(self.strategies), NAMES[min(int(abs(r.gauss(0, 5))), len(NAMES) - 1)]
        held, price = self.held.get((strategy, name), 0), self.price[name]
        side = -1 if held > 0 else 1 if held < 0 else r.choice((1, 1, -1))
        why = r.choice(("target reached", "stop hit", "bias turned") if held else ("bias up", "ema crossed"))
        self.signal += 1
        yield ev.Signal(at, self.signal, strategy, name, 0 if held else side, price - 500, price + 500, 0, why)
        quantity, order, touch = abs(held) or 75 * r.randint(1, 4), f"ax{self.signal:08x}", price + 500 * side
        yield approved(
            order, self.signal, at, strategy=strategy, instrument=name, side=side, quantity=quantity,
            limit=touch + 1_000 * side, touch=touch,
        )  # fmt: skip
        if r.random() < 0.02:
            yield ev.OrderEnded(at, order, "rejected", "price_band", "price outside 48.20 to 151.35")
            return
        yield ev.OrderAccepted(at + 40_000_000, order, f"p{self.signal}")
        parts = [quantity] if r.random() < 0.8 or quantity < 150 else [75, quantity - 75]
        if r.random() < 0.03:
            parts = parts[1:]
        for place, part in enumerate(parts):
            paid = touch + 500 * side * r.choice((-1, 0, 0, 0, 1, 2))
            fee = 20_0000 + part * paid // 2_000
            yield filled(
                order, part, paid, at + 60_000_000 * (place + 1), side=side, fee=fee, execution=f"{order}-{place}",
                instrument=name,
            )  # fmt: skip
            self.cash -= side * part * paid + fee
            self.held[strategy, name] = self.held.get((strategy, name), 0) + side * part
        if sum(parts) < quantity:
            yield ev.CancelRequested(at + NS, order, "not filled in 1 s")
            yield ev.OrderEnded(at + 2 * NS, order, "cancelled", "", "")

    def mark(self, at: int) -> ev.EquityMarked:
        value = sum(quantity * self.price[name] for (_, name), quantity in self.held.items())
        return ev.EquityMarked(at, self.cash + value, self.cash, value, self.spot)

    def troubles(self, at: int) -> Iterator[ev.Event]:
        yield ev.HealthChanged(at, "degraded", "feed silent for 6.2 s", "watchdog")
        yield ev.HealthChanged(at + 9 * NS, "healthy", "feed answers again", "watchdog")
        yield ev.StrategyFailed(at + 9 * NS, "ema_cross", "ZeroDivisionError: division by zero (ema_cross.py:41)")
        yield ev.CommandReceived(at + 10 * NS, "halt", "lunch", "operator")
        yield ev.LevelChanged(at + 10 * NS, "halt", "lunch", "operator")
        yield ev.CommandReceived(at + 60 * NS, "resume", "back", "operator")
        yield ev.LevelChanged(at + 60 * NS, "running", "back", "operator")
