"""Evaluations as tables and pages, to read, to see and to hear."""
