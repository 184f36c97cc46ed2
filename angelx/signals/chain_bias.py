"""Option-chain bias: buys a call or a put when open-interest flow and the forward's drift agree.

Every five seconds it looks at the strikes around the money of the nearest expiry:

- *flow*: over the last `window_s`, each contract's change of open interest is classed by the change of its mid (long or
  short build-up, short covering, long unwinding), signed for the underlying (a call written is bearish, a put written
  bullish) and weighted by its size: a number in [-1, 1];
- *drift*: the change of the put-call-parity forward over the same window, in units of what the at-the-money straddle
  implies for that time: clipped to [-1, 1];
- *score* = 0.6 flow + 0.4 drift. At `threshold` it buys the strike nearest to the money whose premium is at most
  `max_premium`; positions end at the stop, the target, after `hold_s`, or when the score turns.

Sources: the four build-up classes as NSE participants use them (changes of price and open interest); the
straddle's implied move: Brenner and Subrahmanyam (1988), straddle = 0.8 F sigma sqrt(T).
"""

from collections import deque
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from angelx.domain.events import PositionChanged
from angelx.domain.instruments import Right
from angelx.domain.scalars import NS, SCALE
from angelx.domain.ticks import ASK, BID, OI
from angelx.signals.strategy import Strategy

FLOW_WEIGHT: Final = 0.6
DRIFT_WEIGHT: Final = 0.4
STRADDLE: Final = 0.8
"""At-the-money straddle in units of forward x volatility x sqrt(time)."""
TURN: Final = 0.15
"""How far beyond the threshold the score must be on the other side to end a position."""


