"""What is measured about the process itself; pure."""
