"""Representations that a mask multiplies, and the way back to a waveform."""
