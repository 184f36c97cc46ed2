"""What a view says of one underlying: brought up to date after each step from the columns of its expiries."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from angelx.domain.scalars import SCALE
from angelx.domain.ticks import EXCHANGE_AT, LAST, Table
from angelx.market.black76 import DISCOUNT, FORWARD, YEARS, Floats
from angelx.market.chain_layout import ExpiryLine
from angelx.market.chain_statistics import (
    CALL_FLOW,
    CALL_OI,
    CALL_VOLUME,
    CALL_WALL,
    MAX_PAIN,
    PUT_FLOW,
    PUT_OI,
    PUT_VOLUME,
    PUT_WALL,
    ratio,
)
from angelx.market.chain_view import ChainView, ExpiryView, Flow
from angelx.market.forward import FORWARD_REASONS
from angelx.market.oi_flow import OiFlow
from angelx.market.sessions import MINUTE
from angelx.market.smile import IvHistory, IvNoise, at_tenor
from angelx.market.state import MarketState


class ChainSummary:
    """Keeps one `ChainView`.

    Parameters
    ----------
    view
        What it keeps.
    lines
        The expiries of the underlying, nearest first.
    settles
        By expiry of the run, ns.
    flow
        Of all its contracts.
    """

    def __init__(
        self,
        view: ChainView,
        lines: Sequence[ExpiryLine],
        market: MarketState,
        settles: Table,
        flow: OiFlow,
        history: IvHistory | None,
    ) -> None:
        self.view, self.lines = view, lines
        self.first, self.stop = lines[0].line, lines[-1].line + 1
        self.counts = {"spot_missing": 0, "spot_stale": 0}
        """How often the spot turned out to be missing or stale."""
        self.history = history or IvHistory()
        self._noise = IvNoise()
        self._sampled = 0
        self._flow, self._cells = flow, market.view
        self._settles: list[int] = settles[self.first : self.stop].tolist()
        self._spot_place = market.table.index.get(view.underlying, -1)
        self._spot_state = ""
        self.spot_is_open = True
        """The underlying traded continuously at the last step."""
        self._strikes: list[list[int]] = [one.strikes.tolist() for one in lines]
        view.expiries = {one.expiry: ExpiryView(one.expiry) for one in lines}
        self._views = [view.expiries[one.expiry] for one in lines]

    # ------------------------------------------------------------ spot
    def read_spot(self, oldest: int) -> float:
        """The underlying's present value, currency units; 0.0 where it is missing, old or undefined."""
        cells, place = self._cells, self._spot_place
        last = cells[LAST, place] if self.spot_is_open and place >= 0 else 0
        if last > 0 and cells[EXCHANGE_AT, place] >= oldest:
            self._spot_state = ""
            self.view.spot = spot = last / SCALE
            return spot
        state = "spot_stale" if last > 0 else "spot_missing"
        if state != self._spot_state:
            self.counts[state] += 1
            self._spot_state = state
        self.view.spot = None
        return 0.0

    # ------------------------------------------------------------ the view
    def window(self, now: int, count: int) -> tuple[int, int]:
        """The first expiries that have not settled, `count` at most, as lines [first, stop) of the run's expiries."""
        front = self.first + bisect_right(self._settles, now)
        return front, min(front + count, self.stop)

    def front(self, now: int) -> int:
        """Line of the nearest expiry that has not settled; -1 where all have."""
        front = self.first + bisect_right(self._settles, now)
        return front if front < self.stop else -1

    def update(
        self, first: int, stop: int, expiries: Floats, found: NDArray[np.int8], smiles: Floats, money: Table
    ) -> None:
        """Forward, discount, money, and volatility there and skew, of the expiries of lines [first, stop)."""
        start, end = first - self.first, stop - self.first
        of = zip(
            self._views[start:end], self._strikes[start:end], expiries[first:stop].tolist(), found[first:stop].tolist(),
            smiles[first:stop].tolist(), money[first:stop].tolist(), strict=True,
        )  # fmt: skip
        for view, strikes, terms, answer, (at_the_money, put_wing, call_wing), nearest in of:
            view.years, forward = terms[YEARS], terms[FORWARD]
            view.forward_reason = FORWARD_REASONS[answer]
            if forward > 0.0:
                view.forward, view.discount, view.atm_strike = forward, terms[DISCOUNT], strikes[nearest]
            else:
                view.forward = view.discount = None
                view.atm_strike = 0
            view.atm_iv = at_the_money or None
            view.skew = put_wing - call_wing if put_wing > 0.0 and call_wing > 0.0 else None

    def tick(self, now: int) -> None:
        """It is `now`, and the view is of now."""
        self._volatility(now)
        self.view.at = now

    def _volatility(self, now: int) -> None:
        """Noise, rank and percentile: once a minute."""
        if now // MINUTE == self._sampled:
            return
        self._sampled = now // MINUTE
        line = self.front(now)
        front = self._views[line - self.first].atm_iv if line >= 0 else None
        if front is not None:
            self._noise.sample(front)
        view, level = self.view, self.level
        view.iv_noise = self._noise.noise
        view.sessions = len(self.history)
        view.iv_rank = self.history.rank(level) if level is not None else None
        view.iv_percentile = self.history.percentile(level) if level is not None else None

    @property
    def level(self) -> float | None:
        """The volatility that sessions are compared by: at the money, of a month's life."""
        return at_tenor([one.years for one in self._views], [one.atm_iv for one in self._views])

    def end_session(self, day: date) -> None:
        """A session closed: remember its volatility."""
        level = self.level
        if level is not None:
            self.history.close(day, level)

    def of_front(self, front: int, got: Sequence[int], width: float) -> None:
        """Ratios, walls and flows of the front expiry; nothing where every expiry has passed.

        `front` is its line, or -1; the others as for `fill`.
        """
        view = self.view
        if front < 0:
            view.front = None
            view.pcr_oi = view.pcr_volume = view.volume = view.open_interest = view.spread = None
            view.max_pain = view.call_wall = view.put_wall = 0
            view.call_flow, view.put_flow = Flow(), Flow()
            return
        one = self.lines[front - self.first]
        view.front, view.flow_since = one.expiry, self._flow.since
        fill(view, one, got, width)


def fill(view: ChainView, one: ExpiryLine, got: Sequence[int], width: float) -> None:
    """Put an expiry's ratios, walls and flows into a view of its underlying.

    Parameters
    ----------
    got
        As `chain_statistics.figures` writes it.
    width
        Median width of the quotes around its money, a fraction; negative without any.
    """
    lot = one.lot
    view.pcr_oi, view.pcr_volume = ratio(got[PUT_OI], got[CALL_OI]), ratio(got[PUT_VOLUME], got[CALL_VOLUME])
    view.max_pain, view.call_wall, view.put_wall = got[MAX_PAIN], got[CALL_WALL], got[PUT_WALL]
    view.call_flow = Flow(*[units / lot for units in got[CALL_FLOW:PUT_FLOW]])
    view.put_flow = Flow(*[units / lot for units in got[PUT_FLOW:]])
    view.open_interest = (got[CALL_OI] + got[PUT_OI]) / lot or None
    view.volume = (got[CALL_VOLUME] + got[PUT_VOLUME]) / lot or None
    view.spread = width if width >= 0.0 else None
