"""Decoders from a classifier's hidden maps to a mask."""

from speechbrain_lmac.interpreters.aligned import AlignedInterpreter
from speechbrain_lmac.interpreters.conditioned import (
    ClassConditionedInterpreter,
    FiLM,
    FiLMInterpreter,
)
from speechbrain_lmac.interpreters.conv import ConvInterpreter
from speechbrain_lmac.interpreters.frequency import MelToBins, SameBins
from speechbrain_lmac.interpreters.l2i import (
    ConvActivations,
    L2IInterpreter,
    LearnedOverTime,
    MeanOverTime,
    PublishedActivations,
)
from speechbrain_lmac.interpreters.published import PublishedInterpreter
from speechbrain_lmac.interpreters.published_mel import PublishedMelInterpreter
from speechbrain_lmac.interpreters.trained import TrainedInterpreter

__all__ = [
    "AlignedInterpreter",
    "ClassConditionedInterpreter",
    "ConvActivations",
    "ConvInterpreter",
    "FiLM",
    "FiLMInterpreter",
    "L2IInterpreter",
    "LearnedOverTime",
    "MeanOverTime",
    "MelToBins",
    "PublishedActivations",
    "PublishedInterpreter",
    "PublishedMelInterpreter",
    "SameBins",
    "TrainedInterpreter",
]
