"""Listenable post-hoc explanations for audio classifiers, as SpeechBrain recipes."""

__version__ = "0.2.0"
