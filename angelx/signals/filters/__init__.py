"""Filters: each answers whether a signal may pass, and by what margin."""
