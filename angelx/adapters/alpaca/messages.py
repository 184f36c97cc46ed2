"""What Alpaca's trading API answers: only the keys we read. Unknown keys are passed over; numbers come as text or as
numbers and are kept as decimals.
"""

from decimal import Decimal

import msgspec

Number = Decimal | None
Text = str | None


class WireOrder(msgspec.Struct, gc=False):
    """An order."""

    id: str
    client_order_id: str
    status: str
    symbol: Text = None
    side: Text = None
    qty: Number = None
    filled_qty: Number = None
    filled_avg_price: Number = None
    limit_price: Number = None
    type: Text = None
    time_in_force: Text = None
    order_class: Text = None
    created_at: Text = None
    submitted_at: Text = None
    updated_at: Text = None
    replaces: Text = None
    replaced_by: Text = None
    reject_reason: Text = None


class UpdateData(msgspec.Struct, gc=False):
    """What happened to an order; price and quantity are of this execution."""

    event: str
    order: WireOrder
    execution_id: Text = None
    timestamp: Text = None
    price: Number = None
    qty: Number = None
    position_qty: Number = None


class StreamMessage(msgspec.Struct, gc=False):
    """One message of the order stream; `data` is read by the stream's name."""

    stream: str
    data: msgspec.Raw = msgspec.Raw(b"{}")


class StreamAnswer(msgspec.Struct, gc=False):
    """What the order stream answers to a request of ours."""

    status: str = ""
    action: str = ""
    streams: list[str] | None = None


class WireFill(msgspec.Struct, gc=False):
    """A fill in the account's activities."""

    id: str
    order_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    cum_qty: Decimal
    transaction_time: str


class WirePosition(msgspec.Struct, gc=False):
    """A position; the quantity of a short one is negative."""

    symbol: str
    qty: Decimal
    side: str
    cost_basis: Decimal
    asset_class: str = "us_equity"


class WireAccount(msgspec.Struct, gc=False):
    """The account."""

    id: str
    status: str
    cash: Decimal
    equity: Decimal
    buying_power: Decimal
    currency: str = "USD"
    trading_blocked: bool = False
    account_blocked: bool = False
    trade_suspended_by_user: bool = False
    shorting_enabled: bool = False
    options_trading_level: int | None = None


class WireClock(msgspec.Struct, gc=False):
    """The market's clock."""

    timestamp: str
    is_open: bool


class WireAsset(msgspec.Struct, gc=False):
    """One line of the list of assets."""

    id: str
    symbol: str
    tradable: bool
    exchange: str = ""
    name: Text = None
    status: str = "active"
    marginable: bool = False
    shortable: bool = False
    easy_to_borrow: bool = False
    fractionable: bool = False


class WireContract(msgspec.Struct, gc=False):
    """One option contract."""

    id: str
    symbol: str
    tradable: bool
    expiration_date: str
    root_symbol: str
    underlying_symbol: str
    type: str
    style: str
    strike_price: Decimal
    size: Decimal
    status: str = "active"
    open_interest: Number = None


class ContractsPage(msgspec.Struct, gc=False):
    """A page of contracts."""

    option_contracts: list[WireContract] | None = None
    next_page_token: Text = None


class WireRefusal(msgspec.Struct, gc=False):
    """The body of an error; the layer that checks credentials sends no code."""

    message: str = ""
    code: int = 0
    existing_order_id: Text = None
    reject_reason: Text = None
