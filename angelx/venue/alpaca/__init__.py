"""The venue speaks Alpaca's protocol: REST, order stream, market data (docs/alpaca.md)."""
