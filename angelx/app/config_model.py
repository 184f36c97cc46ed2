"""What can be configured: strict, frozen, every key with its unit, bounds and meaning (docs/configuration.md).

A fraction is a fraction (0.10 = 10 %); keys that hold percent or basis points end in `_pct` / `_bps`. Money is given in
currency units and turned into integers of 1/10,000 by the properties.
"""

import math
from datetime import date
from decimal import Decimal
from typing import Annotated, Final, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from angelx.app.config_parts import (
    FILTERS,
    ChainConfig,
    FilterConfig,
    Section,
    StrategyConfig,
    one_of,
)
from angelx.app.config_risk import RiskConfig
from angelx.app.config_yaml import Document, KeyPath, Origin
from angelx.domain.scalars import price_of

SIMULATED_DAY: Final = "2026-10-21"
"""The day `market.session: auto` simulates: a Wednesday, a regular NSE session (the 20th is Dussehra)."""

BROKERS: Final = ("paper", "angelone", "alpaca")
CURRENCIES: Final = {"angelone": "INR", "alpaca": "USD"}
"""What a real broker's book is kept in."""


def _day(value: str) -> str:
    try:
        return value if value == "auto" else date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise PydanticCustomError("day", "no such date") from error


def _speed(value: object) -> object:
    if isinstance(value, str):
        return one_of("max", "real")(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1e9:
        return float(value)
    raise PydanticCustomError("speed", "not a speed")


class MarketConfig(Section):
    """Where ticks come from."""

    source: str = Field(
        default="simulated",
        min_length=1,
        description="Where ticks come from: the built-in generator, or the path of a recording.",
        json_schema_extra={"allowed": "simulated, or the path of a file or directory"},
    )
    session: Annotated[str, AfterValidator(_day)] = Field(
        default="auto",
        description=f"The trading day to simulate; auto is {SIMULATED_DAY}, or the recording's own days.",
        json_schema_extra={"allowed": "auto, or a date YYYY-MM-DD"},
    )
    expiries: int = Field(default=18, ge=1, le=60, description="Expiries in the simulated option chain.")
    strikes: int = Field(default=40, ge=2, le=400, description="Strikes per simulated expiry, calls and puts each.")
    spot: float = Field(default=24_500.0, gt=0, le=1e7, description="Simulated index at the open, points.")
    bar_spread_bps: float | None = Field(
        default=None,
        ge=0,
        le=1_000,
        description="Spread put around bar prices that come without quotes; null is the source's own default.",
    )
    trade_special_sessions: bool = Field(
        default=False, description="Trade on special sessions too: Muhurat, weekends, tests of the exchange."
    )

    @property
    def simulated_day(self) -> date:
        """The trading day the generator makes."""
        return date.fromisoformat(SIMULATED_DAY if self.session == "auto" else self.session)


class OrdersConfig(Section):
    """How long orders wait (docs/operating.md). Times are of the stream, from when the broker says that it works."""

    exit_wait_s: float = Field(
        default=2.0,
        ge=0,
        le=86_400,
        description="An exit that has not filled by then is taken back and sent anew at the touch; 0 is never.",
    )
    entry_wait_s: float = Field(
        default=10.0, ge=0, le=86_400, description="An entry that has not filled by then is taken back; 0 is never."
    )


class PaperConfig(Section):
    """How the paper broker behaves. With the defaults an order reaches the book 100 to 200 ms after it is sent, the
    reference profile of the brokers' REST interfaces.
    """

    latency_ms: float = Field(
        default=100.0, ge=0, le=60_000, description="Least time from sending an order to the book."
    )
    jitter_ms: float = Field(
        default=100.0, ge=0, le=60_000, description="Largest random addition to it, uniform, seeded."
    )
    reject_rate: float = Field(default=0.0, ge=0, le=1, description="Fraction of orders refused at random, seeded.")
    equity_band_pct: int = Field(
        default=20, ge=0, le=1_000, description="Price band of NSE shares, percent of the reference price; 0 is none."
    )
    option_band_pct: int = Field(
        default=10, ge=0, le=1_000, description="Price band of NSE options, percent of the strike; 0 is none."
    )
    band_floor: float = Field(default=5.0, ge=0, le=1e6, description="No band is narrower than this, currency units.")
    fees: bool = Field(default=True, description="Charge the statutory fees and brokerage of the dated tables.")
    time_in_force: Literal["DAY", "IOC"] = Field(
        default="DAY", description="How long an order works: to the end of the day, or at once or not at all."
    )


class LiveConfig(Section):
    """How a real broker is reached, and what of its market is watched; for `angelx run` where `broker` names one."""

    base_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+$",
        description="Where the broker's interface is, e.g. of `angelx venue`; null is the broker's own hosts.",
        json_schema_extra={"allowed": "null, or http(s)://host:port"},
    )
    paper_account: bool = Field(
        default=True, description="Alpaca: the account for play money; false is the one with real money."
    )
    clock: Literal["host", "venue"] = Field(
        default="host", description="host: this machine's; venue: that of `angelx venue`, whose day may be another."
    )
    symbols: tuple[str, ...] = Field(
        default=("NIFTY",),
        min_length=1,
        max_length=1_000,
        description="Underlyings whose options are traded (angelone), or shares (alpaca).",
    )
    expiries: int = Field(default=2, ge=0, le=60, description="Nearest expiries of each underlying that are watched.")
    strikes: int = Field(default=10, ge=1, le=400, description="Strikes on each side of the money that are watched.")
    feed: Literal["sip", "iex"] = Field(default="sip", description="Alpaca's share data: all exchanges, or IEX alone.")
    allow_iex: bool = Field(
        default=False, description="Trade on quotes of one exchange only; otherwise they bar entries."
    )
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="Longest wait for an answer of the broker.")
    stop_after_close_min: float = Field(
        default=1.0, ge=0, le=600, description="The process ends so long after the last session of the day."
    )


