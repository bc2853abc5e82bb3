"""Experiment files: the command line, the YAML, and building the objects."""
