"""Risk: how much, and whether at all. The only maker of `OrderApproved`."""
