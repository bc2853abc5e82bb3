"""Clips of datasets, augmentation, noise and mixtures."""
