"""Scripts of maintainers: generated pages and examples."""
