"""What Alpaca can do, dated; from the protocol notes of 2026-11-21 (docs/alpaca.md)."""

from datetime import date
from typing import Final

from angelx.domain.ports import Capabilities

TABLE: Final[tuple[tuple[date, Capabilities], ...]] = (
    (
        date(2024, 1, 1),
        Capabilities(
            broker="alpaca",
            order_types=frozenset(("market", "limit", "stop", "stop_limit", "trailing_stop")),
            times_in_force=frozenset(("DAY", "GTC", "IOC", "FOK", "OPG", "CLS")),
            client_ids=True,
            no_cross=True,
            replaces_keep_id=False,
            needs_static_ip=False,
            orders_per_s=10,
        ),
    ),
)
"""Since when, and what; the last row that has begun counts. `orders_per_s` is the burst limit that users report; the
documented one is 200 requests a minute, which the budget keeps."""


def capabilities(on: date) -> Capabilities:
    """The row in force on a day."""
    return next(row for since, row in reversed(TABLE) if since <= on or since == TABLE[0][0])
