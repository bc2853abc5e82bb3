"""Decoders from a classifier's hidden maps to a mask."""

from speechbrain_lmac.dsp.mel_to_bins import MelToBins, SameBins
from speechbrain_lmac.interpreters.aligned import AlignedInterpreter
from speechbrain_lmac.interpreters.cnn14_mel import PublishedMelInterpreter
from speechbrain_lmac.interpreters.cnn14_stft import PublishedInterpreter
from speechbrain_lmac.interpreters.cnn14_upsampler import PublishedUpsampler
from speechbrain_lmac.interpreters.conditioned import (
    ClassConditionedInterpreter,
    FiLM,
    FiLMInterpreter,
)
from speechbrain_lmac.interpreters.conv import ConvInterpreter
from speechbrain_lmac.interpreters.l2i import (
    ConvActivations,
    L2IInterpreter,
    LearnedOverTime,
    MeanOverTime,
    PublishedActivations,
)
from speechbrain_lmac.interpreters.masknet import (
    ConvUpsampler,
    MaskNet,
    MaskNetInterpreter,
)
from speechbrain_lmac.interpreters.presence import PresenceInterpreter
from speechbrain_lmac.interpreters.text import (
    TextAttention,
    TextAttentionInterpreter,
    TextFiLMInterpreter,
)
from speechbrain_lmac.interpreters.trained import TrainedInterpreter
from speechbrain_lmac.interpreters.transformer import (
    CheckpointedTransformerBlock,
    TransformerBlock,
)

__all__ = [
    "AlignedInterpreter",
    "CheckpointedTransformerBlock",
    "ClassConditionedInterpreter",
    "ConvActivations",
    "ConvInterpreter",
    "ConvUpsampler",
    "FiLM",
    "FiLMInterpreter",
    "L2IInterpreter",
    "LearnedOverTime",
    "MaskNet",
    "MaskNetInterpreter",
    "MeanOverTime",
    "MelToBins",
    "PresenceInterpreter",
    "PublishedActivations",
    "PublishedInterpreter",
    "PublishedMelInterpreter",
    "PublishedUpsampler",
    "SameBins",
    "TextAttention",
    "TextAttentionInterpreter",
    "TextFiLMInterpreter",
    "TrainedInterpreter",
    "TransformerBlock",
]
