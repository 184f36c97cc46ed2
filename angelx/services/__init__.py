"""The services: each says what it consumes and emits, and does one thing."""
