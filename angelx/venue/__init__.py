"""The simulated exchange: matching, money, recovery."""
