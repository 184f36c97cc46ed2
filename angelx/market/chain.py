"""The chain engine's state: every option of a run in columns, computed when its inputs changed, never before.

Rows only mark (`fold`). At fixed steps of stream time `step` reads the quotes that were marked, fits the forwards they
touch, chooses what to compute (`angelx.market.priority`) and brings the views up to date; where no row came and time
changes nothing, it only says so. Between two steps `contract` answers exactly: it reads what came of the contract's
expiry since, fits its forward and computes the contract. So nothing depends on how the stream is cut into batches, nor
on the speed of the host.

All summary numbers of a view (ratios, max pain, walls, flows, volume) are of its front expiry.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Final

import msgspec
import numpy as np

from angelx.domain.instruments import Kind
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, AT, BID, EXCHANGE_AT, Rows, Table
from angelx.market.analytics_cache import AnalyticsCache
from angelx.market.black76 import (
    DEFINED,
    DELTA,
    NO_QUOTE,
    REASONS,
    WIDTH,
    YEARS,
    Floats,
    Reasons,
)
from angelx.market.chain_american import AmericanAnswer
from angelx.market.chain_kernels import (
    C_APPEARED,
    C_RETURNED,
    C_STATES,
    NEVER,
    Q_STATE,
    QUOTE_COLUMNS,
    TIME_SHARE,
    WITH_COLUMNS,
    Found,
    bring_up_to_date,
    compute,
    differs,
    fit_forwards,
    look,
    mark,
    read_quotes,
    refresh,
    sum_up,
)
from angelx.market.chain_layout import ChainLayout, ExpiryLine
from angelx.market.chain_statistics import FIGURES
from angelx.market.chain_summary import ChainSummary, fill
from angelx.market.chain_view import ChainView, Contract, Flow
from angelx.market.forward import NO_PAIR, workspace
from angelx.market.oi_flow import LONG_BUILD_UP, LONG_UNWINDING, SHORT_BUILD_UP, SHORT_COVERING, WINDOW, OiFlow
from angelx.market.priority import Deferral, Turns, choose
from angelx.market.smile import SMILE_WIDTH, IvHistory
from angelx.market.state import MarketState

STANDS: Final = 1e-4
"""Without rows an answer's terms stand for this share of what is left of the expiry: half of it in volatility."""
MOST_STANDS: Final = 5 * NS
AROUND: Final = 5
"""Strikes each side of the money whose quotes' width is measured."""
FAR: Final = 2
"""Expiries from this one on, counted from the front, are summed up every `FAR_NS` only."""
FAR_NS: Final = 5 * NS
SETTLING_IN: Final = 300 * NS
"""After this much of a session what is quoted for the first time has appeared in mid-day."""

Judge = Callable[[ChainView], None]
"""Fills what is judged of a view: bias, trap probabilities."""


class ChainSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the engine works; every number is part of what a replay repeats."""

    step_ns: int = NS
    """Stream time between two steps."""
    budget: int = 400
    """Contracts a step should compute."""
    slack: float = 0.25
    """A forward that moved a premium by less than this share of its spread is not urgent; 0 = every move is."""
    flow_window_ns: int = WINDOW
    summary_ns: int = NS
    """Stream time between two summaries: smile, ratios, flows, and what is judged of them."""
    rate: float = 0.065
    """Continuous rate of the currency, a year: the curve that discounts are held against."""


class Work(msgspec.Struct):
    """What was done, and what a full recompute at each step would have done."""

    steps: int = 0
    computed: int = 0
    """Contracts computed by steps."""
    asked: int = 0
    """Contracts computed because somebody asked."""
    full: int = 0
    """Contracts with a usable quote, summed over the steps before which rows came."""

    @property
    def avoided(self) -> float | None:
        """Share of a full recompute's work that was not done; `None` before there was any."""
        return 1.0 - (self.computed + self.asked) / self.full if self.full else None


class _Pace(msgspec.Struct):
    """What one step leaves for the next; times in ns."""

    settled_in: int = NEVER
    """What is quoted for the first time after this has appeared in mid-day; `NEVER` before the session's first row."""
    stepped: int = 0
    """Last step."""
    folds: int = 0
    """Runs of rows so far."""
    moved: bool = False
    """Rows came since the last step."""
    waits: int = 0
    """Contracts that wait after it."""
    oldest: int = 0
    """No usable quote's exchange time is before this."""
    settlement: int = 0
    """The first one after the last step that read quotes."""
    quiet_until: int = 0
    """When time alone changes something."""
    changed: bool = False
    """Quotes were read since the last summary."""
    summed: int = -1
    far_changed: bool = False
    """The same for expiries beyond the front."""
    far_summed: int = -1


