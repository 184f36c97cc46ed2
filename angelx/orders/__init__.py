"""The life of orders, positions and costs; pure."""
