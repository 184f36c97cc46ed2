"""What orders by API may be at Angel One, by date."""

from datetime import date
from typing import Final

import msgspec

from angelx.domain.ports import Capabilities

BROKER: Final = "angelone"


class CapabilityRow(msgspec.Struct, frozen=True):
    """What holds from a day on."""

    since: date
    capabilities: Capabilities
    source: str


def _row(
    since: date, types: frozenset[str], tifs: frozenset[str], per_s: int, *, ip: bool, source: str
) -> CapabilityRow:
    """Every row: the tag is only a label; one account nets, so no order has to be split at zero; ids stay."""
    return CapabilityRow(
        since,
        Capabilities(
            broker=BROKER, order_types=types, times_in_force=tifs, client_ids=False, no_cross=False,
            replaces_keep_id=True, needs_static_ip=ip, orders_per_s=per_s,
        ),
        source,
    )  # fmt: skip


TABLE: Final = (
    _row(
        date(2020, 1, 1), frozenset({"market", "limit", "stop", "stop_limit"}), frozenset({"DAY", "IOC"}), 20, ip=False,
        source="SmartAPI before the rules for retail algorithms; options take no stop orders without a limit",
    ),
    _row(
        date(2025, 10, 1), frozenset({"limit", "stop_limit"}), frozenset({"DAY"}), 8, ip=True,
        source="SEBI/HO/MIRSD/MIRSD-PoD/P/CIR/2025/0000013 of 2025-02-04 (retail algorithms): registered address, "
        "fewer than 10 orders a second; SmartAPI allows 9, we keep 8. No MARKET and no IOC by algorithm.",
    ),
)  # fmt: skip
"""Oldest first."""


def capabilities(on: date) -> Capabilities:
    """What holds on a day; the earliest row before it."""
    return next((row for row in reversed(TABLE) if row.since <= on), TABLE[0]).capabilities
