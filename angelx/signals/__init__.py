"""Strategies and the filters their signals pass."""
