"""One ordered stream: the bus, its timers and mailboxes, and the journal's format."""
