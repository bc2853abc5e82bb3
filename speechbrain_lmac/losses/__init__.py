"""Training objectives, one module per method."""
