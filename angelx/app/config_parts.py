"""What sections of the configuration are made of, and its pluggable parts: strategies and filters."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

STRATEGIES: Final = ("chain_bias", "ema_cross")
"""Strategies that ship."""

_PLUGIN: Final = re.compile(r"(.+\.py):([^\W\d]\w*)")


class Section(BaseModel):
    """A mapping of known keys; nothing is converted, nothing unknown is let through, nothing changes."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def one_of(*names: str) -> Callable[[str], str]:
    """A validator that lets exactly these words through."""

    def check(value: str) -> str:
        if value not in names:
            raise PydanticCustomError("one_of", "unknown name", {"names": names})
        return value

    return check


def plugin(use: str) -> tuple[str, str] | None:
    """File and class of `path/to/file.py:Class`; `None` for the name of something that ships."""
    match = _PLUGIN.fullmatch(use)
    return (match[1], match[2]) if match else None


def _strategy(use: str) -> str:
    return use if plugin(use) else one_of(*STRATEGIES)(use)


def _filter(use: str) -> str:
    return use if plugin(use) else one_of(*FILTERS)(use)


class ChainConfig(Section):
    """The option chain engine: Greeks, open-interest flow and what is judged from them (docs/option-chain.md)."""

    enabled: Literal["auto", "always", "never"] = Field(
        default="auto", description="auto: where the source has options and a strategy or filter uses chains."
    )
    step_ms: int = Field(default=1_000, ge=10, le=2_000, description="Stream time between two steps of the engine.")
    budget_us: float = Field(default=150.0, ge=0, le=1e6, description="Work of one step on contracts; see contract_us.")
    contract_us: float = Field(
        default=0.4,
        gt=0,
        le=1_000,
        description="What one contract costs (`angelx bench chain`): the budget is counted in contracts, never timed.",
    )
    slack: float = Field(
        default=0.25,
        ge=0,
        le=10,
        description="A contract is urgent once the forward moved its premium by this share of its spread.",
    )
    flow_window_min: float = Field(default=5.0, gt=0, le=390, description="Window of the open-interest flow.")
    summary_ms: int = Field(
        default=1_000, ge=10, le=60_000, description="Stream time between two summaries of a chain, judgement included."
    )
    rate: float | None = Field(
        default=None,
        ge=-0.1,
        le=1,
        description="Rate that discounts are held against, a year; null is the currency's: INR 0.065, USD 0.045.",
    )

    @property
    def budget(self) -> int:
        """Contracts of one step."""
        return int(self.budget_us / self.contract_us)


class StrategyConfig(Section):
    """One strategy that decides."""

    use: Annotated[str, AfterValidator(_strategy)] = Field(
        description="Which one: one that ships, or a class in a file of yours.",
        json_schema_extra={"allowed": f"{', '.join(STRATEGIES)}, or file.py:Class"},
    )
    name: str = Field(
        default="",
        max_length=40,
        description="What it is called in orders and reports; empty or null is taken from `use`.",
        json_schema_extra={"allowed": "a text of at most 40 characters, or null"},
    )
    instruments: tuple[str, ...] = Field(
        default=(),
        max_length=10_000,
        description="Ids of the instruments it sees; an empty list leaves the choice to it.",
    )
    params: dict[str, Any] = Field(default={}, description="Passed to the strategy, which checks them.")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("name") and isinstance(data.get("use"), str):
            return {**data, "name": data["use"].rpartition(":")[2][:40]}
        return data


def _multiplier(default: float, description: str) -> Any:
    return Field(default=default, ge=0.1, le=10, description=description)


class Filter(Section):
    """One filter: `use` says which, every other key is a parameter of it."""

    use: Annotated[str, AfterValidator(_filter)] = Field(
        description="Which one: one that ships, or a class in a file of yours.",
        json_schema_extra={
            "allowed": "session, time_of_day, freshness, spread, volatility_regime, bias_strength, trap, "
            "oi_confirmation, or file.py:Class"
        },
    )

    @property
    def params(self) -> dict[str, Any]:
        """Everything but `use`."""
        return {name: value for name, value in self if name != "use"}


class SessionFilter(Filter):
    """Refuses signals outside the instrument's open session."""


class FreshnessFilter(Filter):
    """Refuses signals on quotes that are too old."""

    max_age_s: float = Field(
        default=10.0, gt=0, le=3_600, description="Oldest quote a signal may rest on, exchange time."
    )


class SpreadFilter(Filter):
    """Refuses signals where the spread is wider than both bounds."""

    max_ticks: float = Field(default=2.0, ge=0, le=10_000, description="A spread of so many ticks always passes.")
    max_bps: float = Field(
        default=5.0, ge=0, le=10_000, description="Equities: the widest spread, basis points of the mid."
    )
    max_pct: float = Field(default=1.5, ge=0, le=100, description="So does one of this percentage of the mid price.")