class ChainBias(Strategy):
    """See the module.

    Parameters
    ----------
    underlying
        Id of the index or stock; the one with most options where empty.
    strikes
        How many strikes on each side of the money count.
    window_s
        Seconds over which flow and drift are measured.
    threshold
        Least |score| of an entry, in (0, 1).
    max_premium
        Largest premium bought, currency units.
    stop, target
        Fractions of the entry premium.
    hold_s
        Longest holding time.
    pause_s
        Least time between two entries.
    """

    every_s: ClassVar[float] = 5.0

    def __init__(
        self,
        *,
        underlying: str = "",
        strikes: int = 8,
        window_s: float = 300.0,
        threshold: float = 0.4,
        max_premium: float = 60.0,
        stop: float = 0.30,
        target: float = 0.45,
        hold_s: float = 1200.0,
        pause_s: float = 900.0,
    ) -> None:
        if not 0 < threshold < 1 or not 0 < stop < 1 or target <= 0 or strikes < 1 or window_s < self.every_s:
            raise ValueError("chain_bias: threshold and stop lie in (0, 1), target > 0, strikes >= 1, window_s >= 5")
        self._underlying, self._strikes, self._threshold = underlying, strikes, threshold
        self._window = int(window_s * NS)
        self._max_premium = int(max_premium * SCALE)
        self._stop, self._target = stop, target
        self._hold, self._pause = int(hold_s * NS), int(pause_s * NS)
        self.score = 0.0

    def start(self) -> None:
        table = self.desk.instruments
        counts: dict[str, int] = {}
        for instrument in table:
            if instrument.right is not None:
                counts[instrument.underlying] = counts.get(instrument.underlying, 0) + 1
        self._underlying = self._underlying or max(counts, key=lambda name: counts[name], default="")
        if self._underlying not in counts:
            raise ValueError(f"chain_bias: no options on {self._underlying or 'anything'} in this source")
        self._expiries = sorted({e for p in table.options(self._underlying) if (e := table[p].expiry) is not None})
        self._chain_of = -1
        self._history: deque[tuple[int, float, NDArray[np.float64], NDArray[np.float64]]] = deque()
        self._entries: dict[int, tuple[int, int]] = {}
        self._last_entry = 0

    # ------------------------------------------------------------ what it sees
    def _chain(self) -> bool:
        """Columns of the nearest expiry that has not passed; False where there is none."""
        day = np.datetime64(self.desk.now, "ns").astype("datetime64[D]")
        following = next((n for n, expiry in enumerate(self._expiries) if np.datetime64(expiry) >= day), -1)
        if following != self._chain_of:
            self._chain_of = following
            self._history.clear()
            if following >= 0:
                self._index(following)
        return following >= 0

    def _index(self, expiry: int) -> None:
        table = self.desk.instruments
        legs: dict[int, dict[Right, int]] = {}
        for place in table.options(self._underlying):
            option = table[place]
            if option.expiry == self._expiries[expiry] and option.right is not None:
                legs.setdefault(option.strike, {})[option.right] = place
        pairs = sorted((strike, pair) for strike, pair in legs.items() if len(pair) == len(Right))
        self._strike = np.array([strike for strike, _ in pairs], np.float64)
        self._places = np.array([[pair[Right.CALL], pair[Right.PUT]] for _, pair in pairs], np.int64).T

    def _mids(self) -> NDArray[np.float64]:
        """Mid of calls and puts, shape (2, strikes), NaN where a side is not quoted."""
        quotes = self.desk.market.columns[:, self._places]
        both = (quotes[BID] > 0) & (quotes[ASK] > 0)
        return np.where(both, (quotes[BID] + quotes[ASK]) / 2.0, np.nan)

    def _look(self) -> bool:
        """Measure the score; False until a window of history is there."""
        mids = self._mids()
        parity = mids[0] - mids[1]
        quoted = np.flatnonzero(np.isfinite(parity))
        if quoted.size <= 2:
            return False
        near = quoted[np.argsort(np.abs(parity[quoted]), kind="stable")]
        forward = float(np.median((self._strike + parity)[near[:5]]))
        oi = self.desk.market.columns[OI][self._places].astype(np.float64)
        now = self.desk.now
        self._history.append((now, forward, mids, oi))
        while len(self._history) > 1 and self._history[1][0] <= now - self._window:
            self._history.popleft()
        then, forward_then, mids_then, oi_then = self._history[0]
        if now - then < self._window:
            return False
        atm = int(near[0])
        around = slice(max(atm - self._strikes, 0), atm + self._strikes + 1)
        flow = _flow((mids - mids_then)[:, around], (oi - oi_then)[:, around])
        drift = self._drift(forward - forward_then, float(mids[0, atm] + mids[1, atm]), now - then)
        self.score = FLOW_WEIGHT * flow + DRIFT_WEIGHT * drift
        self._atm = atm
        return True

    def _drift(self, change: float, straddle: float, elapsed: int) -> float:
        expiry = np.datetime64(self._expiries[self._chain_of], "ns").astype(np.int64) + 10 * 3600 * NS
        left = max(int(expiry) - self.desk.now, 3600 * NS)
        expected = straddle / STRADDLE * float(np.sqrt(elapsed / left))
        return float(np.clip(change / expected, -1.0, 1.0)) if expected > 0 else 0.0

    # ------------------------------------------------------------ what it does
    def on_timer(self) -> None:
        if not self._chain():
            return
        ready = self._look()
        for place in list(self._entries):
            self._manage(place, turned=ready)
        if ready and not self._entries and abs(self.score) >= self._threshold:
            self._enter()

    def _enter(self) -> None:
        if self.desk.now - self._last_entry < self._pause:
            return
        row = 0 if self.score > 0 else 1
        away = 1 if row == 0 else -1
        view = self.desk.market.view
        strike = self._atm
        while 0 <= strike < len(self._strike) and abs(strike - self._atm) <= self._strikes:
            place = int(self._places[row, strike])
            ask = view[ASK, place]
            if 0 < ask <= self._max_premium and view[BID, place] > 0:
                why = "bias_up" if row == 0 else "bias_down"
                if self.desk.long(place, stop_distance=int(ask * self._stop), why=why):
                    self._last_entry = self.desk.now
                return
            strike += away

    def _manage(self, place: int, *, turned: bool) -> None:
        price, since = self._entries[place]
        bid = self.desk.market.view[BID, place]
        call = self.desk.instruments[place].right is Right.CALL
        if bid <= price * (1 - self._stop):
            why = "stop"
        elif bid >= price * (1 + self._target):
            why = "target"
        elif self.desk.now - since >= self._hold:
            why = "time"
        elif turned and (self.score < 0) == call and abs(self.score) >= self._threshold + TURN:
            why = "bias_turned"
        else:
            return
        self.desk.flat(place, why=why)

    def on_position(self, event: PositionChanged) -> None:
        place = self.desk.instruments.index[event.instrument]
        if event.quantity:
            since = self._entries.get(place, (0, self.desk.now))[1]
            self._entries[place] = (event.cost // event.quantity, since)
        else:
            self._entries.pop(place, None)


def _flow(price_change: NDArray[np.float64], oi_change: NDArray[np.float64]) -> float:
    """Signed, size-weighted open-interest flow for the underlying, in [-1, 1]; rows are calls and puts."""
    moved = np.isfinite(price_change) & (price_change != 0) & (oi_change != 0)
    if not moved.any():
        return 0.0
    # A premium that rises is bought (long build-up, short covering); one that falls is sold.
    bullish = np.sign(price_change[moved]) * np.array([[1.0], [-1.0]]).repeat(price_change.shape[1], 1)[moved]
    size = np.abs(oi_change[moved])
    return float((bullish * size).sum() / size.sum())
