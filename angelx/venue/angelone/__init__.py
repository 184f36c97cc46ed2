"""Angel One's SmartAPI as the broker speaks it: pure protocol on the simulated exchange (docs/angelone.md)."""
