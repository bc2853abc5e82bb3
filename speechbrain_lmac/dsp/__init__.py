"""Signal processing: audio files, mel scales, noise, mixing, loudness, overlap-add."""
