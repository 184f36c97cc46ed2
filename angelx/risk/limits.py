"""The limits, as integers ready for the gate."""

from typing import Final

import msgspec

PPM: Final = 1_000_000
"""Fractions are held as parts per million, so that money stays in integers."""
UNBOUNDED: Final = 2**62


def ppm(fraction: float) -> int:
    """A fraction (0.02 = 2 %) in parts per million."""
    return round(fraction * PPM)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate and the sizing compare with (SPEC 5.2, 5.4). Fractions in ppm of equity, money in 1/10,000."""

    risk_per_trade_ppm: int = ppm(0.02)
    stop_ppm: int = ppm(0.30)
    """Distance to the stop where a signal names none, of the price."""
    max_order_ppm: int = ppm(0.05)
    max_daily_trades: int = 10
    """Entries that filled, in a session."""
    max_positions: int = 3
    """Instruments held or being entered at once; options."""
    premium_at_risk_ppm: int = ppm(0.10)
    spread_ticks: int = 2
    spread_ppm: int = ppm(0.015)
    """Options: an entry's spread may be the wider of the two, the second of the bid."""
    spread_equity_ppm: int = ppm(0.0005)
    gross_ppm: int = ppm(1.0)
    """Equities: value of all positions and working entries."""
    name_ppm: int = ppm(0.10)
    """Equities: value of one instrument."""
    daily_loss_ppm: int = ppm(0.03)
    drawdown_ppm: int = ppm(0.20)
    orders_per_s: int = 8
    rejects_per_min: int = 5
    duplicate_window_ns: int = 300 * 1_000_000_000
    collar_ticks: tuple[int, ...] = (2, 4, 8, 16)
    """Ticks beyond the touch that a marketable limit may pay, by urgency 0, 1, 2, 3."""
    allow_short: bool = False
    """Equities may be sold short; options never."""
    allow_cross: bool = False
    """One order may cross from long to short; otherwise the position is closed first."""
    entries_end_ns: int = 30 * 60 * 1_000_000_000
    """No entries in the last part of a session."""
    fixed_units: int = 0
    """Sizes every entry alike; 0 = size by risk."""


BENCH: Final = Limits(
    max_order_ppm=UNBOUNDED,
    max_daily_trades=UNBOUNDED,
    max_positions=UNBOUNDED,
    premium_at_risk_ppm=UNBOUNDED,
    spread_ppm=UNBOUNDED,
    spread_equity_ppm=UNBOUNDED,
    gross_ppm=UNBOUNDED,
    name_ppm=UNBOUNDED,
    daily_loss_ppm=UNBOUNDED,
    drawdown_ppm=UNBOUNDED,
    orders_per_s=UNBOUNDED,
    rejects_per_min=UNBOUNDED,
    duplicate_window_ns=0,
    collar_ticks=(0, 0, 0, 0),
    allow_short=True,
    allow_cross=True,
    entries_end_ns=0,
    fixed_units=100,
)
"""`profile: bench`: the same code with limits that never bind."""
