"""Angel One's SmartAPI as seen from a client (docs/angelone.md)."""
