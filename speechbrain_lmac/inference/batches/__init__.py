"""Explanations of many files: inputs, output names, record and table."""
