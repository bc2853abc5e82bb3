"""Classifiers: features in, logits and hidden maps out."""

from speechbrain_lmac.classifiers.cnn14 import CNN14Classifier
from speechbrain_lmac.classifiers.compact import CompactClassifier
from speechbrain_lmac.classifiers.frozen import FrozenClassifier

__all__ = ["CNN14Classifier", "CompactClassifier", "FrozenClassifier"]
