"""Option-chain bias: buys a call or a put where the chain leans more than usual, and looks after it to the end.

It needs the chain engine (`desk.chains`): bias, strength and Greeks are the engine's. Every five seconds, flat and
rested, it looks at the bias; at `strength` or more it buys, of the nearest expiry with `least_life_h` hours to live,
the call (bias up) or put (bias down) whose |delta| is nearest to [`delta_low`, `delta_high`] among those that are
liquid (spread, size at the touch, open interest) and of which a lot costs at most `max_outlay`; of equals the one with
the narrowest spread. Every second it looks after what it holds; exits, in this order, by reason:

- `stop`: the bid is `stop` below the entry; `target`: `target` above it;
- `trailing`: once `trail_after` above it, the bid has come `trail` down from its highest;
- `expiry`: less than `expiry_exit_min` minutes to settlement;
- `delta_lost`: |delta| fell below `delta_held`: it no longer moves with what it was bought for;
- `iv_lost`: the IV fell by `iv_drop` since the entry and the position does not pay;
- `bias_turned`: the bias is against it, at `turn_strength` or more;
- `time`: `hold_s` have passed.

It does not churn: it rests `retry_s` after a filter refused or an order did not fill, `pause_s` after an exit and
where risk said no; an exit that did not go is asked for again after five seconds.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import ClassVar, Final

import msgspec
import numpy as np

from angelx.domain.events import OrderClosed, PositionChanged, SignalRefused
from angelx.domain.instruments import InstrumentTable, Right
from angelx.domain.scalars import NS, SCALE
from angelx.domain.ticks import ASK, BID, Table
from angelx.market.chain_view import ChainView
from angelx.signals.contract_choice import CHECKS, furthest, nearest
from angelx.signals.strategy import Strategy

ENTRIES_EVERY: Final = 5 * NS
STALE: Final = 10 * NS
"""A view older than this is not decided on."""
HOURS_IN_YEAR: Final = 365 * 24
DEFINED: Final = "defined"
LISTED: Final = 5


class Holding(msgspec.Struct):
    """What it knows of a position."""

    price: int
    """Average entry, 1/10,000."""
    since: int
    peak: int
    """Highest bid seen."""
    iv: float
    """At the entry; 0 = unknown."""
    again: int = 0
    """An exit is not asked for before this."""


class ChainBias(Strategy):
    """See the module.

    Parameters
    ----------
    underlying
        Id of the index or stock; the one with most options where empty.
    strength
        Least percentile of |bias| of an entry, in (0, 1); filters may ask for more.
    turn_strength
        The same of a bias against a position that ends it.
    delta_low, delta_high
        |delta| wanted, 0 < low <= high < 1.
    delta_least, delta_held
        Nothing with a smaller |delta| is bought, or held.
    max_outlay
        Largest premium of one lot, currency units: what the risk limits would refuse is not signalled.
    max_spread_pct, max_spread_ticks
        Widest quote bought: the wider of this percentage of the mid and so many ticks.
    least_lots, least_oi
        Least size at either side of the touch, and least open interest, lots.
    least_life_h
        Hours to settlement below which an expiry is not bought.
    stop, target, trail_after, trail
        Fractions of the premium; `trail` of its highest.
    iv_drop
        Fall of the IV, a fraction (0.03 = 3 vol points).
    expiry_exit_min, hold_s, pause_s, retry_s
        Times as above.
    """

    every_s: ClassVar[float] = 1.0
    uses_chains: ClassVar[bool] = True

    def __init__(
        self,
        *,
        underlying: str = "",
        strength: float = 0.5,
        turn_strength: float = 0.7,
        delta_low: float = 0.35,
        delta_high: float = 0.55,
        delta_least: float = 0.15,
        delta_held: float = 0.08,
        max_outlay: float = 4_500.0,
        max_spread_pct: float = 1.5,
        max_spread_ticks: float = 2.0,
        least_lots: float = 1.0,
        least_oi: float = 500.0,
        least_life_h: float = 3.0,
        stop: float = 0.30,
        target: float = 0.45,
        trail_after: float = 0.20,
        trail: float = 0.15,
        iv_drop: float = 0.03,
        expiry_exit_min: float = 45.0,
        hold_s: float = 1200.0,
        pause_s: float = 600.0,
        retry_s: float = 60.0,
    ) -> None:
        for name, value in (
            ("strength", strength),
            ("turn_strength", turn_strength),
            ("stop", stop),
            ("trail", trail),
            ("iv_drop", iv_drop),
        ):
            _check(name, value, 0 < value < 1, "in (0, 1)")
        _check("delta_low", delta_low, 0 < delta_low <= delta_high < 1, f"above 0 and at most delta_high {delta_high}")
        _check("delta_least", delta_least, 0 < delta_least <= delta_low, f"above 0 and at most delta_low {delta_low}")
        _check("delta_held", delta_held, 0 <= delta_held < delta_least, f"at least 0 and below {delta_least}")
        for name, value in (("target", target), ("max_outlay", max_outlay), ("hold_s", hold_s)):
            _check(name, value, value > 0, "above 0")
        for name, value in (
            ("trail_after", trail_after), ("max_spread_pct", max_spread_pct), ("max_spread_ticks", max_spread_ticks),
            ("least_lots", least_lots), ("least_oi", least_oi), ("expiry_exit_min", expiry_exit_min),
            ("pause_s", pause_s), ("retry_s", retry_s),
        ):  # fmt: skip
            _check(name, value, value >= 0, "at least 0")
        _check("least_life_h", least_life_h, least_life_h * 60 > expiry_exit_min, "longer than expiry_exit_min")
        self._underlying, self._strength, self._turn = underlying, strength, turn_strength
        self._deltas, self._delta_least, self._delta_held = (delta_low, delta_high), delta_least, delta_held
        self._max_outlay = int(max_outlay * SCALE)
        self._least_lots, self._least_oi = float(least_lots), float(least_oi)
        widest = max_spread_pct / 100, float(max_spread_ticks)
        self._bounds = float(delta_least), self._max_outlay, widest, self._least_lots, self._least_oi
        """What a contract has to pass, as `nearest` takes it."""
        self._life, self._last_life = least_life_h / HOURS_IN_YEAR, expiry_exit_min / 60 / HOURS_IN_YEAR
        self._stop, self._target, self._trail_after, self._trail = stop, target, trail_after, trail
        self._iv_drop = iv_drop
        self._hold, self._pause, self._retry = int(hold_s * NS), int(pause_s * NS), int(retry_s * NS)
        self.passed_over: dict[str, int] = {}

    def start(self) -> None:
        table = self.desk.instruments
        if self.desk.chains is None:
            raise ValueError("chain_bias: needs the chain engine, which this run does not have")
        counts: dict[str, int] = {}
        for instrument in table:
            if instrument.right is not None:
                counts[instrument.underlying] = counts.get(instrument.underlying, 0) + 1
        self._underlying = self._underlying or max(counts, key=lambda name: counts[name], default="")
        if self._underlying not in counts:
            raise ValueError(f"chain_bias: no options on {self._underlying or 'anything'} in this source")
        others = sorted(counts.keys() - {self._underlying})
        self.about = _said_of(self._underlying, others) if others else ""
        self._chains = self.desk.chains
        options = table.options(self._underlying)
        self._calls, self._puts = (_by_expiry(table, options, right) for right in (Right.CALL, Right.PUT))
        self._lots = np.array([instrument.lot_size for instrument in table], np.int64)
        self._ticks = np.array([instrument.tick_size for instrument in table], np.int64)
        self._held: dict[int, Holding] = {}
        self._rests_until = 0
        self._lacking(np.zeros(0, np.int64))  # Compiles or loads now, not at the first look in vain.

    # ------------------------------------------------------------ time
    def on_timer(self) -> None:
        view = self._chains.views.get(self._underlying)
        now = self.desk.now
        if view is None:
            if now % ENTRIES_EVERY == 0:
                self._pass_over("the chain engine had not seen its chain")
            return
        for place, holding in list(self._held.items()):
            why = self._exit(place, holding, view)
            if why and now >= holding.again and self.desk.flat(place, why=why):
                holding.again = now + ENTRIES_EVERY
        if not self._held and now >= self._rests_until and now % ENTRIES_EVERY == 0:
            self._enter(view)

    # ------------------------------------------------------------ in
    def _enter(self, view: ChainView) -> None:
        bias, strength = view.bias, view.bias_strength
        if self.desk.now - view.at > STALE:
            self._pass_over(f"its chain had not moved for {STALE // NS} s")
            return
        if bias is None or strength is None:
            front = view.expiries.get(view.front) if view.front is not None else None
            none = front is None or front.forward is None
            self._pass_over("its chain was not quoted enough for a forward" if none else "the bias was not known yet")
            return
        if not bias or strength < self._strength:
            self._pass_over(f"the bias was weaker than {self._strength:g}")
            return
        found = self._choose(view, Right.CALL if bias > 0 else Right.PUT)
        if found is None:
            return
        self._rests_until = self.desk.now + self._retry
        ask = self.desk.market.view[ASK, found]
        self.desk.long(found, stop_distance=int(ask * self._stop), why="bias_up" if bias > 0 else "bias_down")

    def _choose(self, view: ChainView, right: Right) -> int | None:
        """Place of the contract to buy; `None` where none fits."""
        legs, places = self._calls if right is Right.CALL else self._puts, None
        for expiry, one in view.expiries.items():  # The nearest first.
            if one.years > self._life:
                places = legs.get(expiry)
                break
        if places is None:
            self._pass_over(f"no expiry had {self._life * HOURS_IN_YEAR:g} h to live")
            return None
        deltas, columns = self._chains.deltas(places), self.desk.market.columns
        while True:
            number = nearest(places, columns, self._lots, self._ticks, deltas, self._deltas, *self._bounds)
            if number < 0:
                self._pass_over(self._lacking(places))
                return None
            place = int(places[number])
            if self._is_defined(place):
                return place
            deltas[number] = 0.0  # Not by its present quote: the next one.

    def _is_defined(self, place: int) -> bool:
        """Whether the contract still has analytics, by its present quote, and delta enough."""
        contract = self._chains.contract(place)
        return contract is not None and contract.reason == DEFINED and abs(contract.delta) >= self._delta_least

    def _pass_over(self, why: str) -> None:
        self.passed_over[why] = self.passed_over.get(why, 0) + 1

    def _lacking(self, places: Table) -> str:
        """What the last contracts that fitted so far lacked."""
        far = furthest(
            places, self.desk.market.columns, self._lots, self._ticks, self._chains.deltas(places), *self._bounds
        )
        if far == CHECKS:
            return "no contract's Greeks were defined"
        lacks = (
            "a quote on both sides",
            f"|delta| of {self._delta_least:g} or more",
            f"a lot for {self._max_outlay / SCALE:,.0f} or less",
            "a spread that is narrow enough",
            f"{self._least_lots:g} lots at the touch",
            f"open interest of {self._least_oi:g} lots",
        )
        return f"no contract had {lacks[far]}"

    # ------------------------------------------------------------ out
    def _exit(self, place: int, holding: Holding, view: ChainView) -> str:
        """Why it is to be closed; empty where it is not. Without a bid there is nobody to close it with."""
        bid = self.desk.market.view[BID, place]
        if bid <= 0:
            return ""
        holding.peak = max(holding.peak, bid)
        return self._by_price(holding, bid) or self._by_worth(place, holding, bid, view)

    def _by_price(self, holding: Holding, bid: int) -> str:
        price, peak = holding.price, holding.peak
        if bid <= price * (1 - self._stop):
            return "stop"
        if bid >= price * (1 + self._target):
            return "target"
        if peak >= price * (1 + self._trail_after) and bid <= peak * (1 - self._trail):
            return "trailing"
        return ""

    def _by_worth(self, place: int, holding: Holding, bid: int, view: ChainView) -> str:
        option = self.desk.instruments[place]
        expiry = view.expiries.get(option.expiry) if option.expiry is not None else None
        if expiry is not None and expiry.years < self._last_life:
            return "expiry"
        contract = self._chains.contract(place)
        if contract is not None and contract.reason == DEFINED:
            if abs(contract.delta) < self._delta_held:
                return "delta_lost"
            if holding.iv and contract.iv <= holding.iv - self._iv_drop and bid < holding.price:
                return "iv_lost"
        wanted = -1 if option.right is Right.PUT else 1
        bias, strength = view.bias, view.bias_strength
        if bias is not None and strength is not None and bias * wanted < 0 and strength >= self._turn:
            return "bias_turned"
        return "time" if self.desk.now - holding.since >= self._hold else ""

    # ------------------------------------------------------------ what became of it
    def on_position(self, event: PositionChanged) -> None:
        place, now = self.desk.instruments.index[event.instrument], self.desk.now
        if not event.quantity:
            self._held.pop(place, None)
            self._rests_until = now + self._pause
            return
        price = event.cost // event.quantity
        holding = self._held.get(place)
        if holding is None:
            contract = self._chains.contract(place)
            iv = contract.iv if contract is not None and contract.reason == DEFINED else 0.0
            self._held[place] = Holding(price, now, price, iv)
        else:
            holding.price = price

    def on_closed(self, event: OrderClosed) -> None:
        if not event.filled:
            self._rests_until = max(self._rests_until, self.desk.now + self._retry)

    def on_refused(self, event: SignalRefused) -> None:
        rest = self._retry if event.by == "filter" else self._pause
        self._rests_until = max(self._rests_until, self.desk.now + rest)


def _by_expiry(table: InstrumentTable, options: Iterable[int], right: Right) -> dict[date, Table]:
    """Places of the calls or the puts of each expiry."""
    places: dict[date, list[int]] = {}
    for place in options:
        option = table[place]
        if option.right is right and option.expiry is not None:
            places.setdefault(option.expiry, []).append(place)
    return {expiry: np.array(found, np.int64) for expiry, found in places.items()}


def _said_of(underlying: str, others: Sequence[str]) -> str:
    """That it trades one of several, and which key chooses."""
    more = f" and {len(others) - LISTED} more" if len(others) > LISTED else ""
    return f"trades {underlying} alone, not {', '.join(others[:LISTED])}{more}; its key `underlying` chooses"


def _check(name: str, value: float, fits: bool, allowed: str) -> None:
    if not fits:
        raise ValueError(f"chain_bias: {name} must be {allowed}, was {value!r}")
