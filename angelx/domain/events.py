"""Facts: immutable, past tense, in one total order (docs/adr/0001).

`at` is the time of the input that caused the event, ns. Instruments are named by id, sides are +1 / -1, prices and
money are integers of 1/10,000, quantities are units. Events marked *recorded* go into the journal; the others are folds
of recorded ones and exist only on the bus.
"""

from datetime import date
from typing import Final

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """A fact. In JSON an array: the class, then the fields in order; new fields go last and have a default."""

    at: int


# ---------------------------------------------------------------- the session: recorded
class SessionStarted(Event, frozen=True):
    """A process began to trade on this journal, from nothing or from what an earlier one left."""

    run: str
    """Journal instance: part of every client order id."""
    mode: str
    """`paper`, `replay` or `run`."""
    config: str
    """What decides of the configuration, as JSON: no secrets, no paths of state, nothing of how it is shown."""
    config_hash: str
    version: str
    seed: int
    capital: int
    currency: str
    resumed: bool
    """True: the state before this record was rebuilt from this journal."""
    plugins: str = "{}"
    """sha256 of every file that strategies or filters were loaded from, by name, as JSON."""
    tuning: str = ""
    """What was learned before this session and applies in it, as JSON (`angelx.signals.tuning`); empty = nothing."""
    iv_closes: str = ""
    """Volatilities at earlier closes, as JSON (`angelx.market.iv_closes`); empty = none."""


class SourceOpened(Event, frozen=True):
    """Ticks come from here: the rows themselves stay in the source."""

    source: str
    """`simulated`, `nifty-chain`, `us-equities`, `capture`, …"""
    reference: str
    """What opens it again: a path or the generator's parameters, as JSON."""
    digest: str
    """sha256 of the files or of the generator's parameters."""
    instruments: int


class InstrumentUsed(Event, frozen=True):
    """First order or signal on an instrument: its definition, as JSON, so that a journal explains itself."""

    instrument: str
    definition: str


class PhaseChanged(Event, frozen=True):
    """A segment's trading session changed phase: `open`, `closed`."""

    segment: str
    phase: str
    session: str
    """Exchange date, ISO; why it is closed where there is no session."""


class SessionEnded(Event, frozen=True):
    """The process stopped in order; `rows` ticks had been received."""

    rows: int
    reason: str


# ---------------------------------------------------------------- decisions: recorded
class Signal(Event, frozen=True):
    """A strategy wants to be long (+1), flat (0) or short (-1) in an instrument; how much is risk's business."""

    signal: int
    """Number of the signal in this journal, from 1."""
    strategy: str
    instrument: str
    direction: int
    bid: int
    ask: int
    """The touch the strategy decided on."""
    stop_distance: int = 0
    """Price from entry to the stop, 1/10,000; 0 = the configured default."""
    why: str = ""
    urgency: int = 0
    """How far beyond the touch the order may pay: 0 least, 3 most."""


class SignalRefused(Event, frozen=True):
    """A filter or the risk gate said no; `code` is stable, `detail` has the numbers compared."""

    signal: int
    strategy: str
    instrument: str
    by: str
    """`filter`, `sizing`, `gate` or `router`."""
    code: str
    detail: str


class OrderApproved(Event, frozen=True):
    """The intent to send one order, durable before it is sent. Only `angelx.risk` makes one."""

    order: str
    """Client order id, unique for life."""
    signal: int
    strategy: str
    instrument: str
    side: int
    quantity: int
    limit: int
    reduces: bool
    """True: it only lowers an existing position."""
    touch: int
    """The price it would have filled at when decided: the arrival price of the cost analysis."""
    bound_by: str
    """What limited the quantity."""
    confidence: float
    decided_by: str = ""
    """What it rests on, `7713c6fae899/2/5d41402a`: the configuration by its hash, the tuning, the model by its hash."""


class CancelRequested(Event, frozen=True):
    """We asked the broker to cancel a working order."""

    order: str
    why: str


# ---------------------------------------------------------------- broker reports: recorded
class OrderAccepted(Event, frozen=True):
    """The broker has the order and works it; where it fills on arrival, the fill may say so alone."""

    order: str
    broker_order: str


class OrderFilled(Event, frozen=True):
    """Part or all of an order traded. A fill is never refused."""

    order: str
    instrument: str
    side: int
    quantity: int
    price: int
    fee: int
    """Fees charged with this fill, money."""
    execution: str
    """The broker's identity of the fill: the same one twice is one fill."""


class OrderEnded(Event, frozen=True):
    """The broker ended an order: `rejected`, `cancelled`, `expired`, or `absent` where it never had it."""

    order: str
    outcome: str
    code: str
    detail: str


class BooksRead(Event, frozen=True):
    """A real broker answered with its complete books: what reconciliation compares with."""

    asked_at: int
    """When they were asked for, ns: what was sent later need not be in them."""
    orders: tuple[str, ...]
    """Those of our unanswered orders that the order book has, or that were still on their way, by client order id."""
    held: tuple[tuple[str, int], ...]
    """Signed units by instrument, flat ones left out, in order of name."""


