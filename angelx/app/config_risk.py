"""What may be risked: the limits of the pre-trade gate and of sizing (SPEC 5)."""

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from angelx.app.config_parts import Section


class EquityLimits(Section):
    """Limits of equity books."""

    spread_bps: float = Field(default=5.0, gt=0, le=10_000, description="Widest spread an entry may cross.")
    gross: float = Field(default=1.0, gt=0, le=10, description="Largest sum of absolute positions, fraction of equity.")
    name: float = Field(
        default=0.10, gt=0, le=1, description="Largest absolute position in one name, fraction of equity."
    )


class OptionLimits(Section):
    """Limits of option books: an entry's spread may be as wide as the wider of the two."""

    spread_ticks: int = Field(default=2, ge=1, le=10_000, description="Widest spread in ticks.")
    spread_fraction: float = Field(default=0.015, ge=0, le=1, description="Widest spread as a fraction of the premium.")


class RiskConfig(Section):
    """What may be risked. Every order passes these limits; an order that only reduces passes those that bar entries."""

    profile: Literal["standard", "bench"] = Field(
        default="standard",
        description="bench widens the limits through the same code, for benchmarks on paper and replay.",
    )
    risk_per_trade: float = Field(
        default=0.02, gt=0, le=1, description="Money lost if the stop is hit, costs included, fraction of equity."
    )
    max_order_fraction: float = Field(default=0.05, gt=0, le=1, description="Largest order, fraction of equity.")
    max_daily_trades: int = Field(default=10, ge=1, le=1_000_000, description="Most filled entries in a session.")
    max_positions: int = Field(default=3, ge=1, le=10_000, description="Most option positions at a time.")
    premium_at_risk: float = Field(default=0.10, gt=0, le=1, description="Most premium held, fraction of equity.")
    daily_loss: float = Field(default=0.03, gt=0, le=1, description="Loss of the day that halts, fraction of equity.")
    drawdown_stop: float = Field(
        default=0.20, gt=0, le=1, description="Drawdown from the peak that stops until resumed, fraction of equity."
    )
    stop_fraction: float = Field(
        default=0.30, gt=0, le=1, description="Stop distance where a strategy gives none, fraction of the premium."
    )
    orders_per_s: int = Field(default=8, ge=1, le=100_000, description="Most orders in any second, per exchange.")
    rejects_per_min: int = Field(default=5, ge=1, le=1_000_000, description="Rejects in any minute that halt.")
    duplicate_window_s: float = Field(
        default=300.0, ge=0, le=86_400, description="The same entry again within this time is refused; 0 is off."
    )
    collar_ticks: int = Field(
        default=4, ge=0, le=10_000, description="How far beyond the touch a marketable limit may go."
    )
    entries_barred_before_close_min: int = Field(
        default=30, ge=0, le=1_440, description="No entries in the last minutes of a session."
    )
    flat_before_close_min: int = Field(
        default=20, ge=0, le=1_440, description="Intraday positions are closed so many minutes before the close."
    )
    allow_short: bool = Field(default=False, description="Equities may be sold short; options never.")
    fixed_units: int | None = Field(
        default=None, ge=1, le=10**9, description="Units of every order instead of sizing by risk; null sizes by risk."
    )
    equities: EquityLimits = Field(default=EquityLimits(), description="Limits of equity books.")
    options: OptionLimits = Field(default=OptionLimits(), description="Limits of option books.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.entries_barred_before_close_min < self.flat_before_close_min:
            text = "entries_barred_before_close_min must not be less than flat_before_close_min: it would buy to sell"
            raise PydanticCustomError("inconsistent", text)
        if self.daily_loss > self.drawdown_stop:
            raise PydanticCustomError(
                "inconsistent", "daily_loss must not be more than drawdown_stop: it could never halt"
            )
        return self