_Fresh = tuple[int, int, tuple[int, float] | None]
"""How many runs of rows had come when an expiry's quotes were read, when that was, ns, and its version and years then,
which are part of the key of every answer; `None` where nobody asked yet.
"""


class OptionChains:
    """Every chain of a run (`angelx.market.chain_view.Chains`).

    Parameters
    ----------
    market
        Last state of every instrument; rows are folded into it before they come here.
    settles
        Settlement of a contract's segment on its expiry date, ns.
    now
        Stream time, ns.
    histories
        Closes of earlier sessions, by underlying.
    spot_is_open
        Whether the underlying of that id has a defined value at the time (not in its closing auction).
    """

    def __init__(
        self,
        market: MarketState,
        settles: Callable[[ExpiryLine], int],
        now: Callable[[], int],
        settings: ChainSettings | None = None,
        *,
        judge: Judge | None = None,
        histories: Mapping[str, IvHistory] | None = None,
        spot_is_open: Callable[[str], bool] | None = None,
    ) -> None:
        self.settings = settings or ChainSettings()
        self.layout = layout = ChainLayout(market.table)
        self.market, self._now, self._judge, self._spot_is_open = market, now, judge, spot_is_open
        n, m = len(layout), len(layout.expiries)
        self.contracts = layout.contracts
        self.terms: Floats = np.zeros((m, WIDTH))
        """By expiry: forward, discount, years, … (`black76`); read only, as `contracts` is."""
        self.greeks: Floats = np.zeros((n, WIDTH))
        """By contract and column of `black76` (IV, DELTA, …), as last computed; read only."""
        self._deltas: Floats = self.greeks[:, DELTA]
        self.reasons: Reasons = np.full(n, NO_QUOTE, np.int8)
        self.quotes: Table = np.zeros((n, QUOTE_COLUMNS), np.int64)
        self.quotes[:, Q_STATE] = NO_QUOTE
        self._used: Floats = np.full((n, WITH_COLUMNS), -1.0)
        self._smiles, self._fitted, self._spots = np.zeros((m, SMILE_WIDTH)), np.zeros(m), np.zeros(m)
        self._versions, self._money = np.zeros(m, np.int64), np.full(m, -1, np.int64)
        self._touched, self._found = np.zeros(m, np.int8), np.full(m, NO_PAIR, np.int8)
        self._settles: Table = np.array([settles(one) for one in layout.expiries], np.int64)
        self._waiting, self._dirty, self._held = np.zeros(n, np.int8), np.zeros(n, np.int8), np.zeros(n, np.int32)
        self._distance, self._chosen, self._shelf = (np.zeros(n, np.int64) for _ in range(3))
        self._counts, self._waited = np.zeros(C_STATES + len(REASONS), np.int64), np.zeros(3, np.int64)
        self._statistics: Table = np.zeros(FIGURES, np.int64)
        self._sizes, self._starts, self._legs = _legs(layout.expiries)
        self._scratch = workspace(int(self._sizes.max(initial=0)))
        self._turns, self._pace, self.is_busy = Turns(self.settings.step_ns), _Pace(), False
        """The last step saw rows, or left something to do."""
        self._fresh: list[_Fresh] = [(-1, 0, None)] * m
        self._cells, self._marking = market.view, (layout.lines, self.quotes, self._dirty)
        self._american = AmericanAnswer(self.settings.rate)
        self._is_american = [_is_american(market, one) for one in layout.expiries]
        self._expiry_of, self._lots = layout.expiry_of.tolist(), layout.lots.tolist()
        self._settles_of: list[int] = self._settles.tolist()
        self._lines: memoryview[int] = layout.lines.data
        self.flow = OiFlow(layout.lines, n, self.settings.flow_window_ns)
        # What the kernels take, in their order.
        self._reading = (
            self._settles, layout.places, market.columns, self.contracts, self.quotes, self._dirty, self._touched,
            self._counts,
        )  # fmt: skip
        self._fitting = (
            *self._legs[1:], self._sizes, self.terms, self._versions, self._found, self._fitted, self.settings.rate,
            self._scratch,
        )  # fmt: skip
        computing = (self._used, self.greeks, self.reasons, self._waited)
        self._refreshing = (*self._reading, self._spots, *self._fitting, *computing)
        self._summing = (
            *self._legs, self._sizes, self._starts, layout.steps, self.contracts, self.terms, self.greeks,
            self.reasons, self.flow.oi, self.flow.volume, self.flow.units, self._money, self._distance, self._smiles,
            self._statistics,
        )  # fmt: skip
        self._answering = (*self._reading, self.terms, self._versions, *computing)
        self.cache: AnalyticsCache[Contract] = AnalyticsCache(now)
        self.work, self.deferral = Work(), Deferral()
        self.max_age_ns = 0
        """Oldest exchange time that counts as fresh at the last step."""
        self.views: Mapping[str, ChainView] = {name: ChainView(name, expiries={}) for name in layout.by_underlying}
        self._summaries = [
            ChainSummary(self.views[name], lines, market, self._settles, self.flow, (histories or {}).get(name))
            for name, lines in layout.by_underlying.items()
        ]
        self._summary_of = [summary for summary in self._summaries for _ in summary.lines]
        self._spots_seen: list[float] = [-1.0] * len(self._summaries)

    # ------------------------------------------------------------ rows
    def fold(self, rows: Rows) -> None:
        """Mark what rows changed; nothing is computed."""
        mark(rows.batch.table, rows.start, rows.stop, *self._marking)
        self.flow.fold(rows)
        pace = self._pace
        pace.moved = True
        pace.folds += 1
        if pace.settled_in == NEVER:
            pace.settled_in = rows.batch.view[AT, rows.start] + SETTLING_IN

    def hold(self, place: int, change: int) -> None:
        """Something is held or works in a contract (`change` 1) or no longer (-1)."""
        line = self._lines[place]
        if line >= 0:
            self._held[line] += change

    def new_session(self) -> None:
        """A session opens: flows begin anew."""
        self.flow.new_session()
        self._pace.settled_in = NEVER

    def end_session(self, day: date) -> None:
        """The session of that day closed: its last volatility is history."""
        for summary in self._summaries:
            summary.end_session(day)

    @property
    def histories(self) -> dict[str, IvHistory]:
        """The volatility at the close of each session that is known, by underlying."""
        return {summary.view.underlying: summary.history for summary in self._summaries}

    # ------------------------------------------------------------ steps
    def step(self, now: int, max_age_ns: int) -> None:
        """Bring everything up to date as far as the budget goes.

        Parameters
        ----------
        now
            Stream time, ns.
        max_age_ns
            Oldest exchange time that counts as fresh, ns before now.
        """
        self.max_age_ns, self._pace.stepped = max_age_ns, now
        self.work.steps += 1
        self.cache.new_batch()
        moved, self._pace.moved = self._pace.moved, False
        other_spot = self._read_spots(now)
        if moved or other_spot or self._pace.waits or now >= self._pace.quiet_until:
            self._advance(now, moved=moved)
        self.is_busy = moved or self._pace.waits > 0
        if now // self.settings.summary_ns != self._pace.summed:
            self._publish(now)

    def _advance(self, now: int, *, moved: bool) -> None:
        """What rows and time changed."""
        self._read(now)
        waiting, usable = look(
            now, self.layout.expiry_of, self.contracts, self.terms, self._versions, self.quotes, self._used,
            self.greeks, self.settings.slack, self._waiting,
        )  # fmt: skip
        self.work.full += usable if moved else 0
        self._pace.waits = waiting - (self._work(now, self._turns.at(now)) if waiting else 0)

    def settle(self, now: int, max_age_ns: int) -> None:
        """Compute everything that differs from its inputs, whatever it costs: a full picture on demand."""
        self.max_age_ns, self._pace.stepped = max_age_ns, now
        self._touched[:] = 1
        self._pace.oldest = 0
        self._read_spots(now)
        self._read(now)
        chosen = [n for n in range(len(self.layout)) if self._differs(n)]
        self._compute(np.array(chosen, np.int64), now)
        self.work.asked += len(chosen)
        self._pace.far_summed = -1
        self._publish(now)

    def _read_spots(self, now: int) -> bool:
        """The present spots; True where one is another than at the step before."""
        spots = [self._spot(summary, now) for summary in self._summaries]
        changed, self._spots_seen = spots != self._spots_seen, spots
        return changed

    def _spot(self, summary: ChainSummary, now: int) -> float:
        summary.spot_is_open = self._spot_is_open is None or self._spot_is_open(summary.view.underlying)
        return summary.read_spot(now - self.max_age_ns)

    def _read(self, now: int) -> None:
        """Quotes, time and forwards."""
        oldest = now - self.max_age_ns
        scan = self._pace.oldest < oldest or now >= self._pace.settlement
        least = read_quotes(0, len(self.layout), scan, now, oldest, self._pace.settled_in, *self._reading)
        self._pace.oldest = least if scan else min(self._pace.oldest, least)
        for summary, spot in zip(self._summaries, self._spots_seen, strict=True):
            self._spots[summary.first : summary.stop] = spot
        fit_forwards(now, self._settles, self._touched, self._spots, self.contracts, *self._fitting)
        self._touched[:] = 0
        self._fresh = [(self._pace.folds, now, None)] * len(self._fresh)
        self._pace.changed = self._pace.far_changed = True
        if now >= self._pace.settlement:
            self._pace.settlement = min((one for one in self._settles_of if one > now), default=NEVER)
        passing = int((self._pace.settlement - now) * TIME_SHARE)
        self._pace.quiet_until = min(self._pace.oldest + self.max_age_ns + 1, self._pace.settlement, now + passing)

    def _stands(self, expiry: int, read_at: int, now: int) -> bool:
        """Whether the terms of an expiry, read then, are those of now, where no row came since."""
        left = int((self._settles_of[expiry] - read_at) * STANDS)
        return now < read_at + min(max(left, self.settings.step_ns), MOST_STANDS)

    def _work(self, now: int, turn: int) -> int:
        """Compute what the budget, the hand and what is held ask for; how many."""
        count, deferred = choose(
            self._waiting, self._held, self._distance, self.layout.ranks, turn, self._turns.turns,
            self.settings.budget, self._chosen, self._shelf,
        )  # fmt: skip
        self._compute(self._chosen[:count], now)
        self.work.computed += count
        self.deferral.deferred += deferred
        self.deferral.over_budget += count > self.settings.budget
        return count

    def recompute(self, contracts: Table) -> None:
        """Compute these contracts anew, whatever their analytics are of."""
        self._compute(contracts, self._pace.stepped)

    def _compute(self, chosen: Table, now: int) -> None:
        compute(
            chosen, now, self.contracts, self.terms, self._versions, self.quotes, self._used, self.greeks,
            self.reasons, self._waited,
        )  # fmt: skip

    def _publish(self, now: int) -> None:
        self._pace.summed, changed, self._pace.changed = now // self.settings.summary_ns, self._pace.changed, False
        whole = self._pace.far_changed and now // FAR_NS != self._pace.far_summed
        if whole:
            self._pace.far_summed, self._pace.far_changed = now // FAR_NS, False
        for summary in self._summaries:
            if changed or whole:
                self._summarise(summary, now, whole=whole)
            summary.tick(now)
            if self._judge is not None:
                self._judge(summary.view)

    def _summarise(self, summary: ChainSummary, now: int, *, whole: bool) -> None:
        first, stop = summary.window(now, FAR) if not whole else (summary.first, summary.stop)
        front = summary.front(now)
        width = sum_up(first, stop, front, AROUND, *self._summing)
        summary.update(first, stop, self.terms, self._found, self._smiles, self._money)
        summary.of_front(front, self._statistics.tolist(), width)

    def _differs(self, n: int) -> bool:
        return bool(differs(n, self.contracts, self.terms, self._versions, self.quotes, self._used))

    # ------------------------------------------------------------ answers
    def contract(self, place: int) -> Contract | None:
        """Analytics of the option at a place, computed now where they are not of its present inputs."""
        n = self._lines[place]
        if n < 0:
            return None
        now, cells, expiry, found = self._now(), self._cells, self._expiry_of[n], None
        folds, read_at, terms = self._fresh[expiry]
        if folds != self._pace.folds or not (now == read_at or self._stands(expiry, read_at, now)):
            terms, found = self._refresh(expiry, n, now)
        elif terms is None:
            terms = int(self._versions[expiry]), float(self.terms[expiry, YEARS])
            self._fresh[expiry] = folds, read_at, terms
        quoted_at = cells[EXCHANGE_AT, place]
        key = (cells[BID, place], cells[ASK, place], quoted_at, quoted_at < now - self.max_age_ns, terms)
        return self.cache.get(n, key, partial(self._answer, found))

    def _refresh(self, expiry: int, n: int, now: int) -> tuple[tuple[int, float], Found]:
        """What came of an expiry since it was read, and its forward: its version and years; and contract `n` of it."""
        one, pace, oldest = self.layout.expiries[expiry], self._pace, now - self.max_age_ns
        spot = self._summary_of[expiry].read_spot(oldest)
        least, version, years, found = refresh(
            n, one.first, one.stop, now, oldest, pace.settled_in, spot, *self._refreshing
        )
        pace.oldest = min(pace.oldest, least)
        terms = version, years
        self._fresh[expiry] = pace.folds, now, terms
        return terms, found

    def _answer(self, found: Found | None, n: int) -> Contract:
        if found is None:
            now = self._now()
            found = bring_up_to_date(n, now, now - self.max_age_ns, *self._answering)
        other, at, state, reason, greeks = found
        self.work.asked += other
        if state == DEFINED and self._is_american[self._expiry_of[n]]:
            reason, greeks = self._american.ask(self.contracts[n], self.terms[self._expiry_of[n]], self.greeks[n])
        iv, delta, gamma, vega, theta, rho = greeks
        return Contract(at, iv, delta, gamma, vega, theta, rho, REASONS[reason])

    def deltas(self, places: Table) -> Floats:
        """Deltas of the options at these places as last computed; 0.0 where undefined."""
        found: Floats = self._deltas[self.layout.lines.take(places)]
        return found

    def strike_flow(self, place: int) -> Flow:
        """The flow of one contract over the window, in lots."""
        n = self._lines[place]
        if n < 0:
            return Flow()
        units, lot = self.flow.cells, self._lots[n]
        return Flow(
            units[n, LONG_BUILD_UP] / lot, units[n, SHORT_BUILD_UP] / lot, units[n, LONG_UNWINDING] / lot,
            units[n, SHORT_COVERING] / lot,
        )  # fmt: skip

    def signed_flow(self, place: int) -> float:
        """`strike_flow(place).signed`, lots."""
        n, units = self._lines[place], self.flow.cells
        if n < 0:
            return 0.0
        longs = units[n, LONG_BUILD_UP] + units[n, SHORT_COVERING]
        lots: float = (longs - units[n, SHORT_BUILD_UP] - units[n, LONG_UNWINDING]) / self._lots[n]
        return lots

    def view_of(self, expiry: ExpiryLine) -> ChainView:
        """A view of the underlying with what the open interest, volume and quotes of any expiry say instead of the
        front one's, summed up now, after the last step's forward.
        """
        view = msgspec.structs.replace(self.views[expiry.underlying])
        width = sum_up(expiry.line, expiry.line + 1, expiry.line, AROUND, *self._summing)
        fill(view, expiry, self._statistics.tolist(), width)
        return view

    def waited(self) -> Deferral:
        """How long contracts waited so far."""
        self.deferral.served, self.deferral.waited_ns, self.deferral.worst_ns = self._waited.tolist()
        return self.deferral

    def bad_input(self) -> dict[str, int]:
        """How often what was not used came, by reason; only reasons that occurred."""
        counts = self._counts.tolist()
        found = {REASONS[state]: counts[C_STATES + state] for state in range(1, len(REASONS))}
        found |= {"appeared": counts[C_APPEARED], "returned": counts[C_RETURNED], **self.flow.ignored}
        for summary in self._summaries:
            for reason, count in summary.counts.items():
                found[reason] = found.get(reason, 0) + count
        return {reason: count for reason, count in found.items() if count}


def _is_american(market: MarketState, one: ExpiryLine) -> bool:
    """Options on US stocks may be exercised early; those on indices, and all of NSE, may not."""
    underlying = market.table.get(one.underlying)
    return one.segment == "OPRA" and underlying is not None and underlying.kind is Kind.EQUITY


def _legs(expiries: Sequence[ExpiryLine]) -> tuple[Table, Table, tuple[Table, Table, Table]]:
    """How many strikes each expiry has, where its contracts begin and the last one's end, and by strike what it is, its
    calls and its puts, filled up with -1.
    """
    sizes = np.array([len(one.strikes) for one in expiries], np.int64)
    starts = np.array([0, *(one.stop for one in expiries)], np.int64)
    strikes, calls, puts = (np.full((len(expiries), int(sizes.max(initial=0))), -1, np.int64) for _ in range(3))
    for one in expiries:
        strikes[one.line, : len(one.strikes)] = one.strikes
        calls[one.line, : len(one.strikes)] = one.calls
        puts[one.line, : len(one.strikes)] = one.puts
    return sizes, starts, (strikes, calls, puts)
