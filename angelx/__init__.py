"""angelx: one long-lived asyncio process that trades Indian index options and US equities, on paper or live."""

__version__ = "0.1.0"
