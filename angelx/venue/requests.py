"""What a client may ask of the exchange and what it is told: neutral words that each broker's server translates."""

from typing import Final

import msgspec

from angelx.domain.errors import AngelxError

MARKET: Final = "market"
LIMIT: Final = "limit"
STOP: Final = "stop"
STOP_LIMIT: Final = "stop_limit"
TRAILING_STOP: Final = "trailing_stop"
KINDS: Final = (MARKET, LIMIT, STOP, STOP_LIMIT, TRAILING_STOP)
STOPS: Final = (STOP, STOP_LIMIT, TRAILING_STOP)

GTC: Final = "GTC"
"""As DAY, over the end of the session."""
OPG: Final = "OPG"
"""Trades with the first quote of the session or not at all."""
CLS: Final = "CLS"
"""Trades with the last quote of the session or not at all."""
TIFS: Final = ("DAY", GTC, "IOC", "FOK", OPG, CLS)

ENDED: Final = frozenset(("filled", "cancelled", "rejected", "expired", "replaced"))
"""Statuses that nothing follows."""

NEW_CODES: Final = (
    "bad_kind", "bad_tif", "bad_stop", "bad_legs", "unknown_order", "order_ended", "not_replaceable", "would_trigger",
    "halted", "opg", "cls", "linked", "entry_ended",
)  # fmt: skip
"""Codes beside `REJECT_CODES`; stable."""


class Refused(AngelxError):
    """The exchange or its broker says no: `code` is stable, `detail` has the numbers compared."""

    def __init__(self, code: str, detail: str, order: str = "") -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.order = order
        """Id of the order it is about, or of the one that is in the way; empty where there is none."""


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """A leg that closes what the entry opened: a take-profit has a limit, a stop-loss a stop and perhaps a limit."""

    limit: int = 0
    stop: int = 0
    client_id: str = ""


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An order as its sender wants it. Prices are 1/10,000, quantities units, sides +1 and -1."""

    client_id: str = ""
    instrument: str
    side: int
    quantity: int
    kind: str = LIMIT
    """Of `KINDS`."""
    limit: int = 0
    """Of `limit` and `stop_limit`."""
    stop: int = 0
    """Of `stop` and `stop_limit`: the last price that triggers."""
    trail: int = 0
    trail_pct: float = 0.0
    """Of `trailing_stop`: distance behind the best last price, in price or in percent of it."""
    tif: str = "DAY"
    """Of `TIFS`."""
    extended_hours: bool = False
    """Works before the open too."""
    queued: bool = False
    """Waits for the next session where the market is closed, whatever the exchange's policy (an AMO)."""
    product: str = ""
    """The broker's own words, kept and not read."""
    tag: str = ""
    take_profit: Exit | None = None
    stop_loss: Exit | None = None
    """With an entry: both make a bracket, one an OTO. See `is_oco`."""
    is_oco: bool = False
    """The order itself is the take-profit, and `stop_loss` its other half: one cancels the other."""


class VenueOrder(msgspec.Struct):
    """One order as its broker knows it now."""

    id: str
    """The broker's."""
    number: int
    """1, 2, … in order of arrival."""
    request: OrderRequest
    """With what replacing changed, where the id was kept."""
    status: str
    """`pending` (under way to the exchange), `accepted` (waits for the session), `held` (waits for its entry),
    `trigger_pending`, `working`, `partially_filled`, `pending_cancel`, `pending_replace`, or one of `ENDED`."""
    created_at: int
    updated_at: int
    filled: int = 0
    notional: int = 0
    """Money its fills were worth; the average price is `notional / filled`."""
    fee: int = 0
    code: str = ""
    """Why it ended or was refused, where it was not filled."""
    detail: str = ""
    stop: int = 0
    """Where it triggers now: of a trailing stop it moves."""
    best: int = 0
    """Of a trailing stop: the best last price so far (the high-water mark of a sell)."""
    triggered_at: int = 0
    replaces: str = ""
    replaced_by: str = ""
    carried: int = 0
    """Units that the orders it replaces had filled; `request.quantity` is without them."""
    parent: str = ""
    legs: tuple[str, ...] = ()
    """Ids of its exits."""
    ended_at: int = 0

    @property
    def left(self) -> int:
        """Units neither filled nor given up."""
        return 0 if self.status in ENDED else self.request.quantity - self.filled

    @property
    def is_working(self) -> bool:
        """Whether anything may still follow."""
        return self.status not in ENDED


class Fill(msgspec.Struct, frozen=True):
    """One execution."""

    execution: str
    order: str
    """The broker's id."""
    instrument: str
    side: int
    quantity: int
    price: int
    fee: int
    at: int
    position: int
    """Signed units held after it."""


class Report(msgspec.Struct, frozen=True):
    """One change of one order."""

    kind: str
    """`pending`, `accepted` (the exchange has it: the status says how), `working` (it waited and now works),
    `triggered`, `partial_fill`, `fill`, `pending_cancel`, `cancel_rejected`, `pending_replace`, `replaced`,
    `replace_rejected`, `cancelled`, `expired`, `rejected`."""
    order: VenueOrder
    """A copy, as it stood then."""
    fill: Fill | None
    at: int


# ---------------------------------------------------------------- requests as they are written down
class Call(msgspec.Struct, frozen=True, tag=True):
    """One request to the exchange; the same calls at the same places between the same rows give the same exchange."""


class Submit(Call, frozen=True, tag="submit"):
    """`Exchange.submit`."""

    request: OrderRequest
    keep_refused: bool = False


class Cancel(Call, frozen=True, tag="cancel"):
    """`Exchange.cancel`."""

    order: str


class Replace(Call, frozen=True, tag="replace"):
    """`Exchange.replace`; `None` = unchanged."""

    order: str
    keep_id: bool
    quantity: int | None = None
    limit: int | None = None
    stop: int | None = None
    trail: int | None = None
    kind: str | None = None
    tif: str | None = None
    client_id: str | None = None
    trail_pct: float | None = None


class Halt(Call, frozen=True, tag="halt"):
    """`Exchange.halt`, or with `ends` `Exchange.resume`."""

    name: str
    ends: bool = False


class Inject(Call, frozen=True, tag="inject"):
    """`Exchange.reject_rate = rate`."""

    rate: float


AnyCall = Submit | Cancel | Replace | Halt | Inject
