"""Figures: spectrograms and masks, curves and bars."""
