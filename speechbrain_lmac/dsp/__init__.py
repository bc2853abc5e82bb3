"""Signals: audio files, filterbanks, noise, mixing, loudness, overlap-add."""
