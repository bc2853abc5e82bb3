"""The library's classes conform to the protocols of `speechbrain_lmac.types`.

Checked by mypy (`make types`), never run. A module of torch is called by `__call__`,
which has no types: of classifiers and interpreters `forward` is checked.
"""

from collections.abc import Callable
from typing import Any

import torch

from speechbrain_lmac import classifiers, domains, explainers, interpreters
from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.classifiers.zoo.yamnet import TrainedYAMNet, YAMNet
from speechbrain_lmac.inference import AudioClassifier
from speechbrain_lmac.metrics import EvidenceMetric
from speechbrain_lmac.metrics.checks.listeners import (
    BatchClassifier,
    ClassifierTags,
    TagClassifier,
)
from speechbrain_lmac.types import (
    Classifier,
    ClassifierOutput,
    Encoded,
    Explainer,
    Interpreter,
    MaskDomain,
    Metric,
)

mask_domains: list[type[MaskDomain]] = [
    domains.ClapMelDomain,
    domains.ClapSTFTDomain,
    domains.LearnedDomain,
    domains.MagnitudeSTFTDomain,
    domains.MelDomain,
    domains.STFTDomain,
    domains.WaveformSTFTDomain,
]

all_classifiers: list[type[Classifier]] = [
    classifiers.CNN14Classifier,
    classifiers.CompactClassifier,
    classifiers.Frozen,
    classifiers.FrozenClassifier,
    classifiers.WaveformClassifier,
    ClapClassifier,
]
classify: list[Callable[[Any, torch.Tensor], ClassifierOutput]] = [
    classifiers.CNN14Classifier.forward,
    classifiers.CompactClassifier.forward,
    classifiers.Frozen.forward,
    classifiers.WaveformClassifier.forward,
    ClapClassifier.forward,
]
# Those with `masks_padding` take lengths.
classify_padded: list[
    Callable[[Any, torch.Tensor, torch.Tensor | None], ClassifierOutput]
] = [
    classifiers.CNN14Classifier.forward,
    classifiers.CompactClassifier.forward,
    classifiers.Frozen.forward,
    ClapClassifier.forward,
]

all_interpreters: list[type[Interpreter]] = [
    interpreters.AlignedInterpreter,
    interpreters.ClassConditionedInterpreter,
    interpreters.ConvInterpreter,
    interpreters.FiLMInterpreter,
    interpreters.MaskNetInterpreter,
    interpreters.PresenceInterpreter,
    interpreters.PublishedInterpreter,
    interpreters.PublishedMelInterpreter,
    interpreters.TextAttentionInterpreter,
    interpreters.TextFiLMInterpreter,
    interpreters.TrainedInterpreter,
]
interpret: list[
    Callable[[Any, tuple[torch.Tensor, ...], Encoded, torch.Tensor], torch.Tensor]
] = [
    interpreters.AlignedInterpreter.forward,
    interpreters.ClassConditionedInterpreter.forward,
    interpreters.ConvInterpreter.forward,
    interpreters.FiLMInterpreter.forward,
    interpreters.MaskNetInterpreter.forward,
    interpreters.PresenceInterpreter.forward,
    interpreters.PublishedInterpreter.forward,
    interpreters.PublishedMelInterpreter.forward,
    interpreters.TextAttentionInterpreter.forward,
    interpreters.TextFiLMInterpreter.forward,
    # Not TrainedInterpreter: around an L2IInterpreter it returns an Interpretation.
]

all_explainers: list[type[Explainer]] = [
    explainers.AllOnesExplainer,
    explainers.AmortizedExplainer,
    explainers.AttributionExplainer,
    explainers.L2IExplainer,
    explainers.RandomExplainer,
    explainers.Remembered,
    explainers.ZeroShotExplainer,
]

metrics: list[type[Metric]] = [EvidenceMetric]

tag_classifiers: list[type[TagClassifier]] = [YAMNet, TrainedYAMNet, ClassifierTags]
batch_classifiers: list[type[BatchClassifier]] = [AudioClassifier]