class JournalConfig(Section):
    """How facts are kept. At speed `max` the journal always spools."""

    durability: Literal["intent", "spool"] = Field(
        default="intent",
        description="intent: an order's intent is on the disk before it is sent; spool: blocks of records.",
    )
    block_records: int = Field(default=256, ge=1, le=65_536, description="Records in one spooled block.")
    head_every_s: float = Field(
        default=60.0,
        gt=0,
        le=3_600,
        description="How often sequence and hash of the newest record go to a second place.",
    )


class CaptureConfig(Section):
    """Recording of received ticks."""

    enabled: bool = Field(default=False, description="Record every received tick to Parquet.")
    directory: str | None = Field(
        default=None, min_length=1, description="Where recordings go; null is `capture` in the state directory."
    )


class WatchdogConfig(Section):
    """When the process no longer believes itself."""

    stale_feed_s: float = Field(default=5.0, gt=0, le=3_600, description="A feed whose time stands still bars entries.")
    loop_lag_ms: float = Field(default=250.0, gt=0, le=60_000, description="The event loop may be this late.")
    strategy_budget_ms: float = Field(
        default=1_000.0, ge=50, le=60_000, description="Longest call of a strategy; then it is stopped for the session."
    )


class AdminConfig(Section):
    """The local socket that `angelx status` and `kill` talk to."""

    socket: str = Field(
        default="auto",
        min_length=1,
        description="Where it listens; auto is in the state directory, or a short path where that is too long.",
        json_schema_extra={"allowed": "auto, or a path"},
    )


class LogConfig(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is written."
    )
    format: Literal["console", "json"] = Field(default="console", description="For people or for machines.")


class TuningConfig(Section):
    """What sessions teach: thresholds of filters, the trap model, the skill of the bias (docs/filters.md)."""

    apply: Literal["next_session", "never"] = Field(
        default="next_session",
        description="next_session: what a session taught applies from the next on; never: the priors do, always.",
    )


class ReportConfig(Section):
    """The end-of-session report."""

    enabled: bool = Field(default=True, description="Write an HTML report when the session ends.")


class CredentialsConfig(Section):
    """Where secrets lie; a secret itself never stands in a configuration file."""

    directory: str = Field(
        default="~/.config/angelx/credentials",
        min_length=1,
        description="Files of mode 0600, one per secret, read where neither systemd nor the environment has it.",
    )


class Secrets(Section):
    """What credentials gave. Never part of any output."""

    journal_key: SecretStr | None = Field(default=None, description="Keys the journal's hash chain.")
    angelone_api_key: SecretStr | None = Field(default=None, description="Angel One: the app's key.")
    angelone_client_code: SecretStr | None = Field(default=None, description="Angel One: the account.")
    angelone_pin: SecretStr | None = Field(default=None, description="Angel One: its PIN.")
    angelone_totp_secret: SecretStr | None = Field(
        default=None, description="Angel One: what one-time codes come from."
    )
    alpaca_key_id: SecretStr | None = Field(default=None, description="Alpaca: the key's id.")
    alpaca_secret_key: SecretStr | None = Field(default=None, description="Alpaca: the key's secret.")


