"""How much of what is signalled the filters let pass, in every regime and window: asked of the filters themselves.

Each cell of regime x window is given the same made-up signals, drawn from a prior of what signals meet (below), and the
real filters of a configuration are asked one after the other. Outside 5 to 60 % something is wrong with their numbers:
a filter that lets nothing pass trades nothing, one that lets all pass filters nothing.

The prior: strength is uniform (it is a percentile) from `STRONG` on, where the shipped strategy begins to signal; the
bias leans the signal's way; IV noise has mean .25; trap evidence is such as `angelx.signals.trap` calls usual, put
through its model; flow at the strike is lognormal around 2,000 lots (sigma 1.3) where 120,000 are open, as within 1 %
of the money of NIFTY's nearest expiry on 29 Aug 2025, and goes with the signal in three cases of four; the trend is
uncertain in half of all cases; quotes are fresh and one to four ticks wide on a premium of 50.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from math import exp, log
from random import Random
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from angelx.domain.events import Signal
from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, EXCHANGE_AT, INSTRUMENT, OI, Rows, batch_of
from angelx.market.chain_view import ChainView, Contract, ExpiryView, Flow
from angelx.market.sessions import CLOSING_MINUTES, MINUTE, WINDOW_ENDS
from angelx.market.state import MarketState
from angelx.signals.filters.base import NOT_APPLICABLE, Filter, Refusal, Scene
from angelx.signals.filters.time_of_day import TimeOfDayFilter, window_name
from angelx.signals.filters.volatility_regime import REGIMES
from angelx.signals.quality import LEAST_SHARE, MOST_SHARE
from angelx.signals.trap import Evidence, TrapModel
from angelx.signals.trap import expiry as nearness

DRAWS: Final = 400
STRONG: Final = 0.5
LOT: Final = 75
OPENS_AT: Final = 1_767_584_700 * NS
MINUTES: Final = 375
WINDOWS: Final = ("opening", "morning", "midday", "afternoon", "closing")
EXPIRY: Final = date(2026, 1, 6)
PLACE: Final = 1


class Cell(msgspec.Struct, frozen=True):
    """One regime in one window."""

    regime: str
    window: str
    admitted: float
    """Share of the signals that pass every filter."""
    refused: Mapping[str, int]
    """By reason code, of `DRAWS`."""

    @property
    def is_sound(self) -> bool:
        """True where it lets enough pass, and not all."""
        return LEAST_SHARE <= self.admitted <= MOST_SHARE


class _OneChain:
    """A chain whose flow at every strike is what was drawn."""

    def __init__(self, view: ChainView) -> None:
        self.views: Mapping[str, ChainView] = {view.underlying: view}
        self.flow = Flow()

    def contract(self, place: int) -> Contract | None:
        return Contract(0, 0.12, 0.45, 0.001, 10.0, -8.0, 0.0, "defined")

    def deltas(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.full(len(places), 0.45)

    def strike_flow(self, place: int) -> Flow:
        return self.flow if place == PLACE else Flow()

    def signed_flow(self, place: int) -> float:
        return self.strike_flow(place).signed


def admission(
    filters: Sequence[Filter], model: TrapModel | None = None, *, draws: int = DRAWS, seed: int = 1
) -> list[Cell]:
    """Every cell, in order of regime and window. What a filter raises passes through."""
    return [
        _cell(filters, regime, window, model or TrapModel(), draws, seed) for regime in REGIMES for window in WINDOWS
    ]


def warnings(cells: Sequence[Cell]) -> list[str]:
    """A line for each cell that is not sound."""
    return [
        f"{cell.regime} volatility, {cell.window}: the filters let {cell.admitted:.0%} of signals pass, not "
        f"{LEAST_SHARE:.0%} to {MOST_SHARE:.0%}{_mostly(cell)}"
        for cell in cells
        if not cell.is_sound
    ]


def _mostly(cell: Cell) -> str:
    if not cell.refused:
        return ""
    code = max(sorted(cell.refused), key=lambda one: cell.refused[one])
    return f"; most refusals: {code}"


def _cell(filters: Sequence[Filter], regime: str, window: str, model: TrapModel, draws: int, seed: int) -> Cell:
    windows = next((one for one in filters if isinstance(one, TimeOfDayFilter)), TimeOfDayFilter())
    refused: dict[str, int] = {}
    admitted = 0
    for signal, scene in _draws(regime, window, model, windows, draws, seed):
        code = _answer(filters, signal, scene)
        if code:
            refused[code] = refused.get(code, 0) + 1
        else:
            admitted += 1
    return Cell(regime, window, admitted / draws, refused)


def _answer(filters: Sequence[Filter], signal: Signal, scene: Scene) -> str:
    """The reason code of the first refusal; empty where it passes."""
    for check in filters:
        answer = check(signal, scene)
        if isinstance(answer, Refusal):
            return answer.code
        if not isinstance(answer, float) and answer is not NOT_APPLICABLE:
            raise TypeError(f"filter {check.name} answered {answer!r}")
    return ""


def _draws(
    regime: str, window: str, model: TrapModel, windows: TimeOfDayFilter, draws: int, seed: int
) -> Iterator[tuple[Signal, Scene]]:
    random, clock = Random(seed), Random(seed)  # The same draws in every cell: only the filters make them differ.
    table = InstrumentTable(_instruments())
    market = MarketState(table)
    view = ChainView("NSE:NIFTY", front=EXPIRY, regime=regime, flow_since=OPENS_AT)
    expiry = ExpiryView(EXPIRY, forward=24_000.0, discount=1.0, atm_iv=0.12, forward_reason="defined")
    view.expiries = {EXPIRY: expiry}
    chain = _OneChain(view)
    times = [at for at in _times() if window_name(at, OPENS_AT, OPENS_AT + MINUTES * MINUTE) == window]
    scene = Scene()
    scene.chain, scene.chains, scene.market = view, chain, market
    scene.instrument, scene.place, scene.twin = table[PLACE], PLACE, PLACE + 1
    scene.sign = 1
    scene.phase, scene.opens_at, scene.closes_at = "open", OPENS_AT, OPENS_AT + MINUTES * MINUTE
    scene.snapshot_age_ns = 0
    for number in range(1, draws + 1):
        now = clock.choice(times)
        bid, ask = _quote(market, random, now)
        scene.now, view.at, view.spot = now, now, 24_000.0
        scene.window = windows.window(now, scene.opens_at, scene.closes_at)
        expiry.years = random.uniform(0.2, 7.0) / 365
        _judged(view, random, model, expiry.years)
        chain.flow = _flow(random)
        yield Signal(now, number, "any", table[PLACE].id, 1, bid, ask, 150_000, "bias_up"), scene


def _judged(view: ChainView, random: Random, model: TrapModel, years: float) -> None:
    view.bias, view.bias_strength = 0.4, random.uniform(STRONG, 1.0)
    view.iv_noise = min(random.expovariate(4.0), 1.0)
    view.trend_is_uncertain = random.random() < 0.5
    evidence = Evidence(
        burst=random.random() if random.random() < 0.3 else 0.0,
        unwinding=random.random() if random.random() < 0.1 else 0.0,
        wall=exp(-random.expovariate(0.8)),
        widening=random.random() if random.random() < 0.2 else 0.0,
        expiry=nearness(years),
    )
    view.trap_up = view.trap_down = model.probability(evidence)


def _flow(random: Random) -> Flow:
    lots = random.lognormvariate(log(2_000.0), 1.3)
    return Flow(long_build_up=lots) if random.random() < 0.75 else Flow(short_build_up=lots)


def _quote(market: MarketState, random: Random, now: int) -> tuple[int, int]:
    bid = 50_0000
    ask = bid + 500 * random.randint(1, 4)
    places = np.arange(3)
    batch = batch_of(
        {
            INSTRUMENT: places,
            EXCHANGE_AT: np.full(3, max(now - random.randrange(3 * NS), OPENS_AT)),
            BID: np.full(3, bid),
            ASK: np.full(3, ask),
            BID_SIZE: np.full(3, 10 * LOT),
            ASK_SIZE: np.full(3, 10 * LOT),
            OI: np.full(3, 60_000 * LOT),
        }
    )
    market.fold(Rows(batch, 0, batch.rows))
    return bid, ask


def _times() -> list[int]:
    """Every minute of a session, and the edges of its windows."""
    edges = [0, *(ends for _, ends in WINDOW_ENDS), MINUTES - CLOSING_MINUTES]
    return sorted({OPENS_AT + minute * MINUTE + NS for minute in (*range(MINUTES), *edges)})


def _instruments() -> list[Instrument]:
    index = Instrument(
        id="NSE:NIFTY", symbol="NIFTY", segment="NSE", kind=Kind.INDEX, currency="INR", tick_size=500, tradable=False
    )
    return [
        index,
        *(
            Instrument(
                id=f"NFO:NIFTY:{right}",
                symbol="NIFTY",
                segment="NFO",
                kind=Kind.OPTION,
                currency="INR",
                tick_size=500,
                lot_size=LOT,
                underlying=index.id,
                expiry=EXPIRY,
                strike=24_000_0000,
                right=right,
            )
            for right in (Right.CALL, Right.PUT)
        ),
    ]
