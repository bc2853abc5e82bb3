"""Trained models, ready to use on waveforms and files."""
