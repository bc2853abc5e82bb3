"""Training objectives, a module for each method."""
