"""What everything is made of: scalars, instruments, tick columns, events, errors and ports."""
