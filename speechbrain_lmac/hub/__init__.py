"""Models by name and on the hub, and safe reading of untrusted files."""
