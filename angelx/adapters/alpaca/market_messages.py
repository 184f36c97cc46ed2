"""What Alpaca's market data streams send: arrays of messages told apart by `T`, in JSON or msgpack.

Unknown keys and unknown kinds of messages appear without notice: both are passed over. Times are text in JSON and the
Timestamp extension in msgpack, so each message has both forms.
"""

from typing import Final

import msgspec
from msgspec.msgpack import Ext

Time = str | Ext
"""RFC 3339 text, or extension -1."""


class Message(msgspec.Struct, gc=False, tag_field="T"):
    """One message."""


class Quote(Message, tag="q"):
    """Best bid and ask of a symbol."""

    S: str
    bp: float
    bs: float
    ap: float
    ask_size: float = msgspec.field(name="as")
    t: Time


class Trade(Message, tag="t"):
    """A trade."""

    S: str
    p: float
    s: float
    t: Time
    c: list[str] | str | None = None
    """Conditions: a list for stocks, one text for options."""


class Cancel(Message, tag="x"):
    """A trade was cancelled or was an error."""

    S: str
    s: float
    t: Time


class Correction(Message, tag="c"):
    """A trade was corrected."""

    S: str
    original_size: float = msgspec.field(name="os")
    corrected_size: float = msgspec.field(name="cs")
    t: Time


class Status(Message, tag="s"):
    """A symbol was halted or resumed."""

    S: str
    t: Time
    sc: str = ""
    sm: str = ""
    rc: str = ""
    rm: str = ""


class Luld(Message, tag="l"):
    """The limit-up-limit-down band of a symbol."""

    S: str
    u: float
    d: float
    t: Time
    i: str = ""


class Success(Message, tag="success"):
    """`connected` or `authenticated`."""

    msg: str


class Error(Message, tag="error"):
    """The server refuses something."""

    code: int
    msg: str = ""


class Subscription(Message, tag="subscription"):
    """All that is subscribed now."""

    trades: list[str] = []
    quotes: list[str] = []
    statuses: list[str] = []
    lulds: list[str] = []


class Bar(Message, tag="b"):
    """A minute bar: angelx makes its own."""


class UpdatedBar(Message, tag="u"):
    """A minute bar that late trades changed."""


class DailyBar(Message, tag="d"):
    """The day's bar so far."""


AnyMessage = (
    Quote | Trade | Cancel | Correction | Status | Luld | Success | Error | Subscription | Bar | UpdatedBar | DailyBar
)
KNOWN: Final = frozenset({"q", "t", "x", "c", "s", "l", "success", "error", "subscription", "b", "u", "d"})


class Kind(msgspec.Struct, gc=False):
    """Only what kind of message it is."""

    T: str = ""
