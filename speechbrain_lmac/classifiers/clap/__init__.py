"""CLAP models as zero-shot classifiers."""