class Config(Section):
    """The whole configuration."""

    _origin: Origin = PrivateAttr(default_factory=Origin)

    state_dir: str = Field(
        default="var/angelx", min_length=1, description="Journal, latch, lock and reports; one process at a time."
    )
    seed: int = Field(default=1, ge=0, le=2**63 - 1, description="Seed of everything random.")
    currency: Literal["INR", "USD"] = Field(default="INR", description="Currency of the book.")
    capital: float = Field(default=100_000.0, gt=0, le=1e11, description="Money to begin with, currency units.")
    broker: Annotated[str, AfterValidator(one_of(*BROKERS))] = Field(
        default="paper", description="Where orders go.", json_schema_extra={"allowed": ", ".join(BROKERS)}
    )
    speed: Annotated[str | float, BeforeValidator(_speed)] = Field(
        default="max",
        description="How fast recorded or simulated time passes: as fast as possible, as it was, or so many times it.",
        json_schema_extra={"allowed": "max, real, or a number above 0 and at most 1e9"},
    )
    market: MarketConfig = Field(default=MarketConfig(), description="Where ticks come from.")
    strategies: tuple[StrategyConfig, ...] = Field(
        default=(StrategyConfig(use="chain_bias"),), min_length=1, max_length=64, description="Who decides."
    )
    filters: tuple[FilterConfig, ...] = Field(
        default=cast("tuple[FilterConfig, ...]", tuple(kind(use=use) for use, kind in FILTERS.items())),
        max_length=64,
        description="What a signal must pass, in this order.",
    )
    chain: ChainConfig = Field(default=ChainConfig(), description="The option chain engine.")
    risk: RiskConfig = Field(default=RiskConfig(), description="What may be risked.")
    orders: OrdersConfig = Field(default=OrdersConfig(), description="How long orders wait.")
    paper: PaperConfig = Field(default=PaperConfig(), description="How the paper broker behaves.")
    live: LiveConfig = Field(default=LiveConfig(), description="How a real broker is reached.")
    journal: JournalConfig = Field(default=JournalConfig(), description="How facts are kept.")
    capture: CaptureConfig = Field(default=CaptureConfig(), description="Recording of received ticks.")
    watchdog: WatchdogConfig = Field(
        default=WatchdogConfig(), description="When the process no longer believes itself."
    )
    tuning: TuningConfig = Field(default=TuningConfig(), description="What sessions teach.")
    admin: AdminConfig = Field(default=AdminConfig(), description="The local socket for commands.")
    log: LogConfig = Field(default=LogConfig(), description="What is written to standard error.")
    report: ReportConfig = Field(default=ReportConfig(), description="The end-of-session report.")
    credentials: CredentialsConfig = Field(default=CredentialsConfig(), description="Where secrets lie.")
    secrets: Secrets = Field(default=Secrets(), exclude=True, repr=False, description="Filled from credentials only.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [strategy.name for strategy in self.strategies]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            text = "strategies need different names, {twice} is used twice: give one a `name`"
            raise PydanticCustomError("inconsistent", text, {"twice": ", ".join(twice)})
        if self.capital_money != Decimal(str(self.capital)) * 10_000:
            raise PydanticCustomError("inconsistent", "capital has at most four decimal places")
        if self.currency != CURRENCIES.get(self.broker, self.currency):
            text = "a book at {broker} is kept in {currency}: set `currency`"
            about = {"broker": self.broker, "currency": CURRENCIES[self.broker]}
            raise PydanticCustomError("inconsistent", text, about)
        return self

    def read_from(self, document: Document) -> Self:
        """Itself, knowing where its keys stood."""
        self._origin = Origin(document)
        return self

    def place(self, path: KeyPath) -> str:
        """Where a key stood: `config.yaml:12`, `override strategies`, or `defaults`."""
        return self._origin.place(path)

    @property
    def capital_money(self) -> int:
        """`capital` as money, integer of 1/10,000."""
        return price_of(Decimal(str(self.capital)))

    @property
    def speed_factor(self) -> float:
        """Seconds of market per second of wall clock: infinite for `max`, 1 for `real`."""
        return {"max": math.inf, "real": 1.0}[self.speed] if isinstance(self.speed, str) else self.speed
