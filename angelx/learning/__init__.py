"""Models: features, training, drift."""
