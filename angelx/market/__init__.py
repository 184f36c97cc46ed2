"""What the market is: instruments, sessions, state, chain; pure."""
