"""Classifiers of features or waveforms, with logits and hidden maps."""

from speechbrain_lmac.classifiers.checkpoint import read_labels
from speechbrain_lmac.classifiers.clap.huggingface import (
    HuggingFaceClap,
    NewHuggingFaceClap,
)
from speechbrain_lmac.classifiers.clap.mel import MelClap
from speechbrain_lmac.classifiers.clap.microsoft import MicrosoftClap
from speechbrain_lmac.classifiers.clap.miniclap import MiniClap, WordBag, trained_clap
from speechbrain_lmac.classifiers.cnn14 import CNN14Classifier
from speechbrain_lmac.classifiers.compact import CompactClassifier
from speechbrain_lmac.classifiers.conv1d import Conv1dNet
from speechbrain_lmac.classifiers.frozen import Frozen, FrozenClassifier
from speechbrain_lmac.classifiers.huggingface import (
    HuggingFaceClassifier,
    HuggingFaceModel,
    NewHuggingFaceModel,
)
from speechbrain_lmac.classifiers.layouts import Axes, FoldedTime, Patches, Places
from speechbrain_lmac.classifiers.speechbrain import SpeechBrainClassifier
from speechbrain_lmac.classifiers.waveform import WaveformClassifier

__all__ = [
    "Axes",
    "CNN14Classifier",
    "CompactClassifier",
    "Conv1dNet",
    "FoldedTime",
    "Frozen",
    "FrozenClassifier",
    "HuggingFaceClap",
    "HuggingFaceClassifier",
    "HuggingFaceModel",
    "MelClap",
    "MicrosoftClap",
    "MiniClap",
    "NewHuggingFaceClap",
    "NewHuggingFaceModel",
    "Patches",
    "Places",
    "SpeechBrainClassifier",
    "WaveformClassifier",
    "WordBag",
    "read_labels",
    "trained_clap",
]
