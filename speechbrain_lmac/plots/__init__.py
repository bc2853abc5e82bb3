"""Pictures: spectrograms and masks, curves and bars."""
