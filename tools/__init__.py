"""What maintainers run: pages and examples that are written, not typed."""