class TimeOfDayFilter(Filter):
    """Refuses signals outside the session; its windows multiply the bias threshold."""

    opening: float = _multiplier(1.3, "First 75 minutes of the session: the bias threshold is multiplied by this.")
    morning: float = _multiplier(1.0, "Then to 165 minutes after the open (NSE: noon).")
    midday: float = _multiplier(0.8, "Then to 285 minutes after the open (NSE: 14:00).")
    afternoon: float = _multiplier(1.1, "Then to 15 minutes before the close.")
    closing: float = _multiplier(1.5, "The last 15 minutes.")


class VolatilityRegimeFilter(Filter):
    """Says where volatility regimes begin; refuses signals in those that are barred."""

    barred: tuple[Literal["low", "medium", "high", "extreme"], ...] = Field(
        default=(), max_length=4, description="Regimes in which nothing is entered."
    )
    low: float = Field(default=0.25, gt=0, lt=1, description="IV rank below which volatility is low.")
    medium: float = Field(default=0.5, gt=0, lt=1, description="IV rank below which it is medium.")
    high: float = Field(default=0.75, gt=0, lt=1, description="IV rank below which it is high, else extreme.")
    least_closes: int = Field(
        default=60, ge=2, le=252, description="Closes until the rank counts; before, bands of the at-the-money IV."
    )
    hysteresis: float = Field(
        default=0.03, ge=0, le=0.2, description="How far beyond a limit another regime begins, rank."
    )
    dwell_s: float = Field(default=30.0, ge=0, le=3_600, description="How long it must stand there.")
    observations: int = Field(default=5, ge=1, le=1_000, description="Observations until it is more than medium.")


class BiasStrengthFilter(Filter):
    """Refuses signals that the chain does not lean towards, more than usual."""

    base: float = Field(default=0.60, ge=0, le=1, description="Least strength, a percentile, before adjustments.")
    low: float = Field(default=-0.10, ge=-1, le=1, description="Added to it in low volatility.")
    medium: float = Field(default=0.0, ge=-1, le=1, description="Added to it in medium volatility.")
    high: float = Field(default=0.10, ge=-1, le=1, description="Added to it in high volatility.")
    extreme: float = Field(default=0.20, ge=-1, le=1, description="Added to it in extreme volatility.")
    noise_above: float = Field(default=0.7, ge=0, le=1, description="Noise of the IV above which more is asked.")
    noise_adds: float = Field(default=0.15, ge=0, le=1, description="How much more.")
    least: float = Field(default=0.4, ge=0, le=0.99, description="The threshold is never below this.")
    most: float = Field(default=0.9, ge=0, le=0.99, description="The threshold is never above this.")


class TrapFilter(Filter):
    """Refuses signals that are likely traps."""

    base: float = Field(default=0.65, ge=0.01, le=0.99, description="A trap probability above 1 less this is refused.")
    high: float = Field(default=0.10, ge=0, le=1, description="Added to base in high volatility.")
    extreme: float = Field(default=0.20, ge=0, le=1, description="Added to base in extreme volatility.")
    edges: float = Field(default=0.15, ge=0, le=1, description="Added in the opening and the closing window.")
    cap: float = Field(default=0.95, ge=0.01, le=0.99, description="The sum is never above this.")


class OiConfirmationFilter(Filter):
    """Refuses signals that no open interest flows towards at the strike."""

    lots: float = Field(default=1_000.0, ge=0, le=1e7, description="Least signed flow at the strike, lots.")
    high: float = Field(default=1.5, ge=1, le=10, description="It is multiplied by this in high volatility.")
    extreme: float = Field(default=2.0, ge=1, le=10, description="It is multiplied by this in extreme volatility.")
    uncertain: float = Field(default=1.3, ge=1, le=10, description="And by this while the trend is uncertain.")
    oi_fraction: float = Field(
        default=0.01, ge=0, le=1, description="At least this fraction of the strike's open interest."
    )


class PluginFilter(Filter):
    """A filter in a file of the user's; its class checks its own parameters."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]


FILTERS: Final[dict[str, type[Filter]]] = {
    "session": SessionFilter,
    "time_of_day": TimeOfDayFilter,
    "freshness": FreshnessFilter,
    "spread": SpreadFilter,
    "volatility_regime": VolatilityRegimeFilter,
    "bias_strength": BiasStrengthFilter,
    "trap": TrapFilter,
    "oi_confirmation": OiConfirmationFilter,
}
"""Filters that ship, with their parameters."""


def filter_kind(data: Any) -> str:
    """Which model a filter's entry is read with: a key of `FILTERS`, or `plugin`."""
    use = data.get("use") if isinstance(data, dict) else getattr(data, "use", None)
    return use if isinstance(use, str) and use in FILTERS else "plugin"


FilterConfig = Annotated[
    Annotated[SessionFilter, Tag("session")]
    | Annotated[TimeOfDayFilter, Tag("time_of_day")]
    | Annotated[FreshnessFilter, Tag("freshness")]
    | Annotated[SpreadFilter, Tag("spread")]
    | Annotated[VolatilityRegimeFilter, Tag("volatility_regime")]
    | Annotated[BiasStrengthFilter, Tag("bias_strength")]
    | Annotated[TrapFilter, Tag("trap")]
    | Annotated[OiConfirmationFilter, Tag("oi_confirmation")]
    | Annotated[PluginFilter, Tag("plugin")],
    Discriminator(filter_kind),
]
