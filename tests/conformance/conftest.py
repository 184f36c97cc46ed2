"""Imports the brokers' own clients first: they warn while they are imported, and warnings are errors here."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # websockets.legacy
    import alpaca.trading.stream  # noqa: F401
