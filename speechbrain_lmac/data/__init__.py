"""Clips of a dataset, and what is added to them: augmentation, noise, mixtures."""
