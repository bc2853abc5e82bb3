"""Models by name and on the hub, and the reading of files that strangers wrote."""
