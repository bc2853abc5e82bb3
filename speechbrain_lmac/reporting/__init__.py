"""Reports of evaluations: tables, Markdown and HTML pages, listening tests."""
