"""Alpaca: US equities and options, over REST and WebSockets (docs/alpaca.md)."""
