"""Explainers judged: scores of clips, statistics over them, further checks."""
