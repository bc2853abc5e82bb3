"""Trained models as folders that others can load, on disk or on the hub."""
