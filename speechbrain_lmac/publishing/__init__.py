"""Model folders for sharing, on disk or on the hub."""
