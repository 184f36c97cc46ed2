"""Replays, reports and sweeps."""
