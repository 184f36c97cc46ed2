"""The application: configuration, the wiring, the supervisor, one session from start to report."""