# ---------------------------------------------------------------- health, money, people: recorded
class EquityMarked(Event, frozen=True):
    """The book was valued: what drawdown and daily loss are measured on."""

    equity: int
    cash: int
    positions: int
    """Value of open positions at the touch they could be closed at."""
    reference: int
    """Price of the reference instrument (`angelx.market.reference_price`), 1/10,000; 0 where there is none."""


class CommandReceived(Event, frozen=True):
    """Somebody asked for something: `halt`, `flatten`, `silent`, `resume`, `stop`, `reload`.

    An input where a person or the host asked; a decision where `who` is a service.
    """

    verb: str
    reason: str
    who: str


class LevelChanged(Event, frozen=True):
    """The kill switch moved: `running`, `halt`, `flatten`, `silent`."""

    level: str
    reason: str
    who: str


class HealthChanged(Event, frozen=True):
    """A service saw health change: `healthy`, `degraded`, `recovering`, `paused`, `critical` (SPEC 7.1)."""

    state: str
    reason: str
    service: str
    """Who saw it, and who alone can take it back."""


class IncidentReported(Event, frozen=True):
    """Something a person should know of, that changed no state."""

    service: str
    what: str


class StrategyFailed(Event, frozen=True):
    """A strategy raised or ran too long; it is not called again in this session."""

    strategy: str
    error: str


# ---------------------------------------------------------------- folds: on the bus only
class PositionChanged(Event, frozen=True):
    """A fill moved a position."""

    instrument: str
    strategy: str
    quantity: int
    """Signed units now held."""
    cost: int
    """Signed money paid for what is held."""
    realised: int
    """Money this fill locked in, fees included."""
    order: str = ""
    """Whose fill it was; empty where no fill is told of (a position of before a restart)."""
    execution: str = ""
    units: int = 0
    """Signed units of the fill."""
    paid: int = 0
    """Signed money it cost, fees included."""


class OrderClosed(Event, frozen=True):
    """An order of ours ended in any way; nothing of it works any more."""

    order: str
    signal: int
    strategy: str
    instrument: str
    side: int
    outcome: str
    """`filled`, `cancelled`, `rejected`, `expired`, `absent`, `barred`."""
    filled: int
    unfilled: int


# ---------------------------------------------------------------- what is learned from: recorded
class SignalJudged(Event, frozen=True):
    """What the filters found of an entry signal on an underlying with a chain, before they passed or refused it."""

    signal: int
    strategy: str
    underlying: str
    outlook: int
    """+1: it says the underlying rises, -1 that it falls."""
    regime: str
    """Volatility regime."""
    window: str
    """Part of the session; empty outside."""
    margins: tuple[tuple[str, float], ...]
    """Margin in [0, 1] of each filter that let it pass, in the order asked."""
    refused_by: str = ""
    """The filter that refused; empty where it passed."""


class ForecastMade(Event, frozen=True):
    """A probability was given for something that will be known at `at + horizon_ns`."""

    forecast: int
    """Number of the forecast in this journal, from 1."""
    name: str
    """`bias` (the price rises), `trap_up`, `trap_down` (an up or down signal is a trap), `signal` (it goes its way)."""
    underlying: str
    value: float
    """The probability, in [0, 1]."""
    horizon_ns: int
    price: float
    """Of the underlying (its front forward) when it was made, currency units."""
    barrier: float = 0.0
    """Log distance of the barriers on both sides; 0 = only the price at the horizon counts."""
    inputs: tuple[float, ...] = ()
    """Evidence it was made from."""
    subject: str = ""
    """What it is about besides the underlying: the signal's filter or strategy."""
    signal: int = 0
    """The signal it is about, negative where that says the underlying falls; 0 = none."""
    expiry: date | None = None
    """Whose forward the price is."""


class ForecastScored(Event, frozen=True):
    """The horizon of a forecast came, or what it was about happened before."""

    forecast: int
    name: str
    underlying: str
    value: float
    outcome: int
    """1 = it happened."""
    price: float
    """Last seen, currency units."""
    inputs: tuple[float, ...] = ()
    subject: str = ""
    signal: int = 0


class WorkDone(Event, frozen=True):
    """Something slow that ran beside the stream came back: an input."""

    work: int
    """Number of the work in this journal, from 1."""
    name: str
    result: str
    """As JSON."""


class WorkFailed(Event, frozen=True):
    """Something slow that ran beside the stream failed: an input."""

    work: int
    name: str
    outcome: str
    """`raised`, `timeout`, `died`, `full` (too much was waiting)."""
    detail: str


class TuningLearned(Event, frozen=True):
    """What the session taught: applied from the next one on."""

    version: int
    state: str
    """As JSON."""


RECORDED: Final[tuple[type[Event], ...]] = (
    SessionStarted, SourceOpened, InstrumentUsed, PhaseChanged, SessionEnded, Signal, SignalRefused, OrderApproved,
    CancelRequested, OrderAccepted, OrderFilled, OrderEnded, EquityMarked, CommandReceived, LevelChanged, HealthChanged,
    StrategyFailed, IncidentReported, BooksRead, SignalJudged, ForecastMade, ForecastScored, WorkDone, WorkFailed,
    TuningLearned,
)  # fmt: skip
"""What the journal holds; in the order of this module."""
